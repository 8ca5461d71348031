"""Kubernetes with Dask's operator: a DaskCluster of our own, guarded by certificates from a Secret.

dask-kubernetes' KubeCluster is not used: it speaks plain TCP to the scheduler, and has the dashboard listen to all.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed import Client

from skymetal.catalogs.errors import InputError, first_line
from skymetal.deploy.clusters.connected import POLL_SECONDS, connected
from skymetal.deploy.clusters.security import CA, CERTIFICATE, KEY, ClusterUnusable, load_security
from skymetal.deploy.clusters.settings import ClusterSettings

logger = logging.getLogger(__name__)

PORT = 8786
_PORT_NAME = "tcp-comm"  # in the operator's schema a probe names its port; a number is refused
_CERTIFICATES = "/etc/skymetal-tls"
_TLS = [
    "--protocol",
    "tls",
    *("--tls-ca-file", f"{_CERTIFICATES}/{CA}"),
    *("--tls-cert", f"{_CERTIFICATES}/{CERTIFICATE}"),
    *("--tls-key", f"{_CERTIFICATES}/{KEY}"),
]


@contextmanager
def start_kubernetes(settings: ClusterSettings, scratch: Path) -> Iterator[Client]:
    """Have the operator make scheduler and workers, connect to them, and delete them with the block."""
    load_security(settings)
    try:
        import kr8s  # an optional extra, as are the others
        from kr8s.objects import Service, new_class
    except ImportError as error:
        raise InputError(
            f"[cluster] kind = 'kubernetes' needs dask-kubernetes ({error}); pip install 'skymetal[kubernetes]'"
        ) from error
    manifest = cluster_manifest(settings, name=f"skymetal-{uuid.uuid4().hex[:8]}")
    name, seconds = manifest["metadata"]["name"], 60 * settings.start_timeout_min
    kind = new_class("DaskCluster", "kubernetes.dask.org/v1", asyncio=False)
    try:
        cluster = kind(manifest, api=kr8s.api())
        cluster.create()
    except Exception as error:  # kr8s, httpx and the operating system each have their own kinds
        raise ClusterUnusable(
            f"[cluster] kind = 'kubernetes' cannot make a DaskCluster in namespace {settings.namespace}: "
            f"{first_line(error)}; does `kubectl get daskclusters` work here, and is Dask's operator installed?"
        ) from error
    try:
        logger.info("made DaskCluster %s in namespace %s", name, settings.namespace)
        service = _await_service(Service, f"{name}-scheduler", settings.namespace, seconds)
        with _reach(service, f"{name}-scheduler.{settings.namespace}") as address:
            where = f"the scheduler of DaskCluster {name}"
            with connected(address, settings, where=where, num_workers=1) as client:
                yield client
    finally:
        cluster.delete()


def cluster_manifest(settings: ClusterSettings, *, name: str) -> dict[str, Any]:
    """Return the DaskCluster: every connection guarded, the dashboards on each pod's loopback alone."""
    from dask_kubernetes.operator import make_cluster_spec

    address = f"tls://{name}-scheduler.{settings.namespace}.svc.cluster.local:{PORT}"
    memory = {"memory": f"{settings.memory_gb:g}G"}
    cores = {"cpu": str(settings.threads_per_worker)}
    gpu = {"nvidia.com/gpu": "1"} if settings.gpus else {}
    worker = ["dask", "cuda", "worker"] if settings.gpus else ["dask", "worker"]
    manifest: dict[str, Any] = make_cluster_spec(name=name, image=settings.image, n_workers=settings.num_workers)
    manifest["metadata"]["namespace"] = settings.namespace
    scheduler_pod, worker_pod = manifest["spec"]["scheduler"]["spec"], manifest["spec"]["worker"]["spec"]
    scheduler_pod["containers"][0] |= {
        "args": ["dask", "scheduler", "--port", str(PORT), *_TLS, "--dashboard-address", "127.0.0.1:8787"],
        "resources": {"requests": {"cpu": "1", "memory": "2G"}},
        "env": [],
        # Over HTTP, as the operator would have it, the dashboard would have to listen to all.
        "readinessProbe": {"tcpSocket": {"port": _PORT_NAME}, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": _PORT_NAME}, "initialDelaySeconds": 15, "periodSeconds": 20},
    }
    worker_pod["containers"][0] |= {
        "args": [
            *worker,
            *_TLS,
            *("--name", "$(DASK_WORKER_NAME)"),
            *("--nthreads", str(settings.threads_per_worker)),
            *("--memory-limit", "0", "--dashboard-address", "127.0.0.1:0"),
        ],
        "resources": {"requests": cores | memory | gpu, "limits": memory | gpu},
        "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": address}],  # the operator's own would be plain tcp://
    }
    for pod in (scheduler_pod, worker_pod):
        _mount(pod, "tls", {"secret": {"secretName": settings.tls_secret}}, _CERTIFICATES, read_only=True)
        if settings.volume_claim:
            claim, _, path = settings.volume_claim.partition(":")
            _mount(pod, "data", {"persistentVolumeClaim": {"claimName": claim}}, path, read_only=False)
    return manifest


def _mount(pod: dict[str, Any], name: str, source: dict[str, Any], path: str, *, read_only: bool) -> None:
    pod.setdefault("volumes", []).append({"name": name, **source})
    mount = {"name": name, "mountPath": path, "readOnly": read_only}
    pod["containers"][0].setdefault("volumeMounts", []).append(mount)


def _await_service(kind: Any, name: str, namespace: str, seconds: float) -> Any:
    """Return the scheduler's Service once the operator has made it."""
    import kr8s

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(kr8s.NotFoundError):
            return kind.get(name, namespace=namespace, timeout=POLL_SECONDS)
        time.sleep(POLL_SECONDS)
    raise ClusterUnusable(
        f"Dask's operator made no service {name} in {seconds:g} s; is it at work (`kubectl get pods -A`)?"
    )


@contextmanager
def _reach(service: Any, host: str) -> Iterator[str]:
    """Give the scheduler's address: by the service's name from inside Kubernetes, else by a forwarded port."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        yield f"tls://{host}:{PORT}"
        return
    forward = service.portforward(remote_port=PORT, local_port="auto")
    forward.start()
    try:
        yield f"tls://127.0.0.1:{forward.local_port}"
    finally:
        forward.stop()
