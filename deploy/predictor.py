"""The one place where the engine, which calls a predictor, is given the network, which is one."""

from __future__ import annotations

from skymetal.deploy.run import Run
from skymetal.engine.predict import PredictorRef
from skymetal.train.card import EnsembleCard
from skymetal.train.ensemble import load_ensemble


def make_predictor(run: Run, card: EnsembleCard) -> PredictorRef:
    """Return how a worker finds the run's ensemble, with the job's views and batch size."""
    return PredictorRef(
        load=load_ensemble,
        path=str(run.ensemble),
        digest=card.digest,
        image_spec=card.image_spec,
        num_views=run.job.score.views,
        batch_size=run.job.score.batch_size,
    )
