from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from skymetal.catalogs.healpix import healpix29, unit_vectors
from skymetal.catalogs.selection import pairs
from skymetal.catalogs.selection.pairs import find_groups

PLACES = {
    "right ascension 0": (0.0, 20.0),
    "the north pole": (77.0, 90.0),
    "the south pole": (200.0, -90.0),
    "a corner of base cells": (45.0, 0.0),
    "an edge of base cells": (67.5, 20.0),
    "a corner with seven neighbours": (0.0, np.degrees(np.arcsin(2 / 3))),
    "where cells are narrowest": (44.99999, np.degrees(np.arcsin(2 / 3)) - 1e-5),
    "nowhere in particular": (123.4, -45.6),
}


def scatter(place: tuple[float, float], num: int, radius_arcsec: float, seed: int) -> NDArray[np.int64]:
    """Return the sorted indices of positions around a place, on a plane that touches the sky there."""
    rng = np.random.default_rng(seed)
    ra, dec = np.radians(place)
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    centre = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    offset_N2 = np.radians(rng.uniform(-radius_arcsec, radius_arcsec, (num, 2)) / 3600.0)
    vector_N3 = centre + offset_N2[:, :1] * east + offset_N2[:, 1:] * north
    x_N, y_N, z_N = vector_N3.T
    ra_N = np.degrees(np.arctan2(y_N, x_N)) % 360.0
    dec_N = np.degrees(np.arctan2(z_N, np.hypot(x_N, y_N)))
    return np.sort(healpix29(np.where(ra_N == 360.0, 0.0, ra_N), dec_N))


def brute_force(healpix_N: NDArray[np.int64], object_id_N: NDArray[np.int64]) -> list[int]:
    """Return the group of each galaxy from all distances, spreading the smallest id until nothing changes."""
    vector_N3 = unit_vectors(healpix_N)
    chord_NN = np.linalg.norm(vector_N3[:, None] - vector_N3[None], axis=2)
    near_NN = chord_NN <= 2 * np.sin(np.radians(2.0 / 3600.0) / 2)
    group_N = object_id_N.copy()
    while True:
        new_N = np.where(near_NN, group_N[None], np.iinfo(np.int64).max).min(axis=1)
        if np.array_equal(new_N, group_N):
            return [int(group) for group in group_N]
        group_N = new_N


def grouped(healpix_N: NDArray[np.int64], object_id_N: NDArray[np.int64]) -> list[int]:
    return [int(group) for group in find_groups(healpix_N, object_id_N).ids(0, object_id_N)]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("radius_arcsec", [3.0, 12.0, 60.0])
def test_groups_are_those_of_all_distances(place: tuple[float, float], radius_arcsec: float) -> None:
    for seed in range(4):
        healpix_N = scatter(place, 250, radius_arcsec, seed)
        object_id_N = np.random.default_rng(seed).permutation(len(healpix_N)) - 100
        expected = brute_force(healpix_N, object_id_N)
        assert grouped(healpix_N, object_id_N) == expected
        if radius_arcsec < 60:
            assert len(set(expected)) < len(expected)


def test_chunks_and_rationed_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    healpix_N = scatter(PLACES["right ascension 0"], 400, 20.0, 5)
    healpix_N = np.sort(np.concatenate([healpix_N, healpix_N[::3], healpix_N[:5].repeat(7)]))
    object_id_N = np.random.default_rng(5).permutation(len(healpix_N))
    expected = brute_force(healpix_N, object_id_N)
    assert grouped(healpix_N, object_id_N) == expected
    monkeypatch.setattr(pairs, "NUM_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(pairs, "NUM_PAIRS_AT_ONCE", 11)
    assert grouped(healpix_N, object_id_N) == expected


def test_a_pair_is_1_99_arcsec_apart_and_2_01_is_not() -> None:
    for apart_arcsec, num_grouped in [(1.99, 2), (2.01, 0)]:
        dec_N = np.array([10.0, 10.0 + apart_arcsec / 3600.0])
        healpix_N = np.sort(healpix29(np.array([5.0, 5.0]), dec_N))
        assert find_groups(healpix_N, np.array([8, 9])).num_grouped == num_grouped


def test_a_chain_of_friends_is_one_group_under_its_smallest_id() -> None:
    dec_N = 10.0 + 1.5 / 3600.0 * np.arange(300)
    healpix_N = np.sort(healpix29(np.full(300, 5.0), dec_N))
    object_id_N = np.random.default_rng(0).permutation(300) + 70
    groups = find_groups(healpix_N, object_id_N)
    assert groups.num_grouped == 300
    assert set(groups.group_id_G.tolist()) == {70}
    assert groups.ids(100, object_id_N[100:103]).tolist() == [70, 70, 70]


def test_a_million_rows_in_one_place_are_one_group_at_once() -> None:
    num = 1_000_000
    groups = find_groups(np.full(num, 12345), np.arange(num)[::-1])
    assert groups.num_grouped == num
    assert not groups.group_id_G.any()


def test_a_cell_is_wider_than_the_radius_everywhere() -> None:
    rng = np.random.default_rng(0)
    ra_N, dec_N = rng.uniform(0, 360, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
    cell_N = healpix29(ra_N, dec_N) >> 26
    # The centres of neighbours' far edges: opposite midpoints of a cell, whose distance is its width.
    fine_N = cell_N << 26
    corner_4N = [unit_vectors(fine_N | last) for last in (0, (1 << 26) // 3, (1 << 26) // 3 * 2, (1 << 26) - 1)]
    edges = [(corner_4N[a] + corner_4N[b]) / 2 for a, b in ((0, 1), (3, 2), (0, 2), (3, 1))]
    width_N = np.minimum(np.linalg.norm(edges[0] - edges[1], axis=1), np.linalg.norm(edges[2] - edges[3], axis=1))
    assert np.degrees(width_N.min()) * 3600 > 2.0


def test_no_galaxies_are_no_groups_and_disorder_is_refused() -> None:
    empty = np.empty(0, dtype=np.int64)
    assert find_groups(empty, empty).num_grouped == 0
    with pytest.raises(ValueError, match="HEALPix order"):
        find_groups(np.array([2, 1]), np.array([0, 1]))
