"""Which columns of a query's result are the catalogue's own, as they stand: those alone have its units and meanings."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pyarrow as pa

from skymetal.catalogs.query.order import VIEW

MAX_LENGTH = 100_000
"""Of the query's text: what duckdb makes of a longer one may not fit into memory."""


def with_words(result: pa.Schema, schema: pa.Schema, query: str, connection: duckdb.DuckDBPyConnection) -> pa.Schema:
    """Return the schema of a query's result, with the metadata of ``schema`` where a column is known to be the same."""
    if len(query) > MAX_LENGTH:
        return result
    try:
        (parsed,) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0]
        is_own = _are_own(json.loads(parsed)["statements"][0]["node"], len(schema))
    except (duckdb.Error, KeyError, TypeError, ValueError, RecursionError):
        return result
    if len(is_own) != len(result):
        return result
    return pa.schema(
        [
            field.with_metadata(schema.field(field.name).metadata) if own and field.name in schema.names else field
            for field, own in zip(result, is_own, strict=True)
        ]
    )


def _are_own(node: dict[str, Any], num_columns: int) -> list[bool]:
    """Tell of each column of a SELECT from the catalogue alone whether it is named, or taken by ``*``, and no more."""
    source = node["from_table"]
    is_renamed = bool(source["column_name_alias"] or node["cte_map"]["map"])  # a CTE may have the catalogue's name
    if source["type"] != "BASE_TABLE" or source["table_name"] != VIEW or is_renamed:
        return []
    is_own: list[bool] = []
    for item in node["select_list"]:
        if item["class"] == "STAR" and not any(item[key] for key in ("columns", "expr", "replace_list", "rename_list")):
            is_own += [True] * (num_columns - len(item["exclude_list"]) - len(item["qualified_exclude_list"]))
        else:
            is_own.append(item["class"] == "COLUMN_REF" and item["alias"] in ("", item["column_names"][-1]))
    return is_own
