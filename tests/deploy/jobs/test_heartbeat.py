from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pytest

from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs import lease as leases
from skymetal.deploy.jobs import sightings
from skymetal.deploy.jobs.heartbeat import Heartbeat
from skymetal.deploy.jobs.lease import LeaseLost, take_lease
from skymetal.deploy.jobs.sightings import lease_name, look, this_process
from skymetal.deploy.jobs.state import CANCEL, DONE, RUNNING, STATE, JobState, Progress, read_state


@pytest.fixture
def heartbeat(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heartbeat]:
    monkeypatch.setattr(sightings, "RENEW_SECONDS", 0.05)
    beating = Heartbeat(folder, take_lease(folder, tell=print))
    beating.start()
    yield beating
    beating.stop()


def wait_for_interrupt() -> None:
    time.sleep(20)


def test_it_renews_the_lease_and_keeps_the_state_fresh(heartbeat: Heartbeat, folder: Folder) -> None:
    before = look(folder)
    heartbeat.begin(JobState(state=RUNNING, steps=("score",), step="score"))
    progress = Progress(done=3, total=9, unit="galaxies", rate=1.5, eta_seconds=4.0)
    heartbeat.update(progress=progress)
    time.sleep(0.3)
    state = read_state(folder)
    assert state is not None
    assert (state.state, state.step, state.progress) == (RUNNING, "score", progress)
    assert state.heartbeat == pytest.approx(time.time(), abs=5)
    assert look(folder) != before
    heartbeat.end(state=DONE, result="/catalogue")
    state = read_state(folder)
    assert state is not None
    assert (state.state, state.progress, state.result) == (DONE, None, "/catalogue")


def test_it_gives_the_lease_back(folder: Folder) -> None:
    beating = Heartbeat(folder, take_lease(folder, tell=print))
    beating.start()
    beating.stop()
    seen = look(folder)
    assert seen is not None
    assert seen.is_released


def test_it_interrupts_work_that_is_cancelled_but_not_the_leaving(heartbeat: Heartbeat, folder: Folder) -> None:
    heartbeat.begin(JobState(state=RUNNING))
    folder.write(CANCEL, b"")
    with pytest.raises(KeyboardInterrupt):
        wait_for_interrupt()
    assert heartbeat.is_cancelled
    time.sleep(0.3)  # once is enough


def test_a_cancel_heeds_nobody_where_no_step_is_at_work(heartbeat: Heartbeat, folder: Folder) -> None:
    folder.write(CANCEL, b"")
    time.sleep(0.3)
    assert not heartbeat.is_cancelled


def test_work_whose_lease_is_lost_is_interrupted_and_cannot_write_a_state(heartbeat: Heartbeat, folder: Folder) -> None:
    heartbeat.begin(JobState(state=RUNNING))
    other = dataclasses.replace(this_process(), host="node7", machine="node7")
    folder.write(lease_name(2), leases._content(other, 0))
    with pytest.raises(KeyboardInterrupt):
        wait_for_interrupt()
    written = folder.read(STATE)
    with pytest.raises(LeaseLost):
        heartbeat.end(state=DONE)
    assert heartbeat.lost is not None
    assert folder.read(STATE) == written


def test_a_disk_that_cannot_be_written_for_a_while_is_no_end(heartbeat: Heartbeat, folder: Folder) -> None:
    heartbeat.begin(JobState(state=RUNNING))
    lease, aside = folder.path / "lease", folder.path / "aside"
    lease.rename(aside)
    lease.write_text("")  # a file where the folder was: every write fails
    time.sleep(0.2)
    lease.unlink()
    aside.rename(lease)
    folder.remove(STATE)
    time.sleep(0.3)
    assert heartbeat.lost is None
    assert read_state(folder) is not None
