"""As much of Kubernetes with Dask's operator as a DaskCluster needs: its pods are processes here, on loopback.

It speaks HTTP and the port-forward protocol as the API server does, for one namespace and one cluster at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import dask_processes, slurm_machine
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

CERTIFICATES = "/etc/skymetal-tls"


class Machine:
    """What there is: resources by name, and the processes of their pods."""

    def __init__(self, folder: Path, tls_dir: Path) -> None:
        self.folder, self.tls_dir = folder, tls_dir
        (self.port,) = slurm_machine.free_ports(1)
        self.clusters: dict[str, Any] = {}
        self.deleted: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, cluster: dict[str, Any]) -> None:
        """Do what the operator and the kubelet would do: run the containers, with the Secret at its place."""
        self.clusters[cluster["metadata"]["name"]] = cluster
        spec = cluster["spec"]
        address = f"tls://127.0.0.1:{self.port}"
        self._run(spec["scheduler"]["spec"]["containers"][0], {})
        for number in range(spec["worker"]["replicas"]):
            environment = {"DASK_SCHEDULER_ADDRESS": address, "DASK_WORKER_NAME": f"worker-{number}"}
            self._run(spec["worker"]["spec"]["containers"][0], environment)

    def _run(self, container: dict[str, Any], environment: dict[str, str]) -> None:
        words = [word.replace(CERTIFICATES, str(self.tls_dir)) for word in container["args"]]
        words = [str(self.port) if word == "8786" else word.replace(":8787", ":0") for word in words]
        words = [word.replace("$(DASK_WORKER_NAME)", environment.get("DASK_WORKER_NAME", "")) for word in words]
        with open(self.folder / "log", "ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *words, "--host", "127.0.0.1"],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **dask_processes.ENVIRONMENT, **environment},
                    start_new_session=True,
                )
            )

    def stop(self, name: str) -> None:
        del self.clusters[name]
        self.deleted.append(name)
        for process in self.processes:
            for each in dask_processes.family(process.pid):
                each.kill()
            process.wait(timeout=20)


class Clusters(RequestHandler):
    def initialize(self, machine: Machine) -> None:
        self.machine = machine

    def post(self, namespace: str) -> None:
        cluster = json.loads(self.request.body)
        assert cluster["metadata"]["namespace"] == namespace
        self.machine.start(cluster)
        self.set_status(201)
        self.write(cluster)


class Cluster(Clusters):
    async def delete(self, namespace: str, name: str) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.machine.stop, name)
        self.write({"kind": "Status", "status": "Success"})


POD = {"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": True, "shortNames": ["po"], "verbs": ["get"]}
ABOUT = {
    "/version/?": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api/?": {"versions": ["v1"]},
    "/apis/?": {"groups": []},
    "/api/v1/?": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [POD]},
}


class About(RequestHandler):
    """What the API server says of itself."""

    def initialize(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    def get(self) -> None:
        self.write(self.answer)


class Services(Clusters):
    def get(self, namespace: str) -> None:
        selected = self.get_query_argument("fieldSelector", "")
        services = [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": named(f"{name}-scheduler", namespace),
                "spec": cluster["spec"]["scheduler"]["service"],
            }
            for name, cluster in self.machine.clusters.items()
            if f"metadata.name={name}-scheduler" in selected.split(",")
        ]
        self.write({"kind": "ServiceList", "apiVersion": "v1", "items": services})


class Pods(Clusters):
    def get(self, namespace: str, name: str = "") -> None:
        """The scheduler's pod: ready when its port answers."""
        with socket.socket() as probe:
            is_ready = str(probe.connect_ex(("127.0.0.1", self.machine.port)) == 0)
        conditions = [{"type": kind, "status": is_ready} for kind in CONDITIONS]
        status = {"phase": "Running", "conditions": conditions}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": named("scheduler", namespace), "status": status}
        self.write(pod if name else {"kind": "PodList", "apiVersion": "v1", "items": [pod]})


CONDITIONS = ("Ready", "ContainersReady", "Initialized", "PodScheduled")


class PortForward(WebSocketHandler):
    def initialize(self, machine: Machine) -> None:
        self.machine = machine

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[0] if subprotocols else None

    async def open(self, namespace: str, name: str) -> None:
        wanted = int(self.get_query_argument("ports"))
        assert wanted == 8786
        for channel in (b"\0", b"\1"):
            await self.write_message(channel + wanted.to_bytes(2, "little"), binary=True)
        try:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.machine.port)
        except OSError:
            self.close()
            return
        self.pump = asyncio.ensure_future(self._pass_back())

    async def _pass_back(self) -> None:
        with contextlib.suppress(Exception):
            while data := await self.reader.read(65536):
                await self.write_message(b"\0" + data, binary=True)
        self.close()

    async def on_message(self, message: str | bytes) -> None:
        assert isinstance(message, bytes)
        while not hasattr(self, "writer"):
            await asyncio.sleep(0.01)
        self.writer.write(message[1:])
        await self.writer.drain()

    def on_close(self) -> None:
        if hasattr(self, "writer"):
            self.writer.close()


def named(name: str, namespace: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace}


@contextmanager
def small_kubernetes(folder: Path, tls_dir: Path) -> Iterator[Machine]:
    """Serve until the block ends; folder/config is what KUBECONFIG is to name."""
    machine, started, loops = Machine(folder, tls_dir), threading.Event(), []
    (port,) = slurm_machine.free_ports(1)
    core, dask = "/api/v1/namespaces/([^/]+)", "/apis/kubernetes.dask.org/v1/namespaces/([^/]+)/daskclusters"
    shared = {"machine": machine}
    application = Application(
        [
            *((path, About, {"answer": answer}) for path, answer in ABOUT.items()),
            (dask, Clusters, shared),
            (f"{dask}/([^/]+)", Cluster, shared),
            (f"{core}/services", Services, shared),
            (f"{core}/pods", Pods, shared),
            (f"{core}/pods/([^/]+)", Pods, shared),
            (f"{core}/pods/([^/]+)/portforward", PortForward, shared),
        ]
    )

    async def serve() -> None:
        server = HTTPServer(application)
        server.listen(port, "127.0.0.1")
        loops.append((asyncio.get_running_loop(), asyncio.Event()))
        started.set()
        await loops[0][1].wait()
        server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(timeout=20)
    cluster = {"name": "small", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "small", "context": {"cluster": "small", "user": "me"}}
    config = {"clusters": [cluster], "contexts": [context], "users": [{"name": "me", "user": {"token": "x"}}]}
    (folder / "config").write_text(
        json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "small", **config})
    )
    try:
        yield machine
    finally:
        loop, end = loops[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(timeout=20)
        for name in list(machine.clusters):
            machine.stop(name)
