from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.parts import commit_part, write_manifest
from skymetal.catalogs.publishing import ranks
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.ranks import Ranks
from skymetal.catalogs.storage import LocalFolder


def make_edition(folder: LocalFolder, keys: list[list[int]]) -> Edition:
    for index, part in enumerate(keys):
        columns = {"object_id": pa.array(range(len(part)), pa.int64()), "_healpix_29": pa.array(part, pa.int64())}
        commit_part(folder, index, pa.table(columns), num_quarantined=0, run_digest="run")
    return Edition(
        parts=folder,
        manifest=write_manifest(folder, len(keys), run_digest="run"),
        schema=pa.schema({"object_id": pa.int64(), "_healpix_29": pa.int64()}),
        name="tiny",
        max_rows=10,
        margin_arcsec=0.0,
        provenance={},
    )


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_those_of_the_joined_parts_repeats_and_empty_parts_too(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = np.sort(rng.integers(0, 60, 50))
    cuts = np.sort(rng.integers(0, 51, 8))
    rank = Ranks(make_edition(LocalFolder(tmp_path), [part.tolist() for part in np.split(keys, cuts)]))
    for key in range(-1, 62):
        assert rank(key) == int(np.searchsorted(keys, key))


def test_parts_before_and_after_a_place_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edition = make_edition(LocalFolder(tmp_path), [[0, 5], [6, 9], [20, 30]])
    read: list[int] = []
    original = ranks.read_keys

    def count(folder: LocalFolder, receipt: object, column: str) -> object:
        read.append(receipt.index)  # type: ignore[attr-defined]
        return original(folder, receipt, column)  # type: ignore[arg-type]

    monkeypatch.setattr(ranks, "read_keys", count)
    rank = Ranks(edition)
    assert [rank(key) for key in (0, 6, 15, 20, 31)] == [0, 2, 4, 4, 6]
    assert read == []
    assert rank(25) == 5
    assert read == [2]
