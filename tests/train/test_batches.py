from __future__ import annotations

import numpy as np
import torch

from skymetal.train.batches import Pixels


def test_batches_come_in_turn_and_whole() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3)).astype(np.uint8)
    pixels = Pixels(images, torch.device("cpu"))
    batches = list(np.array_split(np.random.default_rng(1).permutation(20), 6))
    taken = list(pixels.take_in_turn(batches))
    assert all(np.array_equal(got.numpy(), images[rows]) for got, rows in zip(taken, batches, strict=True))
    assert np.array_equal(pixels.take(batches[2]).numpy(), images[batches[2]])
    assert next(iter(pixels.take_in_turn(batches[:1]))).shape == (4, 4, 4, 3)
