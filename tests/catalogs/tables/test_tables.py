from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, Table
from support.made_catalogue import make_table, publish_table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.tables import find_tables, open_table, read_table

pytestmark = pytest.mark.timeout(50)

IDS = [1237648702973411443, 2**63 - 1, 3, 1237648702994383943]
ROWS = pa.table(
    {
        "objID": pa.array(IDS, pa.int64()),
        "oh": [8.25, None, 8.5, -1e-30],
        "n": pa.array([1, 2, None, -9999], pa.int32()),
        "name": ["M 31", None, "a,b", "é"],
        "is_good": [True, False, True, False],
    }
)
KINDS = (".csv", ".csv.gz", ".parquet", ".fits", ".fit", ".fits.gz", ".vot", ".xml", ".votable")


def to_astropy(table: pa.Table, *, text: str) -> Table:
    columns = {}
    for name in table.column_names:
        mask = table[name].is_null().to_numpy()
        values = table[name].fill_null({"oh": np.nan, "n": -1}.get(name, text) if any(mask) else None).to_pylist()
        columns[name] = MaskedColumn(np.array(values), mask=mask if name == "n" else None, fill_value=-1)
    columns["n"] = MaskedColumn(columns["n"].astype(np.int32), mask=columns["n"].mask, fill_value=-1)
    return Table(columns)


def write(path: Path, table: pa.Table) -> None:
    if ".csv" in path.name:
        text = io.BytesIO()
        arrow_csv.write_csv(table, text)
        path.write_bytes(gzip.compress(text.getvalue()) if path.suffix == ".gz" else text.getvalue())
    elif path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix in (".vot", ".xml", ".votable"):
        from_table(to_astropy(table, text="")).to_xml(str(path))
    else:
        ascii_only = table.set_column(3, "name", [["M 31", None, "a,b", "e"]])
        to_astropy(ascii_only, text="").write(path, format="fits")


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_gives_the_same_table(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"t{suffix}", ROWS)
    table = read_table(tmp_path / f"t{suffix}")
    expected = ROWS.to_pydict()
    if ".fit" in suffix:
        expected["name"][3] = "e"
    assert table.to_pydict() == expected
    assert table.schema.field("objID").type == pa.int64()
    assert table.schema.field("is_good").type == pa.bool_()


@pytest.mark.parametrize("suffix", KINDS)
def test_what_is_known_before_reading_is_what_is_read(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"t{suffix}", ROWS)
    survey = open_table(tmp_path / f"t{suffix}")
    assert {batch.schema for batch in survey.batches()} == {survey.schema}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits", ".vot"])
def test_a_table_without_rows_has_its_columns(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"t{suffix}", ROWS.filter(pa.array([True] * 4)).slice(0, 4))
    if suffix == ".vot":
        text = (tmp_path / "t.vot").read_text()
        (tmp_path / "t.vot").write_text(text[: text.index("<TR>")] + text[text.rindex("</TR>") + 5 :])
    elif suffix == ".fits":
        Table.read(tmp_path / "t.fits")[:0].write(tmp_path / "t.fits", overwrite=True)
    else:
        write(tmp_path / f"t{suffix}", ROWS.slice(0, 0))
    table = read_table(tmp_path / f"t{suffix}")
    assert (table.num_rows, table.column_names) == (0, ROWS.column_names)


def test_nan_and_empty_text_are_null_in_parquet_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, float("nan"), float("inf")], "s": ["", "a", " "]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_pydict() == {"x": [1.0, None, float("inf")], "s": [None, "a", " "]}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_batches_are_neither_crumbs_nor_lumps(tmp_path: Path, suffix: str) -> None:
    table = pa.table({"objID": np.arange(200_000), "x": np.arange(200_000) / 8})
    if suffix == ".csv":
        arrow_csv.write_csv(table, tmp_path / "t.csv")
    else:
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=100)
    sizes = [batch.num_rows for batch in open_table(tmp_path / f"t{suffix}").batches()]
    assert sum(sizes) == 200_000
    assert max(sizes) <= 65_536
    assert len(sizes) <= 5
    assert read_table(tmp_path / f"t{suffix}").equals(table)


def make_bad(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.fits", "t.fits.gz", "t.vot"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\0" * 10_000, b"\x1f\x8b", b"<html><body>503</body></html>", gzip.compress(b""), b"PAR1PAR1"],
    ids=["empty", "NUL", "zeros", "gzip magic", "HTML", "empty gzip", "parquet magic"],
)
def test_a_table_that_is_not_what_its_name_says_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = make_bad(tmp_path / name, content)
    with pytest.raises(InputError, match="cannot be read: ") as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".fits", ".fits.gz", ".vot"])
def test_a_truncated_table_is_refused_wherever_it_ends(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"t{suffix}", ROWS)
    whole = (tmp_path / f"t{suffix}").read_bytes()
    if suffix == ".fits":
        whole = whole.rstrip(b"\0")  # less padding is no damage
    for length in np.linspace(1, len(whole) - 2, 20).astype(int):
        path = make_bad(tmp_path / f"cut{suffix}", whole[:length])
        with pytest.raises(InputError, match="cannot be read"):
            read_table(path)


def test_damaged_bytes_never_give_a_traceback(tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    for suffix in (".csv", ".csv.gz", ".parquet", ".fits", ".fits.gz", ".vot"):
        write(tmp_path / f"t{suffix}", ROWS)
        whole = np.fromfile(tmp_path / f"t{suffix}", np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[random.integers(len(whole), size=3)] ^= random.integers(1, 256, 3).astype(np.uint8)
            try:
                read_table(make_bad(tmp_path / f"damaged{suffix}", damaged.tobytes()))
            except InputError as error:
                assert "\n" not in str(error)  # noqa: PT017 - many of the damaged files still read


def names(paths: Iterable[Path], folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


def test_files_patterns_and_folders_are_expanded_sorted_and_without_repeats(tmp_path: Path) -> None:
    for name in ("b.csv", "a.fits", "deep/er/c.parquet", "deep/d.CSV"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("loop", "loop2"):
        (tmp_path / "deep" / name).symlink_to(tmp_path)  # two loops: following them would never end
    (tmp_path / "again.csv").symlink_to(tmp_path / "b.csv")

    def find(*given: str) -> list[str]:
        return names(find_tables([str(tmp_path / name) for name in given]), tmp_path)

    assert find("b.csv", "a.fits", "b.csv") == ["a.fits", "b.csv"]
    assert find("*.csv") == ["again.csv"]
    assert find("?.csv", "again.csv") == ["b.csv"]
    assert find("**/*.parquet") == ["deep/er/c.parquet"]
    assert find("deep/er", "deep/d.CSV") == ["deep/d.CSV", "deep/er/c.parquet"]
    assert find("*.csv", "*/*/*.parquet", "*/*.CSV", "a*")[:2] == ["a.fits", "again.csv"]
    assert len(find("**")) == len(find("*")) == len(find("")) == 4


def test_a_pattern_passes_over_hidden_files_and_a_folder_does_not(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    (tmp_path / ".notes.txt").touch()
    assert names(find_tables([str(tmp_path / "*")]), tmp_path) == ["t.csv"]
    with pytest.raises(InputError, match=r"\.notes\.txt is of no known kind"):
        find_tables([str(tmp_path)])


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "t[1].csv").touch()
    assert names(find_tables([str(tmp_path / "t[1].csv")]), tmp_path) == ["t[1].csv"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "none.csv does not exist"),
        ("*.nothing", "no table matches the pattern .*nothing"),
        ("", "names no table"),
        ("a\0b.csv", "names no table"),
        ("empty", "empty holds no table"),
        ("dangling.csv", "dangling.csv is not a regular file"),
        ("pipe.csv", "pipe.csv is not a regular file"),
        ("pipes", "pipe2.csv is not a regular file"),
        ("notes.txt", "notes.txt is of no known kind"),
        ("mixed", "README is of no known kind"),
        ("mixed/*", "README is of no known kind"),
        ("x" * 5000, "x does not exist"),
    ],
)
def test_a_name_that_stands_for_no_table_is_refused(tmp_path: Path, name: str, message: str) -> None:
    for folder in ("empty", "mixed", "pipes"):
        (tmp_path / folder).mkdir()
    for file in ("notes.txt", "mixed/README", "mixed/t.csv"):
        (tmp_path / file).touch()
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "gone.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "pipes" / "pipe2.csv")
    with pytest.raises(InputError, match=message):
        find_tables([str(tmp_path / name) if name and "\0" not in name else name])


def test_a_missing_table_a_folder_and_a_pipe_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.fits")
    for path, message in [
        (tmp_path / "none.csv", "does not exist"),
        (tmp_path, "is not a file"),
        (tmp_path / "pipe.fits", "is not a file"),
    ]:
        with pytest.raises(InputError, match=message):
            open_table(path)


def make_hats(folder: Path, *, properties: str = "hats.properties") -> list[str]:
    pixel = folder / "dataset" / "Norder=0" / "Dir=0"
    (pixel / "Npix=7").mkdir(parents=True)
    pq.write_table(ROWS, pixel / "Npix=4.parquet")
    pq.write_table(ROWS, pixel / "Npix=7" / "part0.parquet")
    pq.write_table(ROWS, folder / "dataset" / "data_thumbnail.parquet")
    for name in (properties, "partition_info.csv", "README.md", "dataset/_metadata", "dataset/_common_metadata"):
        (folder / name).write_text("x=1\n")
    (pixel / ".Npix=4.parquet.swp").touch()
    (pixel / "README.txt").touch()
    return [f"{folder.name}/dataset/Norder=0/Dir=0/{name}" for name in ("Npix=4.parquet", "Npix=7/part0.parquet")]


@pytest.mark.parametrize("properties", ["hats.properties", "properties"])
def test_a_hats_catalogue_is_its_data_files(tmp_path: Path, properties: str) -> None:
    expected = make_hats(tmp_path / "gals", properties=properties)
    for name in ("gals", "*", "**", ""):
        assert names(find_tables([str(tmp_path / name)]), tmp_path) == expected


def test_a_hats_collection_is_its_primary_table_and_never_its_margins(tmp_path: Path) -> None:
    collection = tmp_path / "all"
    expected = [f"all/{name}" for name in make_hats(collection / "gals")]
    make_hats(collection / "gals_margin")
    (collection / "collection.properties").write_text("hats_primary_table_url=gals\nall_margins=gals_margin\n")
    for name in ("all", "*", "**", ""):
        assert names(find_tables([str(tmp_path / name)]), tmp_path) == expected
    for broken in (".", "", "elsewhere"):
        (collection / "collection.properties").write_text(f"hats_primary_table_url={broken}\n")
        with pytest.raises(InputError, match="names no primary table that is there"):
            find_tables([str(collection)])


def test_a_published_catalogue_is_read_as_a_survey_table(tmp_path: Path) -> None:
    table = make_table(1).slice(0, 300)
    receipt = publish_table(tmp_path, table)
    tables = [read_table(path) for path in find_tables([receipt.place])]
    assert sorted(pa.concat_tables(tables)["object_id"].to_pylist()) == sorted(table["object_id"].to_pylist())


def test_a_hats_catalogue_without_data_is_refused(tmp_path: Path) -> None:
    for name in make_hats(tmp_path / "gals"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="gals holds no Parquet file"):
        find_tables([str(tmp_path / "gals")])


def test_the_real_sweeps_and_tractor_tables_are_read_and_the_false_ones_refused(real_data: Path) -> None:
    folder = real_data / "legacy-tables"
    tables = [read_table(path) for path in find_tables([str(folder / "*.fits")])]
    assert len(tables) == 6
    together = pa.concat_tables(tables)
    assert set(together["TYPE"].to_pylist()) <= {"PSF", "REX", "EXP", "DEV", "COMP", "SER"}
    assert all(len(name) == 8 for name in together["BRICKNAME"].to_pylist())
    assert "DCHISQ" not in together.column_names  # a vector
    for name in ("not_a_sweep_file.txt", "not_a_tractor_file.txt"):
        with pytest.raises(InputError, match=f"{name} is of no known kind"):
            find_tables([str(folder / name)])
    with pytest.raises(InputError, match=r"not_a_\w+_file.txt is of no known kind"):
        find_tables([str(folder)])


PEAK = """
import sys
from pathlib import Path
from skymetal.catalogs.tables import open_table

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024

small, large = (open_table(Path(name)) for name in sys.argv[1:])
num_rows = sum(batch.num_rows for batch in small.batches())
before = peak()
num_rows = sum(batch.num_rows for batch in open_table(large.path).batches())
print(num_rows, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(
    ("suffix", "num_rows"), [(".csv", 750_000), (".parquet", 1_500_000), (".fits", 1_500_000), (".fits.gz", 1_500_000)]
)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str, num_rows: int) -> None:
    random = np.random.default_rng(3)
    columns = {"objID": random.integers(2**60, 2**61, num_rows), "name": np.array(["GALAXY"] * num_rows)}
    columns |= {f"x{k}": random.normal(size=num_rows) for k in range(4)}
    for name, stop in (("small", 1000), ("large", num_rows)):
        path = tmp_path / f"{name}{suffix}"
        part = {key: values[:stop] for key, values in columns.items()}
        if suffix == ".csv":
            arrow_csv.write_csv(pa.table(part), path)
        elif suffix == ".parquet":
            pq.write_table(pa.table(part), path, row_group_size=stop, use_dictionary=False)
        else:
            plain = tmp_path / f"{name}.plain"
            Table(part).write(plain, format="fits")
            path.write_bytes(gzip.compress(plain.read_bytes(), 1) if suffix == ".fits.gz" else plain.read_bytes())
    command = [sys.executable, "-c", PEAK, *(str(tmp_path / f"{name}{suffix}") for name in ("small", "large"))]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=45).stdout
    num_read, grown_mib = map(int, output.split())
    assert num_read == num_rows
    assert grown_mib < 56  # of 70 MB, in the file and as Arrow
