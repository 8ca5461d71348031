"""A predictor that does next to nothing: what is left of a pass is the engine's own cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.schema import PERCENTILES, UNSHRUNK
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.predict import Predictions, PredictorRef
from skymetal.engine.reference import Reference, make_reference

SPEC = ImageSpec(survey="simulated", bands=("i", "r", "g"), size_pix=8, stretch="asinh", size_rule="petro5")
NUM_MEMBERS = 5


@dataclass(frozen=True)
class TrivialPredictor:
    """12+log(O/H) is 8 and a two hundredth of the first pixel; nobody has seen any galaxy."""

    num_views: int

    def unseen(self, object_id_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones((len(object_id_N), NUM_MEMBERS), dtype=bool)

    def predict(self, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_]) -> Predictions:
        oh_N = np.float32(8) + images_NHWC[:, 0, 0, 0] / np.float32(200)
        oh_NMV = np.repeat(oh_N, NUM_MEMBERS * self.num_views).reshape(*wanted_NM.shape, self.num_views)
        return Predictions(oh_NMV=oh_NMV, ood_NM=np.full(wanted_NM.shape, 0.5, np.float32))

    def calibrate(
        self, oh_N: NDArray[np.float64], std_views_N: NDArray[np.float64], is_out_of_fold_N: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        return {name: oh_N + 0.1 * step for step, name in enumerate(PERCENTILES, start=-2)} | {UNSHRUNK: oh_N}


def load(path: str, **given: Any) -> TrivialPredictor:
    return TrivialPredictor(given["num_views"])


def ref() -> PredictorRef:
    return PredictorRef(
        load=load, path="trivial", digest="trivial", image_spec=SPEC, num_views=1, batch_size=64, runtime="torch"
    )


def reference() -> Reference:
    names = ("oh_p50", "ood_score", "colour_i_r", "colour_r_g", "concentration", "chroma", "roughness")
    return make_reference({name: np.linspace(-1, 10, 201) for name in names}, rmse=0.1)
