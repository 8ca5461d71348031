"""The data model: what every column means, as a page for people, made from the schema alone."""

from __future__ import annotations

import pyarrow as pa

from skymetal.catalogs.flags import MEANINGS, describe_flags
from skymetal.catalogs.votable import field_words

DATA_MODEL = "data-model.md"


def describe_columns(schema: pa.Schema, *, title: str) -> bytes:
    """Return the page, in Markdown: a row a column, a row a bit of ``flags``."""
    lines = [
        f"# {title}: data model",
        "",
        "One row is one galaxy. Metallicities are 12+log(O/H) of the gas; positions are ICRS, degrees.",
        "",
        "| column | type | unit | UCD | null | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for field in schema:
        unit, ucd, meaning = (field_words(field, key) for key in ("unit", "ucd", "description"))
        null = "where the meaning says so" if field.nullable else "never"
        plain = meaning.replace(f"; {describe_flags()}", "; see below").replace("|", "\\|")
        lines.append(f"| `{field.name}` | {_type(field.type)} | {unit} | `{ucd}` | {null} | {plain} |")
    lines += ["", "## Bits of `flags`", "", "| bit | name | meaning |", "|---|---|---|"]
    lines += [f"| {flag.value} | `{flag.name}` | {meaning} |" for flag, meaning in sorted(MEANINGS.items())]
    return ("\n".join(lines) + "\n").encode()


def _type(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size} × {kind.value_type}"
    return {pa.float32(): "float32", pa.float64(): "float64", pa.bool_(): "boolean"}.get(kind, str(kind))
