"""The verdict of `cluster check`: pure functions of what a survey found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from skymetal.deploy.clusters.devices import describe_lack
from skymetal.deploy.clusters.facts import WorkerFacts
from skymetal.deploy.clusters.survey import Survey
from skymetal.deploy.clusters.versions import OURS, differences

MIN_FREE_BYTES = 256_000_000
MAX_SKEW_SECONDS = 10.0
MIN_CERTIFICATE_DAYS = 7
MIN_ALLOWED_FAILURES = 30
MAX_WORKER_TTL_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence about the cluster; what is bad would spoil a night."""

    text: str
    is_bad: bool = True


def judge(survey: Survey) -> list[Finding]:
    """Return everything that is wrong, or worth a thought, the bad first."""
    found = [
        *(Finding(text=text) for text in differences(survey.versions).values()),
        *_judge_workers(survey),
        *_judge_disk(survey),
        *_judge_clocks(survey),
        *_judge_devices(survey),
        *_judge_certificate(survey),
        *_judge_scheduler(survey),
    ]
    return sorted(found, key=lambda finding: not finding.is_bad)


def describe_verdict(survey: Survey, findings: list[Finding]) -> str:
    """Return the last line: good or bad, and how much of a cluster there is."""
    num_bad = sum(finding.is_bad for finding in findings)
    if num_bad:
        return f"bad: {_count(num_bad, 'thing')} to mend before this cluster is of use"
    hosts = {facts.host for facts in answers(survey).values()}
    return (
        f"good: {_count(len(survey.workers), 'worker')} on {_count(len(hosts), 'host')}, "
        f"{_count(sum(survey.num_threads.values()), 'thread')}, {'a GPU each' if has_gpus(survey) else 'no GPUs'}"
    )


def table(survey: Survey) -> tuple[list[str], list[list[str]]]:
    """Return the header and a row a worker."""
    header = ["worker", "host", "threads", OURS, "device", "run directory", "free", "clock", "call", "MB/s"]
    rows = []
    for address, facts in sorted(survey.workers.items()):
        version = survey.versions.get(address, {}).get(OURS) or "–"
        start = [address, facts.host if isinstance(facts, WorkerFacts) else "–", str(survey.num_threads[address])]
        if isinstance(facts, str) or address not in survey.timings:
            rows.append([*start, version, "–", "no answer", "–", "–", "–", "–"])
            continue
        timing = survey.timings[address]
        rows.append(
            [
                *start,
                version,
                facts.device_name or (f"GPU {facts.device.name}" if facts.device.name else "CPU"),
                "not seen" if facts.unseen else "not writable" if facts.unwritten else "ok",
                "–" if facts.unseen else "a bucket" if facts.free_bytes is None else f"{facts.free_bytes / 1e9:.1f} GB",
                f"{timing.skew_seconds:+.2f} s",
                f"{1000 * timing.call_seconds:.1f} ms",
                f"{timing.bytes_per_second / 1e6:.0f}",
            ]
        )
    return header, rows


def answers(survey: Survey) -> dict[str, WorkerFacts]:
    """Return what the workers that answered found."""
    return {address: facts for address, facts in survey.workers.items() if isinstance(facts, WorkerFacts)}


def has_gpus(survey: Survey) -> bool:
    """Tell whether each worker has a GPU of its own."""
    devices = {address: facts.device for address, facts in answers(survey).items()}
    return bool(devices) and not describe_lack(devices)


def _judge_workers(survey: Survey) -> Iterator[Finding]:
    if not survey.workers:
        yield Finding(text="there are no workers")
    yield from _grouped({a: facts for a, facts in survey.workers.items() if isinstance(facts, str)}, "cannot answer")
    found = answers(survey)
    run_dir = f"the run directory {survey.run_dir}"
    yield from _grouped({a: facts.unseen for a, facts in found.items()}, f"cannot use {run_dir}")
    yield from _grouped({a: facts.unwritten for a, facts in found.items()}, f"cannot write {run_dir}")
    lost = dict.fromkeys(survey.lost_replies, "what it wrote there is not there for this machine")
    yield from _grouped(lost, f"cannot use {run_dir}")


def _judge_disk(survey: Survey) -> Iterator[Finding]:
    told = [survey.free_bytes, *(facts.free_bytes for facts in answers(survey).values() if not facts.unseen)]
    free = min((each for each in told if each is not None), default=None)
    if free is not None and free < MIN_FREE_BYTES:
        yield Finding(
            text=f"the disk of the run directory {survey.run_dir} is full: {free / 1e6:.0f} MB are free; make space"
        )


def _judge_clocks(survey: Survey) -> Iterator[Finding]:
    for who, timing in survey.timings.items():
        # What a slow call leaves open is not held against a clock.
        if abs(timing.skew_seconds) - timing.call_seconds / 2 > MAX_SKEW_SECONDS:
            yield Finding(
                text=f"the clock of {who} is {timing.skew_seconds:+.0f} s off this machine's; set one of them right"
            )


def _judge_devices(survey: Survey) -> Iterator[Finding]:
    found = answers(survey)
    devices = {address: facts.device for address, facts in found.items()}
    lack = describe_lack(devices) if devices else ""
    if lack and survey.needs_gpus:
        yield Finding(text=f"GPUs are asked for, but {lack}")
    elif lack and any(device.name for device in devices.values()):
        yield Finding(text=f"the work is done as on CPUs, since {lack}", is_bad=False)
    yield from _grouped({a: facts.device_failure for a, facts in found.items()}, "cannot use their GPU")


def _judge_certificate(survey: Survey) -> Iterator[Finding]:
    left = survey.certificate_seconds_left
    if left is not None and left < MIN_CERTIFICATE_DAYS * 86400:
        yield Finding(
            text=f"the certificate ends in {left / 86400:.1f} days; make new ones with `skymetal cluster certs`",
            is_bad=left < 86400,
        )


def _judge_scheduler(survey: Survey) -> Iterator[Finding]:
    """Judge what only who starts the scheduler can set."""
    settings = survey.scheduler_settings
    failures = settings.get("distributed.scheduler.allowed-failures", MIN_ALLOWED_FAILURES)
    if failures < MIN_ALLOWED_FAILURES:
        yield Finding(
            text=f"the scheduler has allowed-failures {failures}: a block that happens to run on so many workers that "
            f"die is given up; {MIN_ALLOWED_FAILURES} is better (docs/cluster.md says how to set it)",
            is_bad=False,
        )
    patience = settings.get("distributed.scheduler.worker-ttl")
    if patience is None or patience > MAX_WORKER_TTL_SECONDS:
        yield Finding(
            text=f"the scheduler waits {'for ever' if patience is None else f'{patience:g} s'} for a frozen worker "
            "(worker-ttl); 60 s is better (docs/cluster.md says how to set it)",
            is_bad=False,
        )


def _grouped(reasons: Mapping[str, str], what: str) -> Iterator[Finding]:
    """Return one finding for each reason, however many workers have it; "" is none."""
    having = defaultdict(list)
    for address, reason in reasons.items():
        having[reason].append(address)
    for reason, addresses in sorted(having.items()):
        if reason:
            more = f" and {_count(len(addresses) - 1, 'more worker')}" if len(addresses) > 1 else ""
            yield Finding(text=f"{min(addresses)}{more} {what}: {reason}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
