"""A predictor that some galaxies kill, hang or break, each in its own way.

Its path says how it behaves: "wild", or "tame", which takes no notice of poison; then more, as in "wild seconds=0.1".
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymetal.engine.pixels import ImageSpec
from skymetal.engine.predict import Predictions, PredictorRef

SPEC = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=8, stretch="sdss-jpeg", size_rule="petro5")
BOMB_BYTES = 256 << 20
MARK = (251, 3, 249, 1, 253)


class Panic(BaseException):
    """What a library in Rust raises."""


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hold_the_gil() -> None:
    ctypes.PyDLL(None).sleep(3600)


def sleep() -> None:
    time.sleep(3600)


def bomb() -> None:
    """Take all the memory there is, in a process that may not take much."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + BOMB_BYTES, before[1]))
    hoard: list[bytearray] = []
    try:
        while True:
            hoard.append(bytearray(16 << 20))
    finally:
        hoard.clear()
        resource.setrlimit(resource.RLIMIT_DATA, before)


def data_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def leave() -> None:
    sys.exit(3)


def panic() -> None:
    raise Panic("index out of bounds")


def fail() -> None:
    raise ValueError("no such galaxy")


KINDS: tuple[Callable[[], None], ...] = (crash, hold_the_gil, sleep, bomb, leave, panic, fail)
NOT_FINITE = len(KINDS)
REASONS = (
    "the process was killed by signal 11",
    "it took longer than {limit}",
    "it took longer than {limit}",
    "MemoryError",
    "SystemExit: 3",
    "Panic: index out of bounds",
    "ValueError: no such galaxy",
    "the prediction is not finite",
)


def poison(image_HWC: NDArray[np.uint8], kind: int) -> None:
    """Make one galaxy poisonous."""
    image_HWC[0, :2] = np.array([*MARK, kind], np.uint8).reshape(2, 3)


@dataclass(frozen=True)
class PoisonedPredictor:
    """12+log(O/H) = 8 + mean pixel / 100 + member / 1000 + view / 10000; every galaxy is new to all three members.

    seconds is how long a call takes, most how many galaxies it can bear; once names a file that its death leaves.
    """

    num_views: int
    is_wild: bool = True
    seconds: str = "0"
    most: str = "1000000"
    once: str = ""
    broken: str = ""

    def unseen(self, object_id_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones((len(object_id_N), 3), bool)

    def predict(self, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_]) -> Predictions:
        time.sleep(float(self.seconds))
        if self.broken:
            raise ValueError("these weights are of another network")
        if self.once and not Path(self.once).exists():
            Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if images_NHWC.any(axis=(1, 2, 3)).sum() > int(self.most):
            raise MemoryError
        mean_N = images_NHWC.mean(axis=(1, 2, 3))
        oh_NMV = (8 + mean_N / 100)[:, None, None] + np.arange(3)[:, None] / 1000 + np.arange(self.num_views) / 10000
        if self.is_wild:
            self._suffer(images_NHWC, oh_NMV)
        return Predictions(oh_NMV=oh_NMV.astype(np.float32), ood_NM=np.zeros_like(wanted_NM, np.float32))

    def calibrate(
        self, oh_N: NDArray[np.float64], std_views_N: NDArray[np.float64], is_out_of_fold_N: NDArray[np.bool_]
    ) -> Mapping[str, NDArray[np.float64]]:
        steps = {"oh_p2p5": -2, "oh_p16": -1, "oh_p50": 0, "oh_p84": 1, "oh_p97p5": 2, "oh_unshrunk": 0}
        return {name: oh_N + 0.1 * step for name, step in steps.items()}

    @staticmethod
    def _suffer(images_NHWC: NDArray[np.uint8], oh_NMV: NDArray[np.float64]) -> None:
        is_marked_N = (images_NHWC[:, 0, :2].reshape(-1, 6)[:, :5] == MARK).all(axis=1)
        for row in np.flatnonzero(is_marked_N):
            kind = int(images_NHWC[row, 0, 1, 2])
            if kind == NOT_FINITE:
                oh_NMV[row] = np.inf
            else:
                KINDS[kind]()


def load(path: str, *, num_views: int, **_: object) -> PoisonedPredictor:
    nature, *more = path.split()
    settings = dict(each.split("=") for each in more)
    if not settings.get("seconds", "0")[0].isdecimal():
        raise ValueError(f"these are no seconds: {settings['seconds']}")
    return PoisonedPredictor(num_views, is_wild=nature == "wild", **settings)


def ref(path: str = "wild") -> PredictorRef:
    return PredictorRef(load=load, path=path, digest=path, image_spec=SPEC, num_views=2, batch_size=16, runtime="torch")
