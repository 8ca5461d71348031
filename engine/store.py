"""The cutout store: one sharded Zarr v3 array of images, and a receipt of rows for every shard.

A shard is the unit of writing and of work, and is written whole, so a killed writer leaves no half shard. No codec
notices a missing, swapped or stale shard, so each galaxy's pixels are checked, after decoding, against a CRC-32C
that its receipt binds to its object_id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.parts import decode_parquet, encode_parquet
from skymetal.catalogs.storage import FileStamp, Folder, Location, commit_receipt, digest, open_folder
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.shard import (
    ATTRIBUTE,
    GROUP_METADATA,
    StoreLayout,
    array_metadata,
    checksums,
    decode_shard,
    encode_shard,
)

STORE = "store.zarr"
MANIFEST = "manifest.json"
REMEDY = "`skymetal store repair` makes it again"
_RECEIPT_SCHEMA = pa.schema(
    [
        pa.field("object_id", pa.int64(), nullable=False),
        pa.field("crc32c", pa.uint32(), nullable=False),
        pa.field("is_stored", pa.bool_(), nullable=False),
        pa.field("ingest_flags", pa.int32(), nullable=False),
        pa.field("pixel_scale_arcsec", pa.float64()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One shard in memory. A galaxy with ``is_stored`` false was quarantined: its pixels are zeros."""

    index: int
    start: int
    stop: int
    object_id: NDArray[np.int64]
    images: NDArray[Any]
    is_stored: NDArray[np.bool_]
    flags: NDArray[np.int32]

    @property
    def stored_images(self) -> NDArray[Any]:
        """The images of the galaxies that are stored: all, without a copy, where none was quarantined."""
        return self.images if self.is_stored.all() else self.images[self.is_stored]


@dataclass(frozen=True)
class CutoutStore:
    """A store being written or read. Picklable: it holds its folder and layout, no open file."""

    folder: Folder
    layout: StoreLayout

    @property
    def image_spec(self) -> ImageSpec:
        """What its cutouts show."""
        return self.layout.image_spec

    @property
    def num_targets(self) -> int:
        """How many galaxies, stored and quarantined."""
        return self.layout.num_targets

    @property
    def num_blocks(self) -> int:
        """How many shards."""
        return self.layout.num_blocks

    @property
    def digest(self) -> str:
        """Names the layout and every galaxy's pixels; only a finished store has one."""
        return _digest(self.layout, self._receipt_digests)

    @property
    def _receipt_digests(self) -> list[str]:
        try:
            return _read_manifest(self.folder, self.layout, self.folder.stamp(MANIFEST))
        except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
            message = f"{self.folder}/{MANIFEST} is damaged ({first_line(error)}); {REMEDY}"
            raise RuntimeError(message) from error

    @property
    def is_finished(self) -> bool:
        """Whether every shard is written and summed."""
        return self.folder.exists(MANIFEST)

    def done_blocks(self) -> set[int]:
        """Return the shards that have a receipt and a file."""
        names = self.folder.names("receipts/*.parquet")
        stems = (name.removeprefix("receipts/").removesuffix(".parquet") for name in names)
        done = (int(stem) for stem in stems if stem.isdecimal())
        return {index for index in done if self.folder.exists(shard_name(index))}

    def is_done(self, index: int) -> bool:
        """Tell whether a shard has a receipt and a file."""
        return self.folder.exists(receipt_name(index)) and self.folder.exists(shard_name(index))

    def write_block(self, index: int, images_NHWC: NDArray[Any], rows: pa.Table) -> pa.Table:
        """Write one shard, then its receipt; return the receipt's table.

        images_NHWC is (n, H, W, C) for the n rows of the shard; rows has the receipt's columns but the CRC.
        Raises RuntimeError, and writes nothing, where other pixels were recorded for this shard before.
        """
        crcs = checksums(rows["object_id"].to_numpy(), images_NHWC)
        receipt = rows.append_column("crc32c", pa.array(crcs)).select(_RECEIPT_SCHEMA.names).cast(_RECEIPT_SCHEMA)
        shard, record = encode_shard(self.layout, images_NHWC), encode_parquet(receipt)
        if self._recorded_digest(index) not in (None, digest(record)):  # asked last, just before anything is replaced
            raise RuntimeError(
                f"the images of shard {index} are not those that {self.folder} recorded when it was first ingested: "
                "the source has changed; restore it, or ingest into another [job] run_dir"
            )
        self.folder.write(shard_name(index), shard)
        try:
            commit_receipt(self.folder, receipt_name(index), record)
        except RuntimeError:
            self.folder.remove(shard_name(index))  # the other's shard was replaced: it is to be made again
            raise
        return receipt

    def _recorded_digest(self, index: int) -> str | None:
        """Return the digest of a shard's receipt as it was recorded, if it ever was."""
        if self.folder.exists(receipt_name(index)):
            return digest(self.folder.read(receipt_name(index)))
        return self._receipt_digests[index] if self.is_finished else None

    def read_receipt(self, index: int, *, by_manifest: bool = True) -> pa.Table:
        """Return a shard's receipt: object_id, crc32c, is_stored, ingest_flags, pixel_scale_arcsec, source, reason.

        Raises RuntimeError, naming the file, where it is missing or damaged, or, in a finished store, not what the
        manifest says; a manifest that is itself damaged can be left out of it.
        """
        name = receipt_name(index)
        try:
            data = self.folder.read(name)
            if by_manifest and self.is_finished and digest(data) != self._receipt_digests[index]:
                raise ValueError("it is not what the store's manifest says")
            table = decode_parquet(data)
            start, stop = self.layout.rows(index)
            if table.num_rows != stop - start or not table.schema.equals(_RECEIPT_SCHEMA):
                raise ValueError("it has other rows or columns than a receipt")
            return table
        except (OSError, ValueError) as error:  # Arrow's errors are either
            what = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({first_line(error)})"
            message = f"{self.folder}/{name} is {what}; {REMEDY}"
            raise RuntimeError(message) from error

    def read_is_stored(self) -> NDArray[np.bool_]:
        """Return, for every target in order, whether it has an image."""
        columns = [self.read_receipt(index)["is_stored"].to_numpy() for index in range(self.num_blocks)]
        return np.concatenate(columns)

    def read_shard(self, index: int) -> bytes:
        """Return the bytes of a shard's file; raise OSError where it is missing, no file, or far too large."""
        return self.folder.read(shard_name(index), max_bytes=self.layout.max_file_bytes)

    def read_block(self, index: int) -> Block:
        """Read one shard in one call and check every galaxy in it.

        Raises RuntimeError, naming the shard, where it is missing, torn, or not the pixels of its receipt.
        """
        start, stop = self.layout.rows(index)
        receipt = self.read_receipt(index)
        name = shard_name(index)
        object_id = receipt["object_id"].to_numpy()
        try:
            images = decode_shard(self.layout, self.read_shard(index), slice(stop - start))
        except (OSError, ValueError) as error:
            raise RuntimeError(
                f"shard {self.folder}/{name} is missing or damaged ({first_line(error)}); {REMEDY}"
            ) from error
        wrong = np.flatnonzero(checksums(object_id, images) != receipt["crc32c"].to_numpy())
        if len(wrong):
            raise RuntimeError(
                f"shard {self.folder}/{name} does not hold the pixels that were ingested: "
                f"{len(wrong)} of {stop - start} galaxies differ, the first is {object_id[wrong[0]]}; {REMEDY}"
            )
        return Block(
            index=index,
            start=start,
            stop=stop,
            object_id=object_id,
            images=images,
            is_stored=receipt["is_stored"].to_numpy(),
            flags=receipt["ingest_flags"].to_numpy(),
        )

    def finish(self) -> None:
        """Sum the receipts into the store's manifest, which names every later byte of the store.

        Raises RuntimeError where a shard has no receipt, a receipt is damaged, or a manifest that is there disagrees.
        """
        missing = sorted(set(range(self.num_blocks)) - self.done_blocks())
        if missing:
            raise RuntimeError(f"{len(missing)} of {self.num_blocks} shards are not written, the first is {missing[0]}")
        is_stored_N = self.read_is_stored()
        digests = [digest(self.folder.read(receipt_name(index))) for index in range(self.num_blocks)]
        content = {
            "digest": _digest(self.layout, digests),
            "metadata": {name: digest(data) for name, data in array_metadata(self.layout).items()},
            "num_stored": int(np.count_nonzero(is_stored_N)),
            "num_targets": self.num_targets,
            "receipts": digests,
        }
        commit_receipt(self.folder, MANIFEST, json.dumps(content, sort_keys=True, indent=1).encode())


@lru_cache(maxsize=4)
def _read_manifest(folder: Folder, layout: StoreLayout, stamp: FileStamp) -> list[str]:
    """Return the receipts' digests, read once a process: a store travels to a worker with each task."""
    content = json.loads(folder.read(MANIFEST))
    digests = [str(text) for text in content["receipts"]]
    if content["digest"] != _digest(layout, digests):
        raise ValueError("its digest is not that of its receipts")
    return digests


def _digest(layout: StoreLayout, receipt_digests: list[str]) -> str:
    return digest(json.dumps([layout.to_json(), receipt_digests], sort_keys=True).encode())


def create_store(folder: Folder, layout: StoreLayout) -> CutoutStore:
    """Write the store's metadata, which any Zarr v3 reader understands; doing it twice is harmless."""
    for name, data in array_metadata(layout).items():
        if not folder.exists(name) or folder.read(name) != data:
            folder.write(name, data)
    return CutoutStore(folder, layout)


def open_store(location: Location) -> CutoutStore:
    """Open a finished store; raise InputError where there is none, or where ingest has not ended."""
    folder = open_folder(location)
    try:
        attributes = json.loads(folder.read(GROUP_METADATA))["attributes"][ATTRIBUTE]
        store = CutoutStore(folder, StoreLayout.from_json(attributes))
    except FileNotFoundError:
        raise InputError(f"there is no cutout store at {folder}; run `skymetal ingest` first") from None
    except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise InputError(f"{folder} is not a skymetal cutout store of this version ({first_line(error)})") from error
    if not store.is_finished:
        raise InputError(f"the cutout store {folder} is not finished; run `skymetal ingest` again, it resumes")
    return store


def shard_name(index: int) -> str:
    """Return the name of a shard's file in the store: its Zarr key."""
    return f"images/c/{index}/0/0/0"


def receipt_name(index: int) -> str:
    """Return the name of a shard's receipt in the store."""
    return f"receipts/{index:06d}.parquet"
