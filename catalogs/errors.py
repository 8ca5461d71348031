"""The one error that is the user's to mend, and the words it is told in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

NUM_NAMES_SHOWN = 12


class InputError(ValueError):
    """What the user gave cannot be used.

    Its text is one sentence that says where, what, what was found instead, and what to do. The command
    line prints it alone and exits with 2; nothing was lost, and nothing was half done.
    """


class StorageFailed(Exception):
    """A bucket did not answer, or refused, for longer than is waited for. Its text is one sentence.

    Neither OSError nor RuntimeError: those are taken for what is wrong with one file, and may be mended by making it
    anew; of this nothing may be concluded.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known one, or what is known."""
    names = list(known)
    lower = {other.lower(): other for other in reversed(names)}
    near = difflib.get_close_matches(name.lower(), list(lower), n=1)
    if near:
        return f"did you mean {lower[near[0]]!r}?"
    return f"there is {', '.join(names[:NUM_NAMES_SHOWN])}{', …' if len(names) > NUM_NAMES_SHOWN else ''}"


def missing_column(where: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a column that is not there."""
    return InputError(f"{where} has no column {name!r}; {did_you_mean(name, known)}")


def find_columns(where: str, names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Return the columns asked for, where None all. Raises InputError for one that is not there, or named twice."""
    if names is None:
        return list(known)
    for name in names:
        if name not in known:
            raise missing_column(where, name, known)
        if list(names).count(name) > 1:
            raise InputError(f"column {name!r} is asked for twice; name it once")
    return list(names)


def first_line(error: BaseException) -> str:
    """Return what an error of a library says, in one line; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def printable(text: str) -> str:
    """Return text whose control characters are spelt out: a name from a file must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
