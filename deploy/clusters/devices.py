"""GPUs of a cluster's workers: each must have one of its own."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

_NVIDIA = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a worker would compute on: the first GPU that it may see, by the name it is seen under, or "" for none."""

    host: str
    name: str


def devices_of_workers(client: Client) -> dict[str, Device]:
    """Ask every worker, by its address, for its device."""
    return dict(client.run(find_device))


def find_device() -> Device:
    """Return this process's device, without touching CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = _all_devices() if visible is None else visible.split(",")
    first = names[0].strip() if names else ""
    is_there = bool(first) and first != "-1" and bool(_all_devices())
    return Device(host=socket.gethostname(), name=first if is_there else "")


def describe_lack(devices: Mapping[str, Device]) -> str:
    """Return "" where every worker has a GPU of its own, else what is wrong; dask-cuda gives each worker its own."""
    bare = [worker for worker, device in devices.items() if not device.name]
    if bare:
        return f"{len(bare)} of {len(devices)} workers have no GPU, the first is {min(bare)}"
    (device, number), *_ = Counter(devices.values()).most_common(1)
    if number > 1:
        return (
            f"{number} workers share GPU {device.name} of {device.host}; start them with `dask cuda worker`, one a GPU"
        )
    return ""


def _all_devices() -> list[str]:
    try:
        import pynvml  # of dask-cuda, where that is installed

        pynvml.nvmlInit()
        number = int(pynvml.nvmlDeviceGetCount())
    except Exception:  # no package, no driver and no device each have their own kind of error
        number = len(list(_NVIDIA.glob("*"))) if _NVIDIA.is_dir() else 0
    return [str(index) for index in range(number)]
