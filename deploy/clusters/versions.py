"""Versions: what is installed on client, scheduler and workers must agree, or the bytes would not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed import Client

from skymetal.deploy.clusters.security import ClusterUnusable

OURS = "skymetal"
PACKAGES = (OURS, "dask", "distributed", "torch", "zarr", "numpy", "pyarrow", "MNN")
CLIENT, SCHEDULER = "this machine", "the scheduler"

Versions = Mapping[str, Mapping[str, str | None]]
"""For each process, a worker by its address, the version of each package; None where it is not installed."""


def gather_versions(client: Client) -> dict[str, dict[str, str | None]]:
    """Ask every process of the cluster what it has; it need not have skymetal to answer."""
    answer: Any = client.get_versions(packages=list(PACKAGES))
    found = {CLIENT: answer["client"], SCHEDULER: answer["scheduler"], **answer["workers"]}
    return {who: _interesting(each["packages"]) for who, each in found.items()}


def differences(versions: Versions) -> dict[str, str]:
    """Return, for each package of which there are several versions, a sentence that says who has which."""
    told = {}
    for package, ours in versions[CLIENT].items():
        others = {who: its.get(package) for who, its in versions.items() if its.get(package) != ours}
        if others:
            who, theirs = min(others.items(), key=lambda item: (item[0] != SCHEDULER, item[0]))
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            told[package] = (
                f"{package} is {ours or 'not installed'} on {CLIENT}, {theirs or 'not installed'} on {who}{more}; "
                "install the same everywhere"
            )
    return told


def refuse_other_versions(client: Client) -> None:
    """Raise ClusterUnusable where the scheduler or a worker has another skymetal, or none."""
    told = differences(gather_versions(client))
    if OURS in told:
        raise ClusterUnusable(f"the cluster cannot be used: {told[OURS]}")


def _interesting(packages: Mapping[str, str | None]) -> dict[str, str | None]:
    # 3.11.4.final.0: the same bytes come out of every 3.11.
    python = ".".join(str(packages.get("python")).split(".")[:2])
    return {"python": python, **{name: packages.get(name) for name in PACKAGES}}
