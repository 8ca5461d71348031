"""ingest: every target's image into the cutout store, one task a shard, every row accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
from distributed import Client
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.kept import refuse_damaged_list
from skymetal.catalogs.selection.settings import LEGACY
from skymetal.catalogs.storage import Folder
from skymetal.catalogs.targets import TargetList
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.framing import Framing, wrong_scale
from skymetal.engine.images import SDSS_JPEG, SERVICES, ImageSettings, make_source
from skymetal.engine.quality import inspect_pixels
from skymetal.engine.shard import StoreLayout
from skymetal.engine.sources import ImageSource
from skymetal.engine.store import STORE, CutoutStore
from skymetal.engine.trial import refuse_unlike_images

WORKER_BYTES = 400 << 20
"""What a worker process holds without any image: Python, Dask, Arrow, astropy."""
LIKELY_COMPRESSION = 4
"""No survey's pictures were seen to compress better: what would not even then fit is refused at once."""
ROWS_INSPECTED_AT_ONCE = 64
DECODER_BYTES = 600 << 20
"""What the decoder's process holds while it cuts from three bricks of 3600 × 3600 pixels; it is killed at 4 GiB."""
SHARDS_IN_MEMORY = 3
"""The pixels, their compressed bytes (no larger), and room for the codec."""


@dataclass(frozen=True, kw_only=True)
class IngestPlan:
    """All that a worker needs to know to ingest one shard."""

    store: CutoutStore
    targets: TargetList
    source: ImageSource
    framing: Framing
    decoder_bytes: int = 0
    is_local: bool = False

    @property
    def worker_bytes(self) -> int:
        """How much memory one task needs at most, its worker process included; it does not grow with the survey."""
        return WORKER_BYTES + self.decoder_bytes + SHARDS_IN_MEMORY * self.store.layout.shard_bytes

    @property
    def store_bytes(self) -> int:
        """How large the store can become on disk, were its pixels not to compress at all."""
        return self.store.num_blocks * self.store.layout.shard_bytes

    def check(self) -> None:
        """Raise InputError, before any work, where the source cannot serve or the disk cannot hold the store."""
        self.store.folder.check()  # no file may be in its place
        self.framing.check_columns(self.targets.schema, must_exist=False)
        self.source.check(self.targets)
        if self.is_local and not self.store.done_blocks():
            refuse_unlike_images(self.source, self.targets, self.framing)
        free = self.store.folder.free_bytes()
        needed = len(self.missing_blocks()) * self.store.layout.shard_bytes // LIKELY_COMPRESSION
        if free is not None and needed > free:
            raise InputError(
                f"the cutout store {self.store.folder} needs about {needed / 1e6:.0f} MB, but "
                f"{free / 1e6:.0f} MB are free there; "
                "name a [job] run_dir on a larger disk, or lower [images] size_pix"
            )

    def missing_blocks(self) -> list[int]:
        """Return the shards that are not yet written."""
        return sorted(set(range(self.store.num_blocks)) - self.store.done_blocks())


@dataclass(frozen=True, kw_only=True)
class ShardReceipt:
    """What became of one shard's galaxies."""

    index: int
    num_stored: int
    num_quarantined: int


def make_ingest_plan(settings: ImageSettings, *, targets: TargetList, run_dir: Folder, seed: int) -> IngestPlan:
    """Decide the store's layout and the source of its images; nothing is written.

    Raises InputError where settings do not go together, RuntimeError where the target list is damaged.
    """
    refuse_damaged_list(targets)
    if targets.selection["survey"] == LEGACY and settings.stretch == SDSS_JPEG:
        raise InputError(
            f"[images] stretch = {SDSS_JPEG!r} and bands = {list(settings.bands)} say that these are SDSS's pictures, "
            "but [targets] survey is 'legacy'; give the bands, red first, and the stretch that they have"
        )
    layout = StoreLayout(
        image_spec=settings.spec(survey=str(targets.selection["survey"])),
        num_targets=targets.num_rows,
        shard_size=settings.shard_size_for(targets.num_rows),
        chunk_size=settings.chunk_size,
        targets_digest=targets.digest,
    )
    return IngestPlan(
        store=CutoutStore(run_dir / STORE, layout),
        targets=targets,
        source=make_source(settings, run_dir=run_dir, seed=seed),
        framing=settings.framing(),
        is_local=settings.source not in (*SERVICES, "simulated"),
        decoder_bytes=DECODER_BYTES if settings.needs_decoder else 0,
    )


def ingest(plan: IngestPlan, client: Client) -> Iterator[ShardReceipt]:
    """Write every missing shard of a created store, yielding a receipt as each is done; then sum the store."""
    yield from map_over_blocks(partial(ingest_block, plan), plan.missing_blocks(), client)
    plan.store.finish()


def ingest_block(plan: IngestPlan, index: int) -> ShardReceipt:
    """Read the images of one shard's galaxies and write the shard; return at once where that was done before."""
    if plan.store.is_done(index):
        return _receipt(index, plan.store.read_receipt(index))
    start, stop = plan.store.layout.rows(index)
    targets = plan.targets.read(start, stop)
    spec = plan.store.image_spec
    images_NHWC = np.zeros((stop - start, *spec.frame), spec.dtype)
    scale_N = plan.framing.pixel_scales(targets)
    flags_N = np.zeros(stop - start, np.int32)
    sources, reasons = [], []
    for row, cutout in zip(range(stop - start), plan.source.read(targets), strict=True):
        reason = cutout.reason or wrong_scale(cutout.pixel_scale_arcsec, expected=scale_N[row])
        if not reason:
            images_NHWC[row] = cutout.pixels
        if cutout.pixel_scale_arcsec is not None:
            scale_N[row] = cutout.pixel_scale_arcsec
        flags_N[row] = cutout.flags
        sources.append(cutout.source)
        reasons.append(reason)
    for first in range(0, stop - start, ROWS_INSPECTED_AT_ONCE):
        rows_here = slice(first, first + ROWS_INSPECTED_AT_ONCE)
        _inspect(images_NHWC[rows_here], first, flags_N, reasons, spec.bands)
    for row, other in _copies(images_NHWC, targets, reasons).items():
        reasons[row] = f"copy: its pixels are those of object_id {other} too, so one of them is another galaxy's image"
        images_NHWC[row] = 0
    rows = pa.table(
        {
            "object_id": targets["object_id"],
            "is_stored": [not reason for reason in reasons],
            "ingest_flags": flags_N,
            "pixel_scale_arcsec": pa.array(scale_N, from_pandas=True),  # NaN is null
            "source": sources,
            "reason": reasons,
        }
    )
    return _receipt(index, plan.store.write_block(index, images_NHWC, rows))


def _inspect(
    images_NHWC: NDArray[Any], first: int, flags_N: NDArray[np.int32], reasons: list[str], bands: tuple[str, ...]
) -> None:
    """Judge some rows by their pixels; those that are no use become zeros, with a reason."""
    found_N, found_reasons = inspect_pixels(images_NHWC, bands)
    for row, reason in enumerate(found_reasons):
        if reasons[first + row]:
            continue  # there are no pixels: the source had a reason of its own
        flags_N[first + row] |= found_N[row]
        if reason:
            reasons[first + row] = reason
            images_NHWC[row] = 0


def _copies(images_NHWC: NDArray[Any], targets: pa.Table, reasons: list[str]) -> dict[int, int]:
    """Return the rows whose pixels are another galaxy's, each with that one's id.

    Two galaxies never look alike to the last bit: a service that answers with a stock picture, or a file copied under
    two names, is found so where it happens within one shard. Rows of one group, within 2″ of each other, may well show
    the same.
    """
    object_id = targets["object_id"].to_pylist()
    group = targets["group_id"].to_pylist() if "group_id" in targets.column_names else object_id
    alike: dict[int, list[int]] = {}
    for row, reason in enumerate(reasons):
        if not reason:
            alike.setdefault(google_crc32c.value(images_NHWC[row].tobytes()), []).append(row)
    copies: dict[int, int] = {}
    for rows in alike.values():
        for row in rows:
            others = (other for other in rows if group[other] != group[row])
            other = next((other for other in others if np.array_equal(images_NHWC[other], images_NHWC[row])), None)
            if other is not None:
                copies[row] = object_id[other]
    return copies


def _receipt(index: int, rows: pa.Table) -> ShardReceipt:
    num_stored = int(np.count_nonzero(rows["is_stored"].to_numpy()))
    return ShardReceipt(index=index, num_stored=num_stored, num_quarantined=rows.num_rows - num_stored)


def quarantined(store: CutoutStore, rejected: Mapping[int, str]) -> pa.Table:
    """Return the galaxies that no catalogue of the store will hold: object_id, source, reason; in target order.

    Those are the ones without a usable image, and those that score rejected, by object_id with the reason.
    """
    tables = []
    rejected_id = np.fromiter(rejected, np.int64, len(rejected))
    for index in range(store.num_blocks):
        receipt = store.read_receipt(index).select(["object_id", "source", "reason", "is_stored"])
        is_out = ~receipt["is_stored"].to_numpy() | np.isin(receipt["object_id"].to_numpy(), rejected_id)
        tables.append(receipt.filter(pa.array(is_out)).drop_columns("is_stored"))
    table = pa.concat_tables(tables)
    rows = zip(table["object_id"].to_pylist(), table["reason"].to_pylist(), strict=True)
    reasons = pa.array([reason or rejected[object_id] for object_id, reason in rows], pa.string())
    return table.set_column(table.column_names.index("reason"), "reason", reasons)
