"""An evaluation's numbers as one flat table, for a spreadsheet or a plot of one's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skymetal.train.evaluation.paper import ENSEMBLE

COLUMNS = ("comparison", "predictor", "by", "bin_low", "bin_high", "num_galaxies", "measure", "value", "low", "high")
_NOT_MEASURES = {"num_galaxies", "low", "centre", "high"}
Numbers = Mapping[str, Any]


def to_csv(comparisons: Sequence[Numbers]) -> bytes:
    """Return every number of evaluation.json, one a row.

    Columns: the comparison and the predictor (``ensemble``, or a rival's name), the bin where it is one of a bin
    (by, bin_low, bin_high), the measure, its value, and the limits of its 95 % interval where it has one. An empty
    field is a number that is not defined.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for comparison in comparisons:
        for row in _comparison_rows(comparison):
            writer.writerow({"comparison": comparison["name"], **row})
    return text.getvalue().encode()


def _comparison_rows(comparison: Numbers) -> Iterator[dict[str, Any]]:
    ensemble = {"predictor": ENSEMBLE}
    yield from _rows(comparison, **ensemble)
    num_galaxies = comparison["num_galaxies"]
    yield from _rows({"num_galaxies": num_galaxies, **comparison.get("shrinkage", {})}, **ensemble, prefix="shrinkage_")
    for item in (*comparison.get("binned", ()), *comparison.get("coverage", ())):
        yield from _rows(item, **ensemble, by=item["by"], bin_low=item["low"], bin_high=item["high"])
    for rival in comparison.get("rivals", ()):
        predictor = {"predictor": rival["name"]}
        yield from _rows(rival, **predictor)
        shrinkage = {"num_galaxies": rival["num_galaxies"], **rival["shrinkage"]}
        yield from _rows(shrinkage, **predictor, prefix="shrinkage_")
        yield from _rows(rival["difference"], **predictor, prefix="ensemble_minus_this_")
    if comparison.get("information"):
        yield from _rows(comparison["information"], **ensemble, prefix="information_")
    for name, numbers in (comparison.get("mass_metallicity") or {}).items():
        yield from _rows(numbers, predictor=name, prefix="mass_metallicity_")


def _rows(numbers: Numbers, *, prefix: str = "", **where: Any) -> Iterator[dict[str, Any]]:
    """Yield a row for each plain number; lists are intervals, and whatever is nested has rows of its own."""
    for name, value in numbers.items():
        is_number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        if is_number and name not in _NOT_MEASURES:
            low, high = numbers.get(f"{name}_interval", (None, None))
            found = {"num_galaxies": numbers["num_galaxies"], "measure": prefix + name, "value": value}
            yield {**where, **found, "low": low, "high": high}
