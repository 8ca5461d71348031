"""A pass over several hosts, network namespaces with addresses of their own, whose links are cut; a dying scheduler.

SKYMETAL_CUT_SECONDS says for how long a link is cut that comes back; 8 if it is not set.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import dask_processes, poison, poisoned_store, runs
from support.dask_processes import Processes

from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.score import finish_score, score_block
from skymetal.engine.score_plan import ScorePlan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NUM_BLOCKS = 64
CUT_SECONDS = float(os.environ.get("SKYMETAL_CUT_SECONDS", "8"))
BRIDGE, NETWORK = "skymetal0", "10.213.77"
HOSTS = {f"skymetal-{name}": f"{NETWORK}.{number}" for number, name in enumerate("sabc", start=2)}
SCHEDULER, *WORKERS = HOSTS
# A worker that is silent is given up soon, not after Dask's five minutes.
CONFIG = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "4s", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "30"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> ScorePlan:
    """A pass that nothing went wrong in."""
    folder = LocalFolder(tmp_path_factory.mktemp("undisturbed"))
    plan = poisoned_store.make_plan(folder, {}, num_galaxies=16 * NUM_BLOCKS, shard_size=16)
    plan = dataclasses.replace(plan, predictor=poison.ref("tame"))
    for index in plan.missing_blocks():
        score_block(plan, index)
    finish_score(plan)
    return plan


class Drive:
    """A driver, a process of its own, that scores the undisturbed pass again, half a second a block."""

    def __init__(self, undisturbed: ScorePlan, path: Path, cluster: Processes, **settings: object) -> None:
        parts = LocalFolder(path / "parts")
        self.plan = dataclasses.replace(undisturbed, parts=parts, predictor=poison.ref("tame seconds=0.5"))
        (path / "plan").write_bytes(pickle.dumps(self.plan))
        section = json.dumps({"kind": "address", "address": cluster.address, **settings})
        self._command = [sys.executable, "-m", "support.drive", path / "plan", path / "scratch", section]
        self._log = path / "driver.log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **dask_processes.ENVIRONMENT}
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(self._command, env=environment, stderr=log)
        return self.process

    @property
    def num_done(self) -> int:
        return len(self.plan.parts.names("receipts/*.json"))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self._log.read_text()
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.02)

    def wait_for_more(self, number: int) -> None:
        target = self.num_done + number
        self.wait_until(lambda: self.num_done >= target)

    def assert_as(self, undisturbed: ScorePlan) -> None:
        assert self.process.wait(timeout=300) == 0, self._log.read_text()
        assert self.num_done == NUM_BLOCKS
        assert runs.contents(self.plan.parts.path) == runs.contents(undisturbed.parts.path)


def test_a_scheduler_killed_three_times_changes_no_byte(undisturbed: ScorePlan, tmp_path: Path) -> None:
    with dask_processes.processes(tmp_path / "cluster", tls_dir=None, num_workers=2) as cluster:
        drive = Drive(undisturbed, tmp_path, cluster)
        try:
            scheduler = cluster.running[0]
            for _ in range(3):
                drive.wait_for_more(6)
                scheduler.kill()
                scheduler = cluster.start_scheduler()
                for _ in range(2):
                    cluster.start_worker()  # those that were there end with their scheduler
            drive.assert_as(undisturbed)
        finally:
            drive.process.kill()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def can_make_hosts() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "skymetal-trial"], capture_output=True, check=False)
    if made.returncode == 0:
        ip("netns", "del", "skymetal-trial")
    return made.returncode == 0


@pytest.fixture
def hosts() -> Iterator[None]:
    """Namespaces on a bridge; this process is on it too."""
    if not can_make_hosts():
        pytest.skip("network namespaces need root and iproute2")
    remove_hosts()
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, (name, address) in enumerate(HOSTS.items()):
            ip("netns", "add", name)
            ip("link", "add", f"skyv{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"skyv{number}", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield
    finally:
        remove_hosts()


def remove_hosts() -> None:
    for words in (("link", "del", BRIDGE), *(("netns", "del", name) for name in HOSTS)):
        subprocess.run(["ip", *words], capture_output=True, check=False, timeout=20)


def inside(name: str) -> list[str]:
    return ["ip", "netns", "exec", name]


def set_link(name: str, state: str) -> None:
    ip("link", "set", f"skyv{list(HOSTS).index(name)}", state)


@pytest.mark.usefixtures("hosts")
def test_links_cut_for_a_while_and_for_good_and_a_killed_driver_change_no_byte(
    undisturbed: ScorePlan, tmp_path: Path
) -> None:
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    cluster = Processes(
        folder=tmp_path / "cluster", tls_dir=tls_dir, host=HOSTS[SCHEDULER], inside=inside(SCHEDULER), config=CONFIG
    )
    cluster.folder.mkdir()
    try:
        cluster.start_scheduler()
        for name in WORKERS:
            cluster.start_worker(host=HOSTS[name], wrapped=inside(name), nanny=True)
        cluster.await_workers(3)
        drive = Drive(undisturbed, tmp_path, cluster, tls_dir=str(tls_dir), num_workers=1)
        try:
            drive.wait_for_more(3)
            set_link(WORKERS[0], "down")
            begun = time.monotonic()
            drive.wait_for_more(6)
            set_link(WORKERS[1], "down")  # for good
            drive.wait_for_more(3)
            drive.process.kill()
            drive.process.wait(timeout=30)
            time.sleep(max(0.0, CUT_SECONDS - (time.monotonic() - begun)))
            set_link(WORKERS[0], "up")
            drive.start()
            drive.assert_as(undisturbed)
        finally:
            drive.process.kill()
    finally:
        cluster.close()
