from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skymetal.deploy.clusters.devices import Device, describe_lack, find_device

FAKE_GPUS = Path(__file__).resolve().parents[2] / "support" / "fake_gpus"


def test_gpus_are_there_when_each_worker_has_one_of_its_own() -> None:
    devices = {f"tls://{host}:{name}": Device(host=host, name=name) for host in "ab" for name in "01"}
    assert describe_lack(devices) == ""
    bare = devices | {"tls://c:1": Device(host="c", name="")}
    assert describe_lack(bare) == "1 of 5 workers have no GPU, the first is tls://c:1"
    crowded = devices | {"tls://b:9": Device(host="b", name="1")}
    assert describe_lack(crowded).startswith("2 workers share GPU 1 of b; start them with `dask cuda worker`")


@pytest.mark.parametrize(
    ("visible", "name"),
    [(None, "0"), ("1,0", "1"), ("0", "0"), ("", ""), ("-1", ""), ("GPU-7a,GPU-7b", "GPU-7a")],
)
def test_a_workers_device_is_the_first_that_it_may_see(
    visible: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FAKE_GPUS))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_device().name == name
    sys.modules.pop("pynvml", None)  # the one that says that there are GPUs


def test_a_variable_makes_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert find_device().name == ""
