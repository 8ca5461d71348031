"""The one place where the engine, which calls a predictor, is given the network, which is one."""

from __future__ import annotations

from skymetal.deploy.cluster import has_gpus
from skymetal.deploy.run import Run
from skymetal.engine.predict import PredictorRef
from skymetal.train.card import EnsembleCard
from skymetal.train.ensemble import load_ensemble
from skymetal.train.runtimes.mnn_runtime import mnn_is_installed
from skymetal.train.runtimes.runtime import BATCH_SIZES


def make_predictor(run: Run, card: EnsembleCard) -> PredictorRef:
    """Return how a worker finds the run's ensemble, with the job's views, batch size and runtime."""
    settings, on_gpus = run.job.score, has_gpus(run.job.cluster)
    runtime = _choose_runtime(settings.runtime, on_gpus=on_gpus)
    return PredictorRef(
        load=load_ensemble,
        path=str(run.ensemble),
        digest=card.digest,
        image_spec=card.image_spec,
        num_views=settings.views,
        batch_size=settings.batch_size or BATCH_SIZES["mnn" if runtime == "mnn" else "cuda" if on_gpus else "torch"],
        runtime=runtime,
        embeddings=settings.embeddings,
    )


def _choose_runtime(runtime: str, *, on_gpus: bool) -> str:
    if runtime != "auto":
        return runtime
    return "mnn" if mnn_is_installed() and not on_gpus else "torch"
