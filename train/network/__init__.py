"""The network, what it is shown, and where its weights begin."""
