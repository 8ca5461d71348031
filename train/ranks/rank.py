"""One rank: a process of its own that trains one fold, or its share of one. ``python -m skymetal.train.ranks.rank``

It is told what to do by one line of JSON on its standard input, says how it goes by lines of JSON on its standard
output, and dies as soon as its input ends: with the worker that started it. A process a rank, because torch's
process groups cannot be trusted to end cleanly inside a Dask worker.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from skymetal.catalogs.errors import InputError
from skymetal.train.fit import EpochReport, Watch
from skymetal.train.fold import fit_fold
from skymetal.train.plan import TrainPlan
from skymetal.train.ranks.gang import Gang
from skymetal.train.refused import TrainingRefused

BEAT_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class RankOrder:
    """What a rank is told. host and port are rank 0's meeting point; for rank 0 itself its own host, and port 0."""

    plan: str
    fold: int
    rank: int
    size: int
    host: str
    port: int
    timeout_seconds: float
    num_threads: int

    def to_json(self) -> str:
        """Return the order as one line."""
        return json.dumps(dataclasses.asdict(self))


def main() -> None:
    """Carry out the order on standard input; exit 0 when done, 1 with a failure line otherwise."""
    # Both ends of a worker are seen: its death as a parent, and its pipe's closing.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    say, out = threading.Lock(), os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no message of ours

    def tell(**message: Any) -> None:
        with say:
            out.write(json.dumps(message) + "\n")

    order = RankOrder(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_die_with_input, daemon=True).start()
    try:
        _train(order, tell)
    except BaseException as error:  # whatever it was, the supervisor is to hear of it
        tell(failure=describe(error), is_final=is_final(error))
        os._exit(1)
    tell(done=True)
    os._exit(0)  # a process group's threads are not waited for


def describe(error: BaseException) -> str:
    """Return the error in one line: what a library says of itself may have many."""
    first = (str(error).splitlines() or [""])[0]
    return first if isinstance(error, InputError | TrainingRefused) else f"{type(error).__name__}: {first}"


def is_final(error: BaseException) -> bool:
    """Tell whether another try would fail alike. All but our own refusals may be this machine's bad day."""
    return isinstance(error, InputError | TrainingRefused)


def _train(order: RankOrder, tell: Any) -> None:
    torch.set_num_threads(order.num_threads)
    last = 0.0

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > BEAT_SECONDS:
            last = time.monotonic()
            tell(beat=True)

    def report(epoch: EpochReport) -> None:
        tell(epoch=dataclasses.asdict(epoch))

    beat()
    with _process_group(order, tell):
        gang = Gang(rank=order.rank, size=order.size)
        fit_fold(TrainPlan.from_json(order.plan), order.fold, watch=Watch(report=report, beat=beat), gang=gang)


@contextmanager
def _process_group(order: RankOrder, tell: Any) -> Iterator[None]:
    """Meet the other ranks: NCCL between GPUs, gloo between CPUs. A gang of one meets nobody."""
    if order.size == 1:
        yield
        return
    timeout = timedelta(seconds=order.timeout_seconds)
    is_master = order.rank == 0
    # Port 0: the system gives a free one, and nobody can take it in between.
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        order.host, order.port, order.size, is_master=is_master, timeout=timeout, wait_for_workers=False
    )
    if is_master:
        tell(port=store.port)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=order.rank, world_size=order.size, timeout=timeout)
    yield
    distributed.barrier()  # rank 0 holds the meeting point: it must not leave before the others have finished


def _die_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
