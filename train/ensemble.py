"""The ensemble: what the folds' members become, on disk and in memory. N galaxies, M members, V views."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, Location, digest, open_folder
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.predict import ON_CPUS, Predictions
from skymetal.train.card import EnsembleCard, MemberEntry, damaged_file, describe_ensemble
from skymetal.train.features import FeatureSpace
from skymetal.train.member import Member, MemberPredictions, fold_batch_norm, predict_views
from skymetal.train.network.network import NUM_FEATURES, MetallicityNet
from skymetal.train.receipt import MemberFile
from skymetal.train.runtimes.half_runtime import start_half
from skymetal.train.runtimes.mnn_runtime import MnnRuntime
from skymetal.train.runtimes.runtime import StartRuntime, choose_device
from skymetal.train.runtimes.winograd_runtime import start_float32

_RUNTIMES: dict[str, StartRuntime] = {
    "torch": start_float32,
    "torch-fp16": partial(start_half, dtype=torch.float16),
    "torch-bf16": partial(start_half, dtype=torch.bfloat16),
    "mnn": MnnRuntime,
    "amx-bf16": partial(start_half, dtype=torch.bfloat16),
}


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """An ensemble ready to predict, an :class:`engine.predict.Predictor`. Make it with :func:`load_ensemble`.

    seen_object_id_S and seen_fold_S are the out-of-fold table's galaxies, sorted by object_id.
    """

    card: EnsembleCard
    members: tuple[Member, ...]
    spaces: tuple[FeatureSpace, ...]
    seen_object_id_S: NDArray[np.int64]
    seen_fold_S: NDArray[np.int64]
    device: torch.device
    num_views: int
    batch_size: int
    embeddings: bool
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def num_members(self) -> int:
        """How many members, M: one a fold."""
        return len(self.members)

    @property
    def image_spec(self) -> ImageSpec:
        """The images the members were trained on."""
        return self.card.image_spec

    def unseen(self, object_id_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (N, M): whether member m was trained without galaxy n.

        A galaxy of the training sample is new to the member of its own fold alone, any other to all.
        """
        place_N = np.searchsorted(self.seen_object_id_S, object_id_N).clip(max=len(self.seen_object_id_S) - 1)
        is_seen_N = self.seen_object_id_S[place_N] == object_id_N
        own_fold_NM = self.seen_fold_S[place_N][:, None] == np.arange(self.num_members)
        return np.asarray(own_fold_NM | ~is_seen_N[:, None])

    def predict(self, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_]) -> Predictions:
        """Return what the wanted members say of every galaxy: the first label, dex; and how strange it is to them.

        The networks run for one call at a time: a second thread has its shard read, judged or written meanwhile.
        """
        oh_NMV = np.full((*wanted_NM.shape, self.num_views), np.nan, dtype=np.float32)
        ood_NM = np.full(wanted_NM.shape, np.nan, dtype=np.float32)
        embedding_NF = np.zeros((len(images_NHWC), NUM_FEATURES), np.float16) if self.embeddings else None
        on_device = _upload(images_NHWC, self.device)
        said_M: list[tuple[NDArray[np.int64], MemberPredictions]] = []
        with self.lock:
            for m, member in enumerate(self.members):
                embeds = embedding_NF is not None and m == 0  # of every galaxy: an embedding is no prediction
                rows = np.flatnonzero(wanted_NM[:, m] | embeds)
                # Indexing copies, so it is left out in the usual case that every galaxy is wanted.
                is_all = len(rows) == len(on_device)
                images = on_device if is_all else on_device[torch.from_numpy(rows).to(self.device)]
                said = predict_views(member, images, num_views=self.num_views, batch_size=self.batch_size)
                said_M.append((rows, said))
        for m, ((rows, said), space) in enumerate(zip(said_M, self.spaces, strict=True)):
            oh_NMV[rows, m] = said.labels_NVK[:, :, 0]
            ood_NM[rows, m] = space.distance(said.features_NF)
            if embedding_NF is not None and m == 0:
                embedding_NF[:] = said.features_NF
        oh_NMV[~wanted_NM], ood_NM[~wanted_NM] = np.nan, np.nan
        return Predictions(oh_NMV=oh_NMV, ood_NM=ood_NM, embedding_NF=embedding_NF)

    def calibrate(
        self, oh_N: NDArray[np.float64], std_views_N: NDArray[np.float64], is_out_of_fold_N: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the first label's percentiles and oh_unshrunk: see :meth:`train.calibration.Calibration.apply`."""
        return self.card.calibration.apply(oh_N, std_views_N, is_out_of_fold_N, num_views=self.num_views)


def load_ensemble(
    path: Location, *, digest: str, num_views: int, batch_size: int, runtime: str, embeddings: bool = False
) -> Ensemble:
    """Load an ensemble onto the GPU if there is one, else the CPU; ``digest`` is its card's.

    runtime is one of :data:`engine.predict.RUNTIMES` but "auto". Raises InputError where the ensemble is not the one
    that digest names, RuntimeError for a damaged file.
    """
    card = describe_ensemble(path)
    if card.digest != digest:
        raise InputError(
            f"the ensemble in {path} is another than this run began with ({card.digest[:12]}, not {digest[:12]}); "
            "put it back, or name another [job] run_dir"
        )
    # Without this a GPU's convolutions would be in TensorFloat-32: ten bits of mantissa, and called float32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    folder = open_folder(path)
    start, device = _RUNTIMES[runtime], torch.device("cpu") if runtime in ON_CPUS else choose_device()
    seen = card.read_out_of_fold()
    return Ensemble(
        card=card,
        members=tuple(_load_member(folder, entry, card, device, start) for entry in card.members),
        spaces=tuple(_load_space(folder, entry) for entry in card.members),
        seen_object_id_S=seen["object_id"].to_numpy(),
        seen_fold_S=seen["fold"].to_numpy().astype(np.int64),
        device=device,
        num_views=num_views,
        batch_size=batch_size,
        embeddings=embeddings,
    )


def _upload(images_NHWC: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return the images on the device; a GPU may meanwhile be at work for another thread."""
    images = torch.from_numpy(np.ascontiguousarray(images_NHWC))
    if device.type != "cuda":
        return images
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        on_device = images.to(device)
    stream.synchronize()
    return on_device


def _load_member(
    folder: Folder, entry: MemberEntry, card: EnsembleCard, device: torch.device, start: StartRuntime
) -> Member:
    tensors = load(_read(folder, entry.weights))
    name = entry.weights.name
    with torch.device("meta"):  # without weights: they come from the file
        network = MetallicityNet(num_labels=len(card.labels), num_bands=len(card.image_spec.bands))
    wanted = network.state_dict()
    if tensors.keys() != wanted.keys():
        names = sorted(tensors.keys() ^ wanted.keys())
        raise RuntimeError(f"{folder}/{name} is of another network: {names[0]!r} is only in one of the two")
    for key, tensor in tensors.items():
        got, want = (tuple(tensor.shape), tensor.dtype), (tuple(wanted[key].shape), wanted[key].dtype)
        if got != want:
            raise RuntimeError(f"{folder}/{name} is of another network: {key!r} is {got}, not {want}")
        if not bool(torch.isfinite(tensor).all()):
            raise RuntimeError(f"{folder}/{name}: {key!r} has values that are not finite; train this fold again")
    network.load_state_dict(tensors, assign=True)
    folded = fold_batch_norm(network)
    folded.to(device)
    return Member(
        runtime=start(folded),
        normalisation=entry.normalisation,
        label_mean=entry.label_mean,
        label_std=entry.label_std,
        network_input=card.network_input,
        image_spec=card.image_spec,
        augmentation=card.recipe.augmentation,
    )


def _load_space(folder: Folder, entry: MemberEntry) -> FeatureSpace:
    data = _read(folder, entry.features)
    try:
        return FeatureSpace.from_bytes(data)
    except ValueError as error:
        raise RuntimeError(f"{folder}/{entry.features.name} cannot be used ({error}); train this fold again") from error


def _read(folder: Folder, file: MemberFile) -> bytes:
    data = folder.read(file.name)
    if digest(data) != file.sha256:
        raise damaged_file(folder, file.name)
    return data
