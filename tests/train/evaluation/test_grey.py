from __future__ import annotations

import numpy as np

from skymetal.train.evaluation.grey import grey


def test_every_band_of_a_grey_image_is_the_mean_of_all() -> None:
    images = np.zeros((1, 2, 2, 3), np.uint8)
    images[0, 0, 0] = (10, 20, 40)
    images[0, 1, 1] = (255, 255, 255)
    made = grey(images)
    assert made.dtype == np.uint8
    assert made[0, 0, 0].tolist() == [23, 23, 23]
    assert made[0, 1, 1].tolist() == [255, 255, 255]
    assert images[0, 0, 0].tolist() == [10, 20, 40]
    flux = grey(images.astype(np.float32) / 3)
    assert np.allclose(flux[0, 0, 0], 70 / 9)
