from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.stores import LAYOUT, fill, images, rows

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.store import CutoutStore, create_store, open_store, receipt_name, shard_name
from skymetal.engine.verify import Damage, open_damaged_store, set_aside, verify

NUM_SEEDS = 50


def damages(store: CutoutStore) -> list[Damage]:
    return [damage for _, found in verify(store, None) for damage in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store, and beside it one of the same galaxies with other pixels."""
    path = tmp_path_factory.mktemp("whole")
    fill(LocalFolder(path / "store"))
    fill(LocalFolder(path / "stale"), pixels=255 - images())
    return path


def test_a_whole_store_has_no_damage_and_every_galaxy_is_looked_at(whole: Path) -> None:
    found = list(verify(open_store(whole / "store"), None))
    assert sum(count for count, _ in found) == 20
    assert not any(damage for _, damage in found)


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"metadata":' * 100_000])
def test_brackets_beyond_any_depth_are_damage(folder: LocalFolder, content: bytes) -> None:
    store = fill(folder)
    folder.write("manifest.json", content)
    (damage,) = damages(open_damaged_store(folder.path, None))
    assert damage.file == "manifest.json"
    assert damage.what.startswith("damaged: ")
    folder.write("zarr.json", content)
    assert {damage.file for damage in damages(store)} == {"manifest.json"}
    with pytest.raises(RuntimeError, match=r"zarr\.json is damaged"):
        open_damaged_store(folder.path, None)


def flip(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    data = bytearray(folder.read(name))
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    folder.write(name, bytes(data))


def zero(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    data = bytearray(folder.read(name))
    start = rng.integers(len(data))
    stop = start + rng.integers(1, len(data))
    folder.write(name, bytes(data[:start]) + bytes(len(data[start:stop])) + bytes(data[stop:]))


def truncate(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    folder.write(name, folder.read(name)[: rng.integers(1, folder.size(name))])


def empty(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    folder.write(name, b"")


def delete(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    folder.remove(name)


def swap(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    other = other_of_its_kind(name, rng)
    first, second = folder.read(name), folder.read(other)
    folder.write(name, second)
    folder.write(other, first)


def copy(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    folder.write(name, folder.read(other_of_its_kind(name, rng)))


def stale(folder: LocalFolder, name: str, rng: np.random.Generator, whole: Path) -> None:
    folder.write(name, LocalFolder(whole / "stale").read(name))


def other_of_its_kind(name: str, rng: np.random.Generator) -> str:
    kind = shard_name if name.startswith("images") else receipt_name
    return str(rng.choice([kind(index) for index in range(3) if kind(index) != name]))


SHARDS_AND_RECEIPTS = [*(shard_name(index) for index in range(3)), *(receipt_name(index) for index in range(3))]
EVERYTHING = [*SHARDS_AND_RECEIPTS, "manifest.json", "images/zarr.json", "zarr.json"]
DAMAGE = {
    flip: EVERYTHING,
    zero: EVERYTHING,
    truncate: EVERYTHING,
    empty: EVERYTHING,
    delete: EVERYTHING,
    swap: SHARDS_AND_RECEIPTS,
    copy: SHARDS_AND_RECEIPTS,
    stale: [*SHARDS_AND_RECEIPTS, "manifest.json"],
}


@pytest.mark.parametrize("kind", DAMAGE, ids=lambda kind: kind.__name__)
def test_no_damage_is_silent(kind: Callable[..., None], whole: Path, tmp_path: Path) -> None:
    """Fifty seeds a kind: verify says so, and no reader ever gets other pixels than were ingested."""
    for seed in range(NUM_SEEDS):
        rng = np.random.default_rng(seed)
        path = tmp_path / str(seed)
        shutil.copytree(whole / "store", path)
        folder, name = LocalFolder(path), str(rng.choice(DAMAGE[kind]))
        before = contents(path)
        kind(folder, name, rng, whole)
        if contents(path) == before:
            continue  # zeros over zeros
        assert is_noticed(path, name), f"seed {seed}: {name}"
        try:
            store = open_store(path)
            blocks = [store.read_block(index) for index in range(3)]
        except (RuntimeError, InputError):
            continue
        assert np.array_equal(np.concatenate([block.images for block in blocks]), images()), f"seed {seed}: {name}"


def is_noticed(path: Path, name: str) -> bool:
    try:
        found = damages(open_damaged_store(path, None))
    except RuntimeError as error:
        return name == "zarr.json" and ("zarr.json is damaged" in str(error) or "zarr.json is missing" in str(error))
    if name == "manifest.json" and not (path / name).exists():
        return True  # without its manifest a store is not finished, and cannot be opened
    return any(damage.file == name or name == "manifest.json" for damage in found)


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_one_flipped_chunk_names_its_galaxies_alone(folder: LocalFolder) -> None:
    store = fill(folder)
    data = bytearray(folder.read(shard_name(1)))
    data[10] ^= 1  # in the first chunk of four galaxies
    folder.write(shard_name(1), bytes(data))
    (damage,) = damages(open_store(folder.path))
    assert damage == Damage(file=shard_name(1), what="damaged: 4 of 8 galaxies", object_id=(1008, 1009, 1010, 1011))
    with set_aside(store, [damage]):
        assert store.done_blocks() == {0, 2}
        store.write_block(1, images()[8:16], rows(8, 16))
    store.finish()
    assert not folder.exists("set-aside")
    assert damages(open_store(folder.path)) == []


def test_a_galaxy_whose_pixels_are_anothers_is_found_under_intact_codecs(folder: LocalFolder) -> None:
    fill(folder)
    other = fill(LocalFolder(folder.path / "other"), pixels=images()[::-1])
    folder.write(shard_name(0), other.read_shard(0))
    (damage,) = damages(open_store(folder.path))
    assert damage.what == "damaged: 8 of 8 galaxies"


@pytest.mark.parametrize("change", ["swapped", "past the end", "huge"])
def test_a_wrong_index_of_chunks_is_found(folder: LocalFolder, change: str) -> None:
    """The last bytes of a shard say where each chunk lies: two (offset, length) pairs and a checksum."""
    import google_crc32c

    fill(folder)
    data = folder.read(shard_name(0))
    entries = list(struct.unpack("<4Q", data[-36:-4]))
    if change == "swapped":
        entries = [*entries[2:], *entries[:2]]
    else:
        entries[0] = len(data) + 5 if change == "past the end" else 2**62
    index = struct.pack("<4Q", *entries)
    folder.write(shard_name(0), data[:-36] + index + struct.pack("<I", google_crc32c.value(index)))
    (damage,) = damages(open_store(folder.path))
    assert damage.file == shard_name(0)
    with pytest.raises(RuntimeError, match="shard"):
        open_store(folder.path).read_block(0)


def test_what_stands_in_a_shards_place_never_hangs_a_reader(folder: LocalFolder) -> None:
    store = fill(folder)
    folder.remove(shard_name(0))
    os.mkfifo(folder.path / shard_name(0))
    folder.remove(shard_name(1))
    (folder.path / shard_name(1)).mkdir()
    with open(folder.path / shard_name(2), "ab") as file:
        file.truncate(LAYOUT.max_file_bytes + 1)
    found = damages(open_store(folder.path))
    assert [damage.file for damage in found] == [shard_name(index) for index in range(3)]
    assert "not a regular file" in found[0].what
    assert "at most" in found[2].what
    with set_aside(store, found):
        assert store.done_blocks() == set()


def test_junk_after_a_shard_is_found(folder: LocalFolder) -> None:
    fill(folder)
    folder.write(shard_name(0), folder.read(shard_name(0)) + b"junk")
    assert [damage.file for damage in damages(open_store(folder.path))] == [shard_name(0)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"uint8"', '"int8"'),
        ('"shape": [\n    20', '"shape": [\n    1000000000000'),
        ('"separator": "/"', '"separator": "."'),
        ("zstd", "gzip"),
    ],
)
def test_metadata_that_would_mislead_other_readers_is_found(folder: LocalFolder, old: str, new: str) -> None:
    fill(folder)
    text = folder.read("images/zarr.json").decode()
    assert old in text
    folder.write("images/zarr.json", text.replace(old, new).encode())
    (damage,) = damages(open_store(folder.path))
    assert damage.file == "images/zarr.json"
    assert np.array_equal(open_store(folder.path).read_block(0).images, images()[:8])


def test_a_store_that_claims_absurd_sizes_is_refused_in_no_time(folder: LocalFolder) -> None:
    fill(folder)
    text = folder.read("zarr.json").decode()
    for old, new in (('"num_targets": 20', '"num_targets": -1'), ('"chunk_size": 4', '"chunk_size": 0')):
        folder.write("zarr.json", text.replace(old, new).encode())
        with pytest.raises(InputError, match="its sizes make no sense"):
            open_store(folder.path)
    folder.write("zarr.json", text.replace('"num_targets": 20', '"num_targets": 1000000000000').encode())
    (damage,) = damages(open_damaged_store(folder.path, None))
    assert damage.file == "zarr.json"
    with pytest.raises(RuntimeError, match="damaged"):
        open_store(folder.path).read_block(0)


def test_a_shard_not_yet_ingested_is_no_damage_and_a_lost_receipt_is(folder: LocalFolder) -> None:
    store = create_store(folder, LAYOUT)
    store.write_block(1, images()[8:16], rows(8, 16))
    assert damages(store) == []
    finished = fill(folder)
    folder.remove(receipt_name(2))
    (damage,) = damages(finished)
    assert damage == Damage(file=receipt_name(2), what="missing")


def test_a_flipped_bit_in_the_manifest_costs_the_manifest_alone(folder: LocalFolder) -> None:
    store = fill(folder)
    text = folder.read("manifest.json")
    position = text.index(b'"receipts": [') + 20
    folder.write("manifest.json", text[:position] + bytes([text[position] ^ 1]) + text[position + 1 :])
    found = damages(open_store(folder.path))
    assert [damage.file for damage in found] == ["manifest.json"]
    with set_aside(store, found):
        CutoutStore(folder, LAYOUT).finish()
    assert folder.read("manifest.json") == text


def test_a_damaged_shard_that_is_not_made_again_is_put_back(folder: LocalFolder) -> None:
    fill(folder)
    data = folder.read(shard_name(1))[:-1]
    folder.write(shard_name(1), data)
    store = open_store(folder.path)
    with pytest.raises(RuntimeError, match="the source has changed"), set_aside(store, damages(store)):
        store.write_block(1, images()[:8], rows(8, 16))
    assert folder.read(shard_name(1)) == data


def test_a_file_in_the_place_of_a_shards_folder_is_found_and_cleared(folder: LocalFolder) -> None:
    store = fill(folder)
    shutil.rmtree(folder.path / "images/c/1")
    folder.write("images/c/1", b"not a folder")
    found = damages(open_store(folder.path))
    assert [damage.file for damage in found] == [shard_name(1)]
    with set_aside(store, found):
        store.write_block(1, images()[8:16], rows(8, 16))
    assert damages(open_store(folder.path)) == []


def test_a_receipt_of_a_strange_name_is_no_shards(folder: LocalFolder) -> None:
    store = fill(folder)
    folder.write("receipts/000001 (copy).parquet", b"")
    assert store.done_blocks() == {0, 1, 2}
