"""The manifest against the schema of the operator's own resource, as dask-kubernetes ships it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import dask_kubernetes
import jsonschema
import pytest
import yaml
from support import dask_processes, runs

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.config import Job, read_job
from skymetal.deploy.jobs import kubernetes
from skymetal.deploy.jobs.state import CANCEL, DONE, read_state

CLUSTER = (
    "cluster.kind=kubernetes",
    "cluster.num_workers=2",
    "cluster.memory_gb=8",
    "cluster.image=registry.example/skymetal:1",
    "cluster.tls_secret=skymetal-tls",
    "cluster.volume_claim=skymetal:/data",
    "job.run_dir=/data/run",
)
CRD = "operator/deployment/helm/dask-kubernetes-operator/crds/daskjob.yaml"
MANIFESTS = Path(__file__).parents[3] / "deploy" / "kubernetes"


def make_job(path: Path, *assignments: str) -> Job:
    tls_dir = f"cluster.tls_dir={path}"
    return read_job(runs.write_job(path), [*CLUSTER, tls_dir, *assignments])


def documents(job: Job, *steps: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config, dask_job = yaml.safe_load_all(kubernetes.manifest(job, [*steps, "--runner", "kubernetes"], name="it"))
    return config, dask_job


@cache
def schema() -> dict[str, Any]:
    text = (Path(dask_kubernetes.__file__).parent / CRD).read_text(encoding="utf-8")
    crd = yaml.load(text, Loader=yaml.CSafeLoader)
    found: dict[str, Any] = closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    return found | {"properties": found["properties"] | {key: {} for key in ("apiVersion", "kind", "metadata")}}


def closed(node: Any) -> Any:
    """Refuse keys that the schema does not name: Kubernetes would drop them without a word."""
    if isinstance(node, dict):
        node = {key: closed(value) for key, value in node.items()}
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
    return node


def pods(dask_job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = dask_job["spec"]["cluster"]["spec"]
    return [dask_job["spec"]["job"]["spec"], cluster["scheduler"]["spec"], cluster["worker"]["spec"]]


def test_it_is_what_the_operator_takes(tmp_path: Path) -> None:
    config, dask_job = documents(make_job(tmp_path))
    jsonschema.validate(dask_job, schema())
    assert dask_job["kind"] == "DaskJob"
    assert config["metadata"] == dask_job["metadata"] == {"name": "it", "namespace": "default"}


def test_the_schema_is_strict_enough_to_find_a_slip(tmp_path: Path) -> None:
    for key, value in (("restartPolcy", "Never"), ("restartPolicy", 3)):
        _, dask_job = documents(make_job(tmp_path))
        pods(dask_job)[0][key] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(dask_job, schema())


def test_gpus_are_asked_for_as_text(tmp_path: Path) -> None:
    _, dask_job = documents(make_job(tmp_path, "cluster.gpus=true"))
    jsonschema.validate(dask_job, schema())
    assert pods(dask_job)[2]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_nobody_is_root_and_everybody_shows_a_certificate(tmp_path: Path) -> None:
    _, dask_job = documents(make_job(tmp_path), "ingest")
    for pod in pods(dask_job):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert any("secret" in volume for volume in pod["volumes"])
        assert "tcp://" not in yaml.safe_dump(pod)


def test_the_job_travels_with_the_manifest(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    config, dask_job = documents(job, "ingest")
    (tmp_path / "travelled.toml").write_text(config["data"]["job.toml"])
    assert read_job(tmp_path / "travelled.toml") == job
    arguments = pods(dask_job)[0]["containers"][0]["args"]
    assert arguments[:6] == ["python", "-m", "skymetal", "drive", kubernetes.JOB_FILE, "ingest"]
    assert "--exit-zero" in arguments


def test_a_run_directory_that_no_pod_sees_is_refused(tmp_path: Path) -> None:
    for place in ("/home/me/run", "/database/run"):
        with pytest.raises(InputError, match=r"run_dir /.* is in no volume of the pods"):
            documents(make_job(tmp_path, f"job.run_dir={place}"))
    with pytest.raises(InputError, match=r"kind = 'kubernetes', got kind = 'local-cpu'"):
        kubernetes.manifest(read_job(runs.write_job(tmp_path)), [], name="it")


@pytest.mark.parametrize("name", ["tiny", "A_B.c-", "x" * 100, "0"])
def test_names_are_such_as_kubernetes_takes(tmp_path: Path, name: str) -> None:
    found = kubernetes.job_name(make_job(tmp_path, f"catalog.name='{name}'"), 12)
    assert len(found) <= 52  # the operator adds -scheduler and the like, to at most 63
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", found)


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="an /etc of its own takes root and unshare"
)
def test_the_command_of_the_driver_runs_as_it_stands_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, certificates and the scheduler's name are where Kubernetes would have put them."""
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    with dask_processes.processes(tmp_path / "cluster", tls_dir=tls_dir, num_workers=1) as cluster:
        monkeypatch.setattr(kubernetes, "PORT", cluster.port)
        job = make_job(
            tmp_path,
            f"job.run_dir={tmp_path}/run",
            f"cluster.volume_claim=skymetal:{tmp_path}",
            "cluster.num_workers=1",
        )
        config, dask_job = documents(job, "select", "ingest")
        etc = tmp_path / "etc"
        shutil.copytree(
            "/etc", etc, symlinks=True, ignore_dangling_symlinks=True, ignore=shutil.ignore_patterns("munge")
        )
        shutil.copytree(tls_dir, etc / "skymetal-tls")
        (etc / "skymetal-job").mkdir()
        (etc / "skymetal-job" / "job.toml").write_text(config["data"]["job.toml"])
        (etc / "hosts").write_text("127.0.0.1 localhost it-scheduler.default.svc.cluster.local\n")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        arguments = pods(dask_job)[0]["containers"][0]["args"]
        command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', str(etc), *arguments]
        result = subprocess.run(
            command, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=100, check=False
        )
        assert result.returncode == 0, result.stderr
        assert "ingest: 192 targets = 192 stored" in result.stdout
        state = read_state(LocalFolder(tmp_path / "run"))
        assert state is not None
        assert (state.state, state.runner) == (DONE, "kubernetes")
        # One that cannot succeed is not to be started again either.
        (tmp_path / "run" / CANCEL).write_text("")
        again = subprocess.run(
            command, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=100, check=False
        )
        assert (again.returncode, again.stderr) == (0, "skymetal: stopped\n")


def test_the_manifests_beside_it_can_be_read() -> None:
    files = sorted(MANIFESTS.glob("*.yaml"))
    assert files
    for file in files:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            assert {"apiVersion", "kind", "metadata", "spec"} <= document.keys()
