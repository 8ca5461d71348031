"""The distributed pass: one task a block, one receipt back, whatever dies on the way."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import dask.array as da
import numpy as np
from distributed import Client, Future, as_completed, futures_of
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Receipt = TypeVar("Receipt")

WAVE_SIZE = 4096
"""Blocks handed to the scheduler at a time: its memory grows by several kB a task."""

NUM_TRIES = 10
"""How often what is lost of a wave is handed in again: a scheduler that died remembers nothing."""
POLL_SECONDS = 0.2


class BlocksFailed(RuntimeError):
    """Some blocks failed; every other block is done and recorded."""


def map_over_blocks(task: Callable[[int], Receipt], indices: Sequence[int], client: Client) -> Iterator[Receipt]:
    """Run ``task(index)`` on the cluster for every index and yield its receipts as they come.

    A task must commit its own result and be harmless when run twice: Dask runs it again when a worker dies.
    A scheduler that is lost is waited for as long as the client tries to connect again. Closed early, the pass cancels
    what is left of it. Raises BlocksFailed after the last block has ended, when any of them failed, or where the
    scheduler does not come back.
    """
    failures: dict[int, str] = {}
    for first in range(0, len(indices), WAVE_SIZE):
        wave = list(indices[first : first + WAVE_SIZE])
        for _ in range(NUM_TRIES):
            _await_scheduler(client)
            lost: dict[int, str] = {}
            for outcome, index in _outcomes(client, task, wave):
                if isinstance(outcome, _Lost):
                    lost[index] = outcome.reason
                elif isinstance(outcome, _Failure):
                    failures[index] = outcome.reason
                else:
                    yield outcome
            if not lost:
                break
            logger.warning("%d blocks are run again: %s", len(lost), next(iter(lost.values())))
            wave = list(lost)
        else:
            failures |= {index: f"{reason}, {NUM_TRIES} times" for index, reason in lost.items()}
    if failures:
        index, reason = min(failures.items())
        raise BlocksFailed(
            f"{len(failures)} of {len(indices)} blocks failed, the first is block {index}: {reason}. "
            "What succeeded is kept; mend the cause and run the same command again"
        )


class _Lost:
    """A block whose outcome is not known."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Failure:
    def __init__(self, reason: str) -> None:
        self.reason = reason


def _run_one(task: Callable[[int], Any], wave: NDArray[np.int64], *, block_id: tuple[int, ...]) -> NDArray[np.object_]:
    result = np.empty(1, dtype=object)
    try:
        result[0] = task(int(wave[block_id[0]]))
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
    # Of no array: mapped over one, each block would be two tasks, one of them but a name for the other.
    blocks = da.map_blocks(
        partial(_run_one, task, np.asarray(wave)),
        name=f"block-{uuid.uuid4().hex}",  # unique: of an equal task Dask would take the earlier result
        chunks=((1,) * len(wave),),
        dtype=object,
        meta=np.empty(0, dtype=object),
    )
    waiting = {future.key: future for future in futures_of(client.persist(blocks))}
    try:
        # With its with_results it would wait for ever for what is on its way when the scheduler dies.
        done = as_completed(waiting.values(), loop=client.loop)
        for batch in done.batches():
            results, obstacle = _gather(client, [future for future in batch if future.status == "finished"])
            for future in batch:
                index, result = wave[future.key[1]], results.get(future.key)
                if result is None and future.status in ("pending", "lost"):
                    done.add(future)  # the worker that had its result died: it is being run again
                    continue
                del waiting[future.key]
                if result is not None:
                    yield result[0], index
                elif future.status == "error" and (reason := future.exception()) is not None:
                    yield _Failure(f"{type(reason).__name__}: {reason}"), index
                else:
                    yield _Lost(obstacle or "the scheduler was lost"), index
                future.release()
    finally:
        if waiting and client.status == "running":  # given up: the cluster may be somebody else's
            with suppress(Exception):  # nor may the scheduler's death now hide why
                client.cancel(list(waiting.values()))


def _gather(client: Client, finished: list[Future[Any]]) -> tuple[dict[Any, Any], str]:
    """Return the results by key, None where one was lost meanwhile, and what kept all of them from coming."""
    if not finished:
        return {}, ""  # to gather nothing, too, is a call to the scheduler, which may be gone
    try:
        results: dict[Any, Any] = client.gather({future.key: future for future in finished}, errors="skip")
        return results, ""
    except Exception as error:  # the scheduler's death, and whatever a client raises that is closing
        return {}, f"receipts did not arrive ({type(error).__name__}: {error})"
