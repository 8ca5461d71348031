from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.made_catalogue import NUM_ROWS, make_table, publish_table
from support.odd_table import odd_rows

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.export import FORMATS, SUFFIXES, export_rows
from skymetal.catalogs.export.rows import Rows, rows_of_catalog


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    path = tmp_path_factory.mktemp("run")
    publish_table(path, make_table(1))
    return open_catalog(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_suffix_says_the_format_and_the_same_catalogue_gives_the_same_bytes(
    catalog: Catalog, tmp_path: Path, suffix: str
) -> None:
    for name in ("one", "two"):
        export_rows(rows_of_catalog(catalog), tmp_path / f"{name}{suffix.upper()}")
    one, two = ((tmp_path / f"{name}{suffix.upper()}").read_bytes() for name in ("one", "two"))
    assert one == two
    start = {"fits": b"SIMPLE  =", "votable": b"<?xml", "csv": b'"object_id"', "parquet": b"PAR1", "json": b'{"object'}
    assert one.startswith(start[SUFFIXES[suffix]])
    assert len(list(tmp_path.iterdir())) == 2


def test_columns_come_in_the_order_asked_for(catalog: Catalog, tmp_path: Path) -> None:
    export_rows(rows_of_catalog(catalog, ["oh_p50", "object_id"]), tmp_path / "x", form="parquet")
    assert pq.read_table(tmp_path / "x").equals(catalog.to_arrow(["oh_p50", "object_id"]))


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (["oh_p5"], "no column 'oh_p5'; did you mean 'oh_p50'"),
        ([], "no column is asked for"),
        (["ra", "ra"], "column 'ra' is asked for twice; name it once"),
    ],
)
def test_columns_that_cannot_be_are_refused(catalog: Catalog, tmp_path: Path, columns: list[str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        export_rows(rows_of_catalog(catalog, columns), tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_unless_told_otherwise(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(InputError, match=r"x\.csv is there already; give another name, or --overwrite"):
        export_rows(rows_of_catalog(catalog), tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "mine"
    export_rows(rows_of_catalog(catalog), tmp_path / "x.csv", overwrite=True)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == NUM_ROWS + 1


@pytest.mark.parametrize(
    ("name", "form", "text"),
    [
        ("x.txt", None, r"x\.txt does not end in \.fits, .*; name it so, or give --format"),
        ("x", None, "does not end in"),
        ("x.fits", "fit", "there is no format 'fit'; did you mean 'fits'"),
        (".", "fits", "is a folder; name a file"),
        ("/proc/x.csv", None, "/proc/x.csv cannot be written: .*; give another place"),
        ("/dev/null", "csv", "/dev/null is a link, or no regular file; give another name"),
        (f"{'x' * 250}.csv", None, "cannot be written: File name too long; give another place"),
    ],
)
def test_a_format_or_place_that_cannot_be_is_refused(tmp_path: Path, name: str, form: str | None, text: str) -> None:
    with pytest.raises(InputError, match=text):
        export_rows(odd_rows(), tmp_path / name, form=form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_whole_or_absent(catalog: Catalog, tmp_path: Path, form: str) -> None:
    def broken(columns: Sequence[str]) -> Iterator[pa.Table]:
        yield from list(catalog.iter_tables(columns))[:2]
        raise RuntimeError("the disk is gone")

    rows = Rows(name="x", schema=catalog.schema, num_rows=NUM_ROWS, properties={}, tables=broken)
    (tmp_path / "old").write_text("mine")
    for name in ("new", "old"):
        with pytest.raises(RuntimeError, match="the disk is gone"):
            export_rows(rows, tmp_path / name, form=form, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "mine"


GROW = """
import resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from skymetal.catalogs.export.export import FORMATS, export_rows
from skymetal.catalogs.export.rows import Rows

def table(seed):
    rng = np.random.default_rng(seed)
    return pa.table({f"c{i}": rng.normal(size=40_000) for i in range(6)} | {"text": ["x" * 10] * 40_000})

def peak(num_tables):
    rows = Rows(name="x", schema=table(0).schema, num_rows=40_000 * num_tables, properties={},
                tables=lambda columns: (table(seed).select(list(columns)) for seed in range(num_tables)))
    for form in FORMATS:
        export_rows(rows, Path(sys.argv[1]) / "x", form=form, overwrite=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

few = peak(3)
print(peak(40) - few)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Thirty-seven tables more are 90 MB of numbers, and none of them stays."""
    result = subprocess.run([sys.executable, "-c", GROW, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 30


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_regular_file_stays(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link.csv").symlink_to("mine")
    (tmp_path / "dangling.csv").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("link.csv", "dangling.csv", "pipe.csv"):
        with pytest.raises(InputError, match="is a link, or no regular file; give another name"):
            export_rows(odd_rows(), tmp_path / name, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling.csv", "link.csv", "mine", "pipe.csv"]
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "dangling.csv").readlink() == Path("nowhere")
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_file_made_meanwhile_stays(tmp_path: Path) -> None:
    def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
        (tmp_path / "x.csv").write_text("mine")
        yield pa.table({"a": [1]})

    rows = Rows(name="x", schema=pa.schema({"a": pa.int64()}), num_rows=1, properties={}, tables=tables)
    with pytest.raises(InputError, match="is there already"):
        export_rows(rows, tmp_path / "x.csv")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_no_file_is_written_in_any_catalogue_or_among_its_versions(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(catalog.path)
    run = catalog.path.parents[1]
    places = [run / "catalogue", catalog.path, catalog.path / "new", catalog.path.parent, tmp_path / "alias"]
    for folder in places:
        with pytest.raises(InputError, match=r"lies in the catalogue at .*, which never changes; write it elsewhere"):
            export_rows(odd_rows(), folder / "x.csv")
    assert list(run.rglob("x.csv")) == []
    export_rows(odd_rows(), run / "x.csv")
    (run / "x.csv").unlink()


def test_a_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"s3://bucket/x\.csv is a URL"):
        export_rows(odd_rows(), "s3://bucket/x.csv")
