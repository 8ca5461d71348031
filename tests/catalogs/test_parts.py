from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import (
    MANIFEST,
    Manifest,
    commit_part,
    find_receipt,
    missing_blocks,
    read_manifest,
    read_part,
    write_manifest,
)
from skymetal.catalogs.storage import LocalFolder


def rows(index: int) -> pa.Table:
    return pa.table({"object_id": [10 * index, 10 * index + 1], "oh_p50": [8.5, 8.6]})


def commit_all(folder: LocalFolder, num_blocks: int) -> Manifest:
    for index in range(num_blocks):
        commit_part(folder, index, rows(index), num_quarantined=index, run_digest="run")
    return write_manifest(folder, num_blocks, run_digest="run")


def test_a_part_reads_back_and_counts(folder: LocalFolder) -> None:
    manifest = commit_all(folder, 3)
    assert manifest.num_rows == 6
    assert manifest.num_quarantined == 3
    assert read_manifest(folder) == manifest
    assert read_part(folder, manifest.receipts[1]).equals(rows(1))
    assert missing_blocks(folder, 4, run_digest="run") == [3]


def test_committing_twice_is_harmless_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    first, second = LocalFolder(tmp_path / "a"), LocalFolder(tmp_path / "b")
    commit_all(first, 2)
    commit_all(first, 2)
    commit_all(second, 2)
    assert first.names("**/*") == second.names("**/*")
    for name in first.names("*.*"):
        assert first.read(name) == second.read(name)


def test_a_different_result_for_the_same_block_is_an_error(folder: LocalFolder) -> None:
    commit_part(folder, 0, rows(0), num_quarantined=0, run_digest="run")
    with pytest.raises(RuntimeError, match="committed a different result"):
        commit_part(folder, 0, rows(1), num_quarantined=0, run_digest="run")
    receipt = find_receipt(folder, 0, run_digest="run")
    assert receipt is not None
    assert read_part(folder, receipt).equals(rows(0))


def test_a_receipt_keeps_the_galaxies_that_could_not_be_scored_with_their_reasons(folder: LocalFolder) -> None:
    rejected = [(7, "scoring: SystemExit: 3"), (3, "scoring: the process was killed by signal 11")]
    receipt = commit_part(folder, 0, rows(0), num_quarantined=2, run_digest="run", rejected=rejected)
    assert find_receipt(folder, 0, run_digest="run") == receipt
    assert receipt.rejected == tuple(rejected)
    assert (
        receipt.to_json()
        == commit_part(folder, 0, rows(0), num_quarantined=2, run_digest="run", rejected=rejected).to_json()
    )
    manifest = write_manifest(folder, 1, run_digest="run")
    assert read_manifest(folder) == manifest
    assert manifest.rejected == dict(rejected)
    damaged = folder.read("receipts/000000.json").replace(b'"scoring: SystemExit: 3"', b'"scoring", 3')
    folder.write("receipts/000000.json", damaged)
    with pytest.raises(RuntimeError, match="is damaged; delete it"):
        find_receipt(folder, 0, run_digest="run")


def test_a_file_without_a_receipt_is_debris(folder: LocalFolder) -> None:
    folder.write("part-000000-000000000000.parquet", b"from a killed worker")
    manifest = commit_all(folder, 1)
    assert folder.names("*.parquet") == [manifest.receipts[0].file]


def test_a_missing_block_is_named(folder: LocalFolder) -> None:
    commit_part(folder, 1, rows(1), num_quarantined=0, run_digest="run")
    with pytest.raises(RuntimeError, match="2 of 3 blocks are not done, the first is 0"):
        write_manifest(folder, 3, run_digest="run")
    assert find_receipt(folder, 0, run_digest="run") is None


def test_a_lost_manifest_is_made_again_from_the_parts(folder: LocalFolder) -> None:
    manifest = commit_all(folder, 3)
    folder.remove(MANIFEST)
    assert write_manifest(folder, 3, run_digest="run") == manifest


def test_a_damaged_part_is_not_read(folder: LocalFolder) -> None:
    receipt = commit_all(folder, 1).receipts[0]
    data = bytearray(folder.read(receipt.file))
    data[len(data) // 2] ^= 1
    folder.write(receipt.file, bytes(data))
    with pytest.raises(RuntimeError, match="damaged"):
        read_part(folder, receipt)


def test_a_lost_part_is_not_done_and_is_made_again(folder: LocalFolder) -> None:
    receipt = commit_all(folder, 2).receipts[1]
    folder.remove(receipt.file)
    assert missing_blocks(folder, 2, run_digest="run") == [1]
    with pytest.raises(RuntimeError, match=r"is lost; run `skymetal score` again"):
        read_part(folder, receipt)
    commit_part(folder, 1, rows(1), num_quarantined=1, run_digest="run")
    assert missing_blocks(folder, 2, run_digest="run") == []
    folder.write(receipt.file, folder.read(receipt.file)[:-1])
    assert missing_blocks(folder, 2, run_digest="run") == [1]


def test_parts_of_another_run_are_refused(folder: LocalFolder) -> None:
    commit_all(folder, 1)
    with pytest.raises(InputError, match="scored with another model, store or setting"):
        missing_blocks(folder, 1, run_digest="other")


@pytest.mark.parametrize("name", ["receipts/000000.json", MANIFEST])
def test_an_empty_receipt_or_manifest_is_named(folder: LocalFolder, name: str) -> None:
    commit_all(folder, 1)
    folder.write(name, b"")
    with pytest.raises(RuntimeError, match=f"{name} is damaged"):
        read_manifest(folder) if name == MANIFEST else find_receipt(folder, 0, run_digest="run")


def test_a_manifest_with_a_hole_cannot_exist(folder: LocalFolder) -> None:
    receipts = commit_all(folder, 3).receipts
    with pytest.raises(ValueError, match="one receipt for every block"):
        Manifest(run_digest="run", receipts=(receipts[0], receipts[2]))
