"""A cluster that somebody else started: by its scheduler's ``address``, or the ``scheduler-file`` it wrote."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, Security
from distributed.versions import VersionMismatchWarning

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.endpoint import parse_address, refuse_unguarded
from skymetal.deploy.clusters.peers import look_at
from skymetal.deploy.clusters.security import ClusterUnusable, load_security
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.console import say

POLL_SECONDS = 0.5


@contextmanager
def connect_by_address(settings: ClusterSettings, scratch: Path) -> Iterator[Client]:
    """Connect to a scheduler by its address; the cluster outlives the block."""
    with connected(settings.address, settings, where=f"[cluster] address {settings.address}") as client:
        yield client


@contextmanager
def connect_by_file(settings: ClusterSettings, scratch: Path) -> Iterator[Client]:
    """Connect to the scheduler that wrote, or is about to write, a scheduler file; the cluster outlives the block."""
    address = _await_file(Path(settings.scheduler_file), seconds=60 * settings.start_timeout_min)
    where = f"the scheduler at {address}, named in {settings.scheduler_file},"
    with connected(address, settings, where=where) as client:
        yield client


@contextmanager
def connected(
    address: str, settings: ClusterSettings, *, where: str, num_workers: int | None = None
) -> Iterator[Client]:
    """Connect to a scheduler, wait for its workers: those of the settings."""
    endpoint = parse_address(address, where=where)
    refuse_unguarded(endpoint, tls_dir=settings.tls_dir, insecure=settings.insecure, where=where)
    security, seconds = load_security(settings), 60 * settings.start_timeout_min

    def refusal() -> str:
        refused = look_at(endpoint, security)
        if refused and not refused.may_pass:
            raise ClusterUnusable(f"{where} cannot be used: {refused.reason}")
        return refused.reason if refused else ""

    _wait(refusal, seconds, what=where)
    with open_client(address, security, seconds) as client:
        await_workers(client, num_workers or max(settings.num_workers, 1), seconds)
        yield client


@contextmanager
def open_client(address: str, security: Security | None, seconds: float) -> Iterator[Client]:
    """Give a client of a scheduler that we do not own; it comes back by itself for so long when the scheduler does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)  # told in our own words
        try:
            client = Client(address, security=security, timeout=seconds)
        except (OSError, ImportError) as error:
            raise ClusterUnusable(f"the scheduler at {address} cannot be used: {error}") from error
    try:
        yield client
    finally:
        client.close()


def await_workers(client: Client, number: int, seconds: float) -> None:
    """Wait until so many workers are there. Raises ClusterUnusable when the time is up."""

    def missing() -> str:
        there = len(client.scheduler_info(n_workers=-1)["workers"])
        return "" if there >= number else f"{there} of {number} workers are there"

    _wait(missing, seconds, what="the cluster")


def _await_file(path: Path, *, seconds: float) -> str:
    found: list[str] = []

    def missing() -> str:
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return "the scheduler has not written it"
        except ValueError:
            return "it is not whole"  # Dask writes it in place
        except OSError as error:
            raise InputError(f"[cluster] scheduler_file {path} cannot be read: {error.strerror}") from error
        if not isinstance(content, dict) or not isinstance(content.get("address"), str):
            raise InputError(
                f"[cluster] scheduler_file {path} names no address; is it one that `dask scheduler` wrote?"
            )
        found.append(content["address"])
        return ""

    _wait(missing, seconds, what=f"[cluster] scheduler_file {path}")
    return found[0]


def _wait(lacking: Callable[[], str], seconds: float, *, what: str) -> None:
    """Ask until nothing is lacking; say once that there is a wait. Raises ClusterUnusable when the time is up."""
    deadline, was_told = time.monotonic() + seconds, False
    while reason := lacking():
        if time.monotonic() > deadline:
            raise ClusterUnusable(
                f"{what}: {reason}, after {seconds:g} s; see to it, or raise [cluster] start_timeout_min"
            )
        if not was_told:
            say(f"{what}: {reason}; waiting for at most {seconds:g} s")
            was_told = True
        time.sleep(POLL_SECONDS)
