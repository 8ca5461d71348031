from __future__ import annotations

import pytest

from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.kept import keep, recall, record_name

STEP = "evaluate"
INPUTS = {"catalogue": "v1", "views": 8}


@pytest.fixture
def kept(folder: LocalFolder) -> LocalFolder:
    folder.write("evaluation.csv", b"numbers")
    keep(folder, STEP, INPUTS, said=["RMSE 0.1"], files=["evaluation.csv"])
    return folder


def test_the_same_inputs_say_the_same_without_measuring_again(kept: LocalFolder) -> None:
    assert recall(kept, STEP, INPUTS) == ["RMSE 0.1"]


def test_other_inputs_a_lost_file_or_a_damaged_record_are_measured_again(kept: LocalFolder) -> None:
    assert recall(kept, STEP, INPUTS | {"views": 4}) is None
    kept.write("evaluation.csv", b"cut")
    assert recall(kept, STEP, INPUTS) is None
    kept.write(record_name(STEP), b'{"inputs": ')
    assert recall(kept, STEP, INPUTS) is None
    kept.remove(record_name(STEP))
    assert recall(kept, STEP, INPUTS) is None
