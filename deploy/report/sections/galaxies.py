"""The table of galaxies: sorted, filtered and saved by the page's own script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from skymetal.deploy.report.markup import Markup, element, verbatim
from skymetal.deploy.report.sections.gallery import flag_names
from skymetal.deploy.report.sections.parts import paragraph, section
from skymetal.deploy.report.summary import CatalogueSummary
from skymetal.deploy.report.words import count, galaxies
from skymetal.train.evaluation.evaluate import BINNED_BY, TRUTH
from skymetal.train.evaluation.photometry import MASS

ROWS_A_PAGE = 25
_DIGITS = {"ra": 5, "dec": 5, "redshift": 4}
_PREDICTED = ("oh_p50", "oh_p16", "oh_p84", "oh_unshrunk", "ood_score")


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """One column as the page's script wants it: its texts, and whether they are to be read as numbers."""

    name: str
    kind: str
    texts: list[str]


def galaxy_table(summary: CatalogueSummary, *, label: str) -> Markup:
    """Return the table with its first page of rows in place, and all its rows as data for the script."""
    sample = summary.sample
    columns = list(table_columns(sample, label=label))
    if sample.num_rows < summary.num_rows:
        what = (
            f"A random sample of {count(sample.num_rows)} of the {galaxies(summary.num_rows)}, "
            "those with the lowest hashes of object_id: always the same ones. The catalogue has them all."
        )
    else:
        what = f"All {galaxies(summary.num_rows)} of the catalogue."
    return section(
        "galaxies",
        "Table of galaxies",
        paragraph(
            f"{what} A heading sorts. A field below it filters: text, or a condition such as `< 8.5`, "
            "`oh_p50 >= 8.5 & < 9` or `8.5..9`."
        ),
        _controls(),
        _table(columns),
        verbatim(
            "script", _as_json(columns, sample.num_rows, summary.num_rows), type="application/json", id="galaxies-data"
        ),
    )


def table_columns(sample: pa.Table, *, label: str) -> Iterator[TableColumn]:
    """Yield the columns to be shown; numbers are texts with the digits that mean something, nothing where unknown."""
    yield TableColumn(name="object_id", kind="id", texts=[str(each) for each in sample["object_id"].to_pylist()])
    truths = {name: f"{name}_target" for name in dict.fromkeys((label, TRUTH))}
    truths = {name if name == TRUTH else f"{name}_true": column for name, column in truths.items()}
    yield from _number_columns(sample, dict(zip(_PREDICTED, _PREDICTED, strict=True)) | truths)
    yield TableColumn(name="flags", kind="text", texts=[flag_names(each) for each in sample["flags"].to_pylist()])
    own = ["yes" if each else "no" for each in sample["is_out_of_fold"].to_pylist()]
    yield TableColumn(name="is_out_of_fold", kind="text", texts=own)
    others = {name: f"{name}_target" for name in (*BINNED_BY, MASS)}
    yield from _number_columns(sample, {"ra": "ra", "dec": "dec"} | others)


def _number_columns(sample: pa.Table, columns: Mapping[str, str]) -> Iterator[TableColumn]:
    for name, column in columns.items():
        if column in sample.column_names:
            texts = [_number(value, _DIGITS.get(name, 3)) for value in sample[column].to_pylist()]
            if any(texts):
                yield TableColumn(name=name, kind="number", texts=texts)


def _controls() -> Markup:
    return element(
        "div",
        element("p", "", id="galaxies-status", role="status", aria_live="polite"),
        element("button", "Previous", type="button", id="galaxies-previous"),
        element("button", "Next", type="button", id="galaxies-next"),
        element("button", "Clear filters", type="button", id="galaxies-clear"),
        element("button", "Save these rows as CSV", type="button", id="galaxies-save"),
        class_="controls",
        hidden="hidden",
        id="galaxies-controls",
    )


def _table(columns: list[TableColumn]) -> Markup:
    heads = [
        element("th", element("button", column.name, type="button"), scope="col", class_=column.kind, aria_sort="none")
        for column in columns
    ]
    filters = [
        element(
            "td",
            element(
                "input",
                type="text",
                aria_label=f"Filter {column.name}",
                placeholder="filter",
                autocomplete="off",
                spellcheck="false",
            ),
            class_=column.kind,
        )
        for column in columns
    ]
    rows = zip(*(column.texts[:ROWS_A_PAGE] for column in columns), strict=True)
    body = [
        element("tr", *(element("td", text, class_=column.kind) for text, column in zip(row, columns, strict=True)))
        for row in rows
    ]
    content = element(
        "table",
        element("thead", element("tr", *heads), element("tr", *filters, class_="filters", hidden="hidden")),
        element("tbody", *body),
        id="galaxies-table",
    )
    return element("div", content, class_="scroll", role="region", aria_label="Table of galaxies", tabindex="0")


def _number(value: Any, digits: int) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _as_json(columns: list[TableColumn], num_rows: int, num_galaxies: int) -> str:
    content = {
        "columns": [{"name": c.name, "kind": c.kind, "texts": c.texts} for c in columns],
        "rows": num_rows,
        "galaxies": num_galaxies,
        "page": ROWS_A_PAGE,
    }
    text = json.dumps(content, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
