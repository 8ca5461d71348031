"""The DaskCluster that Dask's operator is given: held against the schema that dask-kubernetes ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support import dask_processes, runs, small_kubernetes

from skymetal.deploy.clusters.kubernetes import cluster_manifest
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.security import ClusterUnusable
from skymetal.deploy.clusters.settings import ClusterSettings

dask_kubernetes = pytest.importorskip("dask_kubernetes", reason="dask-kubernetes is not installed")
jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

SCHEMA = "operator/deployment/helm/dask-kubernetes-operator/crds/daskcluster.yaml"


def make_settings(tls_dir: Path, **changes: Any) -> ClusterSettings:
    values = {"num_workers": 2, "memory_gb": 8.0, "image": "me/skymetal:1", "namespace": "astro"} | changes
    return ClusterSettings(kind="kubernetes", tls_dir=str(tls_dir), tls_secret="skymetal-tls", **values)


def closed(node: Any) -> Any:
    """Refuse keys that the schema does not name: Kubernetes would drop them without a word."""
    if isinstance(node, dict):
        node = {key: closed(value) for key, value in node.items()}
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
    return node


@pytest.mark.parametrize("gpus", [False, True])
def test_the_operators_schema_takes_the_cluster_and_all_of_it_is_guarded(gpus: bool) -> None:
    settings = make_settings(Path("/tls"), gpus=gpus, volume_claim="survey:/data", threads_per_worker=4)
    manifest = cluster_manifest(settings, name="skymetal-1")
    text = (Path(dask_kubernetes.__file__).parent / SCHEMA).read_text(encoding="utf-8")
    schema = closed(yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"] |= {key: {} for key in ("apiVersion", "kind", "metadata")}
    jsonschema.validate(manifest, schema)
    assert manifest["metadata"] == {"name": "skymetal-1", "namespace": "astro"}
    pods = [manifest["spec"][role]["spec"] for role in ("scheduler", "worker")]
    for pod in pods:
        (container,) = pod["containers"]
        arguments = container["args"]
        for option in ("--tls-ca-file", "--tls-cert", "--tls-key"):
            assert arguments[arguments.index(option) + 1].startswith("/etc/skymetal-tls/")
        assert arguments[arguments.index("--dashboard-address") + 1].startswith("127.0.0.1:")
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/etc/skymetal-tls", "/data"}
    worker = pods[1]["containers"][0]
    assert worker["args"][:3] == (["dask", "cuda", "worker"] if gpus else ["dask", "worker", "--protocol"])
    assert worker["env"] == [
        {"name": "DASK_SCHEDULER_ADDRESS", "value": "tls://skymetal-1-scheduler.astro.svc.cluster.local:8786"}
    ]
    assert ("nvidia.com/gpu" in worker["resources"]["limits"]) == gpus
    assert "nvidia.com/gpu" not in pods[0]["containers"][0]["resources"]["requests"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_cluster_is_made_reached_through_a_forwarded_port_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_dir = dask_processes.write_certificates(tmp_path / "tls")
    section = f"""[cluster]
kind = "kubernetes"
num_workers = 1
memory_gb = 1
image = "me/skymetal:1"
tls_dir = "{tls_dir}"
tls_secret = "skymetal-tls"
"""
    job = runs.write_job(tmp_path, runs.TINY_JOB.partition("[cluster]")[0] + section)
    with small_kubernetes.small_kubernetes(tmp_path, tls_dir) as machine:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        done = runs.run("cluster", "check", job, timeout=100)  # in a process of its own: kr8s remembers a server
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "cluster check: good: 1 worker on 1 host, 1 thread, no GPUs"
    assert done.stderr == ""
    assert machine.clusters == {}
    (name,) = machine.deleted
    assert name.startswith("skymetal-")


def test_without_kubernetes_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(dask_processes.write_certificates(tmp_path / "tls"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with (
        LazyCluster(settings, scratch=tmp_path) as lazy,
        pytest.raises(ClusterUnusable, match=r"cannot make a DaskCluster in namespace astro: .*; does `kubectl get"),
    ):
        lazy.client()
