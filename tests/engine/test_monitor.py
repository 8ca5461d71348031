from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.schema import PERCENTILES
from skymetal.engine.monitor import (
    PartSummary,
    describe_progress,
    is_shift,
    measure_accuracy,
    measure_drift,
    reason_to_stop,
    summarise_part,
    to_json,
)
from skymetal.engine.reference import make_reference

RANDOM = np.random.default_rng(0)
OWN = {
    "oh_p50": RANDOM.normal(8.9, 0.15, 4000),
    "ood_score": RANDOM.gamma(4, 0.12, 4000),
    "colour_i_r": RANDOM.normal(0.2, 0.05, 4000),
}
REFERENCE = make_reference(OWN, rmse=0.1)


def part(number: int, *, error: float = 0.1, redder: float = 0.0, known: float = 0.3) -> tuple[PartSummary, np.ndarray]:
    oh = RANDOM.normal(8.9, 0.15, number)
    truth = oh + RANDOM.normal(-0.02, error, number)
    truth[RANDOM.random(number) > known] = np.nan
    steps = {"oh_p2p5": -0.196, "oh_p16": -0.1, "oh_p50": 0.0, "oh_p84": 0.1, "oh_p97p5": 0.196}
    rows = pa.table({name: oh + step for name, step in steps.items()} | {"ood_score": RANDOM.gamma(4, 0.12, number)})
    appearance = RANDOM.normal(0.2 + redder, 0.05, (number, 1)).astype(np.float32)
    return summarise_part(rows, truth, REFERENCE, appearance), (oh - truth)[np.isfinite(truth)]


def test_parts_add_up_to_the_numbers_of_all_galaxies() -> None:
    parts = [part(500) for _ in range(6)]
    total = parts[0][0]
    for summary, _ in parts[1:]:
        total = total + summary
    errors = np.concatenate([each for _, each in parts])
    accuracy = measure_accuracy(total)
    assert accuracy is not None
    assert (total.num_rows, accuracy.num_known) == (3000, len(errors))
    assert accuracy.rmse == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert accuracy.bias == pytest.approx(np.median(errors), abs=0.005)
    assert accuracy.nmad == pytest.approx(1.4826 * np.median(np.abs(errors - np.median(errors))), abs=0.008)
    assert accuracy.outlier_fraction == np.mean(np.abs(errors) > 0.2)
    assert accuracy.coverage_68 == pytest.approx(0.67, abs=0.05)
    assert accuracy.coverage_95 == pytest.approx(0.95, abs=0.03)


def test_galaxies_like_its_own_have_not_drifted_and_redder_ones_have() -> None:
    same = {drift.name: drift for drift in measure_drift(part(4000)[0], REFERENCE)}
    assert list(same) == ["oh_p50", "ood_score", "colour_i_r"]
    assert all(drift.psi < 0.02 and drift.ks < 0.05 and not is_shift(drift) for drift in same.values())
    redder = {drift.name: drift for drift in measure_drift(part(4000, redder=0.05)[0], REFERENCE)}
    assert redder["colour_i_r"].ks == pytest.approx(0.383, abs=0.04)  # two normals one standard deviation apart
    assert is_shift(redder["colour_i_r"])
    assert not is_shift(redder["oh_p50"])
    assert "colour_i_r has shifted (PSI" in describe_progress(part(4000, redder=0.05)[0], REFERENCE)


def test_equal_values_are_no_drift_from_themselves_and_large_errors_are_told() -> None:
    tied = make_reference(OWN | {"colour_i_r": np.r_[np.zeros(1200), OWN["colour_i_r"][1200:]]}, rmse=0.1)
    constant = make_reference(OWN | {"colour_i_r": np.zeros(4000)}, rmse=0.1)
    for reference in (tied, constant):
        rows = pa.table({name: OWN["oh_p50"] for name in PERCENTILES} | {"ood_score": OWN["ood_score"]})
        colour = np.quantile(np.asarray(reference.quantiles["colour_i_r"]), np.linspace(0, 1, 4000))[:, None]
        summary = summarise_part(rows, OWN["oh_p50"] - 3, reference, colour.astype(np.float32))
        drift = measure_drift(summary, reference)[2]
        assert (drift.psi, drift.ks) < (0.02, 0.02)
        accuracy = measure_accuracy(summary)
        assert accuracy is not None
        assert accuracy.bias == pytest.approx(3, abs=0.01)


def test_a_handful_of_galaxies_like_its_own_is_no_shift() -> None:
    few = [drift for _ in range(20) for drift in measure_drift(part(40)[0], REFERENCE)]
    assert max(drift.psi for drift in few) > 0.25
    assert sum(map(is_shift, few)) <= 3


def test_a_pass_gone_wrong_is_stopped_with_a_reason_and_a_good_or_young_one_is_not() -> None:
    wrong = part(1000, error=0.4)[0]
    reason = reason_to_stop(wrong, REFERENCE, stop_rmse_ratio=2)
    assert "galaxies of known metallicity is 0.4" in reason
    assert "ensemble's own is 0.100" in reason
    assert reason_to_stop(wrong, REFERENCE, stop_rmse_ratio=0) == ""
    assert reason_to_stop(part(1000)[0], REFERENCE, stop_rmse_ratio=2) == ""
    assert reason_to_stop(part(100, error=0.4)[0], REFERENCE, stop_rmse_ratio=2) == ""


def test_without_truth_or_rows_there_is_nothing_to_say_and_no_error() -> None:
    unknown = part(200, known=0)[0]
    assert measure_accuracy(unknown) is None
    assert reason_to_stop(unknown, REFERENCE, stop_rmse_ratio=2) == ""
    assert to_json(unknown, REFERENCE)["accuracy"] is None
    empty = part(0)[0]
    assert describe_progress(empty, REFERENCE) == ""
    assert all(drift.psi == 0 for drift in measure_drift(empty, REFERENCE))
