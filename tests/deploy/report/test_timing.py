from __future__ import annotations

import json

import pytest

from skymetal.deploy.report.timing import read_times

STEPS = ("select", "ingest", "score")


def event(step: str, kind: str, **more: object) -> str:
    return json.dumps({"step": step, "event": kind, "time": 1.0, **more})


FIRST = [
    event("job", "opened"),
    event("select", "began"),
    event("select", "ended", seconds=0.5),
    event("ingest", "began"),
    event("ingest", "counted", num_targets=1000),
    event("ingest", "ended", seconds=20.0),
    event("score", "began"),
    event("score", "scored", num_rows=996, galaxies_per_second={"b": 3.5, "a": 2.5}),
    event("score", "ended", seconds=200.0),
]


def test_each_step_has_its_time_and_rate() -> None:
    select, ingest, score = read_times(FIRST, STEPS)
    assert (select.seconds, select.galaxies_per_second, select.worker_rates) == (0.5, None, ())
    assert ingest.galaxies_per_second == 50
    assert score.galaxies_per_second == pytest.approx(4.98)
    assert score.worker_rates == (2.5, 3.5)
    assert not score.went_on


def test_a_command_that_finds_all_done_changes_nothing() -> None:
    again = [event(step, kind, seconds=0.1) for step in STEPS for kind in ("began", "ended")]
    assert read_times(FIRST + again, STEPS) == read_times(FIRST, STEPS)


def test_a_step_that_was_stopped_has_the_time_of_the_command_that_ended_it() -> None:
    lines = [
        event("ingest", "began"),
        event("ingest", "began"),
        event("ingest", "counted", num_targets=1000),
        event("ingest", "ended", seconds=5.0),
        event("score", "began"),
        event("score", "scored", num_rows=400, galaxies_per_second={"a": 9.0}),
        event("score", "began"),
        event("score", "scored", num_rows=600, galaxies_per_second={"a": 6.0}),
        event("score", "ended", seconds=100.0),
    ]
    ingest, score = read_times(lines, STEPS)
    assert ingest.went_on
    assert ingest.num_galaxies is None  # it counts also what was there before
    assert (score.num_galaxies, score.worker_rates) == (600, (6.0,))


def test_what_a_killed_command_left_half_written_is_passed_over() -> None:
    lines = [event("select", "began"), '{"step": "sel', "[1]", "", event("select", "ended", seconds=1.0)]
    (time,) = read_times(lines, STEPS)
    assert time.seconds == 1.0


def test_a_step_that_never_ended_has_no_time() -> None:
    assert read_times([event("score", "began")], STEPS) == []
