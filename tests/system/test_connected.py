"""A pass on a cluster that somebody else started, over mutual TLS: the bytes are those of one's own cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import dask_processes, runs


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_pass_by_address_gives_the_same_bytes_and_leaves_the_cluster(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(
        undisturbed, tmp_path / "run", symlinks=True, ignore=shutil.ignore_patterns("parts", "versions", "catalogue")
    )
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    with dask_processes.processes(tmp_path / "cluster", tls_dir=tls_dir, num_workers=2) as cluster:
        section = (
            f'[cluster]\nkind = "address"\naddress = "{cluster.address}"\ntls_dir = "{tls_dir}"\nnum_workers = 2\n'
        )
        job = runs.write_job(tmp_path, runs.TINY_JOB.partition("[cluster]")[0] + section)
        result = runs.run("score", job)
        assert result.returncode == 0, result.stderr
        assert all(process.poll() is None for process in cluster.running)
    result = runs.run("publish", job)  # needs no cluster
    assert result.returncode == 0, result.stderr
    for name in ("parts", "catalogue"):
        assert runs.contents(tmp_path / "run" / name) == runs.contents(undisturbed / name)
