"""As much of NVIDIA's management library as dask-cuda asks of it, for two devices that are not there."""

from __future__ import annotations

from dataclasses import dataclass

NUM_DEVICES = 2
NVML_DEVICE_MIG_DISABLE = 0


class NVMLError(Exception):
    """Whatever this library does not do."""


class NVMLError_NotSupported(NVMLError):  # noqa: N801
    """Named as in the original."""


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801
    """Named as in the original."""


class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801
    """Named as in the original."""


class NVMLError_Unknown(NVMLError):  # noqa: N801
    """Named as in the original."""


@dataclass(frozen=True)
class _Memory:
    total: int = 80 << 30
    used: int = 0
    free: int = 80 << 30


@dataclass(frozen=True)
class _Utilization:
    gpu: int = 0


def nvmlInit() -> None:
    pass


def nvmlShutdown() -> None:
    pass


def nvmlDeviceGetCount() -> int:
    return NUM_DEVICES


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    if not 0 <= int(index) < NUM_DEVICES:
        raise NVMLError(f"there is no device {index}")
    return int(index)


def nvmlDeviceGetMigMode(handle: int) -> tuple[int, int]:
    raise NVMLError_NotSupported


def nvmlDeviceGetComputeRunningProcesses_v2(handle: int) -> list[int]:
    return []


def nvmlDeviceGetCpuAffinity(handle: int, size: int) -> list[int]:
    return [3] + [0] * (size - 1)


def nvmlDeviceGetMemoryInfo(handle: int) -> _Memory:
    return _Memory()


def nvmlDeviceGetUtilizationRates(handle: int) -> _Utilization:
    return _Utilization()


def nvmlDeviceGetUUID(handle: int) -> bytes:
    return f"GPU-{handle:032d}".encode()


def nvmlDeviceGetName(handle: int) -> bytes:
    return b"a device that is not there"
