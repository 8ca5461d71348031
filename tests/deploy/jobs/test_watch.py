from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, LocalFolder
from skymetal.deploy.jobs import lease as leases
from skymetal.deploy.jobs.sightings import lease_name, this_process
from skymetal.deploy.jobs.state import CANCEL, DONE, FAILED, RUNNING, STATE, STOPPED, WAITING, JobState, write_state
from skymetal.deploy.jobs.submission import DRIVER_LOG, claim_submission, note_refusal, update_submission
from skymetal.deploy.jobs.watch import DAMAGED, LOST, STOPPING, View, find_job, find_jobs, follow_log, observe, wait

HERE = this_process()


def submit(folder: Folder, *, sent_id: str = "", started: float = 0.0) -> None:
    submission = claim_submission(folder, runner="local", steps=("ingest",), job_toml="")
    update_submission(folder, replace(submission, sent_id=sent_id, started=started))


def hold(folder: Folder, *, pid: int = HERE.pid, is_released: bool = False) -> None:
    holder = replace(HERE, pid=pid)
    folder.write(lease_name(1), leases._content(holder, 0, is_released=is_released))


def write(folder: Folder, state: str, *, submission: int = 0, epoch: int = 1, reason: str = "") -> None:
    write_state(folder, JobState(state=state, submission=submission, epoch=epoch, reason=reason, pid=12, host="vm"))


def see(folder: Folder) -> tuple[str, str]:
    view = observe([folder])[0]
    return view.state, view.reason


@pytest.fixture(scope="module")
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_a_job_that_was_sent_waits_until_its_driver_begins(folder: Folder) -> None:
    submit(folder, sent_id="dask-key")
    assert see(folder) == (WAITING, "sent to local as dask-key")
    hold(folder)
    assert see(folder) == (RUNNING, "")
    write(folder, DONE, submission=1)
    hold(folder, is_released=True)
    assert see(folder) == (DONE, "")
    submit(folder)
    assert see(folder)[0] == WAITING


def test_a_local_driver_that_died_before_it_began_has_failed(folder: Folder, dead_pid: int) -> None:
    submit(folder, sent_id=str(dead_pid), started=time.time())
    assert see(folder) == (FAILED, f"its driver ended before it began; see {DRIVER_LOG}")


def test_a_driver_that_could_not_begin_has_failed_for_its_reason(folder: Folder) -> None:
    submit(folder)
    note_refusal(folder, 1, "another skymetal is at work")
    assert see(folder) == (FAILED, "another skymetal is at work")


def test_a_job_that_is_told_to_stop_is_stopping_until_it_has(folder: Folder) -> None:
    hold(folder)
    write(folder, RUNNING)
    folder.write(CANCEL, b"")
    assert see(folder) == (STOPPING, "told to stop")
    write(folder, STOPPED, reason="cancelled")
    hold(folder, is_released=True)
    assert see(folder) == (STOPPED, "cancelled")


def test_a_job_cancelled_before_it_began_is_stopped(folder: Folder) -> None:
    submit(folder)
    folder.write(CANCEL, b"")
    assert see(folder) == (STOPPED, "cancelled before it began")
    write(folder, WAITING, submission=1)
    assert see(folder) == (STOPPED, "cancelled before it began again")


def test_a_driver_that_is_gone_without_a_word_leaves_a_lost_job(folder: Folder, dead_pid: int) -> None:
    hold(folder, pid=dead_pid)
    assert see(folder)[0] == LOST
    write(folder, RUNNING)
    assert see(folder) == (LOST, "its driver, process 12 on vm, is gone without a word")
    write(folder, FAILED, reason="no space")  # the lease alone was not given back
    assert see(folder) == (FAILED, "no space")


def test_a_driver_that_begins_while_one_looks_is_not_taken_for_lost(folder: Folder, dead_pid: int) -> None:
    hold(folder, pid=dead_pid)
    write(folder, RUNNING, epoch=2)  # written by the one that took over after the look at the lease
    assert see(folder) == (RUNNING, "")


def test_damaged_files_are_a_state_of_their_own(folder: Folder) -> None:
    folder.write(STATE, b"{")
    state, reason = see(folder)
    assert state == DAMAGED
    assert f"{folder}/{STATE} is damaged" in reason


def test_jobs_are_found_below_a_folder_and_odd_things_passed_over(tmp_path: Path) -> None:
    for name in ("a/run", "b", "a/deep/er/run"):
        write(LocalFolder(tmp_path / name), DONE)
    (tmp_path / "b" / "inside").mkdir()
    write(LocalFolder(tmp_path / "b" / "inside"), DONE)  # a job in a run directory is none of the list's
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    (tmp_path / "c\x1b[2J").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "locked").mkdir(mode=0)
    found = [str(folder.path.relative_to(tmp_path)) for folder in find_jobs(tmp_path)]
    assert found == ["a/deep/er/run", "a/run", "b"]
    with pytest.raises(InputError, match="is not a folder"):
        find_jobs(tmp_path / "file")


def test_a_place_without_a_job_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_job(tmp_path / "none")
    with pytest.raises(InputError, match=r"no job has run in .*; `skymetal submit JOB`"):
        find_job(tmp_path)
    write(LocalFolder(tmp_path), DONE)
    assert find_job(tmp_path).path == tmp_path


def test_waiting_ends_with_the_job_or_with_its_time(folder: Folder) -> None:
    hold(folder)
    write(folder, RUNNING)
    assert wait(folder, timeout_seconds=0.1, every_seconds=0.05) is None

    def end() -> None:
        write(folder, DONE)
        hold(folder, is_released=True)

    timer = threading.Timer(0.3, end)
    timer.start()
    view = wait(folder, timeout_seconds=20, every_seconds=0.05)
    timer.join()
    assert isinstance(view, View)
    assert view.state == DONE


def test_a_log_is_followed_until_the_job_ends(folder: Folder) -> None:
    hold(folder)
    write(folder, RUNNING)
    folder.write(DRIVER_LOG, b"one\ntw")

    def go_on() -> None:
        with open(folder.path / DRIVER_LOG, "ab") as file:
            file.write(b"o\nthr\xffee")
        write(folder, DONE)
        hold(folder, is_released=True)

    timer = threading.Timer(0.3, go_on)
    timer.start()
    lines = list(follow_log(folder, is_followed=True, every_seconds=0.05))
    timer.join()
    assert lines == ["one", "two", "thr�ee"]
    assert list(follow_log(folder, is_followed=False)) == lines


def test_a_job_without_a_log_yet_says_so(folder: Folder) -> None:
    write(folder, DONE)
    with pytest.raises(InputError, match="there is no log"):
        list(follow_log(folder, is_followed=False))


def test_a_pipe_in_the_place_of_the_log_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    os.mkfifo(tmp_path / DRIVER_LOG)
    with pytest.raises(InputError, match="there is no log"):
        list(follow_log(LocalFolder(tmp_path), is_followed=False))
