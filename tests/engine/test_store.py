from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zarr

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import CutoutStore, create_store, open_store

SPEC = ImageSpec(survey="sdss", bands=("i", "r", "g"), size_pix=16, stretch="sdss-jpeg", size_rule="petro5")
LAYOUT = StoreLayout(image_spec=SPEC, num_targets=20, shard_size=8, chunk_size=4, targets_digest="abc")


def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)


def rows(start: int, stop: int) -> pa.Table:
    stored = [index != 9 for index in range(start, stop)]
    return pa.table(
        {
            "object_id": [1000 + index for index in range(start, stop)],
            "is_stored": stored,
            "ingest_flags": [index % 2 for index in range(start, stop)],
            "source": [f"{index}.jpg" for index in range(start, stop)],
            "reason": ["" if ok else "no such file" for ok in stored],
        }
    )


def fill(folder: Folder) -> CutoutStore:
    store = create_store(folder, LAYOUT)
    for index in range(store.num_blocks):
        start, stop = LAYOUT.rows(index)
        store.write_block(index, images()[start:stop], rows(start, stop))
    store.finish()
    return store


def test_a_block_reads_back_as_it_was_written(folder: Folder) -> None:
    fill(folder)
    store = open_store(folder.path)
    assert store.layout == LAYOUT
    assert store.num_blocks == 3
    block = store.read_block(2)
    assert (block.start, block.stop) == (16, 20)
    assert np.array_equal(block.images, images()[16:20])
    assert block.object_id.tolist() == [1016, 1017, 1018, 1019]
    assert block.flags.tolist() == [0, 1, 0, 1]
    assert store.read_block(1).is_stored.tolist() == [True, False, True, True, True, True, True, True]


def test_a_lost_shard_is_written_again(folder: Folder) -> None:
    store = fill(folder)
    digest = store.digest
    folder.remove(shard(1))
    assert store.done_blocks() == {0, 2}
    store.write_block(1, images()[8:16], rows(8, 16))
    store.finish()
    assert open_store(folder.path).digest == digest
    assert np.array_equal(store.read_block(1).images, images()[8:16])


@pytest.mark.parametrize("name", ["manifest.json", "receipts/000001.parquet"])
def test_an_empty_manifest_or_receipt_is_named(folder: Folder, name: str) -> None:
    fill(folder)
    folder.write(name, b"")
    store = open_store(folder.path)
    with pytest.raises(RuntimeError, match=rf"{name} is .*damaged \(.*\); delete it and run `skymetal ingest` again"):
        store.read_block(1)


def test_a_flipped_bit_in_a_receipt_is_never_silent(folder: Folder) -> None:
    fill(folder)
    clean = folder.read("receipts/000001.parquet")
    for position in range(0, len(clean), 29):
        data = bytearray(clean)
        data[position] ^= 1
        folder.write("receipts/000001.parquet", bytes(data))
        with pytest.raises(RuntimeError, match=r"receipts/000001\.parquet is missing or damaged"):
            open_store(folder.path).read_receipt(1)


def test_any_zarr_reader_sees_the_whole_array(folder: Folder) -> None:
    fill(folder)
    array = zarr.open_group(str(folder.path), mode="r")["images"]
    assert array.shape == (20, 16, 16, 3)
    assert np.array_equal(array[...], images())
    assert array.metadata.dimension_names == ("galaxy", "y", "x", "band")


def test_the_same_galaxies_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = Folder(tmp_path / "a"), Folder(tmp_path / "b")
    assert fill(first).digest == fill(second).digest
    names = [name for name in first.names("**/*") if (first.path / name).is_file()]
    assert len(names) == 9
    for name in names:
        assert first.read(name) == second.read(name)


def test_writing_a_block_twice_is_harmless_and_other_pixels_are_an_error(folder: Folder) -> None:
    store = fill(folder)
    store.write_block(0, images()[:8], rows(0, 8))
    with pytest.raises(RuntimeError, match="different result"):
        store.write_block(0, images()[8:16], rows(0, 8))


def test_a_shard_of_blank_galaxies_is_a_whole_file(folder: Folder) -> None:
    store = create_store(folder, LAYOUT)
    store.write_block(0, np.zeros((8, 16, 16, 3), np.uint8), rows(0, 8))
    assert folder.size("images/c/0/0/0/0") > 0
    assert not store.read_block(0).images.any()


def flip(folder: Folder, name: str) -> None:
    data = bytearray(folder.read(name))
    data[len(data) // 3] ^= 4
    folder.write(name, bytes(data))


def shard(index: int) -> str:
    return f"images/c/{index}/0/0/0"


DAMAGE: dict[str, Callable[[Folder], None]] = {
    "flipped": lambda folder: flip(folder, shard(0)),
    "zeroed": lambda folder: folder.write(shard(0), bytes(folder.size(shard(0)))),
    "truncated": lambda folder: folder.write(shard(0), folder.read(shard(0))[:-1]),
    "empty": lambda folder: folder.write(shard(0), b""),
    "deleted": lambda folder: folder.remove(shard(0)),
    "swapped": lambda folder: folder.write(shard(0), folder.read(shard(1))),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_never_silent(folder: Folder, damage: str) -> None:
    store = fill(folder)
    DAMAGE[damage](folder)
    with pytest.raises(RuntimeError, match=r"shard .*images/c/0/0/0/0 .*run `skymetal ingest` again"):
        store.read_block(0)
    assert np.array_equal(store.read_block(1).images, images()[8:16])


def test_a_store_that_is_not_finished_cannot_be_opened_or_summed(folder: Folder) -> None:
    store = create_store(folder, LAYOUT)
    store.write_block(1, images()[8:16], rows(8, 16))
    assert store.done_blocks() == {1}
    with pytest.raises(InputError, match="is not finished; run `skymetal ingest` again"):
        open_store(folder.path)
    with pytest.raises(RuntimeError, match="2 of 3 shards are not written, the first is 0"):
        store.finish()


def test_what_is_no_store_is_refused(folder: Folder) -> None:
    with pytest.raises(InputError, match="run `skymetal ingest` first"):
        open_store(folder.path / "none")
    folder.write("zarr.json", b"{}")
    with pytest.raises(InputError, match="is not a skymetal cutout store"):
        open_store(folder.path)


def test_an_open_store_travels_to_a_worker(folder: Folder) -> None:
    store = fill(folder)
    assert pickle.loads(pickle.dumps(store)).read_block(0).object_id[0] == 1000  # noqa: S301
