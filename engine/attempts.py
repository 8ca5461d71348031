"""Attempts: notes of what was begun, so that a block which takes its worker with it is known when it comes again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from skymetal.catalogs.storage import Folder

ATTEMPTS = "attempts"
MAX_LOST = 2
"""How often a block may end with the death of its worker before it is scored carefully: one death may be chance."""


@contextmanager
def attempt(parts: Folder, index: int) -> Iterator[int]:
    """Note that a block is being tried, and give the number of earlier tries that nobody ended.

    Whatever Python sees as an end takes the note away; the death of the process leaves it.
    """
    num_lost = len(_notes(parts, index))
    note = f"{ATTEMPTS}/{index:06d}-{uuid.uuid4().hex}"
    parts.mark(note)
    try:
        yield num_lost
    finally:
        parts.remove(note)


def forget_attempts(parts: Folder, index: int) -> None:
    """Take away every note of a block that is done."""
    for note in _notes(parts, index):
        parts.remove(note)


def forget_all_attempts(parts: Folder) -> None:
    """Take away the notes of a pass that is done, those of workers that woke too late among them."""
    parts.remove_folder(ATTEMPTS)


def _notes(parts: Folder, index: int) -> list[str]:
    return parts.names(f"{ATTEMPTS}/{index:06d}-*")
