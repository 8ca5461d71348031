from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skymetal.train.ranks.placement import place

TWO_HOSTS = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b"}


def gangs(*arguments: object, ranks_per_fold: int, max_ranks: int = 16) -> list[tuple[int, tuple[str, ...]]]:
    placed = place(*arguments, ranks_per_fold=ranks_per_fold, max_ranks=max_ranks)  # type: ignore[arg-type]
    return [(placement.fold, placement.workers) for placement in placed]


def test_one_rank_a_fold_fills_every_worker_and_leaves_the_rest_waiting() -> None:
    assert len(gangs([0, 1, 2, 3, 4, 5, 6], TWO_HOSTS, ranks_per_fold=1)) == 5
    assert gangs([3], TWO_HOSTS, ranks_per_fold=1) == [(3, ("b1",))], "the host that is nearly full"


def test_a_gang_stays_on_one_host_where_it_can() -> None:
    assert gangs([0, 1], TWO_HOSTS, ranks_per_fold=2) == [(0, ("b1", "b2")), (1, ("a1", "a2"))]
    assert gangs([0], TWO_HOSTS, ranks_per_fold=3) == [(0, ("a1", "a2", "a3"))]
    assert gangs([0], TWO_HOSTS, ranks_per_fold=4) == [(0, ("a1", "a2", "a3", "b1"))]


def test_a_gang_larger_than_the_cluster_takes_what_there_is() -> None:
    assert gangs([0, 1], {"a1": "a", "a2": "a"}, ranks_per_fold=8) == [(0, ("a1", "a2"))]
    assert gangs([0, 1], {}, ranks_per_fold=2) == []


def test_zero_shares_the_workers_out_over_the_folds_that_are_left() -> None:
    assert gangs([4], TWO_HOSTS, ranks_per_fold=0) == [(4, ("a1", "a2", "a3", "b1", "b2"))]
    assert [len(workers) for _, workers in gangs([3, 4], TWO_HOSTS, ranks_per_fold=0)] == [3, 2]
    assert [len(workers) for _, workers in gangs(range(9), TWO_HOSTS, ranks_per_fold=0)] == [1] * 5


def test_no_gang_is_larger_than_its_batches_allow() -> None:
    assert [len(workers) for _, workers in gangs([4], TWO_HOSTS, ranks_per_fold=0, max_ranks=2)] == [2]
    assert [len(workers) for _, workers in gangs([3, 4], TWO_HOSTS, ranks_per_fold=5, max_ranks=2)] == [2, 2]


@given(st.integers(0, 12), st.dictionaries(st.text(max_size=3), st.sampled_from("abc"), max_size=12), st.integers(0, 5))
def test_no_worker_has_two_ranks_and_folds_keep_their_order(
    num_folds: int, hosts: dict[str, str], ranks_per_fold: int
) -> None:
    placed = gangs(list(range(num_folds)), hosts, ranks_per_fold=ranks_per_fold)
    workers = [worker for _, gang in placed for worker in gang]
    assert len(workers) == len(set(workers))
    assert set(workers) <= set(hosts)
    assert [fold for fold, _ in placed] == list(range(len(placed)))
    assert bool(placed) == bool(num_folds and hosts)
