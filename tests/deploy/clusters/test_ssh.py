"""Workers by SSH: a server of our own on loopback, where Debian's openssh-server is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support import brightness, dask_processes

from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.security import ClusterUnusable
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.deploy.clusters.survey import _read_settings
from skymetal.engine.blocks import map_over_blocks

pytest.importorskip("asyncssh", reason="asyncssh is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose ~/.ssh knows the server that runs meanwhile."""
    if SSHD is None:
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    path = tmp_path_factory.mktemp("home")
    keys = path / ".ssh"
    keys.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("id_ed25519", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True, timeout=20)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = [
        f"Port={port}",
        "ListenAddress=127.0.0.1",
        f"HostKey={keys / 'host'}",
        f"AuthorizedKeysFile={keys / 'id_ed25519.pub'}",
        "StrictModes=no",
        "UsePAM=no",
        "PidFile=none",
    ]
    (keys / "config").write_text(f"Host 127.0.0.1\n  Port {port}\n")
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {(keys / 'host.pub').read_text()}")
    server = subprocess.Popen([SSHD, "-D", "-f", "/dev/null", *(word for each in settings for word in ("-o", each))])
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            assert server.poll() is None
            time.sleep(0.1)
    yield path
    server.terminate()
    server.wait(timeout=10)


@pytest.fixture
def settings(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterSettings:
    monkeypatch.setenv("HOME", str(home))
    # What a login shell there would set.
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="{dask_processes.ENVIRONMENT["PYTHONPATH"]}" exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    return ClusterSettings(
        kind="ssh", hosts=("127.0.0.1",) * 3, tls_dir=str(tls_dir), python=str(python), start_timeout_min=1.0
    )


def spec_processes() -> list[psutil.Process]:
    return [
        each for each in psutil.process_iter(["cmdline"]) if "distributed.cli.dask_spec" in (each.info["cmdline"] or [])
    ]


def test_scheduler_and_workers_are_started_over_tls_and_ended(settings: ClusterSettings, tmp_path: Path) -> None:
    with LazyCluster(settings, scratch=tmp_path / "scratch") as lazy:
        client = lazy.client()
        workers = client.scheduler_info(n_workers=-1)["workers"]
        assert len(workers) == 2
        assert {address.partition(":")[0] for address in [client.scheduler.address, *workers]} == {"tls"}
        settings_there = client.run_on_scheduler(_read_settings)
        assert settings_there["distributed.scheduler.allowed-failures"] == 30, "what we set for Dask holds there too"
        assert sorted(map_over_blocks(brightness.square, range(5), client)) == [0, 1, 4, 9, 16]
    _, alive = psutil.wait_procs(spec_processes(), timeout=20)
    assert alive == []


def test_a_python_that_is_not_there_and_a_host_that_does_not_answer_are_one_sentence(
    settings: ClusterSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(settings.python).unlink()
    with (
        LazyCluster(settings, scratch=tmp_path / "scratch") as lazy,
        pytest.raises(ClusterUnusable, match=r"cannot start .* on 127\.0\.0\.1: .*; can you ssh there"),
    ):
        lazy.client()
    monkeypatch.setenv("HOME", str(tmp_path))
    with (
        LazyCluster(settings, scratch=tmp_path / "scratch") as lazy,
        pytest.raises(ClusterUnusable, match=r"cannot start .* on 127\.0\.0\.1: .*; can you ssh there"),
    ):
        lazy.client()
