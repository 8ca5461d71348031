"""Training on the cluster: folds queued over gangs of ranks, epochs reported as they end.

The coordinator, here, decides; a supervisor (a Dask task pinned to a worker) runs each rank's process. Dask retries
nothing: a rank alone would wait for peers that are gone. A fold whose gang fails begins again from its checkpoint.
"""

from __future__ import annotations

import json
import logging
import queue
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

from distributed import Client, Future

from skymetal.catalogs.storage import open_folder
from skymetal.train.data import gather_pixels, pixels_name
from skymetal.train.fit import EpochReport
from skymetal.train.plan import TrainPlan
from skymetal.train.ranks.asking import POLL_SECONDS, task_result, wait_for, worker_hosts
from skymetal.train.ranks.placement import Placement, place
from skymetal.train.ranks.rank import describe
from skymetal.train.ranks.supervise import RankOutcome, RankTask, call_off, supervise
from skymetal.train.receipt import find_receipt, receipt_name

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 4
"""How often a fold may fail without an epoch in between: whatever ails it is then no accident."""
REST_SECONDS = 2.0
"""After its first failure a fold rests so long, and three times longer after each further one: what ails a cluster for
a moment must not use up its attempts."""


class FoldsFailed(RuntimeError):
    """Some folds failed; every other fold is trained and recorded."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait: for a worker, when there is none; and for a word of a rank, before it is killed."""

    no_worker_seconds: float = 300.0
    silence_seconds: float = 300.0


@dataclass(kw_only=True)
class _Attempt:
    """A gang at work on a fold."""

    name: str
    placement: Placement
    futures: dict[int, Future[RankOutcome]]
    outcomes: dict[int, RankOutcome] = field(default_factory=dict)

    @property
    def failures(self) -> list[RankOutcome]:
        """The ranks that failed: those first that would fail again, and those last that were just called off."""
        failed = [outcome for outcome in self.outcomes.values() if outcome.failure]
        return sorted(failed, key=lambda outcome: (not outcome.is_final, outcome.was_called_off, outcome.rank))


def train_folds(plan: TrainPlan, client: Client, *, patience: Patience | None = None) -> Iterator[EpochReport]:
    """Train every fold that has no receipt and yield each epoch once, as it ends.

    Raises FoldsFailed, after all others have ended, when a fold failed for good; and when the cluster has had no
    worker for as long as patience allows.
    """
    coordinator = _Coordinator(plan=plan, client=client, patience=patience or Patience())
    try:
        coordinator.prepare()
        yield from coordinator.reports()
    finally:
        coordinator.close()
    coordinator.raise_failures()
    open_folder(plan.checkpoints).remove(pixels_name(plan))


class _Coordinator:
    def __init__(self, *, plan: TrainPlan, client: Client, patience: Patience) -> None:
        self._plan, self._client, self._patience = plan, client, patience
        ensemble = open_folder(plan.ensemble)
        self._waiting = [f for f in range(plan.num_folds) if find_receipt(ensemble, f, plan_digest=plan.digest) is None]
        for fold in self._waiting:
            ensemble.remove(receipt_name(fold))  # one whose files are lost: the fold is trained anew
        self._max_ranks = plan.max_ranks() if self._waiting else 1
        self._attempts: list[_Attempt] = []
        self._num_failed: dict[int, int] = {}
        self._rests_until: dict[int, float] = {}
        self._suspects: set[str] = set()
        self._failures: dict[int, str] = {}
        self._told: set[tuple[int, int]] = set()
        self._topic = f"skymetal-train-{uuid.uuid4().hex}"
        self._arrivals: queue.SimpleQueue[EpochReport] = queue.SimpleQueue()
        client.subscribe_topic(self._topic, lambda event: self._arrivals.put(EpochReport(**json.loads(event[1]))))

    def prepare(self) -> None:
        """Gather the pixels, on some worker: this process may not see the cutouts."""
        if self._waiting:
            future = self._client.submit(_gather, self._plan, pure=False)
            failure = wait_for(future, self._client, self._patience.no_worker_seconds)
            if failure:
                self._failures |= {fold: failure for fold in self._waiting}
                self._waiting = []

    def reports(self) -> Iterator[EpochReport]:
        """Start gangs wherever workers are free, restart those that fail, and tell the epochs."""
        last_sign = time.monotonic()
        while self._waiting or self._attempts:
            hosts = worker_hosts(self._client)
            self._start_gangs(hosts or {})
            yield from self._new_reports()
            for attempt in list(self._attempts):
                self._look_at(attempt, hosts)
            if hosts:
                last_sign = time.monotonic()
            elif time.monotonic() - last_sign > self._patience.no_worker_seconds:
                unfinished = [*self._waiting, *(attempt.placement.fold for attempt in self._attempts)]
                self._failures |= {f: f"no worker for {self._patience.no_worker_seconds:g} s" for f in unfinished}
                break
        yield from self._new_reports()

    def _start_gangs(self, hosts: Mapping[str, str]) -> None:
        busy = {worker for attempt in self._attempts for worker in attempt.placement.workers}
        free = {worker: host for worker, host in hosts.items() if worker not in busy}
        # A worker that failed a rank gets none while another can: its device may be broken.
        free = {worker: host for worker, host in free.items() if worker not in self._suspects} or free
        wanted = min(self._plan.ranks_per_fold, self._max_ranks)
        now = time.monotonic()
        ready = [fold for fold in self._waiting if self._rests_until.get(fold, now) <= now]
        for placement in place(ready, free, ranks_per_fold=self._plan.ranks_per_fold, max_ranks=self._max_ranks):
            if len(placement.workers) < wanted <= len(hosts) and busy:
                continue  # the rest of its gang is still at work elsewhere
            self._waiting.remove(placement.fold)
            name = f"fold{placement.fold}-{uuid.uuid4().hex}"
            futures = {rank: self._submit(name, placement, rank) for rank in range(len(placement.workers))}
            self._attempts.append(_Attempt(name=name, placement=placement, futures=futures))

    def _submit(self, name: str, placement: Placement, rank: int) -> Future[RankOutcome]:
        task = RankTask(
            name=name,
            plan=self._plan.to_json(),
            fold=placement.fold,
            rank=rank,
            size=len(placement.workers),
            topic=self._topic,
            silence_seconds=self._patience.silence_seconds,
        )
        where = [placement.workers[rank]]
        return self._client.submit(
            supervise, task, workers=where, allow_other_workers=False, pure=False, retries=0, key=f"{name}-rank{rank}"
        )

    def _look_at(self, attempt: _Attempt, hosts: Mapping[str, str] | None) -> None:
        """Take in which ranks have ended; hosts is None where the scheduler could not say who is there."""
        fold = attempt.placement.fold
        for rank, future in list(attempt.futures.items()):
            is_lost = hosts is not None and attempt.placement.workers[rank] not in hosts
            if future.done() or is_lost:
                del attempt.futures[rank]
                attempt.outcomes[rank] = _outcome(future, fold, rank)
                future.cancel()
        if attempt.failures:
            self._call_off(attempt)  # its other ranks; and one on a worker that was lost to us, yet lives
        if not attempt.futures:
            self._attempts.remove(attempt)
            if attempt.failures and not attempt.failures[0].was_called_off:
                self._suspects.add(attempt.placement.workers[attempt.failures[0].rank])
            self._settle(fold, attempt.failures)

    def _call_off(self, attempt: _Attempt) -> None:
        try:
            call_off(attempt.name, self._client).set()
        except (OSError, CancelledError):
            logger.info("%s could not be called off: the scheduler is not there", attempt.name)

    def _settle(self, fold: int, failures: list[RankOutcome]) -> None:
        if not failures:
            return
        num_before = self._num_failed.get(fold, 0)
        self._num_failed[fold] = num_before + 1
        self._rests_until[fold] = time.monotonic() + REST_SECONDS * 3**num_before
        logger.warning("fold %d failed: %s", fold, failures[0].failure)
        if failures[0].is_final or self._num_failed[fold] >= MAX_ATTEMPTS:
            tries = "" if self._num_failed[fold] == 1 else f", {self._num_failed[fold]} times in a row"
            self._failures[fold] = f"{failures[0].failure}{tries}"
        else:
            self._waiting.append(fold)
            self._waiting.sort()

    def _new_reports(self) -> list[EpochReport]:
        found = []
        try:
            found.append(self._arrivals.get(timeout=POLL_SECONDS))
            while True:
                found.append(self._arrivals.get_nowait())
        except queue.Empty:
            pass
        # An epoch is told twice when a fold goes on from a checkpoint before it.
        new = [report for report in found if (report.fold, report.epoch) not in self._told]
        for report in new:
            self._told.add((report.fold, report.epoch))
            self._num_failed.pop(report.fold, None)
            self._suspects -= {
                w for a in self._attempts if a.placement.fold == report.fold for w in a.placement.workers
            }
        return new

    def close(self) -> None:
        """Call off what is still at work, and wait a moment for it to end."""
        for attempt in self._attempts:
            self._call_off(attempt)
        futures = [future for attempt in self._attempts for future in attempt.futures.values()]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(future.done() for future in futures):
            time.sleep(POLL_SECONDS)
        self._client.cancel(futures)
        self._client.unsubscribe_topic(self._topic)

    def raise_failures(self) -> None:
        """Raise FoldsFailed where a fold is not trained."""
        if self._failures:
            fold, reason = min(self._failures.items())
            raise FoldsFailed(
                f"{len(self._failures)} of {self._plan.num_folds} folds failed, the first is fold {fold}: {reason}. "
                "What succeeded is kept; mend the cause and run the same command again"
            )


def _gather(plan: TrainPlan) -> str:
    """Return "" or why the pixels could not be gathered; a task returns, whatever happens."""
    try:
        gather_pixels(plan)
    except BaseException as error:
        return describe(error)
    return ""


def _outcome(future: Future[RankOutcome], fold: int, rank: int) -> RankOutcome:
    outcome = task_result(future)
    return outcome if isinstance(outcome, RankOutcome) else RankOutcome(fold=fold, rank=rank, failure=str(outcome))
