from __future__ import annotations

import numpy as np
import pyarrow as pa

from skymetal.train.evaluation.photometry import MAGNITUDES, MASS, FoldedTable, fold_table


def folded(**columns: list[float | None]) -> FoldedTable:
    targets = pa.table({"object_id": [4, 3, 2, 1], **columns})
    seen = pa.table({"object_id": [1, 2, 99], "fold": [0, 1, 0], "oh_p50_true": [8.1, 8.2, 9.9]})
    return fold_table(targets, seen, label="oh_p50", wanted=np.array([4, 77]))


def test_training_galaxies_and_wanted_ones_are_kept_in_id_order_with_their_folds() -> None:
    table = folded(lgm_tot_p50=[10.4, 10.3, 10.2, 10.1])
    assert table.object_id_N.tolist() == [1, 2, 4]
    assert table.fold_N.tolist() == [0, 1, -1]
    assert table.label_N[:2].tolist() == [8.1, 8.2]
    assert np.isnan(table.label_N[2])
    assert table.features((MASS,))[:, 0].tolist() == [10.1, 10.2, 10.4]


def test_sentinels_and_missing_values_are_no_measurements() -> None:
    table = folded(lgm_tot_p50=[-9999.0, 10.3, None, 10.1])
    assert table.complete((MASS,)).object_id_N.tolist() == [1]


def test_what_stands_in_the_way_is_said() -> None:
    table = folded(lgm_tot_p50=[10.4, 10.3, 10.2, 10.1])
    assert table.obstacle(MAGNITUDES) == "the target list has no modelMag_g"
    assert "only 2 galaxies that the ensemble was trained on have lgm_tot_p50" in table.obstacle((MASS,))
    bare = folded()
    assert bare.object_id_N.tolist() == [1, 2, 4]
    assert bare.obstacle((MASS,)) == "the target list has no lgm_tot_p50"
