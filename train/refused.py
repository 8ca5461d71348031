"""The one error of training that another try would meet again."""

from __future__ import annotations


class TrainingRefused(RuntimeError):
    """One of our own checks says no, in a sentence for the user: the fold is given up at once, not tried again."""
