from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import poison

from skymetal.engine.careful.client import CarefulLimits
from skymetal.engine.careful.culprits import predict_carefully
from skymetal.engine.predict import PredictorRef


def ref(path: str = "wild") -> PredictorRef:
    return dataclasses.replace(poison.ref(path), batch_size=4)


LIMITS = CarefulLimits(seconds=20, memory_bytes=4 << 30)


def images() -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 200, (13, 8, 8, 3)).astype(np.uint8)


def test_the_culprits_alone_are_found_and_all_others_get_the_bytes_of_an_undisturbed_call() -> None:
    images_NHWC, wanted_NM = images(), np.ones((13, 3), bool)
    culprits = {1: poison.crash, 6: poison.leave, 7: poison.fail, 12: poison.panic}
    for row, kind in culprits.items():
        poison.poison(images_NHWC[row], poison.KINDS.index(kind))
    before = images_NHWC.copy()
    predictions, reasons = predict_carefully(ref(), images_NHWC, wanted_NM, LIMITS)
    assert reasons == {row: poison.REASONS[poison.KINDS.index(kind)] for row, kind in culprits.items()}
    undisturbed = ref("tame").open().predict(images_NHWC, wanted_NM)
    innocent = [row for row in range(13) if row not in culprits]
    assert predictions.oh_NMV[innocent].tobytes() == undisturbed.oh_NMV[innocent].tobytes()
    assert np.array_equal(images_NHWC, before)


def test_where_the_whole_block_works_nobody_is_blamed() -> None:
    predictions, reasons = predict_carefully(ref(), images(), np.ones((13, 3), bool), LIMITS)
    assert len(predictions.oh_NMV) == 13
    assert reasons == {}


def test_a_death_by_accident_blames_nobody(tmp_path: Path) -> None:
    ref_once = ref(f"wild once={tmp_path}/died")
    predictions, reasons = predict_carefully(ref_once, images(), np.ones((13, 3), bool), LIMITS)
    assert (tmp_path / "died").exists()
    assert np.isfinite(predictions.oh_NMV).all()
    assert reasons == {}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "wild broken=1",
            r"13 blank images fail too \(ValueError: these weights are of another network\), so it is the",
        ),
        (
            "wild most=4",
            r"^its galaxies fail together \(MemoryError\) and not one at a time, so none can be quarantined",
        ),
    ],
)
def test_where_no_galaxy_is_to_blame_none_is_quarantined(path: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        predict_carefully(ref(path), images(), np.ones((13, 3), bool), LIMITS)


def test_galaxies_that_also_fail_together_are_not_half_believed() -> None:
    images_NHWC = images()
    poison.poison(images_NHWC[2], poison.KINDS.index(poison.fail))
    with pytest.raises(
        RuntimeError, match=r"^beside the 1 that fail alone, its galaxies fail together \(MemoryError\)"
    ):
        predict_carefully(ref("wild most=8"), images_NHWC, np.ones((13, 3), bool), LIMITS)
