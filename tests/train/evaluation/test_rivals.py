from __future__ import annotations

import numpy as np
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.train.evaluation.metrics import Values
from skymetal.train.evaluation.rivals import Rival, add_information, judge, predict_by_fold


def test_a_rival_is_asked_by_object_id_and_says_nan_for_strangers() -> None:
    rival = Rival(name="a", title="a", object_id_S=np.array([30, 10, 20]), oh_S=np.array([9.3, 9.1, 9.2]))
    predicted = rival.predict(np.array([10, 15, 20, 30, 40]))
    assert predicted.tolist()[::2] == pytest.approx([9.1, 9.2, np.nan], nan_ok=True)
    assert np.isnan(predicted).tolist() == [False, True, False, False, True]
    empty = Rival(name="a", title="a", object_id_S=np.array([], np.int64), oh_S=np.array([]))
    assert np.isnan(empty.predict(np.array([1]))).all()


def test_a_rival_with_two_predictions_for_one_galaxy_is_refused() -> None:
    with pytest.raises(InputError, match="a title: an object_id stands in more than one row"):
        Rival(name="a", title="a title", object_id_S=np.array([1, 1]), oh_S=np.array([9.0, 9.1]))


def test_a_rival_is_judged_on_the_galaxies_of_both() -> None:
    truth = np.array([8.0, 8.5, 9.0, 9.5])
    rival = Rival(name="a", title="a", object_id_S=np.array([1, 2, 3]), oh_S=np.array([8.2, 8.7, 9.2]))
    duel = judge(rival, object_id_N=np.array([1, 2, 3, 4]), truth_N=truth, prediction_N=truth + 0.1)
    assert duel is not None
    assert duel.metrics.num_galaxies == 3
    assert duel.metrics.rmse == pytest.approx(0.2)
    assert duel.difference.rmse == pytest.approx(-0.1)
    assert judge(rival, object_id_N=np.array([1, 2, 9, 8]), truth_N=truth, prediction_N=truth) is None


def test_information_of_independent_predictors_adds_as_the_inverse_of_the_mean_squared_error() -> None:
    truth = np.zeros(4)
    three, four = np.array([3.0, -3.0, 3.0, -3.0]), np.array([4.0, 4.0, -4.0, -4.0])
    information = add_information(truth, [three, four], np.array([1.0, 1.0, 1.0, np.nan]))
    assert information is not None
    assert information.num_galaxies == 3
    assert information.combined_rmse == pytest.approx((1 / 9 + 1 / 16) ** -0.5)
    assert information.colour_rmse == 1
    assert information.gain == pytest.approx(2.4 - 1)
    assert information.to_dict()["gain_interval"] == pytest.approx([1.4, 1.4])
    assert add_information(truth, [three], np.full(4, np.nan)) is None


def test_no_galaxy_is_predicted_from_itself_or_its_fold() -> None:
    asked: list[tuple[set[float], set[float]]] = []

    def fit_and_predict(known_TF: Values, label_T: Values, wanted_PF: Values) -> Values:
        asked.append((set(known_TF[:, 0]), set(wanted_PF[:, 0])))
        return np.full(len(wanted_PF), label_T.mean())

    features = np.arange(5.0)[:, None]
    folds = np.array([0, 1, 0, 1, -1])
    predicted = predict_by_fold(features, np.array([8.0, 9.0, 8.2, 9.2, np.nan]), folds, fit_and_predict)
    assert predicted.tolist() == pytest.approx([9.1, 8.1, 9.1, 8.1, 8.6])
    assert asked == [({0.0, 1.0, 2.0, 3.0}, {4.0}), ({1.0, 3.0}, {0.0, 2.0}), ({0.0, 2.0}, {1.0, 3.0})]
