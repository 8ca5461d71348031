from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from skymetal.catalogs.hats import Pixel
from skymetal.catalogs.parts import commit_part, write_manifest
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.file_plan import FilePlan, Piece
from skymetal.catalogs.publishing.file_rows import RowReader
from skymetal.catalogs.storage import LocalFolder

PIXEL = Pixel(order=29, npix=0, num_rows=0)


def make_edition(folder: Path, parts: list[list[int]]) -> Edition:
    for index, keys in enumerate(parts):
        columns = {"object_id": pa.array(range(len(keys)), pa.int64()), "_healpix_29": pa.array(keys, pa.int64())}
        commit_part(LocalFolder(folder), index, pa.table(columns), num_quarantined=0, run_digest="run")
    return Edition(
        parts=LocalFolder(folder),
        manifest=write_manifest(LocalFolder(folder), len(parts), run_digest="run"),
        schema=pa.schema({"object_id": pa.int64(), "_healpix_29": pa.int64()}),
        name="tiny",
        max_rows=10,
        margin_arcsec=0.0,
        provenance={},
    )


def plan(edition: Edition, *pieces: tuple[int, int, int], pixel: Pixel | None = None) -> FilePlan:
    return FilePlan(
        pieces=tuple(
            Piece(receipt=edition.manifest.receipts[index], start=start, stop=stop) for index, start, stop in pieces
        ),
        pixel=pixel,
    )


def test_pieces_of_parts_are_joined_in_their_order(tmp_path: Path) -> None:
    edition = make_edition(tmp_path, [[1, 2, 3], [4], [5, 6]])
    rows = RowReader(edition).read(plan(edition, (0, 1, 3), (1, 0, 1), (2, 0, 1)))
    assert rows["_healpix_29"].to_pylist() == [2, 3, 4, 5]


def test_a_part_whose_rows_go_down_within_it_is_named(tmp_path: Path) -> None:
    edition = make_edition(tmp_path, [[1, 2], [2, 7, 3, 8]])
    for pieces in ([(0, 0, 2), (1, 0, 4)], [(1, 0, 1)]):  # also where another file takes the rows that go down
        with pytest.raises(RuntimeError, match=r"part-000001-.* is out of order: _healpix_29 goes down"):
            RowReader(edition).read(plan(edition, *pieces))


def test_rows_of_another_pixel_than_the_plans_are_refused(tmp_path: Path) -> None:
    edition = make_edition(tmp_path, [[0, 0, 1]])
    assert RowReader(edition).read(plan(edition, (0, 0, 2), pixel=PIXEL)).num_rows == 2
    with pytest.raises(RuntimeError, match=r"the rows for dataset/Norder=29/Dir=0/Npix=0 lie elsewhere"):
        RowReader(edition).read(plan(edition, (0, 0, 3), pixel=PIXEL))


@pytest.mark.parametrize(
    ("lie", "what"),
    [
        ({"first_key": 0}, "another first or last row than its receipt says"),
        ({"last_key": 9}, "another first or last row than its receipt says"),
        ({"num_rows": 4}, "holds 3 rows; its receipt says 4"),
    ],
)
def test_a_receipt_that_says_otherwise_than_its_part_is_refused(tmp_path: Path, lie: dict[str, int], what: str) -> None:
    edition = make_edition(tmp_path, [[1, 2, 3]])
    receipt = dataclasses.replace(edition.manifest.receipts[0], **lie)
    with pytest.raises(RuntimeError, match=what):
        RowReader(edition).read(FilePlan(pieces=(Piece(receipt=receipt, start=0, stop=3),)))
