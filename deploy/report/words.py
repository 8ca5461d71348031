"""Numbers as a reader wants them: thousands apart, a real minus, no digits that mean nothing."""

from __future__ import annotations

import math

SPACE = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
NOTHING = "–"
PERCENT_68, PERCENT_95 = (f"{level}{SPACE}%" for level in (68, 95))


def count(number: int) -> str:
    """Return a whole number, its thousands apart."""
    return f"{number:,}".replace(",", SPACE).replace("-", MINUS)


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """Return a number and what is counted, in the singular or the plural."""
    return f"{count(number)} {noun if number == 1 else nouns or f'{noun}s'}"


def galaxies(number: int) -> str:
    """Return how many galaxies, in words."""
    return counted(number, "galaxy", "galaxies")


def fixed(value: float | None, digits: int, *, sign: bool = False) -> str:
    """Return a number with so many digits after the point; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:+.{digits}f}".replace("-", MINUS) if sign else f"{value:.{digits}f}".replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share of 1 in per cent; what is not nothing is not said to be 0."""
    if share is None or not math.isfinite(share):
        return NOTHING
    least = 10.0**-digits
    if 0 < 100 * share < least / 2:
        return f"< {least:.{digits}f}{SPACE}%"
    return f"{fixed(100 * share, digits)}{SPACE}%"


def duration(seconds: float) -> str:
    """Return a time in the two units that matter."""
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min {rest}{SPACE}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}{SPACE}h {minutes}{SPACE}min"
    days, hours = divmod(hours, 24)
    return f"{days}{SPACE}d {hours}{SPACE}h"


def rate(value: float) -> str:
    """Return a rate with three digits."""
    return count(round(value)) if value >= 100 else f"{value:.3g}"
