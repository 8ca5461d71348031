"""Crossmatch: to each of a user's positions the nearest galaxy within a radius, wherever partitions end.

Each position is looked for in its HEALPix cell and those around it, of an order whose cells are nowhere thinner than
the radius; so the poles, ra 0 and the borders of files are like any other place. U positions, E (cell, position)
entries, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line, missing_column
from skymetal.catalogs.files import DataFiles
from skymetal.catalogs.healpix import ORDER, healpix29, neighbour_cells, valid_positions, wrap_ra
from skymetal.catalogs.region import separation_arcsec, thick_order

MAX_RADIUS_ARCSEC = 3600.0
SEPARATION = "separation_arcsec"
PAIRS_AT_ONCE = 1 << 22
Ints = NDArray[np.int64]
_POSITION = ["_healpix_29", "ra", "dec"]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """For each position the file and row of its galaxy and the angle to it; file -1 where none is near enough."""

    file_U: NDArray[np.int64]
    row_U: NDArray[np.int64]
    separation_arcsec_U: NDArray[np.float64]


def find_nearest(
    files: DataFiles, ra_U: NDArray[np.float64], dec_U: NDArray[np.float64], radius_arcsec: float
) -> Matches:
    """Find the nearest galaxy to each position, in degrees on the sky; of equally near ones the first in the catalogue.

    Only files with a position near them are read, one at a time. Memory: a few hundred bytes a position, and one file's
    positions.
    """
    order = thick_order(radius_arcsec)
    cell_E, user_E = _entries(ra_U, dec_U, order)
    shift = 2 * (ORDER - order)
    file_U, row_U = np.full(len(ra_U), -1), np.full(len(ra_U), -1)
    nearest_U = np.full(len(ra_U), np.inf)
    for index in range(len(files.names)):
        first, last = files.first_F[index] >> shift, files.last_F[index] >> shift
        near = slice(*np.searchsorted(cell_E, [first, last + 1]))
        if near.start == near.stop:
            continue
        rows = files.read(index, _POSITION)
        cell_N = rows["_healpix_29"].to_numpy() >> shift
        ra_N, dec_N = rows["ra"].to_numpy(), rows["dec"].to_numpy()
        for user_P, row_P in _pairs(cell_E[near], user_E[near], cell_N):
            angle_P = separation_arcsec(ra_N[row_P], dec_N[row_P], ra_U[user_P], dec_U[user_P])
            by_angle = np.lexsort((row_P, angle_P, user_P))
            users, places = np.unique(user_P[by_angle], return_index=True)
            best = by_angle[places]
            is_nearer = (angle_P[best] < nearest_U[users]) & (angle_P[best] <= radius_arcsec)
            users, best = users[is_nearer], best[is_nearer]
            nearest_U[users], row_U[users], file_U[users] = angle_P[best], row_P[best], index
    return Matches(file_U=file_U, row_U=row_U, separation_arcsec_U=np.where(file_U < 0, np.nan, nearest_U))


def _entries(
    ra_U: NDArray[np.float64], dec_U: NDArray[np.float64], order: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every cell that a position may find its galaxy in, in order, and the position."""
    near_U9 = neighbour_cells(healpix29(ra_U, dec_U) >> 2 * (ORDER - order), order)
    # At order 0 a cell may be its neighbour's neighbour twice over.
    near_U9.sort(axis=1)
    is_new_U9 = (near_U9 >= 0) & np.diff(near_U9, axis=1, prepend=-2).astype(bool)
    cell_E, user_E = near_U9[is_new_U9], np.nonzero(is_new_U9)[0]
    by_cell = np.argsort(cell_E, kind="stable")
    return cell_E[by_cell], user_E[by_cell]


def _pairs(
    cell_E: NDArray[np.int64], user_E: NDArray[np.int64], cell_N: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs (position, row) that share a cell, not too many at a time. Rows are in order of their cells."""
    first_E = np.searchsorted(cell_N, cell_E, side="left")
    count_E = np.searchsorted(cell_N, cell_E, side="right") - first_E
    is_some_E = count_E > 0
    first_E, count_E, user_E = first_E[is_some_E], count_E[is_some_E], user_E[is_some_E]
    turn_E = np.cumsum(count_E) // PAIRS_AT_ONCE
    for turn in np.unique(turn_E).tolist():
        first, count, user = (each[turn_E == turn] for each in (first_E, count_E, user_E))
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        yield np.repeat(user, count), np.repeat(first, count) + within


@dataclass(frozen=True, kw_only=True)
class Match:
    """How a table is matched: within radius_arcsec, by its columns ra and dec (ICRS degrees).

    With keep_all, rows of the table without a galaxy are kept, with nulls.
    """

    radius_arcsec: float
    ra: str = "ra"
    dec: str = "dec"
    keep_all: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.radius_arcsec <= MAX_RADIUS_ARCSEC:
            raise InputError(
                f"the radius of a crossmatch must be above 0 and at most {MAX_RADIUS_ARCSEC:g} arcsec, "
                f"got {self.radius_arcsec}"
            )


def match_table(files: DataFiles, table: Any, match: Match, columns: Sequence[str]) -> pa.Table:
    """Return the table's rows with the columns of the nearest galaxy and ``separation_arcsec``, in the table's order.

    What the table has a column of the same name for is called ``…_skymetal``. A row whose position is missing matches
    nothing. Raises InputError for a column that is not there and for a position that is not on the sky.
    """
    rows = _as_arrow(table)
    ra_N, dec_N = (_degrees(rows, name) for name in (match.ra, match.dec))
    is_known_N = ~(np.isnan(ra_N) | np.isnan(dec_N))
    ra_N = wrap_ra(ra_N)
    wrong = np.flatnonzero(is_known_N & ~valid_positions(ra_N, dec_N))
    if len(wrong):
        first = int(wrong[0])
        raise InputError(
            f"row {first} of the table is not on the sky: {match.ra} {ra_N[first]}, {match.dec} {dec_N[first]}; "
            "positions are ICRS degrees, ra 0 to 360, dec -90 to 90"
        )
    known = np.flatnonzero(is_known_N)
    matches = find_nearest(files, ra_N[known], dec_N[known], match.radius_arcsec)
    is_found = matches.file_U >= 0
    user = known[is_found]
    galaxies = _read_rows(files, matches.file_U[is_found], matches.row_U[is_found], columns)
    separation = pa.array(matches.separation_arcsec_U[is_found])
    if match.keep_all:
        place_N = np.full(rows.num_rows, -1)
        place_N[user] = np.arange(len(user))
        places = pa.array(place_N, mask=place_N < 0)
        galaxies, separation = galaxies.take(places), separation.take(places)
    else:
        rows = rows.take(pa.array(user))
    galaxies = galaxies.append_column(SEPARATION, separation)
    for field in galaxies.schema:
        name = f"{field.name}_skymetal" if field.name in rows.column_names else field.name
        if name in rows.column_names:
            raise InputError(f"the table has columns {field.name!r} and {name!r} of its own; rename one of them")
        rows = rows.append_column(field.with_name(name).with_nullable(True), galaxies[field.name])
    return rows


def _read_rows(files: DataFiles, file_M: Ints, row_M: Ints, columns: Sequence[str]) -> pa.Table:
    """Return rows of several files in the order asked for."""
    by_file = np.argsort(file_M, kind="stable")
    found = [files.schema.empty_table().select(columns)]
    for index in np.unique(file_M).tolist():
        found.append(files.read(index, columns).take(pa.array(row_M[by_file[file_M[by_file] == index]])))
    back = np.empty(len(by_file), np.int64)
    back[by_file] = np.arange(len(by_file))
    return pa.concat_tables(found).take(pa.array(back))


def _as_arrow(table: Any) -> pa.Table:
    """Return an Arrow, pandas or astropy table as an Arrow one; an index with a name becomes a column."""
    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "to_pandas"):  # astropy's
        table = table.to_pandas()
    try:
        has_names = any(name is not None for name in table.index.names)
        return pa.Table.from_pandas(table.reset_index() if has_names else table, preserve_index=False)
    except (TypeError, AttributeError, pa.ArrowException) as error:
        raise InputError(
            f"a crossmatch takes an Arrow, pandas or astropy table, got {type(table).__name__}: {first_line(error)}"
        ) from error


def _degrees(rows: pa.Table, name: str) -> NDArray[np.float64]:
    if rows.column_names.count(name) != 1:
        raise missing_column("the table", name, rows.column_names)
    try:
        return np.asarray(rows[name].cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException as error:
        raise InputError(f"column {name!r} of the table holds no degrees: {first_line(error)}") from error
