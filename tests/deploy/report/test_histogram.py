from __future__ import annotations

import numpy as np
import pytest

from skymetal.deploy.report.histogram import OH_EDGES, WIDTH_EDGES, Histogram


def test_pieces_add_up_to_what_numpy_counts() -> None:
    values = np.random.default_rng(0).normal(8.9, 0.2, 5000)
    found = Histogram.empty(OH_EDGES)
    for piece in np.array_split(values, 13):
        found += Histogram.of(piece, OH_EDGES)
    assert found.counts.tolist() == np.histogram(values, OH_EDGES)[0].tolist()
    assert found.total == 5000


def test_what_is_beyond_the_edges_is_counted_at_them_and_nan_nowhere() -> None:
    found = Histogram.of(np.array([-1.0, 99.0, np.nan, 0.0]), WIDTH_EDGES)
    assert (found.counts[0], found.counts[-1], found.total) == (2, 1, 3)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_a_quantile_is_good_to_a_bin(share: float) -> None:
    values = np.random.default_rng(1).normal(8.9, 0.2, 20_000)
    assert Histogram.of(values, OH_EDGES).quantile(share) == pytest.approx(np.quantile(values, share), abs=0.011)


def test_of_no_values_there_is_no_quantile() -> None:
    assert np.isnan(Histogram.empty(OH_EDGES).quantile(0.5))


@pytest.mark.parametrize(("low", "high"), [(8.43, 8.47), (8.2, 9.4), (6.0, 11.0), (8.9, 8.9), (10.99, 11.0)])
def test_coarser_bins_are_few_round_and_lose_nothing_between_the_limits(low: float, high: float) -> None:
    values = np.random.default_rng(2).uniform(low, max(high, low + 1e-9), 1000)
    fine = Histogram.of(values, OH_EDGES)
    coarse = fine.coarser(40, (low, high + 1e-6))
    assert 1 <= len(coarse.counts) <= 43
    assert coarse.edges[0] <= low + 1e-6
    assert coarse.total == 1000
    assert coarse.counts.tolist() == np.histogram(np.clip(values, None, 11 - 1e-6), coarse.edges)[0].tolist()
    width = np.diff(coarse.edges)
    assert np.allclose(width[:-1], width[0])
