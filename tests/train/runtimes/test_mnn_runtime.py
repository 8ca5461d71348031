from __future__ import annotations

import numpy as np
import pytest
import torch
from support.seen_network import seen_network

from skymetal.catalogs.errors import InputError
from skymetal.train.member import fold_batch_norm
from skymetal.train.runtimes import mnn_runtime
from skymetal.train.runtimes.mnn_runtime import MnnRuntime
from skymetal.train.runtimes.torch_runtime import TorchRuntime


def test_it_computes_what_torch_computes_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    network = fold_batch_norm(seen_network(num_labels=3))
    images = torch.randn(6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    labels, features = TorchRuntime(network).run(images)
    mnn_labels, mnn_features = MnnRuntime(network).run(images)
    assert labels.shape == mnn_labels.shape == (6, 3)
    assert features.shape == mnn_features.shape == (6, 512)
    assert np.abs(labels - mnn_labels).max() < 1e-4 * np.abs(labels).max()
    assert np.abs(features - mnn_features).max() < 1e-4 * np.abs(features).max()
    assert np.ptp(labels) > 0.1
    assert capfd.readouterr() == ("", "")


def test_the_first_call_fixes_the_shape() -> None:
    runtime = MnnRuntime(fold_batch_norm(seen_network()))
    runtime.run(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r"started for images \(2, 3, 32, 32\), got \(3, 3, 32, 32\)"):
        runtime.run(torch.zeros(3, 3, 32, 32))


def test_without_its_packages_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnn_runtime, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'skymetal\[cpu\]', or set \[score\] runtime = 'torch'"):
        MnnRuntime(seen_network())
