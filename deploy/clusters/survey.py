"""A survey of a cluster, for `cluster check`: all that can be known of it before a night is spent."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future

from skymetal.catalogs.errors import first_line
from skymetal.catalogs.storage import Folder
from skymetal.deploy.clusters.facts import REPLIES, WORD, WorkerFacts, gather_facts
from skymetal.deploy.clusters.security import expiry
from skymetal.deploy.clusters.versions import SCHEDULER, Versions, gather_versions

ANSWER_SECONDS = 120.0
NUM_PINGS = 5
PAYLOAD_BYTES = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How far a process's clock is ahead of ours, how long a call to it takes, and how fast bytes go there and back."""

    skew_seconds: float
    call_seconds: float
    bytes_per_second: float


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found. workers and timings are by address; a worker that could not answer has the reason instead."""

    run_dir: str
    versions: Versions
    workers: Mapping[str, WorkerFacts | str]
    num_threads: Mapping[str, int]
    timings: Mapping[str, Timing]
    lost_replies: tuple[str, ...]
    free_bytes: int | None
    needs_gpus: bool
    scheduler_settings: Mapping[str, Any] = field(default_factory=dict)
    certificate_seconds_left: float | None = None


def survey_cluster(client: Client, place: Folder, *, run_dir: str, needs_gpus: bool, free_bytes: int | None) -> Survey:
    """Ask client, scheduler and every worker. place is a new folder in the run directory, which the caller removes."""
    word = uuid.uuid4().hex
    place.write(WORD, word.encode())
    threads = {a: w["nthreads"] for a, w in client.scheduler_info(n_workers=-1)["workers"].items()}
    versions = gather_versions(client)
    workers = _ask_workers(client, list(threads), place, word)
    answering = [address for address, facts in workers.items() if isinstance(facts, WorkerFacts)]
    replies = set(place.names(REPLIES))
    tls = client.security.get_tls_config_for_role("client")["cert"]
    return Survey(
        run_dir=run_dir,
        versions=versions,
        workers=workers,
        num_threads=threads,
        timings={SCHEDULER: _time_scheduler(client)} | {each: _time_worker(client, each) for each in answering},
        lost_replies=tuple(
            address
            for address, facts in workers.items()
            if isinstance(facts, WorkerFacts) and not (facts.unseen or facts.unwritten) and facts.reply not in replies
        ),
        free_bytes=free_bytes,
        needs_gpus=needs_gpus,
        scheduler_settings=client.run_on_scheduler(_read_settings),
        certificate_seconds_left=expiry(client.security) - time.time() if tls else None,
    )


def _ask_workers(client: Client, addresses: list[str], place: Folder, word: str) -> dict[str, WorkerFacts | str]:
    futures = {
        each: client.submit(
            gather_facts, str(place), word, try_device=True, workers=[each], allow_other_workers=False, pure=False
        )
        for each in addresses
    }
    deadline = time.monotonic() + ANSWER_SECONDS
    found = {each: _answer(future, deadline) for each, future in futures.items()}
    client.cancel(list(futures.values()))
    return found


def _answer(future: Future[Any], deadline: float) -> WorkerFacts | str:
    try:
        answer: WorkerFacts = future.result(timeout=max(deadline - time.monotonic(), 0.1))
    except TimeoutError:
        return f"it does not answer within {ANSWER_SECONDS:g} s: is it busy, or frozen?"
    except CancelledError:
        return "it was lost while it was asked"
    except Exception as error:  # of whatever kind is raised there, or by Dask on the way
        return f"{type(error).__name__}: {first_line(error)}"
    return answer


def _time_worker(client: Client, address: str) -> Timing:
    def call(function: Any, *arguments: Any) -> Any:
        return client.run(function, *arguments, workers=[address])[address]

    return _time(call)


def _time_scheduler(client: Client) -> Timing:
    return _time(client.run_on_scheduler)


def _time(call: Any) -> Timing:
    """Time calls; the quickest tells most of the clocks. Bytes are random: a compressed zero would fly."""
    samples = []
    for _ in range(NUM_PINGS):
        begun = time.time()
        theirs = call(time.time)
        ended = time.time()
        samples.append((ended - begun, theirs - (begun + ended) / 2))
    begun = time.perf_counter()
    call(len, os.urandom(PAYLOAD_BYTES))
    call(os.urandom, PAYLOAD_BYTES)
    seconds = time.perf_counter() - begun
    quickest, skew = min(samples)
    return Timing(skew_seconds=skew, call_seconds=quickest, bytes_per_second=2 * PAYLOAD_BYTES / seconds)


def _read_settings(dask_scheduler: Any) -> dict[str, Any]:
    return {
        "distributed.scheduler.allowed-failures": dask_scheduler.allowed_failures,
        "distributed.scheduler.worker-ttl": dask_scheduler.worker_ttl,
        "distributed.scheduler.no-workers-timeout": dask_scheduler.no_workers_timeout,
    }
