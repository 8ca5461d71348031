from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from support.cutout_server import read_log, start_server

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.web.pace import MAX_AHEAD_S, NUM_FAILURES, RECORD_BYTES, Pacer, ServiceDown

pytestmark = pytest.mark.timeout(30)
TESTS = Path(__file__).resolve().parent.parent
ASK = """
import sys
from pathlib import Path
from skymetal.catalogs.web.http import FetchLimits, fetch_patiently
from skymetal.catalogs.web.pace import Pacer
folder, url, name, count, rate = sys.argv[1:]
pacer = Pacer(folder=Path(folder), host="127.0.0.1", requests_per_second=float(rate))
for number in range(int(count)):
    fetch_patiently(f"{url}?ra={number}&dec={name}&width=16", limits=FetchLimits(), user_agent="test/1", pacer=pacer)
"""


def pacer(folder: Path, rate: float = 1000.0, host: str = "sky.example") -> Pacer:
    return Pacer(folder=folder, host=host, requests_per_second=rate)


def elapsed(pacer: Pacer, turns: int = 1) -> float:
    start = time.monotonic()
    for _ in range(turns):
        assert pacer.wait()
    return time.monotonic() - start


def start_asking(folder: Path, url: str, name: int, count: int, rate: float) -> subprocess.Popen[bytes]:
    arguments = map(str, (folder, url, name, count, rate))
    return subprocess.Popen([sys.executable, "-c", ASK, *arguments], env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_four_processes_together_keep_to_the_rate_though_one_is_killed(tmp_path: Path) -> None:
    rate, count = 40.0, 50
    with start_server(tmp_path / "log", faults={}) as url:
        children = [start_asking(tmp_path, url, name, count, rate) for name in range(4)]
        try:
            while len(read_log(tmp_path / "log")) < 40:
                time.sleep(0.02)
            children[0].send_signal(signal.SIGKILL)
            assert [child.wait(timeout=40) for child in children] == [-signal.SIGKILL, 0, 0, 0]
        finally:
            for child in children:
                child.kill()
                child.wait()
    times = sorted(request.time for request in read_log(tmp_path / "log"))
    assert 3 * count <= len(times) < 4 * count
    worst = max(
        (later - earlier + 1) - rate * (times[later] - times[earlier])
        for earlier in range(len(times))
        for later in range(earlier, len(times))
    )
    assert worst <= 1 + 0.1 * rate  # how far the way to the server may delay one request more than another
    assert len(times) / (times[-1] - times[0]) > rate / 2


def test_turns_are_spread_over_threads_of_one_process_too(tmp_path: Path) -> None:
    moments: list[float] = []

    def ask() -> None:
        own = pacer(tmp_path, rate=50)
        for _ in range(5):
            assert own.wait()
            moments.append(time.time())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moments.sort()
    assert moments[-1] - moments[0] >= 19 / 50 - 0.02
    assert moments[-1] - moments[0] < 2


def test_who_overslept_does_not_start_together_with_the_next(tmp_path: Path) -> None:
    own = pacer(tmp_path, rate=10)
    starts = []
    for _ in range(3):
        assert own.wait()
        starts.append(json.loads(own.path.read_bytes())["started"])
    record = json.loads(own.path.read_bytes())
    record["next_turn"] -= 0.3  # as though the last three turns had been taken long ago, and begun late
    own.path.write_bytes(json.dumps(record).encode().ljust(511) + b"\n")
    assert own.wait()
    starts.append(json.loads(own.path.read_bytes())["started"])
    assert all(later - earlier >= 0.0999 for earlier, later in pairwise(starts))


def test_hold_pushes_back_those_who_sleep_already(tmp_path: Path) -> None:
    own = pacer(tmp_path, rate=5)
    own.wait()
    ended: list[float] = []
    start = time.monotonic()
    sleeper = threading.Thread(target=lambda: own.wait() and ended.append(time.monotonic() - start))
    sleeper.start()
    time.sleep(0.05)
    pacer(tmp_path, rate=5).hold(0.6)
    sleeper.join()
    assert 0.6 <= ended[0] < 1.5


def test_waiting_ends_when_the_caller_stops(tmp_path: Path) -> None:
    own = pacer(tmp_path, rate=0.1)
    assert own.wait()
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    assert not own.wait(stopping)


def test_turns_so_far_ahead_that_the_file_would_look_damaged_are_not_taken(tmp_path: Path) -> None:
    own = pacer(tmp_path, rate=0.001)
    waiting = []
    stopping = threading.Event()
    for _ in range(8):  # 8000 s of turns
        waiting.append(threading.Thread(target=own.wait, args=(stopping,)))
        waiting[-1].start()
    time.sleep(0.3)
    stopping.set()
    for thread in waiting:
        thread.join()
    before = own.path.read_bytes()
    own.check()
    assert MAX_AHEAD_S / 2 < json.loads(before)["next_turn"] - time.time() <= MAX_AHEAD_S + 1000
    own.reset()
    assert own.path.read_bytes() == before, "the file was taken for damaged"


@pytest.mark.parametrize(
    "damage",
    [
        b"\0" * 512,
        b"junk",
        b"[]",
        b"\xff" * 5000,
        b'{"next_turn": NaN, "started": 0, "held_until": 0, "num_failures": 0, "reason": "", '
        b'"num_declined": 0, "has_given": false}',
        b'{"next_turn": 1e18, "started": 0, "held_until": 0, "num_failures": 0, "reason": "", '
        b'"num_declined": 0, "has_given": false}',
        b'{"next_turn": 0, "started": 9e9, "held_until": 0, "num_failures": 0, "reason": "", '
        b'"num_declined": 0, "has_given": false}',
        b'{"next_turn": 0, "started": 0, "held_until": 9e9, "num_failures": 0, "reason": "", '
        b'"num_declined": 0, "has_given": false}',
        b'{"next_turn": 0, "started": 0, "held_until": 0, "num_failures": "many", "reason": "", '
        b'"num_declined": 0, "has_given": false}',
        b'{"next_turn": "x", "started": 0}',
    ],
)
def test_a_damaged_file_and_a_clock_that_jumped_heal(tmp_path: Path, damage: bytes) -> None:
    own = pacer(tmp_path, rate=200)
    own.path.write_bytes(damage)
    own.check()
    assert 0.2 < elapsed(own) < 1.5  # turns that are forgotten, but may be taken, pass first
    assert elapsed(own, turns=3) < 0.5


def test_a_worker_killed_at_any_moment_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    code = ASK.replace("for number", "while True: pacer.wait(); pacer.failed('x' * 90)\nfor number")
    for delay in (0.0, 0.011, 0.023, 0.037):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), "", "0", "1", "1e6"])
        path = pacer(tmp_path, host="127.0.0.1").path
        while not path.exists() or not path.read_bytes():
            time.sleep(0.005)
        time.sleep(delay)
        child.kill()
        child.wait()
        record = path.read_bytes()
        assert len(record) == 512
        assert json.loads(record)["num_failures"] >= 0
        path.unlink()


def test_many_failures_in_a_row_mean_that_the_service_is_down(tmp_path: Path) -> None:
    own = pacer(tmp_path)
    for _ in range(NUM_FAILURES - 1):
        own.failed("HTTP 503: service unavailable")
    own.check()
    own.succeeded()
    for _ in range(NUM_FAILURES):
        own.check()
        own.failed("HTTP 503: service unavailable\x1b[2J")
    with pytest.raises(ServiceDown) as caught:
        pacer(tmp_path).check()
    assert str(caught.value) == (
        "sky.example failed for 20 galaxies in a row, the last time with 'HTTP 503: service unavailable\\\\x1b[2J'; "
        "it is down, cannot be reached from here, or refuses to serve you"
    )
    pacer(tmp_path, host="other.example").check()
    own.reset()
    own.check()


def test_galaxies_that_are_declined_count_until_one_was_given(tmp_path: Path) -> None:
    own = pacer(tmp_path)
    for count in range(1, 4):
        own.declined("HTTP 404: not found")
        assert pacer(tmp_path).num_declined() == (count, "HTTP 404: not found")
    own.reset()
    assert own.num_declined()[0] == 0
    own.succeeded()
    own.declined("HTTP 404: not found")
    own.reset()
    own.declined("HTTP 404: not found")
    assert own.num_declined()[0] == 0


@pytest.mark.parametrize("reason", ["not HTTP: " + "é" * 80, "\U0001f300" * 99, "\0" * 99, "\\" * 99, '"' * 99])
def test_no_reason_outgrows_the_record(tmp_path: Path, reason: str) -> None:
    own = pacer(tmp_path)
    own.failed(reason)
    with pytest.raises(ServiceDown, match="failed for a galaxy, the last time with"):
        pacer(tmp_path).check(1)
    assert own.path.stat().st_size == RECORD_BYTES
    assert elapsed(own) < 1


def test_a_disk_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be locked and written"):
        pacer(tmp_path / "file" / "folder").reset()
    own = pacer(tmp_path, host="::1")
    assert own.path.name == "pace-__1.json"
    own.path.mkdir()
    with pytest.raises(InputError, match="name a folder on another disk"):
        own.reset()
