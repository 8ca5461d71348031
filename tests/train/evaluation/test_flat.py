from __future__ import annotations

import csv
import io

import numpy as np
import pyarrow as pa

from skymetal.train.evaluation.evaluate import compare, judge_comparison
from skymetal.train.evaluation.flat import COLUMNS, to_csv
from skymetal.train.evaluation.rivals import Rival


def test_every_number_has_a_row_that_says_what_it_is() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(9, 0.2, 60)
    rows = pa.table({"object_id": np.arange(60), "lgm_tot_p50": np.linspace(9, 11, 60)})
    prediction = pa.chunked_array([truth + random.normal(0, 0.1, 60)])
    rival = Rival(name="mass", title="stellar mass alone", object_id_S=np.arange(50), oh_S=truth[:50] + 0.2)
    judgement = judge_comparison(compare("new", "t", pa.chunked_array([truth]), prediction, rows), [rival])
    found = list(csv.DictReader(io.StringIO(to_csv([judgement.to_json()]).decode())))
    assert tuple(found[0]) == COLUMNS
    keys = [tuple(row[name] for name in ("comparison", "predictor", "by", "bin_low", "measure")) for row in found]
    assert len(set(keys)) == len(keys)
    by_key = {key[:3] + key[4:]: row for key, row in zip(keys, found, strict=True)}
    own = by_key["new", "ensemble", "", "rmse"]
    assert float(own["value"]) == judgement.comparison.metrics.rmse
    assert float(own["low"]) < float(own["value"]) < float(own["high"])
    assert by_key["new", "mass", "", "rmse"]["num_galaxies"] == "50"
    assert float(by_key["new", "mass", "", "ensemble_minus_this_rmse"]["value"]) < 0
    assert "shrinkage_slope_of_truth" in {row["measure"] for row in found}
    assert {row["by"] for row in found} == {"", "truth", "prediction"}
    assert by_key["new", "truth", "", "mass_metallicity_nmad"]["num_galaxies"] == "60"
