"""Kubernetes with Dask's operator: the job as a DaskJob, which makes the cluster, runs the driver, and deletes both."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import digest
from skymetal.deploy.clusters.kubernetes import PORT, cluster_manifest
from skymetal.deploy.config import Job

JOB_FILE = "/etc/skymetal-job/job.toml"
CERTIFICATES = "/etc/skymetal-tls"
_DRIVE = ("python", "-m", "skymetal", "drive")
_USER = 1000  # of deploy/docker/Dockerfile
_SECONDS = 60.0


def job_name(job: Job, submission: int) -> str:
    """Return the DaskJob's name: the catalogue's, with what tells run directories and submissions apart."""
    stem = re.sub(r"[^a-z0-9]+", "-", job.catalog.name.lower()).strip("-")[:20].strip("-")
    number = f"-{submission}" if submission else ""
    return f"skymetal-{stem}-{digest(job.job.run_dir.encode())[:8]}{number}"


def manifest(job: Job, drive: Sequence[str], *, name: str) -> str:
    """Return the YAML of a ConfigMap with the job file and of the DaskJob; drive is what follows the job file's name.

    Raises InputError for a job whose [cluster] is not kind = "kubernetes", or whose run directory no pod would see.
    """
    cluster = job.cluster
    if cluster.kind != "kubernetes":
        raise InputError(
            f"--runner kubernetes takes image, volume_claim and the like from [cluster] kind = 'kubernetes', "
            f"got kind = {cluster.kind!r}"
        )
    claim, _, volume = cluster.volume_claim.partition(":")
    run_dir = job.job.run_dir
    if "://" not in run_dir and not (volume and PurePosixPath(run_dir).is_relative_to(volume)):
        raise InputError(
            f"[job] run_dir {run_dir} is in no volume of the pods: set [cluster] volume_claim = 'CLAIM:/PATH' with a "
            "path above it"
        )
    scheduler = f"tls://{name}-scheduler.{cluster.namespace}.svc.cluster.local:{PORT}"
    spec = cluster_manifest(cluster, name=name)["spec"]
    driver: dict[str, Any] = {
        "restartPolicy": "OnFailure",  # killed by anything, it goes on where it was
        "containers": [
            {
                "name": "driver",
                "image": cluster.image,
                "args": [*_DRIVE, JOB_FILE, *drive, "--exit-zero", "--scheduler", scheduler, "--tls-dir", CERTIFICATES],
                "resources": {"requests": {"cpu": "1", "memory": "4G"}},
                "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": scheduler}],  # the operator's would be tcp://
                "volumeMounts": [
                    {"name": "job", "mountPath": str(PurePosixPath(JOB_FILE).parent), "readOnly": True},
                    {"name": "tls", "mountPath": CERTIFICATES, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "job", "configMap": {"name": name}},
            {"name": "tls", "secret": {"secretName": cluster.tls_secret}},
        ],
    }
    if claim:
        driver["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
        driver["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": volume})
    for pod in (driver, spec["scheduler"]["spec"], spec["worker"]["spec"]):
        pod["securityContext"] = {"runAsNonRoot": True, "runAsUser": _USER, "fsGroup": _USER}
    metadata = {"name": name, "namespace": cluster.namespace}
    documents: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"job.toml": job.to_toml()}},
        {
            "apiVersion": "kubernetes.dask.org/v1",
            "kind": "DaskJob",
            "metadata": metadata,
            "spec": {"job": {"spec": driver}, "cluster": {"spec": spec}},
        },
    ]
    text: str = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    return text


def refuse_without_kubectl() -> None:
    """Raise InputError where there is no kubectl here."""
    if shutil.which("kubectl") is None:
        raise InputError(
            "there is no kubectl on this machine; install it, or --print, and `kubectl apply -f -` elsewhere"
        )


def send(text: str) -> None:
    """Give a manifest to Kubernetes. Raises RuntimeError where it is refused."""
    result = subprocess.run(
        ["kubectl", "apply", "-f", "-"], input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if result.returncode:
        said = result.stderr.strip().splitlines() or ["it says nothing"]
        raise RuntimeError(f"kubectl could not apply the DaskJob: {said[-1]}")
