"""Slurm: the job as one batch script, from a template that needs nothing but sbatch and srun."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.lazy import DASK_CONFIG
from skymetal.deploy.clusters.security import CA, CERTIFICATE, KEY
from skymetal.deploy.config import Job
from skymetal.deploy.jobs.submission import DRIVER_LOG

TEMPLATE = Path(__file__).parents[1] / "slurm" / "job.sbatch"
PUT_BACK = 75
"""The exit code of a driver that stopped because its time was up: the script puts the job back into the queue."""
_SECONDS = 60.0
_ASK_SECONDS = 10.0


def batch_script(job: Job, *, run_dir: Path, drive: Sequence[str]) -> str:
    """Return the script; drive is what follows ``skymetal drive``.

    Everything from the job file is quoted. Raises InputError for what no quoting makes safe, and for several nodes
    without certificates.
    """
    for text in (str(run_dir), *drive, sys.executable):
        if not text.isprintable():
            raise InputError(f"{text!r} has control characters, and cannot stand in a batch script; rename it")
    values = {
        "DIRECTIVES": "\n".join(f"#SBATCH {option}" for option in _directives(job, run_dir)),
        "SETUP": "\n".join(job.submit.setup),
        "PYTHON": shlex.quote(sys.executable),
        "LOGS": shlex.quote(str(run_dir / "logs")),
        "ENVIRONMENT": "\n".join(f"export {name}={shlex.quote(value)}" for name, value in _environment().items()),
        "SCHEDULER": shlex.join(_scheduler(job)),
        "NODES": str(job.submit.num_nodes),
        "WORKER": " ".join(_worker(job)),
        "DRIVE": shlex.join(drive),
        "PUT_BACK": str(PUT_BACK),
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], TEMPLATE.read_text(encoding="utf-8"))


def _directives(job: Job, run_dir: Path) -> list[str]:
    submit = job.submit
    # In a file's name sbatch writes a number for %j and the like; a doubled % stays one.
    log = str(run_dir / DRIVER_LOG).replace("%", "%%")
    if set(log) & set("\\\"'"):
        raise InputError(f"sbatch cannot write a log to {run_dir}: it has quotes or a backslash in it; rename it")
    options: dict[str, str | int] = {
        "job-name": f"skymetal-{job.catalog.name}",
        "output": f'"{log}"',
        "nodes": submit.num_nodes,
        "ntasks-per-node": 1,
        "partition": submit.partition,
        "account": submit.account,
        "time": math.ceil(submit.time_h * 60),
        "cpus-per-task": submit.cpus_per_node,
        "mem": f"{math.ceil(submit.memory_gb * 1024)}M" if submit.memory_gb else "",
        "gpus-per-node": submit.gpus_per_node,
    }
    return [f"--{name}={value}" for name, value in options.items() if value] + list(submit.options)


def _environment() -> Mapping[str, str]:
    """Return Dask's settings for scheduler and workers, as its own environment variables."""
    found = {"PYTHONUNBUFFERED": "1"}
    prefix = "distributed.nanny.pre-spawn-environ."
    for key, value in DASK_CONFIG.items():
        if key.startswith(prefix + "MALLOC"):
            found[key.removeprefix(prefix)] = str(value)
        elif not key.startswith(prefix):  # a batch job's workers have a log of their own, where they may say all
            found["DASK_" + key.upper().replace(".", "__").replace("-", "_")] = str(value)
    return found


def _scheduler(job: Job) -> list[str]:
    options = [*_network(job), "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    if job.submit.num_nodes == 1 or job.cluster.tls_dir or job.cluster.insecure:
        return options
    raise InputError(
        f"[submit] num_nodes = {job.submit.num_nodes}: the scheduler listens to other machines, and whoever reaches it "
        "can run code; set [cluster] tls_dir (`skymetal cluster certs` makes one), or insecure = true"
    )


def _worker(job: Job) -> list[str]:
    """Return the words of the worker's command, quoted where they need it."""
    words = ["cuda", "worker"] if job.submit.gpus_per_node else ["worker", "--nworkers", _num_workers(job)]
    words += ["--nthreads", str(job.cluster.threads_per_worker), "--memory-limit", "0"]
    words += ["--dashboard-address", "127.0.0.1:0", "--death-timeout", "300"]
    if job.submit.gpus_per_node:
        words += ["--device-memory-limit", "0"]
    return words + [shlex.quote(word) for word in _network(job)]


def _num_workers(job: Job) -> str:
    """Return how many workers a node has: those of the job file, or one for so many threads that Slurm gives."""
    if job.cluster.num_workers:
        return str(math.ceil(job.cluster.num_workers / job.submit.num_nodes))
    threads = job.cluster.threads_per_worker
    return f'"$(((SLURM_CPUS_ON_NODE + {threads - 1}) / {threads}))"'


def _network(job: Job) -> list[str]:
    """Return where scheduler and workers listen, and what guards them: one node keeps to its loopback."""
    options = ["--host", "127.0.0.1"] if job.submit.num_nodes == 1 else []
    if not job.cluster.tls_dir:
        return options
    folder = Path(job.cluster.tls_dir)
    names = {"--tls-ca-file": CA, "--tls-cert": CERTIFICATE, "--tls-key": KEY}
    certificates = [word for option, name in names.items() for word in (option, str(folder / name))]
    return [*options, "--protocol", "tls", *certificates]


def refuse_without_slurm() -> None:
    """Raise InputError where there is no sbatch here."""
    if shutil.which("sbatch") is None:
        raise InputError(
            "there is no sbatch on this machine; submit from a login node of the Slurm machine, or use --print there"
        )


def send(script: str) -> str:
    """Give a script to Slurm; return the job's number. Raises RuntimeError where Slurm refuses it."""
    result = _run("sbatch", "--parsable", script=script)
    if result.returncode:
        raise RuntimeError(f"Slurm refused the job: {result.stderr.strip().removeprefix('sbatch: error: ')}")
    return result.stdout.strip().partition(";")[0]


def withdraw_pending(job_number: str) -> str:
    """Take a job out of Slurm's queue if it has not begun; return what there is to say of it."""
    if shutil.which("scancel") is None:
        return f"there is no scancel here: `scancel --state=PENDING {job_number}` where there is"
    result = _run("scancel", "--state=PENDING", job_number)
    return f"scancel: {result.stderr.strip()}" if result.returncode else f"Slurm job {job_number} will not begin"


def has_forgotten(job_number: str) -> bool:
    """Tell whether Slurm, where it can be asked from here, says that it has no such job any more."""
    return _ask(job_number, int(time.monotonic() / _ASK_SECONDS))


@lru_cache(maxsize=256)
def _ask(job_number: str, moment: int) -> bool:
    """Ask once a moment: a site's controller is not to be asked by every watcher every second."""
    if shutil.which("squeue") is None:
        return False
    try:
        result = _run("squeue", "--noheader", "--jobs", job_number)
    except (OSError, subprocess.TimeoutExpired):  # a busy controller says nothing of the job
        return False
    return "Invalid job id" in result.stderr or (result.returncode == 0 and not result.stdout.strip())


def _run(*command: str, script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=_SECONDS, check=False)
