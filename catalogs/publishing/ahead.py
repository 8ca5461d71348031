"""Working ahead in other threads, in order and never far: what is waiting to be taken is held in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

NUM_AHEAD = 4


def map_ahead(pool: Executor, call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what ``call`` makes of every item, in their order; the next few are being worked on meanwhile."""
    left = iter(items)
    ahead: deque[Future[Result]] = deque(pool.submit(call, item) for item in islice(left, NUM_AHEAD))
    while ahead:
        result = ahead.popleft().result()
        ahead.extend(pool.submit(call, item) for item in islice(left, 1))
        yield result
