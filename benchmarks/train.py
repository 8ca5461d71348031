"""What training costs beside the bare work: a forward pass, a backward pass and a step of the optimiser.

    python benchmarks/train.py --json

over_bare_loop    images a second of our loop (reading, augmentation, schedule, dropout, bookkeeping) over those of a
                  bare loop on images that are ready. Rounds alternate in one process; the best of each counts.

On a GPU both run there. With --galaxies 90000 on a GPU, seconds_an_epoch compares with the paper's 60 s on a P100.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional

from skymetal.train.data import gather_pixels, read_training_set
from skymetal.train.fit import FoldData, Watch, split, train_member
from skymetal.train.network.dropout import draw_dropout
from skymetal.train.network.network import MetallicityNet, in_memory_format
from skymetal.train.network.show import show
from skymetal.train.plan import TrainPlan, make_plan
from skymetal.train.ranks.gang import Gang
from skymetal.train.runtimes.runtime import choose_device
from skymetal.train.settings import TrainSettings
from skymetal.train.state import training_format

BARE_STEPS = 400
JOB = """
[job]
run_dir = "run"
[targets]
survey = "simulated"
num_galaxies = {num_galaxies}
[images]
source = "simulated"
stretch = "asinh"
size_pix = {size_pix}
[cluster]
kind = "local-cpu"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=640, help="of the simulated survey")
    parser.add_argument("--size-pix", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-size", type=int, help="left out, the recipe's")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:20s} {value}")


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    plan = prepare(folder, arguments)
    task = split(plan, 0, read_training_set(plan))
    ours, bare = [], []
    for _ in range(arguments.rounds):
        ours.append(time_ours(plan, task))
        bare.append(time_bare(plan, task))
    num_train = len(task.train_rows)
    return {
        "over_bare_loop": round(min(bare) / min(ours), 3),
        "images_per_second": round(1 / min(ours), 1),
        "bare_per_second": round(1 / min(bare), 1),
        "seconds_an_epoch": round(num_train * min(ours), 1),
        "num_galaxies": num_train,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {arguments.threads} threads",
    }


def prepare(folder: Path, arguments: argparse.Namespace) -> TrainPlan:
    """Make a simulated store and a plan of one epoch on it."""
    (folder / "job.toml").write_text(JOB.format(num_galaxies=arguments.galaxies, size_pix=arguments.size_pix))
    for verb in ("select", "ingest"):
        subprocess.run([sys.executable, "-m", "skymetal", verb, folder / "job.toml"], check=True, capture_output=True)
    plan = make_plan(
        TrainSettings(num_epochs=1, batch_size=arguments.batch_size, labels=("oh_true",)),
        store=folder / "run" / "store.zarr",
        targets=folder / "run" / "targets.parquet",
        ensemble=folder / "ensemble",
        checkpoints=folder / "checkpoints",
        seed=0,
    )
    gather_pixels(plan)
    return plan


def time_ours(plan: TrainPlan, task: FoldData) -> float:
    """Return the seconds an image takes in the package's own loop, from the first step's end to the last's."""
    ends: list[float] = []
    num_steps = -(-len(task.train_rows) // plan.recipe.batch_size)

    def beat() -> None:
        if len(ends) in (0, num_steps - 1):
            finish()
        ends.append(time.perf_counter())

    # Fewer galaxies are held out than fit one batch of predictions, so all beats but the last are steps.
    few = replace(task, held_out_rows=task.held_out_rows[:8])
    train_member(plan, 0, few, Watch(beat=beat), Gang())
    return (ends[num_steps - 1] - ends[0]) / (len(task.train_rows) * (num_steps - 1) / num_steps)


def time_bare(plan: TrainPlan, task: FoldData) -> float:
    """Return the seconds an image takes where nothing is done but forward, backward and step."""
    device, batch_size = choose_device(), plan.recipe.batch_size
    network = MetallicityNet(num_labels=1).to(device).train()
    in_memory_format(network, training_format(device))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    rows = task.train_rows[:batch_size]
    images = show(plan.network_input, task.pixels.take(rows), task.normalisation, plan.image_spec)
    images = images.contiguous(memory_format=training_format(device))
    truth = torch.from_numpy((task.data.labels_NK[rows] - task.label_mean_K) / task.label_std_K).to(device)
    generator = torch.Generator().manual_seed(0)
    num_steps = min(-(-len(task.train_rows) // batch_size), BARE_STEPS)
    begun = 0.0
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for step in range(num_steps):
            draw_dropout(network, len(rows), slice(0, len(rows)), generator, device)
            loss = functional.huber_loss(network(images), truth)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if step in (0, num_steps - 1):
                finish()
            if step == 0:
                begun = time.perf_counter()
    return (time.perf_counter() - begun) / (len(rows) * (num_steps - 1))


def finish() -> None:
    """Wait for the device: without it a GPU's work would be counted before it is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
