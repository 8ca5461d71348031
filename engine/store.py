"""The cutout store: one sharded Zarr v3 array of images, and a receipt of rows for every shard.

A shard is the unit of writing and of work. zarr encodes and decodes it in memory; the file itself is written
whole by :mod:`skymetal.catalogs.storage`, so a killed writer leaves no half shard. No codec notices a missing,
swapped or stale shard, so each galaxy's pixels are checked, after decoding, against a CRC-32C that its receipt
binds to its object_id.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import encode_parquet
from skymetal.catalogs.storage import Folder, commit_receipt, digest
from skymetal.engine.pixels import ImageSpec

STORE = "store.zarr"
_ATTRIBUTE = "skymetal"
_FORMAT = 1
_MANIFEST = "manifest.json"
_RECEIPT_SCHEMA = pa.schema(
    [
        pa.field("object_id", pa.int64(), nullable=False),
        pa.field("crc32c", pa.uint32(), nullable=False),
        pa.field("is_stored", pa.bool_(), nullable=False),
        pa.field("ingest_flags", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class StoreLayout:
    """What a store's array looks like and which target list it is for. Counts are in galaxies."""

    image_spec: ImageSpec
    num_targets: int
    shard_size: int
    chunk_size: int
    targets_digest: str

    @property
    def num_blocks(self) -> int:
        """How many shards, so how many blocks of work."""
        return -(-self.num_targets // self.shard_size)

    def rows(self, index: int) -> tuple[int, int]:
        """Return the range of target rows, (start, stop), that shard ``index`` holds."""
        return index * self.shard_size, min((index + 1) * self.shard_size, self.num_targets)

    def to_json(self) -> dict[str, Any]:
        """Return the layout as the group attribute that records it."""
        return {"format": _FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> StoreLayout:
        """Return the layout that a group attribute records."""
        spec = content["image_spec"] | {"bands": tuple(content["image_spec"]["bands"])}
        values = {key: value for key, value in content.items() if key not in ("format", "image_spec")}
        return cls(image_spec=ImageSpec(**spec), **values)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One shard in memory. A galaxy with ``is_stored`` false was quarantined: its pixels are zeros."""

    index: int
    start: int
    stop: int
    object_id: NDArray[np.int64]
    images: NDArray[np.uint8]
    is_stored: NDArray[np.bool_]
    flags: NDArray[np.int32]


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

    @cached_property
    def digest(self) -> str:
        """Names the layout and every galaxy's pixels; only a finished store has one."""
        return str(json.loads(self.folder.read(_MANIFEST))["digest"])

    @property
    def is_finished(self) -> bool:
        """Whether every shard is written and summed."""
        return self.folder.exists(_MANIFEST)

    def done_blocks(self) -> set[int]:
        """Return the shards that have a receipt."""
        names = self.folder.names("receipts/*.parquet")
        return {int(name.removeprefix("receipts/").removesuffix(".parquet")) for name in names}

    def write_block(self, index: int, images_NHWC: NDArray[np.uint8], rows: pa.Table) -> pa.Table:
        """Write one shard, then its receipt; return the receipt's table.

        images_NHWC is (n, H, W, C) for the n rows of the shard; rows has the receipt's columns but the CRC.
        """
        crcs = _checksums(rows["object_id"].to_numpy(), images_NHWC)
        receipt = rows.append_column("crc32c", pa.array(crcs)).select(_RECEIPT_SCHEMA.names).cast(_RECEIPT_SCHEMA)
        self.folder.write(_shard_name(index), _encode_shard(self.layout, images_NHWC))
        commit_receipt(self.folder, _receipt_name(index), encode_parquet(receipt))
        return receipt

    def read_receipt(self, index: int) -> pa.Table:
        """Return a shard's receipt: object_id, crc32c, is_stored, ingest_flags, source, reason."""
        return pq.read_table(io.BytesIO(self.folder.read(_receipt_name(index))))

    def read_block(self, index: int) -> Block:
        """Read one shard in one call and check every galaxy in it.

        Raises RuntimeError, naming the shard, where it is missing, torn, or not the pixels of its receipt.
        """
        start, stop = self.layout.rows(index)
        receipt = self.read_receipt(index)
        name = _shard_name(index)
        object_id = receipt["object_id"].to_numpy()
        try:
            images = _decode_shard(self.layout, self.folder.read(name), stop - start)
        except (OSError, ValueError, RuntimeError) as error:
            raise RuntimeError(f"shard {self.folder}/{name} is missing or damaged ({error}); ingest it again") from error
        wrong = np.flatnonzero(_checksums(object_id, images) != receipt["crc32c"].to_numpy())
        if len(wrong):
            raise RuntimeError(
                f"shard {self.folder}/{name} does not hold the pixels that were ingested: "
                f"{len(wrong)} of {stop - start} galaxies differ, the first is {object_id[wrong[0]]}; ingest it again"
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

    def finish(self) -> pa.Table:
        """Sum the receipts into the store's manifest and return all receipt rows, in target order.

        Raises RuntimeError where a shard has no receipt.
        """
        missing = sorted(set(range(self.num_blocks)) - self.done_blocks())
        if missing:
            raise RuntimeError(f"{len(missing)} of {self.num_blocks} shards are not written, the first is {missing[0]}")
        receipts = [self.read_receipt(index) for index in range(self.num_blocks)]
        digests = [digest(self.folder.read(_receipt_name(index))) for index in range(self.num_blocks)]
        rows = pa.concat_tables(receipts)
        content = {
            "digest": digest(json.dumps([self.layout.to_json(), digests], sort_keys=True).encode()),
            "num_stored": int(np.count_nonzero(rows["is_stored"].to_numpy())),
            "num_targets": self.num_targets,
        }
        self.folder.write(_MANIFEST, json.dumps(content, sort_keys=True, indent=1).encode())
        return rows


def create_store(folder: Folder, layout: StoreLayout) -> CutoutStore:
    """Write the store's metadata, which any Zarr v3 reader understands; doing it twice is harmless."""
    memory = MemoryStore()
    group = zarr.create_group(memory, attributes={_ATTRIBUTE: layout.to_json()})
    _create_images(group, layout, layout.num_targets)
    for key in ("zarr.json", "images/zarr.json"):
        folder.write(key, _get(memory, key))
    return CutoutStore(folder, layout)


def open_store(path: Path) -> CutoutStore:
    """Open a finished store; raise InputError where there is none, or where ingest has not ended."""
    folder = Folder(path)
    try:
        attributes = json.loads(folder.read("zarr.json"))["attributes"][_ATTRIBUTE]
    except FileNotFoundError:
        raise InputError(f"there is no cutout store at {path}; run `skymetal ingest` first") from None
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"{path} is not a skymetal cutout store ({error})") from error
    store = CutoutStore(folder, StoreLayout.from_json(attributes))
    if not store.is_finished:
        raise InputError(f"the cutout store {path} is not finished; run `skymetal ingest` again, it resumes")
    return store


def _create_images(group: zarr.Group, layout: StoreLayout, num_rows: int) -> zarr.Array[Any]:
    spec = layout.image_spec
    frame = (spec.size_pix, spec.size_pix, len(spec.bands))
    return group.create_array(
        "images",
        shape=(num_rows, *frame),
        chunks=(layout.chunk_size, *frame),
        shards=(layout.shard_size, *frame),
        dtype="uint8",
        # zstd's own checksum is off by default, and flipped bits then decode to wrong pixels without a word.
        compressors=ZstdCodec(level=1, checksum=True),
        fill_value=0,
        # Else zarr drops chunks of zeros, and a shard of blank galaxies would be an empty file: like a torn one.
        config={"write_empty_chunks": True},
        dimension_names=("galaxy", "y", "x", "band"),
    )


def _encode_shard(layout: StoreLayout, images_NHWC: NDArray[np.uint8]) -> bytes:
    memory = MemoryStore()
    array = _create_images(zarr.create_group(memory), layout, layout.shard_size)
    padded = np.zeros(array.shape, np.uint8)
    padded[: len(images_NHWC)] = images_NHWC
    array[...] = padded
    return _get(memory, "images/c/0/0/0/0")


def _decode_shard(layout: StoreLayout, data: bytes, num_rows: int) -> NDArray[np.uint8]:
    memory = MemoryStore()
    array = _create_images(zarr.create_group(memory), layout, layout.shard_size)
    sync(memory.set("images/c/0/0/0/0", default_buffer_prototype().buffer.from_bytes(data)))
    return np.asarray(array[:num_rows])


def _get(memory: MemoryStore, key: str) -> bytes:
    value = sync(memory.get(key, default_buffer_prototype()))
    if value is None:
        raise RuntimeError(f"zarr did not write {key}")
    return bytes(value.to_bytes())


def _checksums(object_id_N: NDArray[np.int64], images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint32]:
    pairs = zip(object_id_N.astype("<i8"), np.ascontiguousarray(images_NHWC), strict=True)
    return np.array([google_crc32c.extend(google_crc32c.value(i.tobytes()), p.tobytes()) for i, p in pairs], np.uint32)


def _shard_name(index: int) -> str:
    return f"images/c/{index}/0/0/0"


def _receipt_name(index: int) -> str:
    return f"receipts/{index:06d}.parquet"
