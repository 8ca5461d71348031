"""Publishing as it goes wrong: killed at every step, raced by another, read all the while."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from support import publish_drill
from support.made_catalogue import make_table, publish_table

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.contents import is_whole
from skymetal.catalogs.storage import LocalFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
OLD_ROWS, NEW_ROWS = 150, 60
"""max_rows of the two versions: they hold the same galaxies in other partitions."""


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@contextmanager
def publishers(run_dir: Path) -> Iterator[Drill]:
    process = subprocess.Popen(
        [sys.executable, publish_drill.__file__, str(run_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Drill(process)
    finally:
        process.communicate(timeout=60)
    assert process.returncode == 0


class Drill:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *pairs: tuple[int, int]) -> list[int]:
        """Let publishers run at once, each a (kill at, max_rows); return their exit codes."""
        assert self._process.stdin
        assert self._process.stdout
        print(*(number for pair in pairs for number in pair), file=self._process.stdin, flush=True)
        return [int(word) for word in self._process.stdout.readline().split()]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, dict[str, bytes]]]:
    """A run with the old version published, and the bytes of both."""
    run_dir = tmp_path_factory.mktemp("run")
    publish_table(run_dir, make_table(1).slice(900, 140), rows_a_part=70)
    shutil.rmtree(run_dir / "versions")
    (run_dir / "catalogue").unlink()
    versions = {}
    with publishers(run_dir) as drill:
        for max_rows in (NEW_ROWS, OLD_ROWS):
            assert drill((0, max_rows)) == [0]
            versions[max_rows] = contents(run_dir / "catalogue")
    shutil.rmtree(next(path for path in (run_dir / "versions").iterdir() if contents(path) == versions[NEW_ROWS]))
    return run_dir, versions


def test_a_publisher_killed_at_any_step_leaves_the_old_catalogue_or_the_new_one(
    both: tuple[Path, dict[int, dict[str, bytes]]], tmp_path: Path
) -> None:
    before, versions = both
    run_dir = tmp_path / "run"
    seen, kill_at, code = [], 0, -9
    with publishers(run_dir) as drill:
        while code == -9:
            kill_at += 1
            shutil.rmtree(run_dir, ignore_errors=True)
            shutil.copytree(before, run_dir, symlinks=True)
            [code] = drill((kill_at, NEW_ROWS))
            seen.append(contents(run_dir / "catalogue"))
            if kill_at % 10 == 0:  # whoever comes after is not held up by what lies about
                assert drill((0, NEW_ROWS)) == [0]
                assert contents(run_dir / "catalogue") == versions[NEW_ROWS]
                assert len(list((run_dir / "versions").iterdir())) == 2
    assert code == 0
    is_new = [bytes_ == versions[NEW_ROWS] for bytes_ in seen]
    assert all(new or bytes_ == versions[OLD_ROWS] for new, bytes_ in zip(is_new, seen, strict=True))
    assert is_new == sorted(is_new), "the new catalogue was there and went away"
    assert kill_at > 40, "hardly a step was counted"


def test_of_two_publishers_that_race_each_wins_or_is_refused_and_the_catalogue_is_whole(
    both: tuple[Path, dict[int, dict[str, bytes]]], tmp_path: Path
) -> None:
    before, versions = both
    run_dir = tmp_path / "run"
    num_refused = 0
    with publishers(run_dir) as drill:
        for _ in range(50):
            shutil.rmtree(run_dir, ignore_errors=True)
            shutil.copytree(before, run_dir, symlinks=True)
            codes = drill((0, OLD_ROWS), (0, NEW_ROWS))
            assert set(codes) <= {0, 3}
            assert 0 in codes
            num_refused += codes.count(3)
            winners = [versions[rows] for code, rows in zip(codes, (OLD_ROWS, NEW_ROWS), strict=True) if code == 0]
            assert contents(run_dir / "catalogue") in winners
            assert all(is_whole(LocalFolder(path)) for path in (run_dir / "versions").iterdir())
    assert num_refused > 10, "they hardly met"


def read_by_duckdb(run_dir: Path) -> set[float]:
    values = duckdb.sql(f"SELECT DISTINCT oh_p50 FROM '{run_dir}/catalogue/tiny/dataset/**/*.parquet'").fetchall()
    return {value for (value,) in values}


def read_by_pyarrow(run_dir: Path) -> set[float]:
    table = ds.dataset(run_dir / "catalogue" / "tiny" / "dataset", partitioning="hive").to_table(columns=["oh_p50"])
    return set(table["oh_p50"].to_pylist())


def read_by_skymetal(run_dir: Path) -> set[float]:
    return set(open_catalog(run_dir).to_arrow(["oh_p50"])["oh_p50"].to_pylist())


def read_by_lsdb(run_dir: Path) -> set[float]:
    lsdb = pytest.importorskip("lsdb")
    # LSDB reads when it computes: it is given the version itself, which never changes.
    catalog = lsdb.open_catalog(str(open_catalog(run_dir).path), columns=["oh_p50"])
    return set(catalog.compute()["oh_p50"])


# nested_pandas 0.7.2 under pandas 3.1.
@pytest.mark.filterwarnings("ignore:The inplace keyword in NestedFrame:pandas.errors.Pandas4Warning")
@pytest.mark.parametrize("read", [read_by_duckdb, read_by_pyarrow, read_by_skymetal, read_by_lsdb])
def test_a_reader_during_six_publications_never_sees_a_mixture(read: object, tmp_path: Path) -> None:
    assert callable(read)
    for number in range(6):
        publish_marked(tmp_path / str(number), number)
    run_dir = tmp_path / "run"
    shutil.copytree(tmp_path / "0", run_dir, symlinks=True)
    seen, num_errors = [read(run_dir)], 0
    publisher = subprocess.Popen([sys.executable, "-c", REPUBLISH, str(tmp_path)])
    while publisher.poll() is None:
        try:
            seen.append(read(run_dir))
        except (OSError, duckdb.IOException):  # files of a version that is no longer there by that name
            num_errors += 1
    assert publisher.returncode == 0
    seen.append(read(run_dir))
    assert all(len(values) == 1 for values in seen), "two versions in one answer"
    assert len(set.union(*seen)) > 1, "the reader saw no publication"
    assert num_errors < len(seen)


def publish_marked(run_dir: Path, number: int) -> None:
    table = make_table(1).slice(0, 700)
    at = table.column_names.index("oh_p50")
    marked = table.set_column(at, table.schema.field(at), pa.array(np.full(700, number, np.float32)))
    publish_table(run_dir, marked, rows_a_part=100)


# Versions are brought into the run's folder as a publisher would: whole, then the link.
REPUBLISH = """
import shutil, sys, time
from pathlib import Path
from skymetal.catalogs.storage import LocalFolder
root = Path(sys.argv[1])
for turn in range(30):
    source = (root / str(turn % 6) / "catalogue").resolve()
    if not (root / "run" / "versions" / source.name).exists():
        shutil.copytree(source, root / "run" / "versions" / source.name)
    LocalFolder(root / "run").point("catalogue", f"versions/{source.name}")
    time.sleep(0.15)
"""
