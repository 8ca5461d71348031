"""The distributed pass: one task a block, one receipt back, whatever dies on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import dask.array as da
import numpy as np
from distributed import CancelledError, Client, as_completed, futures_of
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Receipt = TypeVar("Receipt")

WAVE_SIZE = 4096
"""Blocks handed to the scheduler at a time: its memory grows by several kB a task."""

NUM_SCHEDULERS_LOST = 10
"""How often the scheduler may be lost in a wave; it remembers nothing, so what had not come is handed in again."""
POLL_SECONDS = 0.2


class BlocksFailed(RuntimeError):
    """Some blocks failed; every other block is done and recorded."""


def map_over_blocks(task: Callable[[int], Receipt], indices: Sequence[int], client: Client) -> Iterator[Receipt]:
    """Run ``task(index)`` on the cluster for every index and yield its receipts as they come.

    A task must commit its own result and be harmless when run twice: Dask runs it again when a worker dies.
    A scheduler that is lost is waited for as long as the client tries to connect again. Raises BlocksFailed after the
    last block has ended, when any of them failed, or where the scheduler does not come back.
    """
    failures: dict[int, str] = {}
    for first in range(0, len(indices), WAVE_SIZE):
        wave = list(indices[first : first + WAVE_SIZE])
        for num_lost in range(NUM_SCHEDULERS_LOST):
            lost = []
            for outcome, index in _outcomes(client, task, wave):
                if isinstance(outcome, _Lost):
                    lost.append(index)
                elif isinstance(outcome, _Failure):
                    failures[index] = outcome.reason
                else:
                    yield outcome
            if not lost:
                break
            logger.warning(
                "the scheduler was lost (%d), and %d blocks with it; they are run again", num_lost + 1, len(lost)
            )
            _await_scheduler(client)
            wave = lost
        else:
            failures |= dict.fromkeys(lost, f"the scheduler was lost {NUM_SCHEDULERS_LOST} times")
    if failures:
        index, reason = min(failures.items())
        raise BlocksFailed(
            f"{len(failures)} of {len(indices)} blocks failed, the first is block {index}: {reason}. "
            "What succeeded is kept; mend the cause and run the same command again"
        )


class _Lost:
    """A block whose outcome is not known: the scheduler is gone, or has forgotten it."""


class _Failure:
    def __init__(self, reason: str) -> None:
        self.reason = reason


def _run_one(task: Callable[[int], Any], index: NDArray[np.int64]) -> NDArray[np.object_]:
    result = np.empty(1, dtype=object)
    try:
        result[0] = task(int(index[0]))
    except BaseException as error:  # a SystemExit or a Rust panic would hang the client or kill the worker
        # A RuntimeError is a sentence of our own; of others' errors the kind is half of what is known.
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        result[0] = _Failure(f"{kind}{error}")
    return result


def _await_scheduler(client: Client) -> None:
    """Wait until the client has found its scheduler again; it closes itself when its time is up."""
    while client.status == "connecting":
        time.sleep(POLL_SECONDS)
    if client.status != "running":
        raise BlocksFailed(
            "the scheduler is gone and did not come back in time. What was done is kept; start it again, with its "
            "workers, and run the same command again"
        )


def _outcomes(client: Client, task: Callable[[int], Any], wave: list[int]) -> Iterator[tuple[Any, int]]:
    blocks = da.from_array(np.asarray(wave), chunks=1).map_blocks(
        partial(_run_one, task), dtype=object, meta=np.empty(0, dtype=object)
    )
    futures = futures_of(client.persist(blocks))
    index_of = {future.key: wave[future.key[1]] for future in futures}
    done = as_completed(futures)  # with_results would wait for ever for what is on its way when the scheduler dies
    del futures
    for batch in done.batches():
        finished = [future for future in batch if future.status == "finished"]
        try:
            results = dict(zip([future.key for future in finished], client.gather(finished), strict=True))
        except (CancelledError, OSError):
            results = {}
        for future in batch:
            if future.key in results:
                yield results[future.key][0], index_of[future.key]
            elif future.status == "error":
                reason = future.exception()
                yield _Failure(f"{type(reason).__name__}: {reason}"), index_of[future.key]
            else:
                yield _Lost(), index_of[future.key]
            future.release()
