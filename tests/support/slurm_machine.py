"""A Slurm machine of one node, from Debian's packages: its own key, ports and folders; gone when the block ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
START_SECONDS = 30

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={path}/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=10
StateSaveLocation={path}/state
SlurmdSpoolDir={path}/spool
SlurmctldPidFile={path}/slurmctld.pid
SlurmdPidFile={path}/slurmd.pid
MailProg=/bin/true
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=100000
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Return why no such machine can be started here, or nothing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "starting Slurm takes root"


@contextlib.contextmanager
def slurm_machine() -> Iterator[dict[str, str]]:
    """Give the environment in which Slurm's commands speak to it."""
    path = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path must be short
    path.chmod(0o755)
    for name in ("state", "spool"):
        (path / name).mkdir()
    (path / "munge.key").write_bytes(secrets.token_bytes(128))
    (path / "munge.key").chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    controller_port, node_port = free_ports(2)
    (path / "slurm.conf").write_text(
        CONF.format(
            host=host, path=path, controller_port=controller_port, node_port=node_port, cpus=os.cpu_count() or 1
        )
    )
    environment = os.environ | {"SLURM_CONF": str(path / "slurm.conf")}
    munge = ["munged", "--foreground", "--force", f"--key-file={path}/munge.key", f"--socket={path}/munge.socket"]
    munge += [f"--pid-file={path}/munged.pid", f"--log-file={path}/munged.log", f"--seed-file={path}/munge.seed"]
    commands = [munge, ["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]]
    processes = []
    try:
        for command in commands:
            with open(path / f"{command[0]}.out", "wb") as log:
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
            if command is munge:
                wait_for(lambda: (path / "munge.socket").exists(), path)
        wait_for(lambda: "idle" in slurm(environment, "sinfo", "--noheader", "--format=%T"), path)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, check=False, capture_output=True, timeout=30)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and slurm(environment, "squeue", "--noheader"):
            time.sleep(0.2)
        for process in reversed(processes):
            process.terminate()
        _, alive = psutil.wait_procs([psutil.Process(each.pid) for each in processes if each.poll() is None], 10)
        for process in alive:
            process.kill()
        for each in processes:
            each.wait(timeout=10)
        shutil.rmtree(path, ignore_errors=True)


def slurm(environment: dict[str, str], *command: str) -> str:
    """Run one of Slurm's commands; its output comes back, that of a failed one is empty."""
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    return result.stdout.strip()


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(condition: object, path: Path) -> None:
    assert callable(condition)
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            said = {log.name: log.read_text(errors="replace")[-2000:] for log in path.glob("*.out")}
            raise AssertionError(f"Slurm did not start: {said}")
        time.sleep(0.1)
