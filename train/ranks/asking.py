"""What the scheduler says of workers and tasks, and what to make of it when it says nothing."""

from __future__ import annotations

import logging
import time
from concurrent.futures import CancelledError
from typing import Any
from urllib.parse import urlsplit

from distributed import Client, Future

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


def worker_hosts(client: Client) -> dict[str, str] | None:
    """Return the address of every worker and the host it is on; None where the scheduler cannot be asked."""
    try:
        if client.status != "running":
            return None
        addresses = client.scheduler_info(n_workers=-1)["workers"]
    except (OSError, ValueError, KeyError):
        return None
    return {address: urlsplit(address).hostname or address for address in addresses}


def wait_for(future: Future[str], client: Client, patience_seconds: float) -> str:
    """Return what a task returned, or why it did not; waits no longer than patience_seconds without any worker."""
    last_sign = time.monotonic()
    while not future.done():
        time.sleep(POLL_SECONDS)
        if worker_hosts(client):
            last_sign = time.monotonic()
        elif time.monotonic() - last_sign > patience_seconds:
            return f"no worker for {patience_seconds:g} s"
    return task_result(future) or ""


def task_result(future: Future[Any]) -> Any:
    """Return what a task returned, or why it did not, as text. The task itself never raises: that is Dask's word."""
    try:
        if future.status == "finished":
            return future.result(timeout=10)
        if future.status == "error":
            return str(future.exception(timeout=10))
        logger.info("task %s ended as %s", future.key, future.status)
    except (TimeoutError, CancelledError, OSError) as error:
        logger.info("a task ended, but what it returned is lost with its worker: %s", error)
    return "its worker died"
