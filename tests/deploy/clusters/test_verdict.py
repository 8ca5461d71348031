from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from skymetal.deploy.clusters.devices import Device
from skymetal.deploy.clusters.facts import WorkerFacts
from skymetal.deploy.clusters.survey import Survey, Timing
from skymetal.deploy.clusters.verdict import describe_verdict, judge, table
from skymetal.deploy.clusters.versions import CLIENT, SCHEDULER

A, B = "tls://10.0.0.1:1", "tls://10.0.0.2:1"
VERSION = {"python": "3.11", "skymetal": "0.1.0", "torch": "2.13.0"}
QUICK = Timing(skew_seconds=0.01, call_seconds=0.002, bytes_per_second=1e9)


def worker(host: str, **changes: Any) -> WorkerFacts:
    facts = WorkerFacts(
        host=host, device=Device(host=host, name=""), unseen="", unwritten="", reply="r", free_bytes=10**12
    )
    return dataclasses.replace(facts, **changes)


GOOD = Survey(
    run_dir="/shared/run",
    versions={CLIENT: VERSION, SCHEDULER: VERSION, A: VERSION, B: VERSION},
    workers={A: worker("a"), B: worker("b")},
    num_threads={A: 2, B: 2},
    timings={SCHEDULER: QUICK, A: QUICK, B: QUICK},
    lost_replies=(),
    free_bytes=10**12,
    needs_gpus=False,
    scheduler_settings={"distributed.scheduler.allowed-failures": 30, "distributed.scheduler.worker-ttl": 60.0},
    certificate_seconds_left=9e6,
)


def findings(**changes: Any) -> list[tuple[str, bool]]:
    return [(each.text, each.is_bad) for each in judge(dataclasses.replace(GOOD, **changes))]


def test_a_good_cluster_is_good() -> None:
    assert findings() == []
    assert describe_verdict(GOOD, []) == "good: 2 workers on 2 hosts, 4 threads, no GPUs"
    header, rows = table(GOOD)
    assert rows[0] == [A, "a", "2", "0.1.0", "CPU", "ok", "1000.0 GB", "+0.01 s", "2.0 ms", "1000"]
    assert len(header) == len(rows[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"versions": {**GOOD.versions, B: VERSION | {"skymetal": "0.0.9"}}}, f"skymetal is 0.1.0 .* 0.0.9 on {B}"),
        ({"versions": {**GOOD.versions, SCHEDULER: VERSION | {"torch": None}}}, "not installed on the scheduler"),
        ({"workers": {}}, "there are no workers"),
        ({"workers": {A: worker("a"), B: "it is frozen"}}, f"{B} cannot answer: it is frozen"),
        (
            {"workers": {A: worker("a", unseen="nothing there"), B: worker("b", unseen="nothing there")}},
            f"{A} and 1 more worker cannot use the run directory /shared/run: nothing there",
        ),
        ({"workers": {A: worker("a"), B: worker("b", unwritten="Read-only")}}, f"{B} cannot write the run .*Read-only"),
        ({"lost_replies": (B,)}, f"{B} cannot use the run directory .* what it wrote there is not there"),
        ({"free_bytes": 1000}, "the disk of the run directory /shared/run is full: 0 MB are free"),
        ({"workers": {A: worker("a"), B: worker("b", free_bytes=10**6)}}, "is full: 1 MB are free"),
        (
            {"timings": {**GOOD.timings, B: dataclasses.replace(QUICK, skew_seconds=-7200.0)}},
            rf"the clock of {B} is -7200 s off this machine's",
        ),
        ({"needs_gpus": True}, f"GPUs are asked for, but 2 of 2 workers have no GPU, the first is {A}"),
        (
            {"workers": {A: worker("a", device=Device(host="a", name="0"), device_failure="it hung")}},
            f"{A} cannot use their GPU: it hung",
        ),
        ({"certificate_seconds_left": 3600.0}, "the certificate ends in 0.0 days"),
    ],
)
def test_what_would_spoil_a_night_is_bad(changes: dict[str, Any], words: str) -> None:
    found = judge(dataclasses.replace(GOOD, **changes))
    assert [each.is_bad for each in found] == [True]
    assert re.search(words, found[0].text)
    assert describe_verdict(GOOD, found) == "bad: 1 thing to mend before this cluster is of use"


def test_what_is_worth_a_thought_is_a_note() -> None:
    settings = {"distributed.scheduler.allowed-failures": 3, "distributed.scheduler.worker-ttl": None}
    assert [is_bad for _, is_bad in findings(scheduler_settings=settings)] == [False, False]
    assert [is_bad for _, is_bad in findings(certificate_seconds_left=5 * 86400.0)] == [False]
    some = {A: worker("a", device=Device(host="a", name="0")), B: worker("b")}
    assert [is_bad for _, is_bad in findings(workers=some)] == [False]


def test_a_slow_call_is_not_held_against_a_clock() -> None:
    slow = Timing(skew_seconds=14.0, call_seconds=30.0, bytes_per_second=1e6)
    assert findings(timings={A: slow}) == []


def test_gpus_are_told_by_name() -> None:
    workers = {
        each: worker(host, device=Device(host=host, name="0"), device_name="NVIDIA H100")
        for each, host in ((A, "a"), (B, "b"))
    }
    survey = dataclasses.replace(GOOD, workers=workers, needs_gpus=True)
    assert judge(survey) == []
    assert describe_verdict(survey, []) == "good: 2 workers on 2 hosts, 4 threads, a GPU each"
    assert table(survey)[1][0][4] == "NVIDIA H100"
