"""The one upward need of the engine: something that turns cutouts into metallicities."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skymetal.engine.pixels import ImageSpec

NUM_VIEWS = (1, 2, 4, 5, 8)
"""How many views of an image may be averaged: groups of its eight flips and turns, or the paper's five random ones."""

RUNTIMES = ("auto", "torch", "torch-fp16", "torch-bf16", "mnn", "amx-bf16")
"""What may compute an ensemble, as docs/scoring.md describes it: torch in three precisions, MNN, torch on AMX."""

ON_GPUS = ("torch-fp16", "torch-bf16")
"""Those that need one."""
ON_CPUS = ("mnn", "amx-bf16")
"""Those that compute on the CPU, also where there is a GPU."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What an ensemble says of N galaxies: M members, V views. NaN where a member was not wanted.

    oh_NMV is 12+log(O/H), dex. ood_NM is how far the image lies from those the member has learnt from, in units of
    the distance that 1 % of held-out galaxies exceed. embedding_NF, where asked for, are the first member's features.
    """

    oh_NMV: NDArray[np.float32]
    ood_NM: NDArray[np.float32]
    embedding_NF: NDArray[np.float16] | None = None


class Predictor(Protocol):
    """An ensemble ready to predict. Shapes: N galaxies, M members, V views.

    A galaxy at the same place in a call gets the same bytes, whatever the other galaxies in the call.
    """

    def unseen(self, object_id_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (N, M): whether member m was trained without galaxy n."""
        ...

    def predict(self, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_]) -> Predictions:
        """Return what the wanted members say of every galaxy."""
        ...

    def calibrate(
        self, oh_N: NDArray[np.float64], std_views_N: NDArray[np.float64], is_out_of_fold_N: NDArray[np.bool_]
    ) -> Mapping[str, NDArray[np.float64]]:
        """Return the columns :data:`catalogs.schema.CALIBRATED`, dex, (N,), finite, the percentiles in order.

        oh_N is the mean of predict over members and views, std_views_N its spread over views.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PredictorRef:
    """Names a predictor without holding it: what travels in a task in place of the weights.

    image_spec says which images the predictor was trained on, so that others can be refused before any work.
    """

    load: Callable[..., Predictor]
    path: str
    digest: str
    image_spec: ImageSpec
    num_views: int
    batch_size: int
    runtime: str
    embeddings: bool = False

    def open(self) -> Predictor:
        """Return the predictor, loaded once a process."""
        with _lock:
            if self not in _loaded:
                _loaded.clear()
                _loaded[self] = self.load(
                    self.path,
                    digest=self.digest,
                    num_views=self.num_views,
                    batch_size=self.batch_size,
                    runtime=self.runtime,
                    embeddings=self.embeddings,
                )
            return _loaded[self]


_lock = threading.Lock()
_loaded: dict[PredictorRef, Predictor] = {}
