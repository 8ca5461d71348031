from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, LocalFolder, ObjectFolder
from skymetal.deploy.jobs import lease as leases
from skymetal.deploy.jobs import sightings
from skymetal.deploy.jobs.lease import Lease, LeaseLost
from skymetal.deploy.jobs.sightings import Holder, find_alive, lease_name, look, this_process

ELSEWHERE = dataclasses.replace(this_process(), host="node7", machine="node7 another-boot pid:[1]")


def silent(text: str) -> None:
    pass


def take_lease(folder: Folder, tell: Callable[[str], None] = silent) -> Lease:
    return leases.take_lease(folder, tell=tell)


def write_lease(folder: Folder, holder: Holder, *, epoch: int = 1, beat: int = 0, is_released: bool = False) -> None:
    folder.write(lease_name(epoch), leases._content(holder, beat, is_released=is_released))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "STALE_SECONDS", 0.4)


def test_a_lease_is_held_by_one_until_it_is_given_back(folder: Folder) -> None:
    first = take_lease(folder)
    with pytest.raises(InputError, match=rf"another skymetal \(process {first.holder.pid}\) is at work in {folder}"):
        take_lease(folder)
    first.release()
    assert take_lease(folder).epoch == first.epoch + 1
    assert folder.names("lease/*") == [lease_name(2)]


def test_a_holder_that_died_on_this_machine_is_recognised_at_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "STALE_SECONDS", 3600)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        dead = dataclasses.replace(this_process(), pid=process.pid, started=time.time())
    write_lease(folder, dead)
    assert not find_alive([folder])[0].is_alive
    assert take_lease(folder).epoch == 2


def test_another_process_under_the_number_of_a_dead_holder_is_not_taken_for_it(folder: Folder) -> None:
    write_lease(folder, dataclasses.replace(this_process(), started=this_process().started - 60))
    assert take_lease(folder).epoch == 2


def test_a_silent_holder_elsewhere_is_watched_then_succeeded(folder: Folder) -> None:
    write_lease(folder, ELSEWHERE)
    said: list[str] = []
    start = time.monotonic()
    assert take_lease(folder, said.append).epoch == 2
    assert time.monotonic() - start >= 0.4
    assert said == [
        f"process {ELSEWHERE.pid} on node7 was at work in {folder} and did not say that it ended; "
        "watching for up to 0.4 s whether it is alive"
    ]


def test_a_holder_elsewhere_that_renews_its_lease_is_at_work_whatever_its_clock_says(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "STALE_SECONDS", 30)
    write_lease(folder, ELSEWHERE)
    timer = threading.Timer(0.3, write_lease, [folder, ELSEWHERE], {"beat": 1})
    timer.start()
    with pytest.raises(InputError, match=rf"process {ELSEWHERE.pid} on node7\) is at work"):
        take_lease(folder)
    timer.join()


def test_a_lease_that_cannot_be_read_is_watched_like_any_other(folder: Folder) -> None:
    folder.write(lease_name(4), b"{")
    assert take_lease(folder).epoch == 5


def test_what_is_no_lease_among_the_leases_is_passed_over(folder: Folder) -> None:
    write_lease(folder, dataclasses.replace(this_process(), started=this_process().started - 60))
    before = look(folder)
    folder.write("lease/copy of 000000003.json", b"{}")
    assert look(folder) == before


def test_a_dangling_link_among_the_leases_is_watched_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "lease").mkdir()
    (tmp_path / "lease" / "000000009.json").symlink_to("nowhere")
    assert take_lease(LocalFolder(tmp_path)).epoch == 10


def test_of_many_who_take_a_stale_lease_over_at_once_one_wins(folder: Folder) -> None:
    write_lease(folder, ELSEWHERE)
    start, results = threading.Barrier(8), []

    def take() -> None:
        start.wait()
        try:
            results.append(take_lease(folder).epoch)
        except InputError:
            results.append(0)

    takers = [threading.Thread(target=take) for _ in range(8)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert sorted(results) == [0] * 7 + [2]


def test_a_holder_that_was_taken_over_may_neither_renew_nor_write_nor_release(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = take_lease(folder)
    late.confirm()
    write_lease(folder, ELSEWHERE, epoch=2)
    late.confirm()  # renewed just now: nobody can have taken over honestly, and nothing is read
    monkeypatch.setattr(leases, "_own_seconds", lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 60)
    with pytest.raises(LeaseLost, match=r"node7\) has taken .* over, as this one gave no sign of life"):
        late.confirm()
    with pytest.raises(LeaseLost):
        late.renew()
    late.release()
    seen = look(folder)
    assert seen is not None
    assert (seen.holder, seen.is_released) == (ELSEWHERE, False)


def test_a_holder_frozen_between_its_look_and_its_renewal_is_not_taken_for_a_fresh_one(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = take_lease(folder)
    write = LocalFolder.write

    def frozen(self: Folder, name: str, data: bytes, *, flush: bool = True) -> None:
        monkeypatch.setattr(LocalFolder, "write", write)
        time.sleep(sightings.STALE_SECONDS)
        write_lease(folder, ELSEWHERE, epoch=2)
        write(self, name, data, flush=flush)

    monkeypatch.setattr(LocalFolder, "write", frozen)
    late.renew()
    with pytest.raises(LeaseLost, match=r"node7\) has taken"):
        late.confirm()


def test_a_holder_that_slept_and_was_not_taken_over_goes_on(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    held = take_lease(folder)
    monkeypatch.setattr(leases, "_own_seconds", lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 60)
    held.confirm()
    held.renew()


def test_a_lease_made_late_below_a_higher_one_does_not_count(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its look and its put, others took the lease and gave it back, and swept the epoch that it wants."""
    write_lease(folder, ELSEWHERE, epoch=1, is_released=True)
    put = LocalFolder.put_if_absent

    def overtaken(self: Folder, name: str, data: bytes) -> bool:
        monkeypatch.setattr(LocalFolder, "put_if_absent", put)
        write_lease(self, ELSEWHERE, epoch=3, is_released=True)
        self.remove(lease_name(1))
        return put(self, name, data)

    monkeypatch.setattr(LocalFolder, "put_if_absent", overtaken)
    assert take_lease(folder).epoch == 4
    assert folder.names("lease/*") == [lease_name(4)]


def test_several_silent_holders_are_watched_at_the_same_time(folder: Folder) -> None:
    places = [folder / str(number) for number in range(5)]
    for place in places:
        write_lease(place, ELSEWHERE)
    start = time.monotonic()
    verdicts = find_alive([*places, folder / "none"])
    assert time.monotonic() - start < 1.5
    assert [(each.is_alive, each.epoch) for each in verdicts] == [(False, 1)] * 5 + [(False, 0)]


@pytest.mark.slow
def test_in_a_bucket_one_driver_holds_the_lease_and_one_that_was_taken_over_finds_out(objects: ObjectFolder) -> None:
    first = take_lease(objects)
    with pytest.raises(InputError, match=rf"another skymetal \(process {first.holder.pid}\) is at work in s3://"):
        take_lease(objects)
    first.release()
    write_lease(objects, ELSEWHERE, epoch=2)
    second = take_lease(objects)  # nobody renews it
    assert second.epoch == 3
    assert objects.names("lease/*") == [lease_name(3)]
    write_lease(objects, ELSEWHERE, epoch=4)
    with pytest.raises(LeaseLost, match=r"process \d+ on node7\) has taken s3://"):
        second.renew()
