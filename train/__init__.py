"""The network, its training and its evaluation: the only folder that imports torch."""
