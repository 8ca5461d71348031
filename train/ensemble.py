"""The ensemble: what the folds' members become, on disk and in memory. N galaxies, M members, V views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, digest, open_folder
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.predict import Predictions
from skymetal.train.card import EnsembleCard, MemberEntry, damaged_file, describe_ensemble
from skymetal.train.member import Member, choose_device, fold_batch_norm, predict_views
from skymetal.train.network.network import MetallicityNet


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """An ensemble ready to predict, an :class:`engine.predict.Predictor`. Make it with :func:`load_ensemble`.

    seen_object_id_S and seen_fold_S are the out-of-fold table's galaxies, sorted by object_id.
    """

    card: EnsembleCard
    members: tuple[Member, ...]
    seen_object_id_S: NDArray[np.int64]
    seen_fold_S: NDArray[np.int64]
    device: torch.device
    num_views: int
    batch_size: int

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
        """Return what the wanted members say of every galaxy: the first label, dex.

        A galaxy's bytes do not depend on the others in the call: see :func:`train.member.predict_views`.
        """
        out_NMV = np.full((*wanted_NM.shape, self.num_views), np.nan, dtype=np.float32)
        on_device = torch.from_numpy(np.ascontiguousarray(images_NHWC)).to(self.device)
        for m, member in enumerate(self.members):
            rows = np.flatnonzero(wanted_NM[:, m])
            if len(rows):
                # Indexing copies, so it is left out in the usual case that every galaxy is wanted.
                images = on_device if len(rows) == len(on_device) else on_device[torch.from_numpy(rows).to(self.device)]
                predicted_NVK = predict_views(member, images, num_views=self.num_views, batch_size=self.batch_size)
                out_NMV[rows, m] = predicted_NVK[:, :, 0]
        return Predictions(oh_NMV=out_NMV, ood_NM=np.where(wanted_NM, np.float32(0), np.float32(np.nan)))

    def calibrate(
        self, oh_N: NDArray[np.float64], std_views_N: NDArray[np.float64], is_out_of_fold_N: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the first label's percentiles and oh_unshrunk: see :meth:`train.calibration.Calibration.apply`."""
        return self.card.calibration.apply(oh_N, std_views_N, is_out_of_fold_N, num_views=self.num_views)


def load_ensemble(path: str | Path, *, digest: str, num_views: int, batch_size: int) -> Ensemble:
    """Load an ensemble onto the GPU if there is one, else the CPU; ``digest`` is its card's.

    Raises InputError where the ensemble is not the one that digest names, RuntimeError for a damaged file.
    """
    card = describe_ensemble(path)
    if card.digest != digest:
        raise InputError(
            f"the ensemble in {path} is another than this run began with ({card.digest[:12]}, not {digest[:12]}); "
            "put it back, or name another [job] run_dir"
        )
    folder, device = open_folder(path), choose_device()
    seen = card.read_out_of_fold()
    return Ensemble(
        card=card,
        members=tuple(_load_member(folder, entry, card, device) for entry in card.members),
        seen_object_id_S=seen["object_id"].to_numpy(),
        seen_fold_S=seen["fold"].to_numpy().astype(np.int64),
        device=device,
        num_views=num_views,
        batch_size=batch_size,
    )


def _load_member(folder: Folder, entry: MemberEntry, card: EnsembleCard, device: torch.device) -> Member:
    data = folder.read(entry.file)
    if digest(data) != entry.sha256:
        raise damaged_file(folder.path / entry.file)
    tensors = load(data)
    network = MetallicityNet(num_labels=len(card.labels), num_bands=len(card.image_spec.bands))
    wanted = network.state_dict()
    if tensors.keys() != wanted.keys():
        names = sorted(tensors.keys() ^ wanted.keys())
        raise RuntimeError(f"{folder}/{entry.file} is of another network: {names[0]!r} is only in one of the two")
    for name, tensor in tensors.items():
        got, want = (tuple(tensor.shape), tensor.dtype), (tuple(wanted[name].shape), wanted[name].dtype)
        if got != want:
            raise RuntimeError(f"{folder}/{entry.file} is of another network: {name!r} is {got}, not {want}")
        if not bool(torch.isfinite(tensor).all()):
            raise RuntimeError(f"{folder}/{entry.file}: {name!r} has values that are not finite; train this fold again")
    network.load_state_dict(tensors)
    folded = fold_batch_norm(network)
    folded.to(device)
    return Member(
        network=folded,
        normalisation=entry.normalisation,
        label_mean=entry.label_mean,
        label_std=entry.label_std,
        network_input=card.network_input,
        image_spec=card.image_spec,
        augmentation=card.recipe.augmentation,
    )
