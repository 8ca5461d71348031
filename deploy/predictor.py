"""The one place where the engine, which calls a predictor, is given the network, which is one."""

from __future__ import annotations

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import read_claim
from skymetal.catalogs.parts import RECEIPTS
from skymetal.deploy import run_directory as names
from skymetal.deploy.run import Run
from skymetal.engine.predict import HALF_PRECISION, PredictorRef
from skymetal.train.card import EnsembleCard
from skymetal.train.ensemble import load_ensemble
from skymetal.train.runtimes.mnn_runtime import mnn_is_installed
from skymetal.train.runtimes.runtime import BATCH_SIZES


def make_predictor(run: Run, card: EnsembleCard) -> PredictorRef:
    """Return how a worker finds the run's ensemble, with the job's views, batch size and runtime.

    What the job leaves open is as the pass began, on whatever machine that was. Raises InputError for half precision
    without a GPU.
    """
    settings, on_gpus = run.job.score, run.cluster.has_gpus  # asked where it matters: that may take a connection
    began = read_claim(run.directory.folder, "score") if (run.directory.folder / names.PARTS).names(RECEIPTS) else {}
    runtime = settings.runtime
    if runtime == "auto":
        runtime = began.get("runtime") or ("mnn" if mnn_is_installed() and not on_gpus() else "torch")
    if runtime in HALF_PRECISION and not on_gpus():
        raise InputError(f"[score] runtime = {runtime!r} is for GPUs, and none is here; set runtime = 'auto'")
    batch_size = settings.batch_size or began.get("batch_size")
    if not batch_size:
        batch_size = BATCH_SIZES["mnn" if runtime == "mnn" else "cuda" if on_gpus() else "torch"]
    return PredictorRef(
        load=load_ensemble,
        path=str(run.ensemble),
        digest=card.digest,
        image_spec=card.image_spec,
        num_views=settings.views,
        batch_size=batch_size,
        runtime=runtime,
        embeddings=settings.embeddings,
    )
