"""The Dask runner: a task that starts the driver beside a worker and stays with it. Nobody waits for the task.

The driver is a process of its own, so that signals, logging and lease are the same as everywhere. It ends when its
standard input closes: with the worker, however that ends. Dask then runs the task again on another worker.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Sequence

from distributed import Client, fire_and_forget, secede

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, open_folder
from skymetal.deploy.jobs.local import driver_command
from skymetal.deploy.jobs.submission import DRIVER_LOG

logger = logging.getLogger(__name__)

RESOURCE = "JOB"
NUM_TRIES = 5
_PAUSE_SECONDS = 5.0


def send(client: Client, folder: Folder, drive: Sequence[str], *, key: str) -> None:
    """Have a worker with the resource JOB start the driver, and let go of it.

    Raises InputError where there is no such worker: the task would wait for ever.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not any(worker["resources"].get(RESOURCE) for worker in workers):
        raise InputError(
            f"no worker of {client.scheduler_info()['address']} has the resource {RESOURCE}; start one for drivers "
            f"with `dask worker … --resources {RESOURCE}=1`"
        )
    task = client.submit(coordinate, str(folder), list(drive), key=key, resources={RESOURCE: 1}, pure=False)
    fire_and_forget(task)


def coordinate(run_dir: str, drive: Sequence[str]) -> int:
    """Run a driver to its end; one that was killed is started again. Returns its exit code."""
    secede()  # blocks of the job may use this thread's place
    code = _run_driver(run_dir, drive)
    for _ in range(NUM_TRIES - 1):
        if code >= 0:  # it ended by itself, and state.json says how
            break
        logger.warning("the driver of %s was killed (%d), and is started again", run_dir, code)
        time.sleep(_PAUSE_SECONDS)
        code = _run_driver(run_dir, drive)
    return code


def _run_driver(run_dir: str, drive: Sequence[str]) -> int:
    log = open_folder(run_dir).on_this_machine("").path / DRIVER_LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "ab") as file,
        subprocess.Popen(
            driver_command([*drive, "--tied"]), stdin=subprocess.PIPE, stdout=file, stderr=file
        ) as process,
    ):
        return process.wait()
