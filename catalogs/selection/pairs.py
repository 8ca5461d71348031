"""Galaxies nearer to each other than 2″: shreds of one galaxy, overlapping measurements, close pairs.

Their cutouts show the same light, so they must stand on the same side of every split. They are linked as friends of
friends: whoever is a friend of a friend belongs to the group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.healpix import ORDER, neighbour_cells, unit_vectors

RADIUS_ARCSEC = 2.0
# Whoever is within 2″ of a galaxy is in its cell of order 16 or in one that touches it: such a cell is 3.2″ wide, and
# at its narrowest, where the sky is stretched most, still 2.2″.
CELL_ORDER = 16
_SHIFT = 2 * (ORDER - CELL_ORDER)
NUM_ROWS_AT_ONCE = 1 << 15
NUM_PAIRS_AT_ONCE = 1 << 20

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The rows that have a friend, in ascending order, and the group of each: the smallest object_id in it."""

    row_G: Ints
    group_id_G: Ints

    @property
    def num_grouped(self) -> int:
        """How many galaxies are not alone."""
        return len(self.row_G)

    def ids(self, start: int, object_id_N: Ints) -> Ints:
        """Return the group of the rows from ``start`` on: their own object_id where they are alone."""
        first, last = np.searchsorted(self.row_G, [start, start + len(object_id_N)])
        group_id_N = object_id_N.copy()
        group_id_N[self.row_G[first:last] - start] = self.group_id_G[first:last]
        return group_id_N


def find_groups(healpix_N: Ints, object_id_N: Ints) -> Groups:
    """Group the galaxies whose order-29 indices are given, in ascending order; at most 2″ apart is a friend.

    Memory: the two arrays, a few MB, and 16 bytes for every galaxy that has a friend. Raises ValueError for indices
    out of order.
    """
    if (healpix_N[1:] < healpix_N[:-1]).any():
        raise ValueError("the positions must be in HEALPix order")
    max_chord = 2.0 * np.sin(np.radians(RADIUS_ARCSEC / 3600.0) / 2.0)
    links = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for start in range(0, len(healpix_N), NUM_ROWS_AT_ONCE):
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for first_P, second_P in _candidates(healpix_N, start, min(start + NUM_ROWS_AT_ONCE, len(healpix_N))):
            near_P = _are_near(healpix_N, first_P, second_P, max_chord)
            # A dense clump has far more pairs than galaxies: keep what links them, not every pair.
            found = [_components(*_joined([*found, (first_P[near_P], second_P[near_P])]))]
        links += found
    row_G, root_G = _components(*_joined(links))
    group_id_G = np.full(len(row_G), np.iinfo(np.int64).max)
    place_G = np.searchsorted(row_G, root_G)
    np.minimum.at(group_id_G, place_G, object_id_N[row_G])
    return Groups(row_G=row_G, group_id_G=group_id_G[place_G])


def _candidates(healpix_N: Ints, start: int, stop: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield pairs of rows that may be near, the first of them in ``start`` to ``stop``; every such pair comes once.

    Of rows in the very same place only the first is paired with others; the rest are linked through it.
    """
    cell_N = healpix_N[start:stop] >> _SHIFT
    cell_C, place_N = np.unique(cell_N, return_inverse=True)
    near_C9 = neighbour_cells(cell_C, CELL_ORDER)
    later_C9 = near_C9 > cell_C[:, None]
    low_C9 = np.searchsorted(healpix_N, np.where(later_C9, near_C9, 0) << _SHIFT)
    high_C9 = np.searchsorted(healpix_N, np.where(later_C9, near_C9 + 1, 0) << _SHIFT)
    end_C = np.searchsorted(healpix_N, (cell_C + 1) << _SHIFT)
    is_first_N = np.ones(stop - start, dtype=np.bool_)
    is_first_N[1:] = healpix_N[start + 1 : stop] != healpix_N[start : stop - 1]
    if start > 0:
        is_first_N[0] = healpix_N[start] != healpix_N[start - 1]
    row_F = np.flatnonzero(is_first_N)
    cell_F = place_N[row_F]
    # The other rows of the own cell that come after, then the rows of the cells that come after.
    low_T = np.concatenate([row_F + start + 1, low_C9[cell_F].ravel()])
    high_T = np.concatenate([end_C[cell_F], high_C9[cell_F].ravel()])
    row_T = np.concatenate([row_F, np.repeat(row_F, 9)]) + start
    some_T = high_T > low_T
    yield from _expanded(row_T[some_T], low_T[some_T], high_T[some_T])


def _expanded(row_T: Ints, low_T: Ints, high_T: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield each row with every row of its range, about NUM_PAIRS_AT_ONCE pairs at a time."""
    before_T = np.cumsum(high_T - low_T)
    first = 0
    while first < len(row_T):
        done = before_T[first - 1] if first else 0
        last = max(int(np.searchsorted(before_T, done + NUM_PAIRS_AT_ONCE, side="right")), first + 1)
        count_T = (high_T - low_T)[first:last]
        offset_P = np.arange(count_T.sum()) - np.repeat(np.cumsum(count_T) - count_T, count_T)
        yield np.repeat(row_T[first:last], count_T), np.repeat(low_T[first:last], count_T) + offset_P
        first = last


def _are_near(healpix_N: Ints, first_P: Ints, second_P: Ints, max_chord: float) -> NDArray[np.bool_]:
    # A chord keeps all its digits where the angle is small; the cosine of the angle would not.
    apart_P3 = unit_vectors(healpix_N[first_P]) - unit_vectors(healpix_N[second_P])
    return np.asarray(np.einsum("pk,pk->p", apart_P3, apart_P3) <= max_chord**2)


def _joined(links: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    return np.concatenate([first for first, _ in links]), np.concatenate([second for _, second in links])


def _components(first_P: Ints, second_P: Ints) -> tuple[Ints, Ints]:
    """Return every row that is linked, ascending, and for each the smallest row it is linked to, however far round."""
    row_G, place = np.unique(np.concatenate([first_P, second_P]), return_inverse=True)
    first, second = place[: len(first_P)], place[len(first_P) :]
    label_G = np.arange(len(row_G))
    while True:
        low = np.minimum(label_G[first], label_G[second])
        new_G = label_G.copy()
        # The roots of both ends go under the smaller one: trees merge, and halve in depth below.
        np.minimum.at(new_G, label_G[first], low)
        np.minimum.at(new_G, label_G[second], low)
        while not np.array_equal(new_G, new_G[new_G]):
            new_G = new_G[new_G]
        if np.array_equal(new_G, label_G):
            return row_G, row_G[label_G]
        label_G = new_G
