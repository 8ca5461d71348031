"""A predictor that is small, real and quick: what the engine's tests score with, on workers too."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymetal.engine.pixels import ImageSpec
from skymetal.engine.predict import Predictions, PredictorRef
from skymetal.engine.reference import make_reference

SPEC = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=8, stretch="sdss-jpeg", size_rule="petro5")


@dataclass(frozen=True)
class BrightnessPredictor:
    """12+log(O/H) = 8 + mean pixel / 100 + member / 1000 + view / 10000; even object_ids were trained on."""

    num_views: int

    def unseen(self, object_id_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        own_NM = (object_id_N // 2 % 3)[:, None] == np.arange(3)
        return own_NM | (object_id_N % 2 == 1)[:, None]

    def predict(self, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_]) -> Predictions:
        mean_N = images_NHWC.mean(axis=(1, 2, 3))
        oh_NMV = (8 + mean_N / 100)[:, None, None] + np.arange(3)[:, None] / 1000 + np.arange(self.num_views) / 10000
        return Predictions(
            oh_NMV=np.where(wanted_NM[:, :, None], oh_NMV, np.nan).astype(np.float32),
            ood_NM=np.where(wanted_NM, mean_N[:, None] / 100, np.nan).astype(np.float32),
        )

    def calibrate(
        self, oh_N: NDArray[np.float64], std_views_N: NDArray[np.float64], is_out_of_fold_N: NDArray[np.bool_]
    ) -> Mapping[str, NDArray[np.float64]]:
        sigma_N = np.where(is_out_of_fold_N, 0.1, 0.08) + std_views_N
        steps = {"oh_p2p5": -2, "oh_p16": -1, "oh_p50": 0, "oh_p84": 1, "oh_p97p5": 2}
        return {name: oh_N + step * sigma_N for name, step in steps.items()} | {"oh_unshrunk": 1.25 * oh_N - 2.25}


def load(path: str, *, num_views: int, **_: object) -> BrightnessPredictor:
    return BrightnessPredictor(num_views)


def ref() -> PredictorRef:
    return PredictorRef(load=load, path="none", digest="d", image_spec=SPEC, num_views=2, batch_size=4, runtime="torch")


REFERENCE = make_reference(
    {
        "oh_p50": np.linspace(8, 9, 101),
        "ood_score": np.linspace(0, 1, 101),
        "colour_i_r": np.linspace(-1, 1, 101),
        "colour_r_g": np.linspace(-1, 1, 101),
        "concentration": np.linspace(-1, 1, 101),
        "chroma": np.linspace(0, 10, 101),
        "roughness": np.linspace(0, 10, 101),
    },
    rmse=0.1,
)


def square(index: int) -> int:
    return index * index


def fail_on_odd(index: int) -> int:
    if index % 2:
        raise ValueError(f"{index} is odd")
    return index


def leave_on_three(index: int) -> int:
    if index == 3:
        sys.exit(7)
    return index


def die_once(folder: str, index: int) -> int:
    """Kill the worker the first time block 2 runs."""
    marker = Path(folder) / "died"
    if index == 2 and not marker.exists():
        marker.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return index


def always_die_on_two(index: int) -> int:
    if index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return index


def echo_slowly(index: int) -> int:
    time.sleep(0.1)
    return index


def leave_a_trace_slowly(folder: str, index: int) -> int:
    (Path(folder) / str(index)).touch()
    return echo_slowly(index)


class SlowToSend:
    """A receipt that takes its worker three seconds to send."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> tuple[type[SlowToSend], tuple[int]]:
        time.sleep(3)
        return SlowToSend, (self.index,)


class DeadlyToSend:
    """A receipt that kills its worker when it is sent."""

    def __reduce__(self) -> tuple[type[DeadlyToSend], tuple[()]]:
        os._exit(9)


def deadly_to_send(folder: str, index: int) -> object:
    """Return the index; of block 0 a deadly receipt, and then death."""
    if index:
        return index
    if (Path(folder) / "done").exists():
        os._exit(9)
    (Path(folder) / "done").touch()
    return DeadlyToSend()


def slow_to_send(folder: str, index: int) -> SlowToSend:
    (Path(folder) / str(index)).touch()
    return SlowToSend(index)
