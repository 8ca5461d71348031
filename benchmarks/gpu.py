"""A scoring pass on a GPU, beside the same GPU doing nothing but the forward pass; and what half precision costs.

    python benchmarks/gpu.py --json

over_forward     galaxies a second of whole blocks (read, check, views, networks, rows, parts, receipts) on one worker,
                 its start apart, over those of the runtime alone on images that are ready, in the same run
share_of_peak    of the forward pass's operations in the rate of a large matrix product, in the same precision; those
                 of the convolutions as they are written, so that Winograd's method may exceed 1 on a CPU
drift_dex        root mean square difference of a galaxy's oh_p50 from full precision, and the largest

A row a precision and a number of networks × views. Without a GPU it runs on one core of a CPU, and in bfloat16 where
that has AMX.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.config import read_job
from skymetal.deploy.run import Run, open_run
from skymetal.deploy.scoring import make_score_plan
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.predict import ON_GPUS
from skymetal.engine.score import score_block
from skymetal.engine.score_plan import ScorePlan
from skymetal.train.assemble import write_ensemble
from skymetal.train.data import gather_pixels, pixels_name
from skymetal.train.ensemble import load_ensemble
from skymetal.train.fold import fit_fold
from skymetal.train.plan import make_plan
from skymetal.train.runtimes.choice import cpu_has_bfloat16
from skymetal.train.runtimes.runtime import choose_device
from skymetal.train.settings import TrainSettings

HAS_GPU = torch.cuda.is_available()
PRECISIONS = {
    "torch": torch.float32,
    "torch-fp16": torch.float16,
    "torch-bf16": torch.bfloat16,
    "amx-bf16": torch.bfloat16,
}
JOB = """
[job]
run_dir = "{run_dir}"
seed = {seed}
[targets]
survey = "simulated"
num_galaxies = {num_galaxies}
[images]
source = "simulated"
stretch = "asinh"
size_pix = {size_pix}
shard_size = {shard_size}
[cluster]
kind = "{kind}"
threads_per_worker = {threads}
num_workers = {workers}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=65536, help="of the store; passes stop after --seconds of them")
    parser.add_argument("--train-galaxies", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--shard-size", type=int, default=2048)
    parser.add_argument("--size-pix", type=int, default=128)
    parser.add_argument("--threads", type=int, default=8, help="of the GPU's worker")
    parser.add_argument("--seconds", type=float, default=8, help="of a pass, about")
    here = ["torch", *ON_GPUS] if HAS_GPU else ["torch", *(["amx-bf16"] if cpu_has_bfloat16() else [])]
    parser.add_argument("--runtimes", nargs="+", choices=here, default=here)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=1))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    ensembles = {5: train(folder, arguments, num_folds=5), 2: train(folder, arguments, num_folds=2)}
    job = make_store(folder / "pass", arguments, num_galaxies=arguments.galaxies, seed=2)
    torch.set_num_threads(1)  # a CPU's worker has one
    rows: list[dict[str, Any]] = []
    oh: dict[str, NDArray[np.float64]] = {}
    with open_run(read_job(job, [])) as run:
        run.cluster.client()
        for runtime in arguments.runtimes:
            for members, views in ((2, 1), (5, 1), (5, 8)):
                plan = plan_pass(run, ensembles[members], runtime, views, folder / f"parts-{runtime}-{members}-{views}")
                row = {"runtime": runtime, "networks": members, "views": views, "batch_size": plan.predictor.batch_size}
                forward = forward_only(plan)
                row |= time_pass(run, plan, forward / (members * views), arguments.seconds)
                row["forward_images_per_second"] = round(forward)
                row["over_forward"] = round(row["galaxies_per_second"] * members * views / forward, 3)
                row["share_of_peak"] = round(
                    forward * flop_per_image(arguments.size_pix) / peak(PRECISIONS[runtime]), 3
                )
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
                if (members, views) == (5, 8):
                    oh[runtime] = read_oh(plan)
    return {"rows": rows, "drift_dex": drift(oh), "device": device_name(), "torch": torch.__version__}


def make_store(run_dir: Path, arguments: argparse.Namespace, *, num_galaxies: int, seed: int) -> Path:
    """Ingest a simulated survey; return the job, which scores it on one worker."""
    settings = {"run_dir": run_dir, "size_pix": arguments.size_pix, "shard_size": arguments.shard_size, "seed": seed}
    job, ingest = run_dir.with_suffix(".toml"), run_dir.with_suffix(".ingest.toml")
    ingest.write_text(JOB.format(**settings, num_galaxies=num_galaxies, kind="local-cpu", threads=1, workers=0))
    job.write_text(
        JOB.format(
            **settings, num_galaxies=num_galaxies, kind="auto", threads=arguments.threads if HAS_GPU else 1, workers=1
        )
    )
    for verb in ("select", "ingest"):
        subprocess.run([sys.executable, "-m", "skymetal", verb, ingest], check=True, stdout=subprocess.DEVNULL)
    return job


def train(folder: Path, arguments: argparse.Namespace, *, num_folds: int) -> Path:
    """Train a small ensemble in this process: enough for its predictions to be about right."""
    run_dir = folder / "training"
    if not run_dir.exists():
        make_store(run_dir, arguments, num_galaxies=arguments.train_galaxies, seed=1)
    plan = make_plan(
        TrainSettings(num_epochs=arguments.epochs, num_folds=num_folds, labels=("oh_true",)),
        store=run_dir / "store.zarr",
        targets=run_dir / "targets.parquet",
        ensemble=run_dir / f"ensemble{num_folds}",
        checkpoints=run_dir / f"checkpoints{num_folds}",
        seed=0,
    )
    gather_pixels(plan)
    for fold in range(num_folds):
        fit_fold(plan, fold)
    LocalFolder(run_dir / f"checkpoints{num_folds}").remove(pixels_name(plan))
    write_ensemble(plan)
    return run_dir / f"ensemble{num_folds}"


def plan_pass(run: Run, ensemble: Path, runtime: str, views: int, parts: Path) -> ScorePlan:
    settings = dataclasses.replace(run.job.score, ensemble=str(ensemble), runtime=runtime, views=views)
    job = dataclasses.replace(run.job, score=settings)
    return dataclasses.replace(make_score_plan(dataclasses.replace(run, job=job)), parts=LocalFolder(parts))


def forward_only(plan: ScorePlan) -> float:
    """Return images a second of the members' runtimes, one after the other, on images that are ready."""
    predictor = plan.predictor
    ensemble = load_ensemble(
        predictor.path, digest=predictor.digest, num_views=1, batch_size=predictor.batch_size, runtime=predictor.runtime
    )
    size = predictor.image_spec.size_pix
    images = torch.randn(predictor.batch_size, 3, size, size, device=choose_device())
    images = images.contiguous(memory_format=torch.channels_last)
    runtimes = cycle(member.runtime for member in ensemble.members)
    for _ in range(3 * len(ensemble.members)):
        next(runtimes).run(images)
    number, finish = 0, torch.cuda.synchronize if HAS_GPU else (lambda: None)
    finish()
    begun = time.perf_counter()
    while time.perf_counter() - begun < 2:
        runtime = next(runtimes)
        for _ in range(10 if HAS_GPU else 2):
            runtime.run(images)
            number += len(images)
        finish()
    return number / (time.perf_counter() - begun)


def time_pass(run: Run, plan: ScorePlan, galaxies_per_second: float, seconds: float) -> dict[str, Any]:
    """Score blocks for about so many seconds, if nothing but the forward pass took time; the first one starts up."""
    client, score = run.cluster.client(), partial(score_block, plan)
    begun = time.perf_counter()
    for _ in map_over_blocks(score, [0], client):
        pass
    started = time.perf_counter()
    size, total = plan.store.layout.shard_size, plan.store.num_blocks
    number = int(np.clip(galaxies_per_second * seconds / size, min(4, total - 1), total - 1))
    for _ in map_over_blocks(score, list(range(1, 1 + number)), client):
        pass
    return {
        "galaxies_per_second": round(number * size / (time.perf_counter() - started), 1),
        "galaxies": number * size,
        "start_seconds": round(started - begun, 1),
    }


def read_oh(plan: ScorePlan) -> NDArray[np.float64]:
    """Return oh_p50 of the blocks that every pass has scored."""
    from skymetal.catalogs.parts import find_receipt, read_part

    receipts = [find_receipt(plan.parts, index, run_digest=plan.run_digest) for index in range(5)]
    return np.concatenate([read_part(plan.parts, receipt)["oh_p50"].to_numpy() for receipt in receipts if receipt])


def drift(oh: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    if "torch" not in oh:
        return {}
    exact = oh["torch"]
    differences = {name: values - exact for name, values in oh.items() if name != "torch"}
    return {
        name: {"rms": float(np.sqrt(np.mean(d**2))), "largest": float(np.abs(d).max()), "galaxies": len(d)}
        for name, d in differences.items()
    }


def peak(dtype: torch.dtype) -> float:
    """Return the operations a second of a large matrix product."""
    size, device = 8192 if HAS_GPU else 1024, choose_device()
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    times = []
    for _ in range(8):
        begun = time.perf_counter()
        a @ b
        if HAS_GPU:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return float(2 * size**3 / np.median(times))


def flop_per_image(size_pix: int) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    from skymetal.train.network.network import MetallicityNet

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        MetallicityNet(num_labels=1).eval()(torch.zeros(1, 3, size_pix, size_pix))
    return float(counter.get_total_flops())


def device_name() -> str:
    return torch.cuda.get_device_name() if HAS_GPU else f"CPU, one core of {len(os.sched_getaffinity(0))}"


if __name__ == "__main__":
    main()
