"""plan: what a job would take, before it takes it."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.schema import catalogue_schema
from skymetal.catalogs.storage import Folder
from skymetal.deploy.predictor import refuse_unfit
from skymetal.deploy.run import Run
from skymetal.deploy.scoring import make_score_plan
from skymetal.engine.images import SERVICES
from skymetal.engine.ingest import make_ingest_plan
from skymetal.engine.probe import Probe, probe_block
from skymetal.engine.score_plan import ScorePlan
from skymetal.engine.store import MANIFEST, STORE, shard_name
from skymetal.train.card import CARD, describe_ensemble


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Lines for a person, and the sentence that says why it cannot be done, if it cannot."""

    lines: dict[str, str]
    obstacle: str = ""


def forecast(run: Run, *, probe_seconds: float) -> Forecast:
    """Say what is next would take: score where there are a finished store and an ensemble, else ingest."""
    is_score_next = (run.folder / STORE).exists(MANIFEST) and run.ensemble.exists(CARD)
    return forecast_score(run, probe_seconds=probe_seconds) if is_score_next else forecast_ingest(run)


def forecast_ingest(run: Run) -> Forecast:
    """Say what ingest would do: shards, memory, disk, requests. Raises InputError where it could not even begin."""
    images = run.job.images
    plan = make_ingest_plan(images, targets=run.targets, run_dir=run.directory.folder, seed=run.job.job.seed)
    try:
        plan.check()
        obstacle = ""
    except InputError as error:
        obstacle = str(error)
    layout, missing = plan.store.layout, plan.missing_blocks()
    num_galaxies = sum(stop - start for start, stop in map(layout.rows, missing))
    capacity = run.cluster.capacity()
    num_tasks, available = capacity.num_threads, capacity.memory_bytes
    memory = num_tasks * plan.worker_bytes
    lines = {
        "galaxies": f"{num_galaxies} of {plan.store.num_targets} are yet to be ingested",
        "shards": f"{len(missing)} of {plan.store.num_blocks} are yet to be written: {layout.shard_size} galaxies, "
        f"{_size(layout.shard_bytes)} of pixels each",
        "memory": f"at most {_size(plan.worker_bytes)} a task, {num_tasks} at once: {_size(memory)} "
        f"of the {_size(available)} here, however many galaxies there are",
        "disk": f"at most {_size(plan.store_bytes)}, and {_free(plan.store.folder)}",
    }
    if images.source in SERVICES:
        wait = _time(num_galaxies / images.requests_per_second)
        lines["requests"] = (
            f"{num_galaxies} at {images.requests_per_second:g} a second: {wait}, less where downloads are kept"
        )
    if not obstacle and memory > available:
        obstacle = (
            f"ingest needs {_size(memory)} of memory, {_size(available)} are here; "
            f"lower [images] shard_size (now {layout.shard_size}) or [cluster] num_workers"
        )
    return Forecast(lines=lines, obstacle=obstacle)


def forecast_score(run: Run, *, probe_seconds: float) -> Forecast:
    """Say what score would do, from a trial on every worker. Raises InputError where it could not even begin."""
    plan = make_score_plan(run)
    missing, layout = plan.missing_blocks(), plan.store.layout
    num_galaxies = sum(stop - start for start, stop in map(layout.rows, missing))
    lines = {
        "score": f"{num_galaxies} of {plan.store.num_targets} galaxies in {len(missing)} of {layout.num_blocks} tasks, "
        f"{plan.predictor.num_views} views, {plan.predictor.runtime}, {plan.predictor.batch_size} images at once",
    }
    if not missing:
        return Forecast(lines=lines)
    refuse_unfit(run, plan.predictor)
    probes = _probe_workers(run, plan, missing, probe_seconds)
    read = sum(plan.store.folder.size(shard_name(index)) for index in missing)
    schema = catalogue_schema(num_folds=_num_members(run), has_sky=True, embeddings=run.job.score.embeddings)
    width = sum(_width(column.type) for column in schema)
    written = num_galaxies * width
    workers = {probe.process: probe.worker_bytes for probe in probes}
    host = sum(workers.values()) + len(probes) * 2 * layout.shard_bytes
    available, free = run.cluster.capacity().memory_bytes, run.folder.free_bytes()
    seconds = _duration(probes, [stop - start for start, stop in map(layout.rows, missing)])
    rate = sum(probe.galaxies_per_second for probe in probes)
    lines |= {
        "bytes": f"{_size(read)} read; at most {_size(written)} of parts written, and as much again by publish; "
        f"{_free(run.folder)}",
        "workers": f"{len(workers)} of {len(probes) // len(workers)} threads, {rate:.3g} galaxies a second together "
        f"(a trial of {probe_seconds:g} s)",
        "host memory": f"at most {_size(host)} of the {_size(available)} here, however many galaxies there are",
        "time": f"about {_time(seconds)}, {max(p.start_seconds for p in probes):.0f} s of it until all are at work",
        "cost": f"{len(workers) * seconds / 3600:.3g} GPU-hours"
        if run.cluster.has_gpus()
        else f"{len(probes) * seconds / 3600:.3g} core-hours",
    }
    obstacle = ""
    if host > available:
        obstacle = (
            f"score needs {_size(host)} of memory, {_size(available)} are here; lower [cluster] num_workers "
            f"(now {len(workers)}) or [score] batch_size (now {plan.predictor.batch_size})"
        )
    elif free is not None and 2 * written > free:
        obstacle = (
            f"score and publish write {_size(2 * written)}, {_size(free)} are free; make space, or name another "
            "[job] run_dir"
        )
    return Forecast(lines=lines, obstacle=obstacle)


def _probe_workers(run: Run, plan: ScorePlan, missing: list[int], seconds: float) -> list[Probe]:
    """Try every thread of every worker at the same time, each on another shard."""
    client = run.client()
    workers = client.scheduler_info(n_workers=-1)["workers"]
    slots = [address for address, worker in workers.items() for _ in range(worker["nthreads"])]
    indices = [missing[number * len(missing) // len(slots)] for number in range(len(slots))]
    futures = [
        client.submit(probe_block, plan, index, seconds, workers=[slot], pure=False)
        for slot, index in zip(slots, indices, strict=True)
    ]
    return list(client.gather(futures))


def _duration(probes: list[Probe], block_sizes: list[int]) -> float:
    """Return when the last worker would be done, each taking the next block as soon as it is free."""
    free_at = [(probe.start_seconds, number) for number, probe in enumerate(probes)]
    heapq.heapify(free_at)
    end = 0.0
    for size in block_sizes:
        begun, number = heapq.heappop(free_at)
        done = begun + size / max(probes[number].galaxies_per_second, 1e-9)
        end = max(end, done)
        heapq.heappush(free_at, (done, number))
    return end


def _num_members(run: Run) -> int:
    return describe_ensemble(run.ensemble).num_members


def _width(kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    return max(int(kind.bit_width) // 8, 1)


def _time(seconds: float) -> str:
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds > 90 else f"{seconds:.0f} s"


def _free(folder: Folder) -> str:
    free = folder.free_bytes()
    return "a bucket has no end" if free is None else f"{_size(free)} are free"


def _size(num_bytes: float) -> str:
    power = min(int(math.log10(max(num_bytes, 1)) // 3), 4)
    return f"{num_bytes / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
