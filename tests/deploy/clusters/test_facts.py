from __future__ import annotations

from pathlib import Path

import pytest

from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.clusters import facts
from skymetal.deploy.clusters.facts import WORD, gather_facts, try_out


def test_a_worker_reads_the_word_of_the_client_and_leaves_it_again(tmp_path: Path) -> None:
    (tmp_path / WORD).write_text("abc")
    found = gather_facts(str(tmp_path), "abc", try_device=False)
    assert (found.unseen, found.unwritten) == ("", "")
    assert (tmp_path / found.reply).read_text() == "abc"
    assert found.free_bytes > 0


def test_a_folder_of_that_name_on_another_disk_is_told_and_not_written(tmp_path: Path) -> None:
    found = gather_facts(str(tmp_path / "x"), "abc", try_device=False)
    assert found.unseen == "what the client wrote there is not there: it is not on a disk that both see"
    assert not (tmp_path / "x").exists()
    (tmp_path / WORD).write_text("of an earlier day")
    assert (
        gather_facts(str(tmp_path), "abc", try_device=False).unseen == "something else is there than the client wrote"
    )


def test_what_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / WORD).write_text("abc")
    monkeypatch.setattr(LocalFolder, "write", fail)
    assert gather_facts(str(tmp_path), "abc", try_device=False).unwritten == "No space left on device"


def test_a_device_that_cannot_be_used_is_found_out_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    failure, name = try_out()
    assert failure.startswith("a trial of it failed: ")
    assert name == ""
    monkeypatch.setattr(facts, "TRIAL_SECONDS", 0.05)
    assert try_out() == ("a trial of it hung for 0.05 s", "")


@pytest.mark.gpu
def test_a_device_that_works_has_a_name() -> None:
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has no GPU")
    failure, name = try_out()
    assert failure == ""
    assert name
