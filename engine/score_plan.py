"""What score is asked to do, and all that a worker must know to do it: decided, and checked, before any work."""

from __future__ import annotations

from dataclasses import dataclass, field

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import missing_blocks
from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import TargetList
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.predict import NUM_VIEWS, RUNTIMES, PredictorRef
from skymetal.engine.reference import Reference
from skymetal.engine.store import CutoutStore


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """The job file's ``[score]``.

    ensemble is the folder of a trained ensemble; left out, the run trains its own. views is how many of the
    eight flips and rotations are averaged, batch_size how many images go through the network at once (0: as many as
    suit the runtime). runtime is what computes; ``auto`` is what is fastest in float32. With
    embeddings the catalogue holds the first member's features, 1 kB a galaxy. What takes
    longer than block_timeout_min, a shard or in the end a galaxy, is taken to hang. A pass whose errors, where the
    truth is known, are stop_rmse_ratio times the ensemble's own is stopped; 0 never stops one.
    """

    ensemble: str = field(default="", metadata={"path": True})
    views: int = 8
    batch_size: int = 0
    runtime: str = "auto"
    embeddings: bool = False
    block_timeout_min: float = 360.0
    stop_rmse_ratio: float = 2.0

    def __post_init__(self) -> None:
        if self.views not in NUM_VIEWS:
            raise InputError(f"[score] views must be one of {', '.join(map(str, NUM_VIEWS))}, got {self.views}")
        if not 0 <= self.batch_size <= 65536:
            raise InputError(f"[score] batch_size must be 0 (as suits the runtime) to 65536, got {self.batch_size}")
        if self.runtime not in RUNTIMES:
            raise InputError(f"[score] runtime must be one of {', '.join(RUNTIMES)}, got {self.runtime!r}")
        if not 0.01 <= self.block_timeout_min <= 10080:
            raise InputError(
                f"[score] block_timeout_min must be 0.01 to 10080 (a week), got {self.block_timeout_min:g}"
            )
        if not (self.stop_rmse_ratio == 0 or 1 <= self.stop_rmse_ratio <= 1000):
            raise InputError(f"[score] stop_rmse_ratio must be 0 or 1 to 1000, got {self.stop_rmse_ratio:g}")


@dataclass(frozen=True, kw_only=True)
class ScorePlan:
    """All that a worker needs to know to score one shard. run_digest names everything the parts depend on.

    A worker that is longer than block_timeout_s at one shard ends itself. truths are the columns of the targets in
    which a galaxy's metallicity may be known: the first one that is there and finite counts.
    """

    store: CutoutStore
    targets: TargetList
    parts: Folder
    predictor: PredictorRef
    reference: Reference
    run_digest: str
    block_timeout_s: float = 21600.0
    truths: tuple[str, ...] = ()

    def missing_blocks(self) -> list[int]:
        """Return the shards that have no part yet."""
        return missing_blocks(self.parts, self.store.num_blocks, run_digest=self.run_digest)


def refuse_other_store(store: CutoutStore, targets: TargetList, image_spec: ImageSpec, *, ensemble: str) -> None:
    """Raise InputError for a store of other images than the ensemble learnt from, or of other targets."""
    image_spec.refuse_unless_same(store.image_spec, ours=f"the ensemble {ensemble}", theirs=f"the store {store.folder}")
    if store.layout.targets_digest != targets.digest:
        raise InputError(f"the store {store.folder} was made for another target list than {targets}; ingest again")
