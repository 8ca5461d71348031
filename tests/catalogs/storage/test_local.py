from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import TEMPORARY_PREFIX, LocalFolder, commit_receipt, file_digest, open_folder
from skymetal.catalogs.storage import digest as digest_of


def test_a_written_file_reads_back_and_is_listed(folder: LocalFolder) -> None:
    folder.write("a/b.bin", b"one")
    folder.write("a/c.bin", b"")
    assert folder.read("a/b.bin") == b"one"
    assert folder.size("a/b.bin") == 3
    assert folder.names("a/*.bin") == ["a/b.bin", "a/c.bin"]
    assert (folder / "a").exists("c.bin")
    assert not folder.exists("a/d.bin")


def test_a_second_write_replaces_the_first(folder: LocalFolder) -> None:
    folder.write("x", b"old")
    folder.write("x", b"new")
    assert folder.read("x") == b"new"
    folder.remove("x")
    folder.remove("x")
    assert not folder.exists("x")


def test_of_two_writers_the_first_wins(folder: LocalFolder) -> None:
    assert folder.put_if_absent("receipt", b"first")
    assert not folder.put_if_absent("receipt", b"second")
    assert folder.read("receipt") == b"first"
    assert folder.names("*") == ["receipt"]


def _put(folder: LocalFolder, text: bytes, results: multiprocessing.Queue[bool]) -> None:
    results.put(folder.put_if_absent("receipt", text * 1000))


def test_of_many_processes_exactly_one_wins(folder: LocalFolder) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bool] = context.Queue()
    writers = [context.Process(target=_put, args=(folder, bytes([65 + k]), results)) for k in range(8)]
    for writer in writers:
        writer.start()
    wins = [results.get(timeout=30) for _ in writers]
    for writer in writers:
        writer.join(timeout=30)
    assert wins.count(True) == 1
    assert len(set(folder.read("receipt"))) == 1


def _write_for_ever(folder: LocalFolder) -> None:
    while True:
        folder.write("big", os.urandom(1 << 20) + b"end")


def test_a_killed_writer_leaves_no_half_file(folder: LocalFolder) -> None:
    for pause in (0.02, 0.05, 0.11):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(folder,))
        writer.start()
        while not folder.exists("big"):
            time.sleep(0.005)
        time.sleep(pause)
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join(timeout=30)
        assert len(folder.read("big")) == (1 << 20) + 3
        assert folder.names("*") == ["big"]
    folder.sweep()
    assert [path.name for path in folder.path.iterdir()] == ["big"]


def test_a_sweep_takes_only_what_was_half_written(folder: LocalFolder) -> None:
    folder.write("a/keep", b"1")
    (folder.path / "a" / f"{TEMPORARY_PREFIX}host-1-0-keep").write_bytes(b"half")
    assert folder.sweep() == 1
    assert folder.names("**/*") == ["a", "a/keep"]


def test_an_equal_receipt_is_the_same_fact_and_another_is_an_error(folder: LocalFolder) -> None:
    commit_receipt(folder, "r", b"one")
    commit_receipt(folder, "r", b"one")
    with pytest.raises(RuntimeError, match="different result"):
        commit_receipt(folder, "r", b"two")


def test_a_folder_may_not_lead_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        open_folder(tmp_path / "file" / "run")


def test_digests_of_bytes_and_of_files_agree(folder: LocalFolder) -> None:
    folder.write("x", b"abc")
    assert file_digest(folder.path / "x") == digest_of(b"abc")
    assert digest_of(b"abc").startswith("ba7816bf")


def test_a_note_is_made_once_and_a_folder_goes_with_what_is_in_it(folder: LocalFolder) -> None:
    folder.mark("notes/a")
    assert folder.size("notes/a") == 0
    with pytest.raises(FileExistsError):
        folder.mark("notes/a")
    folder.remove_folder("notes")
    folder.remove_folder("notes")
    assert not folder.exists("notes")


def test_an_error_of_the_disk_says_which_file(folder: LocalFolder) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for write in (folder.write, folder.put_if_absent):
            with pytest.raises(OSError, match=r"File too large: '.*/big'") as error:
                write("big", bytes(2000))
            assert error.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert folder.names("*") == []
    assert not list(folder.path.iterdir())
