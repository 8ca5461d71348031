"""A Dask cluster as somebody else would start it: `dask scheduler` and `dask worker` processes on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from distributed import Client, Security

from skymetal.deploy.clusters.certs import make_certificates
from skymetal.deploy.clusters.security import CA, CERTIFICATE, KEY, load_security
from skymetal.deploy.clusters.settings import ClusterSettings

TESTS = Path(__file__).resolve().parent.parent
# What pytest and the editable installation add to the path, for what tests hand to workers.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}


def write_certificates(folder: Path, *, begins_days: float = -1, ends_days: float = 30) -> Path:
    now = datetime.now(UTC)
    made = make_certificates(
        ["localhost", "127.0.0.1"], begins=now + timedelta(days=begins_days), ends=now + timedelta(days=ends_days)
    )
    folder.mkdir(parents=True)
    for name, content in ((CA, made.ca), (CERTIFICATE, made.certificate), (KEY, made.key)):
        (folder / name).write_bytes(content)
    return folder


def security(tls_dir: Path) -> Security:
    found = load_security(ClusterSettings(tls_dir=str(tls_dir)))
    assert found is not None
    return found


def options(tls_dir: Path | None) -> list[str]:
    if tls_dir is None:
        return ["--protocol", "tcp"]
    files = [("ca-file", CA), ("cert", CERTIFICATE), ("key", KEY)]
    return ["--protocol", "tls", *(word for name, file in files for word in (f"--tls-{name}", str(tls_dir / file)))]


@dataclass(kw_only=True)
class Processes:
    """A scheduler and its workers; each may be killed, and started again.

    host is the scheduler's address, inside the command that starts it where that one is; config is Dask's, for all.
    """

    folder: Path
    tls_dir: Path | None
    host: str = "127.0.0.1"
    inside: Sequence[str] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{'tls' if self.tls_dir else 'tcp'}://{self.host}:{self.port}"

    @property
    def scheduler_file(self) -> Path:
        return self.folder / "scheduler.json"

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        self.scheduler_file.unlink(missing_ok=True)
        where = ["--host", self.host, "--port", str(self.port), "--dashboard-address", "127.0.0.1:0"]
        where += ["--scheduler-file", str(self.scheduler_file)]
        process = self._start("distributed.cli.dask_scheduler", *where, *options(self.tls_dir), wrapped=self.inside)
        deadline = time.monotonic() + 60
        found = None
        while not found:
            assert time.monotonic() < deadline, self.log()
            assert process.poll() is None, self.log()
            time.sleep(0.05)
            if self.scheduler_file.exists():  # written in place: it may not be whole
                found = re.search(r'"address": "\w+://[\d.]+:(\d+)"', self.scheduler_file.read_text())
        self.port = int(found[1])
        return process

    def start_worker(
        self,
        *,
        tls_dir: Path | None = None,
        env: Mapping[str, str] | None = None,
        wrapped: Sequence[str] = (),
        nanny: bool = False,
        resources: str = "",
        host: str = "127.0.0.1",
    ) -> subprocess.Popen[bytes]:
        more = ["--dashboard-address", "127.0.0.1:0", "--host", host, "--memory-limit", "0", "--nthreads", "1"]
        more += ["--nanny" if nanny else "--no-nanny", "--local-directory", str(self.folder / "scratch")]
        more += ["--resources", resources] if resources else []
        return self._start(
            "distributed.cli.dask_worker",
            self.address,
            *more,
            *options(tls_dir or self.tls_dir),
            env=env or {},
            wrapped=wrapped,
        )

    def start_gpu_workers(self) -> subprocess.Popen[bytes]:
        """Start `dask cuda worker`: a worker a GPU."""
        more = ["--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1", "--memory-limit", "0"]
        more += ["--local-directory", str(self.folder / "scratch")]
        return self._start("dask_cuda.cli", self.address, *more)

    def await_workers(self, number: int) -> None:
        guard = security(self.tls_dir) if self.tls_dir else None
        with Client(self.address, security=guard, timeout=30) as client:
            client.wait_for_workers(number, timeout=60)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def _start(
        self, module: str, *arguments: str, env: Mapping[str, str] | None = None, wrapped: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                [*wrapped, sys.executable, "-m", module, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **ENVIRONMENT, **self.config, **(env or {})},
                cwd=self.folder,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def close(self) -> None:
        for process in self.running:
            for each in family(process.pid):
                each.kill()
            process.wait(timeout=20)


def family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def connections(process: psutil.Process) -> list[psutil._common.pconn]:
    return [each for each in process.net_connections() if each.status == psutil.CONN_LISTEN]


@contextmanager
def processes(folder: Path, *, tls_dir: Path | None, num_workers: int = 0) -> Iterator[Processes]:
    folder.mkdir(parents=True, exist_ok=True)
    started = Processes(folder=folder, tls_dir=tls_dir)
    try:
        started.start_scheduler()
        for _ in range(num_workers):
            started.start_worker()
        if num_workers:
            started.await_workers(num_workers)
        yield started
    finally:
        started.close()
