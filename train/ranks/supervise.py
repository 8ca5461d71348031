"""A supervisor: the Dask task that starts one rank's process, passes on what it says, and sees that it ends."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
from distributed import Client, Event, Variable, Worker, get_worker

from skymetal.train.ranks.rank import RankOrder

logger = logging.getLogger(__name__)

ABORT_POLL_SECONDS = 0.5
NUM_LAST_LINES = 5


@dataclass(frozen=True, kw_only=True)
class RankTask:
    """One rank of one attempt at a fold. name is of the attempt, unique: its peers meet and are called off by it."""

    name: str
    plan: str
    fold: int
    rank: int
    size: int
    topic: str
    silence_seconds: float


@dataclass(frozen=True, kw_only=True)
class RankOutcome:
    """How a rank ended: failure is empty or the reason, is_final where another try would fail alike."""

    fold: int
    rank: int
    failure: str = ""
    is_final: bool = False
    was_called_off: bool = False


def supervise(task: RankTask) -> RankOutcome:
    """Run one rank to its end, whatever that is. Never raises."""
    try:
        return _supervise(task, get_worker())
    except BaseException as error:  # a SystemExit or a Rust panic would hang the client or kill the worker
        return RankOutcome(fold=task.fold, rank=task.rank, failure=f"{type(error).__name__}: {error}")


def call_off(name: str, client: Client | None = None) -> Event:
    """Return the event that calls off every rank of the attempt of that name; in a task the client is the worker's."""
    return Event(f"skymetal-off-{name}", client=client)


def is_open(name: str) -> Event:
    """Return the event that rank 0 of the attempt of that name can be met."""
    return Event(f"skymetal-open-{name}")


def _supervise(task: RankTask, worker: Worker) -> RankOutcome:
    off, meeting = call_off(task.name), Variable(f"skymetal-port-{task.name}")
    own_host = urlsplit(worker.address).hostname or "127.0.0.1"
    host, port = own_host, 0
    if task.rank > 0:
        found = _await_port(task.name, meeting, off, task.silence_seconds)
        if found is None:
            return RankOutcome(fold=task.fold, rank=task.rank, failure="rank 0 was not met", was_called_off=True)
        host, port = found
    order = RankOrder(
        plan=task.plan,
        fold=task.fold,
        rank=task.rank,
        size=task.size,
        host=host,
        port=port,
        timeout_seconds=task.silence_seconds,
        num_threads=worker.state.nthreads,
    )
    process = _start(order, own_host)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    last_words: deque[str] = deque(maxlen=NUM_LAST_LINES)
    readers = [
        threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True),
        threading.Thread(target=_read_words, args=(process.stderr, last_words), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        outcome = _listen(task, lines, off, worker, meeting, host)
    finally:
        _kill(process)
    if outcome is not None:
        return outcome
    readers[1].join(timeout=5)
    said = f": {' | '.join(last_words)}" if last_words else ""
    return RankOutcome(fold=task.fold, rank=task.rank, failure=f"its process ended with {process.returncode}{said}")


def _listen(
    task: RankTask, lines: queue.SimpleQueue[str | None], off: Event, worker: Any, meeting: Variable, host: str
) -> RankOutcome | None:
    """Pass on what the rank says until it is done, fails, falls silent or is called off; None where it just ended."""
    heard = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=ABORT_POLL_SECONDS)
        except queue.Empty:
            if off.is_set():
                return RankOutcome(fold=task.fold, rank=task.rank, failure="called off", was_called_off=True)
            if time.monotonic() - heard > task.silence_seconds:
                why = f"it was silent for {task.silence_seconds:g} s and was killed"
                return RankOutcome(fold=task.fold, rank=task.rank, failure=why)
            continue
        if line is None:
            return None
        heard, message = time.monotonic(), json.loads(line)
        if "epoch" in message:
            worker.log_event(task.topic, json.dumps(message["epoch"]))  # as text: to a dict Dask adds a key of its own
        elif "port" in message:
            meeting.set((host, message["port"]))
            is_open(task.name).set()
        elif "failure" in message:
            return RankOutcome(fold=task.fold, rank=task.rank, failure=message["failure"], is_final=message["is_final"])
        elif "done" in message:
            return RankOutcome(fold=task.fold, rank=task.rank)
        elif off.is_set():
            return RankOutcome(fold=task.fold, rank=task.rank, failure="called off", was_called_off=True)


def _await_port(name: str, meeting: Variable, off: Event, patience_seconds: float) -> tuple[str, int] | None:
    """Return where rank 0 is to be met; None where the attempt is called off first."""
    deadline, opened = time.monotonic() + patience_seconds, is_open(name)
    while time.monotonic() < deadline and not off.is_set():
        if opened.wait(timeout=ABORT_POLL_SECONDS):
            host, port = meeting.get(timeout=patience_seconds)
            return host, port
    return None


def _start(order: RankOrder, host: str) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    devices = environment.get("CUDA_VISIBLE_DEVICES", "")
    if devices:
        # dask-cuda rotates the list: the first is this worker's own.
        environment["CUDA_VISIBLE_DEVICES"] = devices.split(",")[0]
    interface = interface_of(host)
    if interface:
        environment |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    process = subprocess.Popen(
        [sys.executable, "-m", "skymetal.train.ranks.rank"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",  # a byte that is no text must not end the reader, and with it the rank
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(order.to_json() + "\n")
    process.stdin.flush()  # and left open: its end is how the rank learns of this worker's
    return process


def interface_of(host: str) -> str:
    """Return the network interface that has this address, or "" where none has: gloo would guess by the host's name."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == host for address in addresses):
            return str(name)
    return ""


def _read_lines(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _read_words(stream: IO[str], words: deque[str]) -> None:
    for line in stream:
        if line.strip():
            words.append(line.strip())


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        try:
            process.wait(timeout=0.5)  # one that has just said its last word leaves by itself
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
