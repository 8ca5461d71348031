from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from skymetal.catalogs.publishing.ahead import NUM_AHEAD, map_ahead


def test_results_come_in_the_order_of_the_items_whoever_is_ready_first() -> None:
    second_is_done = threading.Event()

    def call(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(20)
        if item == 1:
            second_is_done.set()
        return item * 10

    with ThreadPoolExecutor(2) as pool:
        assert list(map_ahead(pool, call, range(9))) == [item * 10 for item in range(9)]


def test_never_more_than_a_few_items_are_taken_ahead_of_who_waits() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    with ThreadPoolExecutor(2) as pool:
        for num_yielded, _ in enumerate(map_ahead(pool, str, items()), start=1):
            assert taken <= num_yielded + NUM_AHEAD
    assert taken == 100


def test_an_error_comes_at_its_turn_and_nothing_more_is_begun() -> None:
    begun: list[int] = []

    def call(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise ValueError("the third")
        return item

    with ThreadPoolExecutor(1) as pool:
        results = map_ahead(pool, call, range(100))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="the third"):
            next(results)
    assert max(begun) < 2 + 1 + NUM_AHEAD
