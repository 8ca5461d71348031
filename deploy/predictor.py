"""The one place where the engine, which calls a predictor, is given the network, which is one."""

from __future__ import annotations

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import read_claim
from skymetal.catalogs.parts import RECEIPTS
from skymetal.deploy import run_directory as names
from skymetal.deploy.run import Run
from skymetal.engine.predict import ON_CPUS, ON_GPUS, PredictorRef
from skymetal.train.card import EnsembleCard, load_described
from skymetal.train.runtimes.choice import BATCH_SIZES, cpu_has_avx512, cpu_has_bfloat16, mnn_is_installed


def make_predictor(run: Run, card: EnsembleCard) -> PredictorRef:
    """Return how a worker finds the run's ensemble, with the job's views, batch size and runtime.

    What the job leaves open is as the pass began, on whatever machine that was.
    """
    settings, on_gpus = run.job.score, run.cluster.has_gpus  # asked where it matters: that may take a connection
    began = read_claim(run.directory.folder, "score") if (run.directory.folder / names.PARTS).names(RECEIPTS) else {}
    runtime = settings.runtime
    if runtime == "auto":
        runtime = began.get("runtime") or ("torch" if on_gpus() or _torch_is_faster(run) else "mnn")
    batch_size = settings.batch_size or began.get("batch_size")
    if not batch_size:
        batch_size = BATCH_SIZES["cuda" if runtime not in ON_CPUS and on_gpus() else "cpu"]
    return PredictorRef(
        load=load_described,
        path=str(run.ensemble),
        digest=card.digest,
        image_spec=card.image_spec,
        num_views=settings.views,
        batch_size=batch_size,
        runtime=runtime,
        embeddings=settings.embeddings,
    )


def _torch_is_faster(run: Run) -> bool:
    """Tell whether torch is the fastest in full precision on the cluster's processors (docs/scoring.md)."""
    return not mnn_is_installed() or run.cluster.all_workers(cpu_has_avx512)


def refuse_unfit(run: Run, predictor: PredictorRef) -> None:
    """Raise InputError where a worker has not what the predictor's runtime is made for: it would crawl there.

    Of a cluster that is still growing, the workers that are there are asked.
    """
    needed = ""
    if predictor.runtime in ON_GPUS and not run.cluster.has_gpus():
        needed = "a GPU"
    if predictor.runtime == "amx-bf16" and not run.cluster.all_workers(cpu_has_bfloat16):
        needed = "a processor with AMX (Intel's Xeon Scalable of 2023 or later)"
    if needed:
        raise InputError(
            f"[score] runtime = {predictor.runtime!r} is for workers with {needed} each, and not every one here "
            "has it; set runtime = 'auto' (in another [job] run_dir, where a pass has begun), or go on where it began"
        )
