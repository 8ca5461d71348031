from __future__ import annotations

import numpy as np

from skymetal.catalogs.flags import Flag
from skymetal.engine.reference import flag_strangers, make_reference

RANDOM = np.random.default_rng(0)
COLUMNS = {
    "oh_p50": RANDOM.normal(8.9, 0.2, 5000),
    "ood_score": RANDOM.uniform(0, 1.01, 5000),
    "colour_i_r": RANDOM.normal(0.2, 0.05, 5000),
    "concentration": RANDOM.normal(0.6, 0.1, 5000),
    "roughness": RANDOM.normal(0.5, 0.1, 5000),
}
REFERENCE = make_reference(COLUMNS, rmse=0.1)


def test_its_own_galaxies_are_flagged_one_in_a_hundred() -> None:
    appearance = np.column_stack([COLUMNS["colour_i_r"], COLUMNS["concentration"], COLUMNS["roughness"]]).astype(
        np.float32
    )
    flags = flag_strangers(REFERENCE, appearance, COLUMNS["ood_score"])
    for flag in (Flag.COLOUR_OUT, Flag.SIZE_OUT, Flag.SCORE_OOD, Flag.TEXTURE_OUT):
        assert 0.007 < np.mean(flags & flag != 0) < 0.013


def test_each_strangeness_has_its_own_flag() -> None:
    appearance = np.array(
        [[0.2, 0.6, 0.5], [0.9, 0.6, 0.5], [0.2, 0.05, 0.5], [0.2, 0.6, 0.5], [0.2, 0.6, 2.5]], np.float32
    )
    flags = flag_strangers(REFERENCE, appearance, np.array([0.5, 0.5, 0.5, 1.2, 0.5]))
    assert flags.tolist() == [0, Flag.COLOUR_OUT, Flag.SIZE_OUT, Flag.SCORE_OOD, Flag.TEXTURE_OUT]
