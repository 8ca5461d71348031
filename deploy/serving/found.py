"""What a search finds: all of it to take away, or the first of it to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.query.order import VIEW
from skymetal.catalogs.region import coalesce, cone_ranges, separation_arcsec
from skymetal.deploy.serving.search import INTERVAL, SEPARATION, Cone, Search

MAX_ROWS_SHOWN = 200
NUM_AT_RANDOM = 24
_MAX_RANGES = 32
_SHOWN = ("object_id", "ra", "dec", "oh_p16", "oh_p50", "oh_p84", "ood_score", "flags")
_NUM_FOUND = "num_found"


@dataclass(frozen=True, kw_only=True)
class Found:
    """How many galaxies there are, and the first MAX_ROWS_SHOWN of them in the order that was asked for.

    ``rows`` has the columns that the page shows: ra and dec only where there are positions, separation round one.
    """

    num_found: int
    rows: pa.Table


def find(catalog: Catalog, search: Search) -> Found:
    """Return what the page shows: without an order, round a position the nearest first, else as in the catalogue.

    Raises InputError for a search that this catalogue, or duckdb, cannot answer.
    """
    columns = [name for name in _SHOWN if name in catalog.schema.names]
    if search.sort not in ("", INTERVAL, SEPARATION, *columns):
        raise InputError(f"there is no order by {search.sort}: this catalogue has no sky positions")
    if search.condition and search.cone is None:
        return _find_anywhere(catalog, search, columns)
    rows = take(catalog, search, columns)
    rows = rows.append_column(INTERVAL, pc.subtract(rows["oh_p84"], rows["oh_p16"]))
    if search.cone is not None:
        rows = rows.append_column(SEPARATION, _separations(rows, search.cone))
    order = search.sort or (SEPARATION if search.cone else "")
    num_found = rows.num_rows
    if order:
        direction = "descending" if search.is_down else "ascending"
        rows = rows.take(pc.sort_indices(rows, sort_keys=[(order, direction)])[:MAX_ROWS_SHOWN])
    return Found(num_found=num_found, rows=rows.slice(0, MAX_ROWS_SHOWN))


def take(catalog: Catalog, search: Search, columns: Sequence[str] | None = None) -> pa.Table:
    """Return all that a search finds, in the order of the catalogue; raises as :func:`find` does."""
    cone, names = search.cone, list(columns or catalog.schema.names)
    if cone is not None and not catalog.has_sky:
        raise InputError("this catalogue has no sky positions; leave ra, dec and radius_arcsec empty")
    if not search.condition:
        if cone is None:
            return catalog.sample(NUM_AT_RANDOM, seed=search.seed, columns=names)
        return catalog.cone(cone.ra, cone.dec, cone.radius_arcsec, names)
    query = _select(names, search)
    if cone is None:
        return catalog.sql(query)
    ranges = coalesce(cone_ranges(cone.ra, cone.dec, cone.radius_arcsec), _MAX_RANGES).tolist()
    is_near = " OR ".join(f"(_healpix_29 >= {start} AND _healpix_29 < {stop})" for start, stop in ranges)
    near = catalog.sql(f"{query} AND ({is_near})")
    return near.filter(pc.less_equal(_separations(near, cone), cone.radius_arcsec))


def _find_anywhere(catalog: Catalog, search: Search, columns: Sequence[str]) -> Found:
    """Let the query itself count and sort: what meets a condition may be the whole catalogue."""
    order = f'ORDER BY "{search.sort}" {"DESC" if search.is_down else "ASC"} NULLS LAST' if search.sort else ""
    rows = catalog.sql(
        f"WITH found AS NOT MATERIALIZED ({_select(columns, search)}) "
        f'SELECT *, oh_p84 - oh_p16 AS "{INTERVAL}", (SELECT count(*) FROM found) AS {_NUM_FOUND} '
        f"FROM found {order} LIMIT {MAX_ROWS_SHOWN}"
    )
    num_found = rows[_NUM_FOUND][0].as_py() if rows.num_rows else 0
    return Found(num_found=num_found, rows=rows.drop_columns([_NUM_FOUND]))


def _select(columns: Sequence[str], search: Search) -> str:
    """Return a SELECT that ends in the condition, on lines of its own, since it may end in a comment."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f"SELECT {names} FROM {VIEW} WHERE (\n{search.condition}\n)"


def _separations(table: pa.Table, cone: Cone) -> pa.Array:
    return pa.array(separation_arcsec(table["ra"].to_numpy(), table["dec"].to_numpy(), cone.ra, cone.dec))
