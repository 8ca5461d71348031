"""Folds over a cluster: gangs of ranks, each a supervised process."""
