"""What the page asks for: a circle on the sky, a condition in SQL, an order; believed when it is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import duckdb

from skymetal.catalogs.errors import InputError, did_you_mean
from skymetal.catalogs.region import check_cone

MAX_RADIUS_ARCSEC = 36000.0
MAX_CONDITION_LENGTH = 4000
ID, RA, DEC, OH, OOD, FLAGS = "object_id", "ra", "dec", "oh_p50", "ood_score", "flags"
SEPARATION, INTERVAL = "separation", "interval"
SORTS = (ID, RA, DEC, SEPARATION, OH, INTERVAL, OOD, FLAGS)
"""What can be sorted by; all of them have a column on the page."""
_CONE = ("ra", "dec", "radius_arcsec")
_PARAMETERS = (*_CONE, "where", "seed", "sort", "down")


@dataclass(frozen=True, kw_only=True)
class Cone:
    """A circle on the sky: ICRS degrees, and a radius in arcsec."""

    ra: float
    dec: float
    radius_arcsec: float

    def __post_init__(self) -> None:
        check_cone(self.ra, self.dec, self.radius_arcsec)
        if self.radius_arcsec > MAX_RADIUS_ARCSEC:
            raise InputError(
                f"the radius must be at most {MAX_RADIUS_ARCSEC:g} arcsec here, got {self.radius_arcsec:g}; "
                "for more, run `skymetal catalog cone`"
            )


@dataclass(frozen=True, kw_only=True)
class Search:
    """Galaxies in a circle, or that meet a condition, or both; with neither, some at random by ``seed``.

    The condition is SQL, one that duckdb may still refuse. ``sort`` is one of SORTS, or nothing.
    """

    cone: Cone | None = None
    condition: str = ""
    seed: int = 0
    sort: str = ""
    is_down: bool = False

    def __post_init__(self) -> None:
        _check_condition(self.condition)
        if self.sort and self.sort not in SORTS:
            raise InputError(f"there is no order by {self.sort!r}; {did_you_mean(self.sort, SORTS)}")
        if self.sort == SEPARATION and self.cone is None:
            raise InputError("an order by separation needs a position; give ra, dec and radius_arcsec")

    def __str__(self) -> str:
        """What is asked for, in words that a file's metadata can keep."""
        cone = [f"{name} = {value}" for name, value in vars(self.cone).items()] if self.cone else []
        words = [*cone, *([self.condition] if self.condition else [])]
        return ", ".join(words) or f"at random, seed {self.seed}"


def read_search(query: str) -> Search:
    """Return what the query of an address asks for; a field left empty is as if it was not there.

    Raises InputError for what cannot be understood.
    """
    try:
        pairs = parse_qsl(query, errors="strict", max_num_fields=2 * len(_PARAMETERS))
    except ValueError as error:
        raise InputError(f"the address cannot be read ({error}); fill in the page again") from None
    given = {name: value.strip() for name, value in pairs if value.strip()}
    if len(dict(pairs)) < len(pairs):
        raise InputError("the address says something twice; fill in the page again")
    for name in given:
        if name not in _PARAMETERS:
            raise InputError(f"a search has no {name[:40]!r}; {did_you_mean(name[:40], _PARAMETERS)}")
    return Search(
        cone=_read_cone(given),
        condition=given.get("where", ""),
        seed=int(_number(given, "seed")) if "seed" in given else 0,
        sort=given.get("sort", ""),
        is_down=given.get("down", "0") == "1",
    )


def _read_cone(given: Mapping[str, str]) -> Cone | None:
    missing = [name for name in _CONE if name not in given]
    if len(missing) == len(_CONE):
        return None
    if missing:
        raise InputError(f"a circle on the sky needs ra, dec and radius_arcsec; give {' and '.join(missing)} too")
    return Cone(**{name: _number(given, name) for name in _CONE})


def _number(given: Mapping[str, str], name: str) -> float:
    try:
        number = float(given[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} must be a number, got {given[name][:40]!r}")
    return number


def _check_condition(condition: str) -> None:
    """Raise InputError for what would end the parentheses that a condition is put in.

    Whatever it says, it runs in a process that can do no harm; but what is found must be what was asked for.
    """
    if len(condition) > MAX_CONDITION_LENGTH:
        raise InputError(f"the filter has {len(condition)} characters, at most {MAX_CONDITION_LENGTH} are read")
    text = condition.encode(errors="replace")
    depth = 0
    for start, _ in duckdb.tokenize(text.decode()):
        depth += {b"(": 1, b")": -1}.get(text[start : start + 1], 0)
        if depth < 0:
            raise InputError(
                "the filter is one condition, such as oh_p50 < 8.5 AND flags = 0, but one of its ')' closes nothing"
            )
    if depth > 0:
        raise InputError("the filter is one condition, but one of its '(' is never closed")
