from __future__ import annotations

import io

import numpy as np
from PIL import Image

from skymetal.train.evaluation.gallery import NUM_CUTOUTS, choose_ranks, draw_gallery


def test_the_first_and_the_last_are_always_shown() -> None:
    assert choose_ranks(3).tolist() == [0, 1, 2]
    ranks = choose_ranks(1_000_000)
    assert len(ranks) == NUM_CUTOUTS
    assert (ranks[0], ranks[-1]) == (0, 999_999)
    assert choose_ranks(1).tolist() == [0]


def test_the_same_cutouts_give_the_same_picture() -> None:
    images = np.random.default_rng(0).integers(0, 255, (10, 16, 16, 3)).astype(np.uint8)
    captions = [f"8.{k}" for k in range(10)]
    first = draw_gallery(images, captions, title="t")
    assert draw_gallery(images, captions, title="t") == first
    assert draw_gallery(images[::-1], captions, title="t") != first
    width, height = Image.open(io.BytesIO(first)).size
    assert width > height
