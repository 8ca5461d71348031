"""The local runner: the driver as a process of its own, which the end of the shell does not touch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import psutil

from skymetal.catalogs.storage import Folder
from skymetal.deploy.jobs.submission import DRIVER_LOG


def driver_command(drive: Sequence[str]) -> list[str]:
    """Return the command of a driver; drive is what follows ``skymetal drive``."""
    return [sys.executable, "-m", "skymetal", "drive", *drive]


def start_driver(folder: Folder, drive: Sequence[str]) -> tuple[int, float]:
    """Start a driver in a session of its own, its output in the log; return its process and when that began."""
    log = folder.on_this_machine("").path / DRIVER_LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        process = subprocess.Popen(
            driver_command(drive), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    return process.pid, psutil.Process(process.pid).create_time()
