"""The receipt of a trained member: that it is done, and its files."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, digest
from skymetal.engine.pixels import Normalisation


@dataclass(frozen=True, kw_only=True)
class MemberFile:
    """A file of a trained member, named by its own digest."""

    name: str
    sha256: str

    @classmethod
    def of(cls, fold: int, kind: str, data: bytes) -> MemberFile:
        """Return the name under which those bytes are kept."""
        sha256 = digest(data)
        return cls(name=f"fold{fold}-{sha256[:12]}{_ENDINGS[kind]}", sha256=sha256)


_ENDINGS = {"weights": ".safetensors", "features": ".features", "predictions": ".parquet"}


@dataclass(frozen=True, kw_only=True)
class MemberReceipt:
    """Proof that the member of ``fold`` is trained. history is (train_rmse, held_out_rmse) an epoch, dex."""

    plan_digest: str
    fold: int
    weights: MemberFile
    features: MemberFile
    predictions: MemberFile
    label_mean: tuple[float, ...]
    label_std: tuple[float, ...]
    normalisation: Normalisation
    history: tuple[tuple[float, float], ...]

    @property
    def files(self) -> tuple[MemberFile, ...]:
        """All that belongs to the member."""
        return self.weights, self.features, self.predictions

    def to_json(self) -> bytes:
        """Return the receipt as bytes that depend on its values alone."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> MemberReceipt:
        """Return the receipt that those bytes record."""
        content = json.loads(data)
        normalisation = Normalisation.from_dict(content.pop("normalisation"))
        content |= {kind: MemberFile(**content[kind]) for kind in _ENDINGS}
        content["label_mean"] = tuple(content["label_mean"])
        content["label_std"] = tuple(content["label_std"])
        content["history"] = tuple((train, held_out) for train, held_out in content["history"])
        return cls(normalisation=normalisation, **content)


def receipt_name(fold: int) -> str:
    """Return the name of a fold's receipt in the ensemble folder."""
    return f"fold{fold}.json"


def find_receipt(folder: Folder, fold: int, *, plan_digest: str) -> MemberReceipt | None:
    """Return a fold's receipt, or None where it is not trained, or a file of it is lost.

    Raises InputError where another plan trained it: the two must not be mixed in one ensemble. Raises RuntimeError
    for a receipt that cannot be read.
    """
    try:
        data = folder.read(receipt_name(fold))
        is_of_plan = json.loads(data)["plan_digest"] == plan_digest
        receipt = MemberReceipt.from_json(data) if is_of_plan else None
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        message = f"{folder}/{receipt_name(fold)} is damaged; delete it and run `skymetal train` again"
        raise RuntimeError(message) from error
    if receipt is None:
        raise InputError(
            f"{folder}/{receipt_name(fold)} was trained on other data or with other settings than this job's; "
            "name another [job] run_dir, or restore the settings"
        )
    is_there = all(folder.exists(file.name) for file in receipt.files)
    return receipt if is_there else None
