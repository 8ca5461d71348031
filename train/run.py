"""Training on the cluster: one Dask task a fold, epochs reported as they end."""

from __future__ import annotations

import dataclasses
import json
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from distributed import Client, Future, get_worker

from skymetal.catalogs.storage import open_folder
from skymetal.train.fit import EpochReport, fit_fold
from skymetal.train.member import find_receipt
from skymetal.train.plan import TrainPlan

POLL_SECONDS = 0.2
_one_fold_at_a_time = threading.Lock()
"""A fold uses all threads of its worker and torch's one random stream a process: two at once would mix."""


class FoldsFailed(RuntimeError):
    """Some folds failed; every other fold is trained and recorded."""


@dataclass(frozen=True, kw_only=True)
class FoldOutcome:
    """How a fold's task ended: failure is empty or the reason. A task returns this whatever happens."""

    fold: int
    failure: str
    reports: tuple[EpochReport, ...]


def train_folds(plan: TrainPlan, client: Client, *, patience_seconds: float = 300) -> Iterator[EpochReport]:
    """Train every fold that has no receipt, one task each, and yield each epoch once, as it ends.

    A fold whose worker dies is run again by Dask and goes on from its checkpoint. Raises FoldsFailed, after all
    others have ended, when a fold failed; and when the cluster has had no worker for patience_seconds.
    """
    ensemble = open_folder(plan.ensemble)
    left = [f for f in range(plan.num_folds) if find_receipt(ensemble, f, plan_digest=plan.digest) is None]
    topic = f"skymetal-train-{uuid.uuid4().hex}"
    arrivals: queue.SimpleQueue[EpochReport] = queue.SimpleQueue()
    client.subscribe_topic(topic, lambda event: arrivals.put(EpochReport(**json.loads(event[1]))))
    futures = {client.submit(_run_fold, plan, fold, topic, pure=False): fold for fold in left}
    failures: dict[int, str] = {}
    told: set[tuple[int, int]] = set()
    last_sign = time.monotonic()
    try:
        while futures:
            reports = _wait_for_report(arrivals)
            for future in [future for future in futures if future.done()]:
                outcome = _outcome(future, futures.pop(future))
                reports += outcome.reports
                if outcome.failure:
                    failures[outcome.fold] = outcome.failure
            # An epoch is told twice when a fold goes on from a checkpoint, or its event comes after its outcome.
            new = [report for report in reports if (report.fold, report.epoch) not in told]
            told.update((report.fold, report.epoch) for report in new)
            yield from new
            if new or _has_workers(client):
                last_sign = time.monotonic()
            elif time.monotonic() - last_sign > patience_seconds:
                failures |= {fold: f"no worker for {patience_seconds:g} s" for fold in futures.values()}
                break
    finally:
        client.unsubscribe_topic(topic)
        client.cancel(list(futures))
    if failures:
        fold, reason = min(failures.items())
        raise FoldsFailed(
            f"{len(failures)} of {plan.num_folds} folds failed, the first is fold {fold}: {reason}. "
            "What succeeded is kept; mend the cause and run the same command again"
        )


def _wait_for_report(arrivals: queue.SimpleQueue[EpochReport]) -> list[EpochReport]:
    try:
        return [arrivals.get(timeout=POLL_SECONDS)]
    except queue.Empty:
        return []


def _outcome(future: Future[FoldOutcome], fold: int) -> FoldOutcome:
    if future.status == "finished":
        outcome: FoldOutcome = future.result(timeout=60)
        return outcome
    # The task itself never raises: this is Dask's word, a worker that died too often or a lost scheduler.
    reason = future.exception(timeout=60) if future.status == "error" else f"its task was {future.status}"
    return FoldOutcome(fold=fold, failure=str(reason), reports=())


def _has_workers(client: Client) -> bool:
    try:
        return client.status == "running" and bool(client.nthreads())
    except OSError:
        return False


def _run_fold(plan: TrainPlan, fold: int, topic: str) -> FoldOutcome:
    reports: list[EpochReport] = []
    try:
        worker: Any = get_worker()

        def report(epoch: EpochReport) -> None:
            reports.append(epoch)
            # As text: to a dict Dask adds a key of its own.
            worker.log_event(topic, json.dumps(dataclasses.asdict(epoch)))

        with _one_fold_at_a_time:
            torch.set_num_threads(worker.state.nthreads)
            fit_fold(plan, fold, report)
    except BaseException as error:  # a SystemExit or a Rust panic would hang the client or kill the worker
        return FoldOutcome(fold=fold, failure=f"{type(error).__name__}: {error}", reports=tuple(reports))
    return FoldOutcome(fold=fold, failure="", reports=tuple(reports))
