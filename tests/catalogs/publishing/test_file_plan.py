from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.hats import DATASET, settle_pixels
from skymetal.catalogs.parts import Manifest, PartReceipt
from skymetal.catalogs.publishing import file_plan
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.file_plan import check_receipts, plan_files
from skymetal.catalogs.storage import LocalFolder


def make_edition(parts: list[list[int]]) -> Edition:
    """An edition of receipts alone: nothing of them is on a disk, so whoever reads a part fails."""
    receipts = tuple(
        PartReceipt(
            run_digest="run",
            index=index,
            num_rows=len(keys),
            num_quarantined=0,
            file=f"part-{index:06d}.parquet",
            num_bytes=0,
            digest="",
            first_key=keys[0] if keys else None,
            last_key=keys[-1] if keys else None,
        )
        for index, keys in enumerate(parts)
    )
    return Edition(
        parts=LocalFolder(Path("/nowhere")),
        manifest=Manifest(run_digest="run", receipts=receipts),
        schema=pa.schema({"object_id": pa.int64(), "_healpix_29": pa.int64()}),
        name="tiny",
        max_rows=10,
        margin_arcsec=0.0,
        provenance={},
    )


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_in_one_file_in_order_and_in_its_pixel(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_plan, "FILE_ROWS", 6)
    rng = np.random.default_rng(seed)
    # Crowded in one place, thin elsewhere, with repeats: pixels smaller and larger than parts.
    keys = np.sort(np.concatenate([rng.integers(0, 12 << 58, 40), (5 << 58) + rng.integers(0, 30, 30)]))
    parts = [part.tolist() for part in np.split(keys, np.sort(rng.integers(0, 71, 9)))]
    pixels = settle_pixels(lambda key: int(np.searchsorted(keys, key)), max_rows=10)
    plans = list(plan_files(make_edition(parts), pixels))
    found: list[int] = []
    for plan in plans:
        own = [key for piece in plan.pieces for key in parts[piece.receipt.index][piece.start : piece.stop]]
        assert plan.pixel is not None
        assert all(plan.pixel.start <= key < plan.pixel.stop for key in own)
        assert len(own) - len(parts[plan.pieces[-1].receipt.index]) < 6, "a full file took another piece"
        assert all(piece.start < piece.stop for piece in plan.pieces)
        assert plan.source_shards == f"{plan.pieces[0].receipt.index}-{plan.pieces[-1].receipt.index}"
        found += own
    assert found == keys.tolist()
    assert len({plan.folder for plan in plans}) == len(pixels)


def test_without_pixels_only_its_size_ends_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_plan, "FILE_ROWS", 4)
    plans = list(plan_files(make_edition([[1, 2], [], [3, 4, 5], [6], [7]]), []))
    assert [plan.source_shards for plan in plans] == ["0-2", "3-4"]
    assert {plan.folder for plan in plans} == {DATASET}


def test_wide_rows_make_files_of_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_plan, "FILE_BYTES", 3 * 16)  # two columns of eight bytes
    plans = list(plan_files(make_edition([[1, 2], [3], [4, 5]]), []))
    assert [plan.source_shards for plan in plans] == ["0-1", "2-2"]


def test_receipts_that_go_down_are_refused_by_the_name_of_the_part() -> None:
    check_receipts(make_edition([[1, 4], [], [4, 5]]))
    with pytest.raises(RuntimeError, match=r"part-000002\.parquet is out of order: _healpix_29 goes down"):
        check_receipts(make_edition([[1, 4], [], [3, 5]]))


@pytest.mark.parametrize("lie", [{"num_rows": 0}, {"num_rows": -5}, {"first_key": None}, {"last_key": None}])
def test_a_receipt_that_contradicts_itself_is_refused(lie: dict[str, int | None]) -> None:
    edition = make_edition([[1, 4], [4, 5]])
    first, second = edition.manifest.receipts
    manifest = Manifest(run_digest="run", receipts=(dataclasses.replace(first, **lie), second))
    with pytest.raises(RuntimeError, match=r"the receipt of .*part-000000\.parquet is damaged: it counts"):
        check_receipts(dataclasses.replace(edition, manifest=manifest))
