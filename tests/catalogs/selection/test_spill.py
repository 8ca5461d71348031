from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymetal.catalogs.selection.spill import SpillWriter, merge_spills, read_notes, run_bytes

KEYS = ("sky", "id")


def make_rows(num: int, seed: int, *, num_places: int = 1 << 62) -> pa.Table:
    rng = np.random.default_rng(seed)
    names = pa.array([f"galaxy {n}" if n % 7 else None for n in range(num)], pa.string())
    sky_N = rng.integers(-(num_places // 2), num_places // 2 + 1, num)
    return pa.table(
        {"sky": sky_N, "id": rng.permutation(num) + seed * num, "name": names, "Name": rng.normal(size=num)}
    )


def write(path: Path, table: pa.Table, run_bytes: int) -> Path:
    with open(path, "xb") as file, SpillWriter(file, table.schema, KEYS, run_bytes=run_bytes) as spill:
        for start in range(0, table.num_rows, 777):
            spill.add(table.slice(start, 777))
        spill.finish({"rows": str(table.num_rows)})
    return path


@pytest.mark.parametrize("num_places", [1 << 62, 50, 1])
def test_merged_spills_are_the_sorted_whole(tmp_path: Path, num_places: int) -> None:
    tables = [make_rows(num, seed, num_places=num_places) for seed, num in enumerate([5000, 0, 1, 9000])]
    paths = [write(tmp_path / f"{n}.parquet", table, 60_000) for n, table in enumerate(tables)]
    assert pq.ParquetFile(paths[3]).num_row_groups > 3
    pieces = list(merge_spills(paths, tables[0].schema, KEYS, range_bytes=40_000))
    assert len(pieces) > 5
    assert max(len(piece) for piece in pieces) < 3000
    whole = pa.concat_tables(tables).sort_by([(key, "ascending") for key in KEYS])
    assert pa.concat_tables(pieces).equals(whole)
    assert pa.concat_tables(merge_spills(paths, tables[0].schema, KEYS, range_bytes=1 << 30)).equals(whole)


def test_rows_of_equal_keys_come_in_one_piece_and_in_the_order_of_the_spills(tmp_path: Path) -> None:
    table = pa.table({"sky": np.repeat([3, 1, 2], 400), "id": np.zeros(1200, np.int64), "n": np.arange(1200)})
    paths = [write(tmp_path / "0.parquet", table, 3000), write(tmp_path / "1.parquet", table, 3000)]
    pieces = [piece for piece in merge_spills(paths, table.schema, KEYS, range_bytes=2000) if len(piece)]
    assert [sorted(set(piece["sky"].to_pylist())) for piece in pieces] == [[1], [2], [3]]
    assert pieces[0]["n"].to_pylist() == [*range(400, 800)] * 2


def test_notes_stay_with_the_spill(tmp_path: Path) -> None:
    path = write(tmp_path / "s.parquet", make_rows(10, 0), 1000)
    assert read_notes(path)["rows"] == "10"


def test_a_flipped_bit_in_a_spill_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "s.parquet", make_rows(3000, 0), 1 << 20)
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(4, int(0.8 * len(whole)), 20):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises((OSError, pa.ArrowException)):
            list(merge_spills([path], make_rows(1, 0).schema, KEYS, range_bytes=1 << 20))


def test_runs_grow_as_the_root_of_the_whole_between_their_bounds() -> None:
    assert run_bytes(0) == 16 << 20
    assert run_bytes(1 << 33) == 2 * run_bytes(1 << 31) == 64 << 20
    assert run_bytes(1 << 50) == 128 << 20
