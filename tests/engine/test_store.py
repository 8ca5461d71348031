from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from support.stores import LAYOUT, fill, images, rows

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.pixels import ImageSpec
from skymetal.engine.store import create_store, open_store


def test_a_block_reads_back_as_it_was_written(folder: LocalFolder) -> None:
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


def test_a_lost_shard_is_written_again(folder: LocalFolder) -> None:
    store = fill(folder)
    digest = store.digest
    folder.remove(shard(1))
    assert store.done_blocks() == {0, 2}
    store.write_block(1, images()[8:16], rows(8, 16))
    store.finish()
    assert open_store(folder.path).digest == digest
    assert np.array_equal(store.read_block(1).images, images()[8:16])


@pytest.mark.parametrize("name", ["manifest.json", "receipts/000001.parquet"])
def test_an_empty_manifest_or_receipt_is_named(folder: LocalFolder, name: str) -> None:
    fill(folder)
    folder.write(name, b"")
    store = open_store(folder.path)
    with pytest.raises(RuntimeError, match=rf"{name} is .*damaged \(.*\); `skymetal store repair` makes it again"):
        store.read_block(1)


def test_brackets_beyond_any_depth_are_damage(folder: LocalFolder) -> None:
    fill(folder)
    clean = folder.read("zarr.json")
    folder.write("manifest.json", b"[" * 200_000)
    with pytest.raises(RuntimeError, match=r"manifest\.json is damaged \(.*\); `skymetal store repair` makes it again"):
        open_store(folder.path).read_block(1)
    folder.write("zarr.json", b"[" * 200_000)
    with pytest.raises(InputError, match="is not a skymetal cutout store of this version"):
        open_store(folder.path)
    folder.write("zarr.json", clean)
    folder.remove("manifest.json")
    os.mkfifo(folder.path / "manifest.json")
    with pytest.raises(RuntimeError, match=r"manifest\.json is damaged \(.* is not a regular file\)"):
        open_store(folder.path).read_block(1)


def test_a_flipped_bit_in_a_receipt_is_never_silent(folder: LocalFolder) -> None:
    fill(folder)
    clean = folder.read("receipts/000001.parquet")
    for position in range(0, len(clean), 29):
        data = bytearray(clean)
        data[position] ^= 1
        folder.write("receipts/000001.parquet", bytes(data))
        with pytest.raises(RuntimeError, match=r"receipts/000001\.parquet is damaged"):
            open_store(folder.path).read_receipt(1)


def test_any_zarr_reader_sees_the_whole_array(folder: LocalFolder) -> None:
    fill(folder)
    array = zarr.open_group(str(folder.path), mode="r")["images"]
    assert array.shape == (20, 16, 16, 3)
    assert np.array_equal(array[...], images())
    assert array.metadata.dimension_names == ("galaxy", "y", "x", "band")


def test_the_same_galaxies_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = LocalFolder(tmp_path / "a"), LocalFolder(tmp_path / "b")
    assert fill(first).digest == fill(second).digest
    names = [name for name in first.names("**/*") if (first.path / name).is_file()]
    assert len(names) == 9
    for name in names:
        assert first.read(name) == second.read(name)


def test_writing_a_block_twice_is_harmless_and_other_pixels_are_an_error(folder: LocalFolder) -> None:
    store = fill(folder)
    store.write_block(0, images()[:8], rows(0, 8))
    with pytest.raises(RuntimeError, match="the source has changed"):
        store.write_block(0, images()[8:16], rows(0, 8))
    assert np.array_equal(store.read_block(0).images, images()[:8])


def test_a_shard_of_blank_galaxies_is_a_whole_file(folder: LocalFolder) -> None:
    store = create_store(folder, LAYOUT)
    store.write_block(0, np.zeros((8, 16, 16, 3), np.uint8), rows(0, 8))
    assert folder.size("images/c/0/0/0/0") > 0
    assert not store.read_block(0).images.any()


def flip(folder: LocalFolder, name: str) -> None:
    data = bytearray(folder.read(name))
    data[len(data) // 3] ^= 4
    folder.write(name, bytes(data))


def shard(index: int) -> str:
    return f"images/c/{index}/0/0/0"


DAMAGE: dict[str, Callable[[LocalFolder], None]] = {
    "flipped": lambda folder: flip(folder, shard(0)),
    "zeroed": lambda folder: folder.write(shard(0), bytes(folder.size(shard(0)))),
    "truncated": lambda folder: folder.write(shard(0), folder.read(shard(0))[:-1]),
    "empty": lambda folder: folder.write(shard(0), b""),
    "deleted": lambda folder: folder.remove(shard(0)),
    "swapped": lambda folder: folder.write(shard(0), folder.read(shard(1))),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_never_silent(folder: LocalFolder, damage: str) -> None:
    store = fill(folder)
    DAMAGE[damage](folder)
    with pytest.raises(RuntimeError, match=r"shard .*images/c/0/0/0/0 .*`skymetal store repair` makes it again"):
        store.read_block(0)
    assert np.array_equal(store.read_block(1).images, images()[8:16])


def test_a_store_that_is_not_finished_cannot_be_opened_or_summed(folder: LocalFolder) -> None:
    store = create_store(folder, LAYOUT)
    store.write_block(1, images()[8:16], rows(8, 16))
    assert store.done_blocks() == {1}
    with pytest.raises(InputError, match="is not finished; run `skymetal ingest` again"):
        open_store(folder.path)
    with pytest.raises(RuntimeError, match="2 of 3 shards are not written, the first is 0"):
        store.finish()


def test_what_is_no_store_is_refused(folder: LocalFolder) -> None:
    with pytest.raises(InputError, match="run `skymetal ingest` first"):
        open_store(folder.path / "none")
    folder.write("zarr.json", b"{}")
    with pytest.raises(InputError, match="is not a skymetal cutout store"):
        open_store(folder.path)


def test_an_open_store_travels_to_a_worker(folder: LocalFolder) -> None:
    store = fill(folder)
    assert pickle.loads(pickle.dumps(store)).read_block(0).object_id[0] == 1000  # noqa: S301


def test_a_store_of_flux_keeps_every_float_and_the_bands_it_has(folder: LocalFolder) -> None:
    spec = ImageSpec(survey="sdss", bands=("g", "r"), size_pix=16, stretch="flux", size_rule="petro5", dtype="float32")
    flux = np.random.default_rng(2).normal(size=(20, 16, 16, 2)).astype(np.float32)
    fill(folder, pixels=flux, layout=replace(LAYOUT, image_spec=spec))
    store = open_store(folder.path)
    assert store.image_spec == spec
    assert np.array_equal(store.read_block(1).images, flux[8:16])
    assert zarr.open_group(str(folder.path), mode="r")["images"].dtype == np.float32


def test_a_lost_shard_cannot_come_back_as_another(folder: LocalFolder) -> None:
    store = fill(folder)
    folder.remove("receipts/000001.parquet")
    folder.remove(shard(1))
    with pytest.raises(RuntimeError, match=r"images of shard 1 are not those .* the source has changed"):
        store.write_block(1, images()[:8], rows(8, 16))
    assert not folder.exists(shard(1))
    store.write_block(1, images()[8:16], rows(8, 16))
    store.finish()
