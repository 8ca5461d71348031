"""Finds the galaxies of a block that cannot be predicted, and predicts all others as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skymetal.engine.careful.client import CarefulLimits, CarefulPredictor, PredictionFailed
from skymetal.engine.predict import Predictions, PredictorRef


def predict_carefully(
    ref: PredictorRef, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_], limits: CarefulLimits
) -> tuple[Predictions, dict[int, str]]:
    """Predict in a process of its own; return the predictions and the reason for each row that cannot be predicted.

    Every other row has the bytes of an undisturbed call: it stands at the same place in a call of the same size, in
    which the culprits' pixels are zeros. Raises RuntimeError where no galaxy is to blame.
    """
    with CarefulPredictor(ref, limits) as predictor:
        try:
            return predictor.predict(images_NHWC, wanted_NM), {}
        except PredictionFailed as error:
            reason = str(error)
        _refuse_a_broken_predictor(predictor, images_NHWC, wanted_NM)
        culprits = dict(_find_culprits(predictor, images_NHWC, wanted_NM, chunk_size=ref.batch_size))
        harmless_NHWC = images_NHWC.copy()
        harmless_NHWC[list(culprits)] = 0
        answer = _predict_or_reason(predictor, harmless_NHWC, wanted_NM, num_tries=2)
        if isinstance(answer, Predictions):
            return answer, culprits
    blamed = f"beside the {len(culprits)} that fail alone, " if culprits else ""
    raise RuntimeError(
        f"{blamed}its galaxies fail together ({answer if culprits else reason}) and not one at a time, so none can be "
        f"quarantined; try a smaller [score] batch_size in another [job] run_dir, or look for what is wrong with "
        f"{ref.path}"
    )


def _refuse_a_broken_predictor(
    predictor: CarefulPredictor, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_]
) -> None:
    """Raise RuntimeError where blank images fail as well: else every galaxy would be blamed."""
    answer = _predict_or_reason(predictor, np.zeros_like(images_NHWC), wanted_NM, num_tries=2)
    if not isinstance(answer, Predictions):
        raise RuntimeError(
            f"{len(images_NHWC)} blank images fail too ({answer}), so it is the ensemble or the machine, not a galaxy; "
            "is there enough memory for [score] batch_size, and time enough in [score] block_timeout_min?"
        )


def _find_culprits(
    predictor: CarefulPredictor, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_], *, chunk_size: int
) -> Iterator[tuple[int, str]]:
    """Yield the rows that fail alone, twice, with the reason of the second time."""
    for first in range(0, len(images_NHWC), chunk_size):
        rows = range(first, min(first + chunk_size, len(images_NHWC)))
        chunk = slice(rows.start, rows.stop)
        if isinstance(_predict_or_reason(predictor, images_NHWC[chunk], wanted_NM[chunk]), Predictions):
            continue
        for row in rows:
            one = slice(row, row + 1)
            answer = _predict_or_reason(predictor, images_NHWC[one], wanted_NM[one], num_tries=2)
            if not isinstance(answer, Predictions):
                yield row, answer


def _predict_or_reason(
    predictor: CarefulPredictor,
    images_NHWC: NDArray[np.uint8],
    wanted_NM: NDArray[np.bool_],
    *,
    num_tries: int = 1,
) -> Predictions | str:
    reason = ""
    for _ in range(num_tries):  # a process may also be ended by accident
        try:
            return predictor.predict(images_NHWC, wanted_NM)
        except PredictionFailed as error:
            reason = str(error)
    return reason
