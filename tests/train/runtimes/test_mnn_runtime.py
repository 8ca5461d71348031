from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support.seen_network import seen_network

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import digest
from skymetal.train.member import fold_batch_norm
from skymetal.train.runtimes import choice, mnn_runtime
from skymetal.train.runtimes.mnn_runtime import MnnRuntime
from skymetal.train.runtimes.torch_runtime import TorchRuntime


@pytest.fixture(autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that is empty: nothing was converted before."""
    folder = tmp_path_factory.mktemp("kept")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_it_computes_what_torch_computes_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    network = fold_batch_norm(seen_network(num_labels=3))
    images = torch.randn(6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    labels, features = (said.numpy() for said in TorchRuntime(network).run(images))
    mnn_labels, mnn_features = (said.numpy() for said in MnnRuntime(network).run(images))
    assert labels.shape == mnn_labels.shape == (6, 3)
    assert features.shape == mnn_features.shape == (6, 512)
    assert np.abs(labels - mnn_labels).max() < 1e-4 * np.abs(labels).max()
    assert np.abs(features - mnn_features).max() < 1e-4 * np.abs(features).max()
    assert np.ptp(labels) > 0.1
    assert capfd.readouterr() == ("", "")


def test_processes_that_start_at_once_do_not_read_each_others_weights(tmp_path: Path) -> None:
    code = (
        "import numpy as np, torch; from support.seen_network import seen_network;"
        "from skymetal.train.member import fold_batch_norm; from skymetal.train.runtimes.mnn_runtime import MnnRuntime;"
        "network = seen_network(); torch.nn.init.normal_(network.conv1.weight, std=SEED);"
        "MnnRuntime(fold_batch_norm(network)).run(torch.zeros(2, 3, 32, 32)); print('the same')"
    )
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2]))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code.replace("SEED", f"0.{seed}")], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in (1, 2, 3)
    ]  # fmt: skip
    for process in processes:
        out, errors = process.communicate(timeout=100)
        assert out == "the same\n", errors
    assert list(tmp_path.iterdir()) == []


def test_a_network_is_converted_once_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[bytes] = []
    convert = mnn_runtime._convert

    def count(graph: bytes) -> Iterator[bytes]:
        converted.append(graph)
        yield from convert(graph)

    monkeypatch.setattr(mnn_runtime, "_convert", count)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = fold_batch_norm(seen_network())
    first, again = (MnnRuntime(network).run(images)[0] for _ in range(2))
    assert torch.equal(first, again)
    assert len(converted) == 1
    MnnRuntime(network).run(images[:1])
    torch.nn.init.normal_(network.conv1.weight)
    MnnRuntime(network).run(images)
    assert len(set(converted)) == 3, "another shape and other weights are other files"


@pytest.mark.parametrize("how", ["a bit", "cut", "empty"])
def test_a_kept_conversion_that_was_damaged_is_made_again(kept: Path, how: str) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = fold_batch_norm(seen_network())
    said = MnnRuntime(network).run(images)[0]
    (file,) = [path for path in kept.rglob("copies/*") if not path.name.startswith(".")]
    whole = bytearray(file.read_bytes())
    damaged = whole[: {"a bit": len(whole), "cut": len(whole) // 2, "empty": 0}[how]]
    if how == "a bit":
        damaged[len(damaged) // 3] ^= 4
    file.write_bytes(damaged)
    assert torch.equal(MnnRuntime(network).run(images)[0], said)
    again = file.read_bytes()  # not the same bytes: the converter gives each file a number of its own
    assert digest(again[:-64]).encode() == again[-64:]


def test_a_runtime_that_computes_other_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = fold_batch_norm(seen_network())
    other = fold_batch_norm(seen_network())
    torch.nn.init.normal_(other.conv1.weight)
    load = mnn_runtime._load
    monkeypatch.setattr(mnn_runtime, "_load", lambda _, shape: load(other, shape))
    with pytest.raises(RuntimeError, match="MNN computes other numbers than torch"):
        MnnRuntime(network).run(torch.zeros(2, 3, 32, 32))


def test_the_first_call_fixes_the_shape() -> None:
    runtime = MnnRuntime(fold_batch_norm(seen_network()))
    runtime.run(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r"started for images \(2, 3, 32, 32\), got \(3, 3, 32, 32\)"):
        runtime.run(torch.zeros(3, 3, 32, 32))


def test_without_its_packages_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'skymetal\[cpu\]', or set \[score\] runtime = 'torch'"):
        MnnRuntime(seen_network())
