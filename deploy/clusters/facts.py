"""What `cluster check` asks of each worker, there: what it sees, what it can write, what it computes on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass

from skymetal.catalogs.errors import StorageFailed, first_line
from skymetal.catalogs.storage import Folder, open_folder
from skymetal.deploy.clusters.devices import Device, find_device

WORD = "word"
REPLIES = "reply-*"
TRIAL_SECONDS = 90.0


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """What a worker found; a reason is "" where all is well. reply names the file it wrote.

    free_bytes is None in a bucket.
    """

    host: str
    device: Device
    unseen: str
    unwritten: str
    reply: str
    free_bytes: int | None
    device_failure: str = ""
    device_name: str = ""


def gather_facts(place: str, word: str, *, try_device: bool) -> WorkerFacts:
    """Look for the word that the client left in a folder of the run directory, and leave one there; never raises."""
    folder, device = open_folder(place), find_device()
    unseen = _look(folder, word)
    reply = f"reply-{uuid.uuid4().hex}"
    unwritten = "" if unseen else _write(folder, reply, word)
    failure, name = try_out() if try_device and device.name else ("", "")
    return WorkerFacts(
        host=socket.gethostname(),
        device=device,
        unseen=unseen,
        unwritten=unwritten,
        reply=reply,
        free_bytes=0 if unseen else folder.free_bytes(),
        device_failure=failure,
        device_name=name,
    )


def try_out() -> tuple[str, str]:
    """Compute something on this process's device, in a child; return why that failed, or "", and the device's name."""
    environment = dict(os.environ)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible:
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]  # dask-cuda rotates the list
    try:
        child = subprocess.run(
            [sys.executable, "-m", "skymetal.train.device_trial"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRIAL_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return f"a trial of it hung for {TRIAL_SECONDS:g} s", ""
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"its process ended with {child.returncode}"])[-1]
        return f"a trial of it failed: {last}", ""
    return "", str(json.loads(child.stdout)["name"])


def _look(folder: Folder, word: str) -> str:
    try:
        found = folder.read(WORD, max_bytes=4096).decode(errors="replace")
    except FileNotFoundError:
        return "what the client wrote there is not there: it is not on a disk that both see"
    except (OSError, StorageFailed) as error:
        return f"it cannot be read: {_say(error)}"
    return "" if found == word else "something else is there than the client wrote"


def _write(folder: Folder, name: str, word: str) -> str:
    try:
        folder.write(name, word.encode())
    except (OSError, StorageFailed) as error:
        return _say(error)
    return ""


def _say(error: OSError | StorageFailed) -> str:
    return getattr(error, "strerror", None) or first_line(error)
