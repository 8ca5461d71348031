"""ingest: every target's image into the cutout store, one task a shard, every row accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from distributed import Client

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.flags import Flag
from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import TargetList
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.quality import inspect_pixels
from skymetal.engine.shard import StoreLayout
from skymetal.engine.sources import ImageSource
from skymetal.engine.sources.folder import FolderSource
from skymetal.engine.sources.simulated import SimulatedSource
from skymetal.engine.store import CutoutStore

SOURCES = ("folder", "simulated")
MAX_SHARD_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The job file's ``[images]``. Sizes ending in _pix are in pixels on a side, shard and chunk in galaxies.

    Source files are input_size_pix wide, their middle crop_pix are kept, and resampled to size_pix.
    """

    source: str
    folder: str = field(default="", metadata={"path": True})
    pattern: str = "{object_id}.jpg"
    size_pix: int = 128
    input_size_pix: int | None = None
    crop_pix: int | None = None
    bands: tuple[str, ...] = ("i", "r", "g")
    stretch: str = "sdss-jpeg"
    size_rule: str = "petro5"
    shard_size: int = 2048
    chunk_size: int = 64

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise InputError(f"[images] source must be one of {', '.join(SOURCES)}, got {self.source!r}")
        if self.source == "folder" and not self.folder:
            raise InputError("[images] folder is missing; name the folder with the image files")
        if len(self.bands) != 3:
            raise InputError(f"[images] bands must name 3 bands, red first, got {len(self.bands)}: {list(self.bands)}")
        for name in ("size_pix", "shard_size", "chunk_size"):
            if getattr(self, name) < 1:
                raise InputError(f"[images] {name} must be at least 1, got {getattr(self, name)}")
        if self.shard_size % self.chunk_size:
            raise InputError(
                f"[images] shard_size must be a multiple of chunk_size, got {self.shard_size} and {self.chunk_size}"
            )
        if len(set(self.bands)) != len(self.bands):
            raise InputError(f"[images] bands must differ from each other, got {list(self.bands)}")
        num_bytes = self.shard_size * self.size_pix**2 * len(self.bands)
        if num_bytes > MAX_SHARD_BYTES:
            raise InputError(
                f"[images] a shard of shard_size = {self.shard_size} cutouts of size_pix = {self.size_pix} is "
                f"{num_bytes / 2**30:.1f} GiB in memory, at most {MAX_SHARD_BYTES >> 30} are allowed; make one smaller"
            )
        if not 0 < self.crop_size <= self.input_size:
            raise InputError(
                f"[images] crop_pix must be 1 to input_size_pix, got {self.crop_size} of {self.input_size}"
            )

    @property
    def input_size(self) -> int:
        """The size source files must have."""
        return self.input_size_pix if self.input_size_pix is not None else self.size_pix

    @property
    def crop_size(self) -> int:
        """How much of the middle of a source file is kept."""
        return self.crop_pix if self.crop_pix is not None else self.input_size


@dataclass(frozen=True, kw_only=True)
class IngestPlan:
    """All that a worker needs to know to ingest one shard."""

    store: CutoutStore
    targets: TargetList
    source: ImageSource

    def check(self) -> None:
        """Raise InputError, before any work, where the source cannot serve."""
        self.source.check(self.targets.read(0, self.targets.num_rows))

    def missing_blocks(self) -> list[int]:
        """Return the shards that are not yet written."""
        return sorted(set(range(self.store.num_blocks)) - self.store.done_blocks())


@dataclass(frozen=True, kw_only=True)
class ShardReceipt:
    """What became of one shard's galaxies."""

    index: int
    num_stored: int
    num_quarantined: int


def make_ingest_plan(settings: ImageSettings, *, targets: TargetList, folder: Folder, seed: int) -> IngestPlan:
    """Decide the store's layout and the source of its images; nothing is written."""
    layout = StoreLayout(
        image_spec=ImageSpec(
            survey=str(targets.selection["survey"]),
            bands=settings.bands,
            size_pix=settings.size_pix,
            stretch=settings.stretch,
            size_rule=settings.size_rule,
        ),
        num_targets=targets.num_rows,
        shard_size=settings.shard_size,
        chunk_size=settings.chunk_size,
        targets_digest=targets.digest,
    )
    source: ImageSource
    if settings.source == "simulated":
        source = SimulatedSource(size_pix=settings.size_pix, seed=seed)
    else:
        source = FolderSource(
            folder=settings.folder,
            pattern=settings.pattern,
            size_pix=settings.size_pix,
            input_size_pix=settings.input_size,
            crop_pix=settings.crop_size,
        )
    return IngestPlan(store=CutoutStore(folder, layout), targets=targets, source=source)


def ingest(plan: IngestPlan, client: Client) -> Iterator[ShardReceipt]:
    """Write every missing shard of a created store, yielding a receipt as each is done; then sum the store."""
    yield from map_over_blocks(partial(ingest_block, plan), plan.missing_blocks(), client)
    plan.store.finish()


def ingest_block(plan: IngestPlan, index: int) -> ShardReceipt:
    """Read the images of one shard's galaxies and write the shard."""
    start, stop = plan.store.layout.rows(index)
    targets = plan.targets.read(start, stop)
    spec = plan.store.image_spec
    images = np.zeros((stop - start, spec.size_pix, spec.size_pix, len(spec.bands)), np.uint8)
    rows: list[dict[str, Any]] = []
    for row, (object_id, cutout) in enumerate(
        zip(targets["object_id"].to_pylist(), plan.source.read(targets), strict=True)
    ):
        flags, reason = Flag(0), cutout.reason
        if cutout.pixels is not None:
            flags, reason = inspect_pixels(cutout.pixels)
            if not reason:
                images[row] = cutout.pixels
        rows.append(
            {
                "object_id": object_id,
                "is_stored": not reason,
                "ingest_flags": int(flags),
                "source": cutout.source,
                "reason": reason,
            }
        )
    receipt = plan.store.write_block(index, images, pa.Table.from_pylist(rows))
    num_stored = int(np.count_nonzero(receipt["is_stored"].to_numpy()))
    return ShardReceipt(index=index, num_stored=num_stored, num_quarantined=stop - start - num_stored)


def quarantined(store: CutoutStore) -> pa.Table:
    """Return the galaxies without a usable image: object_id, source, reason; in target order."""
    receipts = pa.concat_tables([store.read_receipt(index) for index in range(store.num_blocks)])
    mask = np.logical_not(receipts["is_stored"].to_numpy())
    return receipts.filter(pa.array(mask)).select(["object_id", "source", "reason"])
