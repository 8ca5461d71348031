"""Transfer: that weights from elsewhere fit this training, and have not seen the galaxies they are to be judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skymetal.catalogs.errors import InputError
from skymetal.train.card import CARD, describe_ensemble
from skymetal.train.plan import TrainPlan
from skymetal.train.settings import RANDOM_INIT


def check_transfer(plan: TrainPlan) -> None:
    """Raise InputError where ``init`` is a member of an ensemble that was shown pixels of another kind, or that learnt
    from galaxies of this training sample.

    Every fold begins with the same weights, so each member would have seen what it is kept from. Only a file that
    lies in its ensemble's folder can be looked up.
    """
    folder = Path(plan.init).parent
    if plan.init != RANDOM_INIT and not (folder / CARD).is_file() and list(folder.glob("fold*.json")):
        raise InputError(
            f"[train] init = {plan.init!r} is of an ensemble that is not finished: what it learnt from is not known; "
            "finish its training first"
        )
    if plan.init == RANDOM_INIT or not (folder / CARD).is_file():
        return
    card = describe_ensemble(folder)
    if card.recipe.pixels != plan.recipe.pixels:
        raise InputError(
            f"[train] init = {plan.init!r} was shown {card.recipe.pixels} pixels, but recipe {plan.recipe.name!r} "
            f"shows {plan.recipe.pixels} ones; begin with weights of a recipe that does the same"
        )
    seen = card.read_out_of_fold()["object_id"].to_numpy()
    both = np.intersect1d(seen, plan.read_labels().object_id_N)
    if len(both):
        raise InputError(
            f"[train] init = {plan.init!r} has learnt from {len(both)} of these galaxies (such as {both[0]}): its "
            "out-of-fold predictions would be judged by what they saw; begin with weights from other galaxies"
        )
