"""The distributed pass: one task a block, one receipt back, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import dask.array as da
import numpy as np
from dask.typing import DaskCollection
from distributed import Client, as_completed, futures_of
from numpy.typing import NDArray

Receipt = TypeVar("Receipt")

WAVE_SIZE = 4096
"""Blocks handed to the scheduler at a time: its memory grows by several kB a task."""


class BlocksFailed(RuntimeError):
    """Some blocks failed; every other block is done and recorded."""


def map_over_blocks(task: Callable[[int], Receipt], indices: Sequence[int], client: Client) -> Iterator[Receipt]:
    """Run ``task(index)`` on the cluster for every index and yield its receipts as they come.

    A task must commit its own result and be harmless when run twice: Dask runs it again when a worker dies.
    Raises BlocksFailed after the last block has ended, when any of them failed.
    """
    failures: dict[int, str] = {}
    for first in range(0, len(indices), WAVE_SIZE):
        wave = np.asarray(indices[first : first + WAVE_SIZE])
        blocks = da.from_array(wave, chunks=1).map_blocks(
            partial(_run_one, task), dtype=object, meta=np.empty(0, dtype=object)
        )
        for outcome, index in _outcomes(client, blocks, wave):
            if isinstance(outcome, _Failure):
                failures[index] = outcome.reason
            else:
                yield outcome
    if failures:
        index, reason = min(failures.items())
        raise BlocksFailed(
            f"{len(failures)} of {len(indices)} blocks failed, the first is block {index}: {reason}. "
            "What succeeded is kept; mend the cause and run the same command again"
        )


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


def _outcomes(client: Client, blocks: DaskCollection, wave: NDArray[np.int64]) -> Iterator[tuple[Any, int]]:
    futures = futures_of(client.persist(blocks))
    index_of = {future.key: int(wave[future.key[1]]) for future in futures}
    done = as_completed(futures, with_results=True, raise_errors=False)
    del futures
    for future, result in done:
        if future.status == "finished":
            yield result[0], index_of[future.key]
        else:
            reason = result[1] if isinstance(result, tuple) else result
            yield _Failure(f"{type(reason).__name__}: {reason}"), index_of[future.key]
        future.release()
