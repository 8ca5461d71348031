from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import google_crc32c
import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd
from support.stores import LAYOUT, fill, images

from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.shard import decode_shard, encode_shard

NUM_CHUNKS = 2
INDEX_BYTES = 16 * NUM_CHUNKS + 4


@pytest.mark.parametrize("rows", [slice(8), slice(1), slice(3, 5), slice(4, 8), slice(7, 8), slice(4, 4), slice(100)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_rows_are_what_zarr_reads(folder: LocalFolder, rows: slice, dtype: str) -> None:
    layout = replace(LAYOUT, image_spec=replace(LAYOUT.image_spec, dtype=dtype))
    store = fill(folder, pixels=images().astype(dtype) * (1 if dtype == "uint8" else np.pi), layout=layout)
    read = decode_shard(layout, store.read_shard(1), rows)
    assert read.dtype == dtype
    assert np.array_equal(read, zarr.open_array(folder.path / "images", mode="r")[8:16][rows])


def test_the_last_shard_has_the_chunks_it_needs() -> None:
    data = encode_shard(LAYOUT, images()[:3])
    assert np.array_equal(decode_shard(LAYOUT, data, slice(3)), images()[:3])
    assert not decode_shard(LAYOUT, data, slice(3, 4)).any()
    with pytest.raises(ValueError, match="chunk 1 is not in the file"):
        decode_shard(LAYOUT, data, slice(4, 5))


def test_no_flipped_bit_changes_a_pixel() -> None:
    pixels = np.zeros((8, 16, 16, 3), np.uint8)
    pixels[:, 3, 4, 1] = np.arange(8)
    data = encode_shard(LAYOUT, pixels)
    num_refused = 0
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert np.array_equal(decode_shard(LAYOUT, bytes(damaged), slice(8)), pixels)
        except ValueError:
            num_refused += 1
    assert num_refused > 8 * len(data) - 5  # a bit that zstd does not look at


@pytest.mark.parametrize("num_bytes", [0, 1, INDEX_BYTES - 1, INDEX_BYTES, 200, -1])
def test_a_file_that_is_cut_off_is_named_so(num_bytes: int) -> None:
    data = encode_shard(LAYOUT, images()[:8])[:num_bytes]
    with pytest.raises(ValueError, match="the file is cut off, or its index damaged" if data else "the file is empty"):
        decode_shard(LAYOUT, data, slice(8))


@pytest.mark.parametrize("num_images", [3, 5, 10**6])
def test_a_chunk_of_another_size_ends_in_zeros_or_is_refused(num_images: int) -> None:
    whole = encode_shard(LAYOUT, images()[:8])
    chunk = Zstd(level=1, checksum=True).encode(np.ones(num_images * 768, np.uint8))
    crafted = replace_chunk(whole, chunk)
    if num_images > LAYOUT.chunk_size:
        with pytest.raises(ValueError, match="chunk 0: destination buffer too small"):
            decode_shard(LAYOUT, crafted, slice(4))
        return
    read = decode_shard(LAYOUT, crafted, slice(4))
    assert read[:3].all()
    assert not read[3].any()


def replace_chunk(data: bytes, chunk: bytes) -> bytes:
    """Return a shard whose first chunk is another one, with an index that is right."""
    index = np.frombuffer(data[-INDEX_BYTES:-4], "<u8").reshape(NUM_CHUNKS, 2).copy()
    body = data[:-INDEX_BYTES]
    index[0] = len(body), len(chunk)
    return body + chunk + index.tobytes() + google_crc32c.value(index.tobytes()).to_bytes(4, "little")


def test_sizes_that_fit_no_memory_are_damage() -> None:
    layout = replace(LAYOUT, image_spec=replace(LAYOUT.image_spec, size_pix=10**7))
    with pytest.raises(ValueError, match=r"Unable to allocate|too big"):
        decode_shard(layout, encode_shard(LAYOUT, images()[:8]), slice(8))


def test_threads_that_decode_at_once_do_not_disturb_each_other() -> None:
    shards = [encode_shard(LAYOUT, images()[first : first + 8]) for first in (0, 8)]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda number: decode_shard(LAYOUT, shards[number % 2], slice(8)), range(64)))
    assert all(np.array_equal(read[number], images()[:16].reshape(2, 8, 16, 16, 3)[number % 2]) for number in range(64))
