"""One worker a GPU, by dask-cuda itself: in a cluster of our own, or started by `dask cuda worker`.

The two GPUs are there in name only (tests/support/fake_gpus).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parent.parent / "support"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["auto", "address"])
def test_each_gpu_has_a_worker_and_each_rank_sees_its_workers_gpu_alone(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed")
    path = os.pathsep.join([str(SUPPORT / "fake_gpus"), str(SUPPORT.parent)])
    result = subprocess.run(
        [sys.executable, "-m", "support.train_on_gpus", str(tmp_path), kind],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | {"PYTHONPATH": path, "DASK_CUDA_TEST_SINGLE_GPU": "1"},
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["workers"] == ["0,1", "1,0"], "the list is rotated: the first is the worker's own"
    assert found["epochs"] == [[0, 1], [0, 2], [1, 1], [1, 2]]
    device_of = {rank["worker"]: rank["CUDA_VISIBLE_DEVICES"] for rank in found["ranks"]}
    assert set(device_of.values()) == {"0", "1"}  # a worker that was started again has another address
    assert {rank["GLOO_SOCKET_IFNAME"] for rank in found["ranks"]} == {"lo"}
