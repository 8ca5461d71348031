"""Predictions judged: the numbers, the rivals and the figures."""
