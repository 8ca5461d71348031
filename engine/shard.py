"""One shard: where it lies in the store's array, its bytes, and the checksum of each galaxy in it.

zarr encodes a shard, the chunks are decoded here: zarr leads all of a process's reading through one thread. The file
itself is written whole by the storage layer.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from skymetal.catalogs.errors import first_line
from skymetal.engine.pixels import ImageSpec

ATTRIBUTE = "skymetal"
"""The group attribute that records a store's layout."""
GROUP_METADATA = "zarr.json"
_FORMAT = 2
_CRC_BYTES = 4
_ENTRY = np.dtype([("offset", "<u8"), ("length", "<u8")])
"""Of a chunk in a shard's index; both are 2^64 - 1 where it was not written (Zarr v3, the sharding_indexed codec)."""
_PIECE_BYTES = 1 << 18


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

    @property
    def shard_bytes(self) -> int:
        """The size of a whole shard's pixels in memory."""
        return self.shard_size * self.image_spec.cutout_bytes

    @property
    def max_file_bytes(self) -> int:
        """No shard's file is larger: pixels that do not compress, their checksums, and the index of the chunks."""
        return self.shard_bytes + self.shard_bytes // 64 + 64 * (self.shard_size // self.chunk_size) + 4096

    def rows(self, index: int) -> tuple[int, int]:
        """Return the range of target rows, (start, stop), that shard ``index`` holds."""
        return index * self.shard_size, min((index + 1) * self.shard_size, self.num_targets)

    def to_json(self) -> dict[str, Any]:
        """Return the layout as the group attribute that records it."""
        return {"format": _FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> StoreLayout:
        """Return the layout that a group attribute records; raise ValueError for another version's."""
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']}, this version reads {_FORMAT}")
        spec = content["image_spec"] | {"bands": tuple(content["image_spec"]["bands"])}
        values = {key: value for key, value in content.items() if key not in ("format", "image_spec")}
        layout = cls(image_spec=ImageSpec(**spec), **values)
        sizes = (layout.num_targets, layout.shard_size, layout.chunk_size, layout.image_spec.size_pix)
        if not all(type(size) is int and size > 0 for size in sizes) or layout.shard_size % layout.chunk_size:
            raise ValueError(f"its sizes make no sense: {sizes}")
        return layout


def array_metadata(layout: StoreLayout) -> dict[str, bytes]:
    """Return the metadata files of a store's group and array, by name."""
    memory = MemoryStore()
    group = zarr.create_group(memory, attributes={ATTRIBUTE: layout.to_json()})
    _create_images(group, layout, layout.num_targets)
    return {key: _get(memory, key) for key in (GROUP_METADATA, "images/zarr.json")}


def encode_shard(layout: StoreLayout, images_NHWC: NDArray[Any]) -> bytes:
    """Return a shard's bytes; the last shard of a store has fewer chunks, its last chunk is filled up with zeros."""
    memory = MemoryStore()
    array = _create_images(zarr.create_group(memory), layout, layout.shard_size)
    array[: len(images_NHWC)] = images_NHWC
    return _get(memory, "images/c/0/0/0/0")


def decode_shard(layout: StoreLayout, data: bytes, rows: slice) -> NDArray[Any]:
    """Return some cutouts of a shard, (n, H, W, C), decoding the chunks they lie in; raise ValueError for torn bytes.

    Threads decode side by side. A chunk that holds too little ends in zeros, which only its galaxies' checksums show.
    """
    size = layout.chunk_size
    start, stop, _ = rows.indices(layout.shard_size)
    chunks = range(start // size, -(-stop // size))
    index, codec = _read_index(layout, data), Zstd()
    first = chunks.start * size
    try:
        images_NHWC = np.zeros((len(chunks) * size, *layout.image_spec.frame), layout.image_spec.dtype)
    except MemoryError as error:  # sizes that are damage, too
        raise ValueError(first_line(error)) from error
    for chunk in chunks:
        offset, length = (int(value) for value in index[chunk])
        if offset + length > len(data):
            raise ValueError(f"chunk {chunk} is not in the file")
        place = chunk * size - first
        try:
            codec.decode(memoryview(data)[offset : offset + length], out=images_NHWC[place : place + size])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"chunk {chunk}: {error}") from error
    return images_NHWC[start - first : stop - first]


def _read_index(layout: StoreLayout, data: bytes) -> NDArray[np.void]:
    """Return where each chunk lies in a shard's file: the index is its end, with a checksum."""
    num_bytes = layout.shard_size // layout.chunk_size * _ENTRY.itemsize
    index, crc = data[-num_bytes - _CRC_BYTES : -_CRC_BYTES], data[-_CRC_BYTES:]
    if len(index) < num_bytes or google_crc32c.value(index) != int.from_bytes(crc, "little"):
        raise ValueError("the file is cut off, or its index damaged" if data else "the file is empty")
    return np.frombuffer(index, _ENTRY)


def checksums(object_id_N: NDArray[np.int64], images_NHWC: NDArray[Any]) -> NDArray[np.uint32]:
    """Return the CRC-32C of each galaxy: of its id's eight bytes, little endian, then its pixels."""
    # Rows of flat bytes, a piece that fits the processor's cache at a time: for tiny cutouts a numpy object a galaxy
    # would cost more than its checksum.
    num_galaxies = len(object_id_N)
    rows_N = np.ascontiguousarray(images_NHWC).reshape(num_galaxies, -1).view(np.uint8)
    id_N = object_id_N.astype("<i8").reshape(-1, 1).view(np.uint8)
    size = 8 + rows_N.shape[1] if num_galaxies else 8
    rows_at_once = max(_PIECE_BYTES // size, 1)
    crcs = np.empty(num_galaxies, np.uint32)
    for first in range(0, num_galaxies, rows_at_once):
        rows = slice(first, min(first + rows_at_once, num_galaxies))
        data = np.concatenate([id_N[rows], rows_N[rows]], axis=1).tobytes()
        crcs[rows] = [google_crc32c.value(data[start : start + size]) for start in range(0, len(data), size)]
    return crcs


def _create_images(group: zarr.Group, layout: StoreLayout, num_rows: int) -> zarr.Array[Any]:
    spec = layout.image_spec
    frame = spec.frame
    return group.create_array(
        "images",
        shape=(num_rows, *frame),
        chunks=(layout.chunk_size, *frame),
        shards=(layout.shard_size, *frame),
        dtype=spec.dtype,
        # zstd's own checksum is off by default, and flipped bits then decode to wrong pixels without a word.
        compressors=ZstdCodec(level=1, checksum=True),
        fill_value=0,
        # Else zarr drops chunks of zeros, and a shard of blank galaxies would be an empty file: like a torn one.
        config={"write_empty_chunks": True},
        dimension_names=("galaxy", "y", "x", "band"),
    )


def _get(memory: MemoryStore, key: str) -> bytes:
    value = sync(memory.get(key, default_buffer_prototype()))
    if value is None:
        raise RuntimeError(f"zarr did not write {key}")
    return bytes(value.to_bytes())
