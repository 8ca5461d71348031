"""What was found as the texts that the page shows: digits that mean something, flags by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skymetal.catalogs.flags import decode_flags
from skymetal.deploy.serving.found import Found
from skymetal.deploy.serving.search import DEC, FLAGS, ID, INTERVAL, OH, OOD, RA, SEPARATION

_MINUS = "\N{MINUS SIGN}"
Galaxy = Mapping[str, Any]


def in_texts(found: Found) -> dict[str, Any]:
    """Return how many were found, the page's columns, and a list of texts a row. JSON knows all of it."""
    shown = [name for name in _TEXTS if name in found.rows.column_names]
    rows = [[_TEXTS[name](galaxy) for name in shown] for galaxy in found.rows.to_pylist()]
    return {"num_found": found.num_found, "columns": shown, "rows": rows}


def _fixed(name: str, digits: int) -> Callable[[Galaxy], str]:
    return lambda galaxy: f"{galaxy[name]:.{digits}f}".replace("-", _MINUS)


_TEXTS: Mapping[str, Callable[[Galaxy], str]] = {
    ID: lambda galaxy: str(galaxy[ID]),  # of 64 bits a script's numbers keep 53
    RA: _fixed(RA, 5),
    DEC: _fixed(DEC, 5),
    SEPARATION: _fixed(SEPARATION, 2),
    OH: _fixed(OH, 3),
    INTERVAL: lambda galaxy: f"{galaxy['oh_p16']:.2f}–{galaxy['oh_p84']:.2f}",
    OOD: _fixed(OOD, 2),
    FLAGS: lambda galaxy: ", ".join(decode_flags(galaxy[FLAGS])) or "clean",
}
