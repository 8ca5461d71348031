from __future__ import annotations

from typing import Any

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.deploy.clusters.settings import KINDS, NEEDED_BY, USED_BY, ClusterSettings

WHOLE: dict[str, dict[str, Any]] = {
    "address": {"address": "tls://host:8786", "tls_dir": "/tls"},
    "scheduler-file": {"scheduler_file": "/shared/scheduler.json"},
    "slurm": {"num_workers": 2, "memory_gb": 8.0, "tls_dir": "/tls"},
    "kubernetes": {"num_workers": 2, "memory_gb": 8.0, "image": "me/skymetal:1", "tls_dir": "/tls", "tls_secret": "s"},
    "ssh": {"hosts": ("a", "b"), "tls_dir": "/tls"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_whole_with_the_keys_it_needs(kind: str) -> None:
    assert ClusterSettings(kind=kind, **WHOLE.get(kind, {})).kind == kind


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NEEDED_BY.items() for name in names])
def test_a_key_that_a_kind_needs_is_asked_for(kind: str, name: str) -> None:
    values = {key: value for key, value in WHOLE[kind].items() if key != name}
    with pytest.raises(InputError, match=f"kind = '{kind}' needs {name}; add it"):
        ClusterSettings(kind=kind, **values)


def test_every_key_that_is_asked_for_is_one_that_the_kind_uses() -> None:
    for kind, names in NEEDED_BY.items():
        assert all(kind in USED_BY.get(name, KINDS) for name in names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "slrum"}, "kind must be one of auto, local-cpu, .*, ssh, got 'slrum'"),
        ({"hosts": ("a", "b")}, r"hosts is for kind = 'ssh', not 'auto'; leave it out"),
        ({"kind": "local-cpu", "gpus": True}, "gpus is for kind = 'address' or "),
        ({"kind": "ssh", **WHOLE["ssh"], "num_workers": 3}, "num_workers is for kind = .*, not 'ssh'"),
        ({"kind": "address", **WHOLE["address"], "threads_per_worker": 4}, "threads_per_worker is for kind"),
        ({"kind": "slurm", **WHOLE["slurm"], "max_workers": 1}, "max_workers must be num_workers to 1024, got 1"),
        ({"num_workers": 1_000_000}, "num_workers must be 0 to 1024"),
        ({"kind": "slurm", **WHOLE["slurm"], "partition": "a\n#SBATCH -w x"}, "partition must be one word"),
        ({"kind": "slurm", **WHOLE["slurm"], "walltime": "1:00; rm"}, "walltime must be one word"),
        ({"kind": "slurm", **WHOLE["slurm"], "setup": ("a\nb",)}, "setup must be a list of single lines"),
        ({"kind": "slurm", **WHOLE["slurm"], "gpus": True}, "gpus = true needs a directive"),
        ({"kind": "slurm", **WHOLE["slurm"], "memory_gb": float("nan")}, "memory_gb must be 0 to 65536"),
        ({"kind": "slurm", **WHOLE["slurm"], "start_timeout_min": 0.0}, "start_timeout_min must be"),
        ({"kind": "kubernetes", **WHOLE["kubernetes"], "volume_claim": "data"}, "volume_claim must be NAME:/PATH"),
        ({"kind": "kubernetes", **WHOLE["kubernetes"], "insecure": True}, "insecure is for kind"),
        ({"kind": "ssh", **WHOLE["ssh"], "hosts": ("a",)}, "hosts names the scheduler's host first"),
    ],
)
def test_what_makes_no_cluster_is_refused_by_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClusterSettings(**values)


@pytest.mark.parametrize("kind", ["slurm", "ssh"])
def test_what_listens_off_this_machine_needs_certificates_or_a_written_word(kind: str) -> None:
    values = {**WHOLE[kind], "tls_dir": ""}
    with pytest.raises(InputError, match=r"set tls_dir .* or write insecure = true"):
        ClusterSettings(kind=kind, **values)
    assert ClusterSettings(kind=kind, **values, insecure=True).insecure


def test_an_address_off_loopback_is_refused_without_tls_when_the_job_is_read() -> None:
    with pytest.raises(InputError, match=r"address tcp://10\.0\.0\.7:8786 is plain tcp:// to 10\.0\.0\.7: whoever"):
        ClusterSettings(kind="address", address="tcp://10.0.0.7:8786")
    assert ClusterSettings(kind="address", address="tcp://10.0.0.7:8786", insecure=True).insecure
