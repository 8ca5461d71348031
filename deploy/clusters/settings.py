"""The job file's ``[cluster]``: which kind of cluster, how large, and how it is reached and guarded."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.endpoint import parse_address, refuse_unguarded

LOCAL = ("auto", "local-cpu", "local-cuda")
CONNECTED = ("address", "scheduler-file")
STARTED = ("slurm", "kubernetes", "ssh")
KINDS = (*LOCAL, *CONNECTED, *STARTED)

USED_BY = {
    "num_workers": (*LOCAL, *CONNECTED, "slurm", "kubernetes"),
    "max_workers": ("slurm",),
    "threads_per_worker": (*LOCAL, *STARTED),
    "gpus": (*CONNECTED, *STARTED),
    "address": ("address",),
    "scheduler_file": ("scheduler-file",),
    "insecure": (*CONNECTED, "slurm", "ssh"),
    "start_timeout_min": (*CONNECTED, *STARTED),
    "hosts": ("ssh",),
    "python": ("slurm", "ssh"),
    "memory_gb": ("slurm", "kubernetes"),
    "partition": ("slurm",),
    "account": ("slurm",),
    "walltime": ("slurm",),
    "interface": ("slurm",),
    "directives": ("slurm",),
    "setup": ("slurm",),
    "image": ("kubernetes",),
    "namespace": ("kubernetes",),
    "tls_secret": ("kubernetes",),
    "volume_claim": ("kubernetes",),
}
NEEDED_BY = {
    "address": ("address",),
    "scheduler-file": ("scheduler_file",),
    "slurm": ("num_workers", "memory_gb"),
    "kubernetes": ("num_workers", "memory_gb", "image", "tls_dir", "tls_secret"),
    "ssh": ("hosts",),
}
# What becomes a word of a batch script, a resource or a command line must be one word.
_WORD = re.compile(r"[\w.:/@%+=~-]*")
_WORDS = ("partition", "account", "walltime", "interface", "python", "image", "namespace", "tls_secret", "volume_claim")


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """The job file's ``[cluster]``; a key that its kind does not use is refused.

    ``auto`` is one worker a GPU where dask-cuda finds any, else worker processes on this machine's CPUs.
    num_workers: 0 means one a device, or one a core; of a cluster that is there, how many to wait for. With
    max_workers the cluster grows and shrinks between the two. tls_dir holds ca.pem, cert.pem and key.pem.
    """

    kind: str = "auto"
    num_workers: int = 0
    max_workers: int = 0
    threads_per_worker: int = 1
    gpus: bool = False
    address: str = ""
    scheduler_file: str = field(default="", metadata={"path": True})
    tls_dir: str = field(default="", metadata={"path": True})
    insecure: bool = False
    start_timeout_min: float = 5.0
    hosts: tuple[str, ...] = ()
    python: str = ""
    memory_gb: float = 0.0
    partition: str = ""
    account: str = ""
    walltime: str = ""
    interface: str = ""
    directives: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    image: str = ""
    namespace: str = "default"
    tls_secret: str = ""
    volume_claim: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"[cluster] kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        self._check_numbers()
        self._check_words()
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        for name, kinds in USED_BY.items():
            if self.kind not in kinds and getattr(self, name) != defaults[name]:
                raise InputError(f"[cluster] {name} is for kind = {_either(kinds)}, not {self.kind!r}; leave it out")
        for name in NEEDED_BY.get(self.kind, ()):
            if not getattr(self, name):
                raise InputError(f"[cluster] kind = {self.kind!r} needs {name}; add it")
        self._refuse_unguarded()

    @property
    def is_local(self) -> bool:
        """Whether everything runs on this machine, started by us."""
        return self.kind in LOCAL

    def _refuse_unguarded(self) -> None:
        if self.kind == "address":
            where = f"[cluster] address {self.address}"
            endpoint = parse_address(self.address, where="[cluster] address")
            refuse_unguarded(endpoint, tls_dir=self.tls_dir, insecure=self.insecure, where=where)
        if self.kind in STARTED and not self.tls_dir and not self.insecure:
            raise InputError(
                f"[cluster] kind = {self.kind!r} listens off this machine, and whoever reaches it can run code: set "
                "tls_dir (`skymetal cluster certs` makes one), or write insecure = true"
            )

    def _check_numbers(self) -> None:
        if not 0 <= self.num_workers <= 1024:
            raise InputError(f"[cluster] num_workers must be 0 to 1024, got {self.num_workers}")
        if self.max_workers and not self.num_workers <= self.max_workers <= 1024:
            raise InputError(f"[cluster] max_workers must be num_workers to 1024, got {self.max_workers}")
        if not 1 <= self.threads_per_worker <= 256:
            raise InputError(f"[cluster] threads_per_worker must be 1 to 256, got {self.threads_per_worker}")
        if not 0.01 <= self.start_timeout_min <= 10080:
            raise InputError(
                f"[cluster] start_timeout_min must be 0.01 to 10080 (a week), got {self.start_timeout_min:g}"
            )
        if not 0 <= self.memory_gb <= 65536:
            raise InputError(f"[cluster] memory_gb must be 0 to 65536, got {self.memory_gb:g}")

    def _check_words(self) -> None:
        for name in _WORDS:
            if not _WORD.fullmatch(getattr(self, name)):
                raise InputError(
                    f"[cluster] {name} must be one word of letters, digits and . : / @ % + = ~ -, "
                    f"got {getattr(self, name)!r}"
                )
        for name in ("hosts", "directives", "setup"):
            for value in getattr(self, name):
                if not value or not value.isprintable():
                    raise InputError(f"[cluster] {name} must be a list of single lines of text, got {value!r}")
        if self.volume_claim and not re.fullmatch(r"[\w.-]+:/[\w./-]*", self.volume_claim):
            raise InputError(f"[cluster] volume_claim must be NAME:/PATH, got {self.volume_claim!r}")
        if self.kind == "slurm" and self.gpus and not any("gpu" in each for each in self.directives):
            raise InputError(
                "[cluster] gpus = true needs a directive that asks Slurm for one GPU, as your site words it: "
                'directives = ["--gres=gpu:1"]'
            )
        if self.kind == "ssh" and len(self.hosts) == 1:
            raise InputError(
                "[cluster] hosts names the scheduler's host first and then one for each worker, got one alone; "
                "repeat it to have a worker there"
            )


def _either(kinds: tuple[str, ...]) -> str:
    return " or ".join(map(repr, kinds))
