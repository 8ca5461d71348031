from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import TEMPORARY_PREFIX
from skymetal.deploy.config import Job, read_job
from skymetal.deploy.run_directory import hold_run_directory


@pytest.fixture
def job(tmp_path: Path) -> Job:
    text = f"""
    [job]
    run_dir = "{tmp_path / "run"}"
    [targets]
    survey = "simulated"
    num_galaxies = 10
    [images]
    source = "simulated"
    """
    (tmp_path / "job.toml").write_text(text)
    return read_job(tmp_path / "job.toml")


def test_it_holds_the_resolved_job_a_log_and_the_events(job: Job) -> None:
    with hold_run_directory(job) as directory:
        logging.getLogger("skymetal").info("hello")
        directory.record("score", "ended", num_rows=3)
        path = directory.folder.path
    assert read_job(path / "job.toml") == job
    assert "hello" in (path / "logs" / "skymetal.log").read_text()
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    assert [(event["step"], event["event"]) for event in events] == [("job", "opened"), ("score", "ended")]
    assert events[1]["num_rows"] == 3


def test_two_processes_never_share_it(job: Job) -> None:
    said = f"another skymetal \\(process {os.getpid()}\\) is at work"
    with hold_run_directory(job), pytest.raises(InputError, match=said), hold_run_directory(job):
        pass
    with hold_run_directory(job):
        pass


def test_what_a_killed_run_left_half_written_is_cleared(job: Job) -> None:
    with hold_run_directory(job) as directory:
        directory.folder.write("parts/a", b"whole")
        path = directory.folder.path / "parts" / f"{TEMPORARY_PREFIX}host-1-1-b"
        path.write_bytes(b"half")
    with hold_run_directory(job):
        assert not path.exists()
        assert (path.parent / "a").exists()


def test_a_place_that_cannot_be_written_is_refused(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / "run", Path("/proc/skymetal")):
        text = (tmp_path / "job.toml").read_text().replace(str(tmp_path / "run"), str(place))
        (tmp_path / "other.toml").write_text(text)
        other = read_job(tmp_path / "other.toml")
        with pytest.raises(InputError, match=r"is a file|cannot be written"), hold_run_directory(other):
            pass
