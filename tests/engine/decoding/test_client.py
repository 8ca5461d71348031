from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import hostile_child

from skymetal.engine.decoding.client import Decoder, Undecodable, shared_decoder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
COMMAND = (sys.executable, "-P", "-B", str(hostile_child.__file__))


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder]:
    decoder = Decoder(command=COMMAND, deadline_s=20)
    yield decoder
    decoder.close()


@pytest.fixture
def impatient() -> Iterator[Decoder]:
    decoder = Decoder(command=COMMAND, deadline_s=1)
    yield decoder
    decoder.close()


def ask(decoder: Decoder, function: str, num_answers: int = 1, **arguments: Any) -> list[Any]:
    return list(decoder.call(function, arguments, num_answers=num_answers, shape=(2, 3)))


def test_numbers_come_back_and_the_process_is_kept(shared: Decoder) -> None:
    ((fields, array),) = ask(shared, "echo", value=2.5)
    assert array.tolist() == [[2.5] * 3] * 2
    assert array.dtype == np.float32
    answers = ask(shared, "echo", 5, value=1.0, count=5)
    assert [fields["value"] for fields, _ in answers] == [1, 2, 3, 4, 5]
    assert {answer["pid"] for answer, _ in answers} == {fields["pid"]} == {shared.pid}


@pytest.mark.parametrize("function", ["hang", "spin"])
def test_one_that_does_not_answer_in_time_is_ended(impatient: Decoder, function: str) -> None:
    ask(impatient, "echo", value=0)
    pid, start = impatient.pid, time.monotonic()
    with pytest.raises(Undecodable, match=r"^timed out: the decoder took more than 1 s$"):
        ask(impatient, function)
    assert time.monotonic() - start < 2
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("crash", "crashed the decoder: SIGSEGV"),
        ("leave", "crashed the decoder: it ended with exit code 3"),
        ("eat", "out of memory: the decoder may not take as much as this file needs"),
        ("fail", r"unreadable FITS: ValueError, a\x1b[31m line"),
        ("wrong_shape", "crashed the decoder: it sent an array of another shape"),
        ("too_many", "crashed the decoder: it sent more than was asked for"),
        ("raw_junk", "crashed the decoder: it sent no proper answer"),
        ("write_file", "unreadable file: file too large"),
    ],
)
def test_what_goes_wrong_in_there_is_a_reason(shared: Decoder, tmp_path: Path, function: str, reason: str) -> None:
    arguments = {"path": str(tmp_path / "written")} if function == "write_file" else {}
    with pytest.raises(Undecodable) as error:
        ask(shared, function, **arguments)
    assert str(error.value) == reason
    assert ask(shared, "echo", value=1)[0][0]["value"] == 1


def test_what_a_library_prints_is_dropped(shared: Decoder, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(shared, "chatter") == [({"said": True}, None)]
    assert capfd.readouterr() == ("", "")


def test_one_that_was_killed_from_outside_is_asked_again(shared: Decoder, tmp_path: Path) -> None:
    before = ask(shared, "echo", value=0)[0][0]["pid"]
    os.kill(before, signal.SIGKILL)
    assert ask(shared, "echo", value=0)[0][0]["pid"] != before
    fields = [fields for fields, _ in ask(shared, "crash_once", 2, marker=str(tmp_path / "marker"))]
    assert fields == [{"number": 0}, {"number": 1}]


def test_a_call_that_is_given_up_leaves_nothing_for_the_next(shared: Decoder) -> None:
    answers = shared.call("echo", {"value": 7, "count": 9}, num_answers=9, shape=(2, 3))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert ask(shared, "echo", value=1)[0][0]["value"] == 1


def test_threads_get_their_own_answers(shared: Decoder) -> None:
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        answers = [ask(shared, "echo", 3, value=number * 100 + turn, count=3) for turn in range(20)]
        found[number] = [fields["value"] for three in answers for fields, _ in three]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {
        number: [number * 100 + turn + step for turn in range(20) for step in range(3)] for number in range(4)
    }


def test_a_command_that_cannot_start_is_told(tmp_path: Path) -> None:
    decoder = Decoder(command=(sys.executable, "-c", "raise SystemExit('no such module')"))
    with pytest.raises(RuntimeError, match="does not start: no such module"):
        ask(decoder, "echo", value=1)


@pytest.mark.parametrize("function", ["echo", "hang"])
def test_the_process_ends_with_its_caller(function: str) -> None:
    code = f"""
import sys, threading, time
from skymetal.engine.decoding.client import Decoder
decoder = Decoder(command={COMMAND!r})
ask = lambda *a, **k: list(decoder.call(*a, num_answers=1, shape=(2, 3), **k))
print(ask("echo", {{"value": 1}})[0][0]["pid"], flush=True)
ask("{function}", {{"value": 1}} if "{function}" == "echo" else {{}})
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        time.sleep(0.5)
        os.kill(pid, 0)
        caller.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the decoder outlived its caller")


def test_a_fork_has_a_decoder_of_its_own() -> None:
    mine = shared_decoder()
    assert shared_decoder() is mine
    child = os.fork()
    if child == 0:
        os._exit(0 if shared_decoder() is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
