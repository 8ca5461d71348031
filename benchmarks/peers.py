"""What `benchmarks/score.py` is compared with, each in a process of its own: ``python peers.py NAME SETTINGS``."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from skymetal.train.card import describe_ensemble
from skymetal.train.ensemble import load_ensemble
from skymetal.train.network.network import MetallicityNet
from skymetal.train.network.show import show
from skymetal.train.network.views import VIEWS

BATCH_SIZE = 64
BATCHES_IN_A_ROW = 8
"""What a member computes of a shard before the next one does, about: shards of 64, four views, passes of 32."""


def forward(settings: dict[str, Any]) -> float:
    """Images a second of the members' runtimes alone, one after the other, on images that are ready."""
    card = describe_ensemble(settings["ensemble"])
    batch = settings["batch_size"]
    torch.set_num_threads(1)
    ensemble = load_ensemble(card.path, digest=card.digest, num_views=1, batch_size=batch, runtime=settings["runtime"])
    size = card.image_spec.size_pix
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    for member in ensemble.members:
        member.runtime.run(images)
    print("ready", flush=True)
    sys.stdin.readline()
    begun, number, members = time.perf_counter(), 0, cycle(ensemble.members)
    while time.perf_counter() - begun < settings["seconds"]:
        member = next(members)
        for _ in range(BATCHES_IN_A_ROW):
            member.runtime.run(images)
            number += batch
    return number / (time.perf_counter() - begun)


def load_networks(ensemble: str) -> list[tuple[nn.Module, Any]]:
    """The members as anyone would load them: a network, its state, evaluation mode; and how it is shown pixels."""
    card = describe_ensemble(ensemble)
    networks = []
    for entry in card.members:
        from safetensors.torch import load_file

        network = MetallicityNet(num_labels=len(card.labels))
        network.load_state_dict(load_file(Path(ensemble) / entry.weights.name))
        shown = partial(show, card.network_input, normalisation=entry.normalisation, spec=card.image_spec)
        networks.append((network.eval(), shown))
    return networks


def predict(networks: list[tuple[nn.Module, Any]], images_NHWC: Tensor, num_views: int) -> np.ndarray:
    """Mean over members and views, batch by batch, as torch runs it."""
    total = torch.zeros(len(images_NHWC))
    with torch.inference_mode():
        for network, shown in networks:
            images = shown(images_NHWC)
            for turns, mirrored in VIEWS[:num_views]:
                view = torch.rot90(images, turns, (2, 3))
                total += network((view.flip(3) if mirrored else view).contiguous())[:, 0]
    return (total / (len(networks) * num_views)).numpy()


class Cutouts(Dataset[tuple[int, Tensor]]):
    """One cutout at a time, straight from the array."""

    def __init__(self, store: str, number: int) -> None:
        self.images, self.number = zarr.open_array(f"{store}/images", mode="r"), number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, row: int) -> tuple[int, Tensor]:
        return row, torch.from_numpy(np.asarray(self.images[row]))


def dataloader(settings: dict[str, Any]) -> float:
    """Galaxies a second of a DataLoader with one worker beside the network, the better of the two arrangements."""
    networks = load_networks(settings["ensemble"])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    loader = DataLoader(Cutouts(settings["store"], settings["num_galaxies"]), batch_size=BATCH_SIZE, num_workers=1)
    rows, begun, counted = [], 0.0, 0
    for index, images in loader:
        oh = predict(networks, images, settings["views"])
        rows += list(zip(index.tolist(), oh.tolist(), strict=True))
        if begun:
            counted += len(index)
        begun = begun or time.perf_counter()  # the first batch pays for the start
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "out.csv").write_text("\n".join(f"{row},{oh}" for row, oh in rows))
    return counted / (time.perf_counter() - begun)


class Actor:
    """Ray's worker: reads its rows of the store, predicts them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        self.settings, self.networks = settings, load_networks(settings["ensemble"])
        self.images = zarr.open_array(f"{settings['store']}/images", mode="r")

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = batch["id"]
        images = torch.from_numpy(np.asarray(self.images[int(rows[0]) : int(rows[-1]) + 1]))
        return {"id": rows, "oh": predict(self.networks, images, self.settings["views"]), "done": _now(len(rows))}


def _now(number: int) -> np.ndarray:
    return np.full(number, time.time())


def ray(settings: dict[str, Any]) -> float:
    """Galaxies a second of Ray Data with an actor a core, from its first finished batch on."""
    import ray

    num_actors = len(os.sched_getaffinity(0))
    ray.init(num_cpus=num_actors + 2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.range(settings["num_galaxies"], override_num_blocks=settings["num_galaxies"] // BATCH_SIZE)
    data = data.map_batches(
        Actor, fn_constructor_args=(settings,), batch_size=BATCH_SIZE, concurrency=num_actors, num_cpus=1
    )
    with tempfile.TemporaryDirectory() as folder:
        data.write_parquet(folder)
        done = np.concatenate([ray_file["done"].to_numpy() for ray_file in _read(folder)])
    first = np.sort(np.unique(done))[num_actors - 1]
    return float(np.count_nonzero(done > first) / (done.max() - first))


def _read(folder: str) -> list[Any]:
    import pyarrow.parquet as pq

    return [pq.read_table(path) for path in Path(folder).rglob("*.parquet")]


if __name__ == "__main__":
    print({"forward": forward, "dataloader": dataloader, "ray": ray}[sys.argv[1]](json.loads(sys.argv[2])))
