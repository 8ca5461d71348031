"""evaluate --against paper: the published numbers beside an evaluation's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skymetal.deploy.console import format_table
from skymetal.train.evaluation.paper import HEADER, resolution_beside_paper, rows_beside_paper, shrinkage_beside_paper

PAPER = "paper"


def beside_paper(comparisons: Sequence[Mapping[str, Any]], *, size_pix: int | None = None) -> str:
    """Return a table for each comparison of an evaluation.json, with its counterpart for each published number."""
    lines = []
    for numbers in comparisons:
        title = f"{numbers['title']} ({numbers['num_galaxies']} galaxies), beside Wu & Boada (2019); dex"
        lines += [
            title,
            format_table(HEADER, rows_beside_paper(numbers)),
            resolution_beside_paper(numbers, size_pix=size_pix),
            shrinkage_beside_paper(numbers),
        ]
    return "\n".join(lines)
