"""The bits of the ``flags`` column: what a reader should know about a galaxy's image. 0 is clean."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """One bit a doubt. A galaxy whose image cannot be scored at all is quarantined, not flagged."""

    SATURATED = 1
    LOW_ENTROPY = 2


MEANINGS = {
    Flag.SATURATED: "more than 1 % of the pixels are at the top of their range in some band",
    Flag.LOW_ENTROPY: "the grey levels carry less than 1 bit of entropy a pixel: hardly any signal",
}


def describe_flags() -> str:
    """Return the meaning of every bit in one line, for the catalogue's metadata."""
    return "; ".join(f"{flag.value} {flag.name}: {meaning}" for flag, meaning in MEANINGS.items())
