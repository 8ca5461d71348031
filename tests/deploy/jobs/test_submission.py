from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs.submission import (
    Submission,
    claim_submission,
    latest_submission,
    note_refusal,
    update_submission,
)


def claim(folder: Folder) -> Submission:
    return claim_submission(folder, runner="local", steps=("ingest",), job_toml="[job]\n")


def test_a_submission_is_on_record_with_its_job_file(folder: Folder) -> None:
    assert latest_submission(folder) is None
    first = claim(folder)
    assert latest_submission(folder) == first
    assert folder.read(first.job_file) == b"[job]\n"
    update_submission(folder, replace(first, sent_id="123"))
    second = claim(folder)
    assert (first.number, second.number) == (1, 2)
    assert latest_submission(folder) == second


def test_of_many_who_submit_at_once_one_wins(folder: Folder) -> None:
    start, results = threading.Barrier(8), []

    def submit() -> None:
        start.wait()
        try:
            results.append(claim(folder).number)
        except InputError:
            results.append(0)

    all_of_them = [threading.Thread(target=submit) for _ in range(8)]
    for each in all_of_them:
        each.start()
    for each in all_of_them:
        each.join()
    numbers = [number for number in results if number]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))  # a later one may have seen the first


def test_why_a_submission_did_not_begin_is_on_record_masked(folder: Folder) -> None:
    first = claim(folder)
    note_refusal(folder, 1, "cannot reach http://me:hidden@proxy\x1b[2J")
    update_submission(folder, replace(first, sent_id="123"))
    latest = latest_submission(folder)
    assert latest is not None
    assert (latest.refused, latest.sent_id) == ("cannot reach http://***@proxy\\x1b[2J", "123")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"number": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_named(folder: Folder, content: bytes) -> None:
    folder.write("submissions/000001/record.json", content)
    with pytest.raises(ValueError, match=r"submissions/000001/record.json is damaged .*; delete it"):
        latest_submission(folder)
