from __future__ import annotations

import json

import pytest

from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs.state import DONE, RUNNING, STATE, JobState, Progress, read_state, write_state


def test_a_state_comes_back_as_it_was_written(folder: Folder) -> None:
    assert read_state(folder) is None
    progress = Progress(done=1, total=2, unit="parts")
    state = JobState(state=RUNNING, steps=("select", "score"), step="score", progress=progress, host="a", pid=7)
    write_state(folder, state)
    found = read_state(folder)
    assert found is not None
    assert found.heartbeat > 0
    assert found == JobState(**{**vars(state), "heartbeat": found.heartbeat})


def test_what_a_later_version_adds_is_passed_over(folder: Folder) -> None:
    write_state(folder, JobState(state=DONE, steps=("score",)))
    content = json.loads(folder.read(STATE)) | {"mood": "good"}
    folder.write(STATE, json.dumps(content).encode())
    assert read_state(folder) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[1]",
        b"{}",
        b'{"state": "odd", "steps": []}',
        b'{"state": "done", "steps": 3}',
        b"\xff",
        b'{"state": "done", "steps": [1]}',
        b'{"state": "done", "steps": [], "heartbeat": 1e300}',
        b'{"state": "done", "steps": [], "epoch": "x"}',
        b'{"state": "done", "steps": [], "progress": {"done": 1, "total": 2, "unit": "a", "eta_seconds": Infinity}}',
    ],
)
def test_a_damaged_state_is_named(folder: Folder, content: bytes) -> None:
    folder.write(STATE, content)
    with pytest.raises(ValueError, match=rf"{STATE} is damaged .*; delete it"):
        read_state(folder)


def test_a_folder_in_the_place_of_the_state_is_named(folder: Folder) -> None:
    (folder.path / STATE).mkdir()
    with pytest.raises(ValueError, match="damaged"):
        read_state(folder)
