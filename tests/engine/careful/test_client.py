from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from support import poison

from skymetal.engine.careful.client import CarefulLimits, CarefulPredictor, PredictionFailed

LIMITS = CarefulLimits(seconds=30, memory_bytes=4 << 30)
WANTED = np.ones((4, 3), bool)


def images(*kinds: int) -> NDArray[np.uint8]:
    images_NHWC = np.random.default_rng(2).integers(0, 200, (4, 8, 8, 3)).astype(np.uint8)
    for row, kind in enumerate(kinds):
        poison.poison(images_NHWC[row], kind)
    return images_NHWC


@pytest.fixture
def predictor() -> Iterator[CarefulPredictor]:
    with CarefulPredictor(poison.ref(), LIMITS) as predictor:
        yield predictor
    assert not [child for child in psutil.Process().children() if "careful" in " ".join(child.cmdline())]


def test_it_predicts_what_this_process_would(predictor: CarefulPredictor) -> None:
    here, there = poison.ref().open().predict(images(), WANTED), predictor.predict(images(), WANTED)
    assert here.oh_NMV.tobytes() == there.oh_NMV.tobytes()
    assert here.ood_NM.tobytes() == there.ood_NM.tobytes()


@pytest.mark.parametrize("kind", [poison.crash, poison.bomb, poison.leave, poison.panic, poison.fail])
def test_whatever_a_galaxy_does_there_is_told_here_in_the_same_words_and_the_next_call_works(
    predictor: CarefulPredictor, kind: Callable[[], None]
) -> None:
    number = poison.KINDS.index(kind)
    for _ in range(2):
        with pytest.raises(PredictionFailed) as error:
            predictor.predict(images(number), WANTED)
        assert str(error.value) == poison.REASONS[number]
    assert np.isfinite(predictor.predict(images(), WANTED).oh_NMV).all()


@pytest.mark.parametrize("kind", [poison.hold_the_gil, poison.sleep])
def test_a_hang_is_ended_by_the_clock(kind: Callable[[], None]) -> None:
    with CarefulPredictor(poison.ref(), dataclasses.replace(LIMITS, seconds=1)) as predictor:
        with pytest.raises(PredictionFailed, match=r"^it took longer than 1 s$"):
            predictor.predict(images(poison.KINDS.index(kind)), WANTED)
        assert np.isfinite(predictor.predict(images(), WANTED).oh_NMV).all()


def test_a_predictor_that_cannot_be_loaded_is_no_galaxys_fault() -> None:
    broken = poison.ref("wild seconds=many most=no")
    with (
        CarefulPredictor(broken, LIMITS) as predictor,
        pytest.raises(RuntimeError, match=r"does not start: ValueError: these are no seconds: many"),
    ):
        predictor.predict(images(), WANTED)


PARENT = """
import numpy as np
from support import poison
from skymetal.engine.careful.client import CarefulLimits, CarefulPredictor
image = np.zeros((1, 8, 8, 3), np.uint8)
predictor = CarefulPredictor(poison.ref(), CarefulLimits(seconds=300, memory_bytes=4 << 30))
predictor.predict(image, np.ones((1, 3), bool))
print(predictor._process.pid, flush=True)
poison.poison(image[0], poison.KINDS.index(poison.hold_the_gil))
predictor.predict(image, np.ones((1, 3), bool))
"""


def test_it_dies_with_its_parent_and_is_the_first_to_go_where_memory_is_short() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    with open(f"/proc/{child.pid}/oom_score_adj", encoding="ascii") as file:
        assert file.read() == "1000\n"
    assert child.rlimit(psutil.RLIMIT_DATA)[0] == 4 << 30
    time.sleep(0.2)
    parent.send_signal(signal.SIGKILL)
    parent.wait(timeout=30)
    parent.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=20)
    assert alive == []
