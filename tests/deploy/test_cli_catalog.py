from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits, votable
from click.testing import CliRunner, Result
from support.made_catalogue import NUM_ROWS, make_table, publish_table

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.deploy.cli import main
from skymetal.deploy.showing import FLAGS_START

TWO = "SELECT object_id, oh_p50, CASE WHEN dec > 0 THEN 33 ELSE 0 END AS flags FROM catalogue ORDER BY ra LIMIT 2"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    publish_table(path, make_table(1))
    return path


@pytest.fixture(scope="module")
def catalog(run_dir: Path) -> Catalog:
    return open_catalog(run_dir)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["catalog", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    return result.output


def test_info_shows_units_meanings_and_provenance(run_dir: Path) -> None:
    result = call("info", run_dir)
    assert result.exit_code == 0
    assert f"tiny: {NUM_ROWS} rows at" in result.output
    assert "oh_p50          float   dex   predicted gas-phase" in result.output
    assert "skymetal_job = a = b, é" in result.output


def test_info_for_a_program_is_a_line_a_column(run_dir: Path, catalog: Catalog) -> None:
    rows = [json.loads(line) for line in call("info", run_dir, "--format", "json").output.splitlines()]
    assert [row["column"] for row in rows] == catalog.schema.names
    assert rows[1] == {
        "column": "ra",
        "type": "double",
        "unit": "deg",
        "ucd": "pos.eq.ra;meta.main",
        "description": "ICRS right ascension",
    }


def test_a_terminal_shows_numbers_of_a_column_alike_and_nulls_as_dashes(run_dir: Path) -> None:
    query = (
        "SELECT * FROM (VALUES (1, 123.4567890123::DOUBLE, NULL::FLOAT, true), "
        "(1237648720716497094, 0.5, 8.71, false), (3, NULL, NULL, NULL)) t(object_id, flags, oh_p50, is_out_of_fold)"
    )
    assert call("sql", run_dir, query).output.splitlines() == [
        "          object_id       flags  oh_p50  is_out_of_fold",
        "                  1  123.456789       –  True",
        "1237648720716497094         0.5    8.71  False",
        "                  3           –       –  –",
    ]
    lines = call("sql", run_dir, "SELECT ra, oh_p50 FROM catalogue ORDER BY ra").output.splitlines()[1:41]
    assert all(re.fullmatch(r" *\d+\.\d{6} +\d(\.\d{1,5})?", line) for line in lines)


def test_our_flags_are_shown_by_name_and_a_users_own_are_not(run_dir: Path, catalog: Catalog, tmp_path: Path) -> None:
    assert catalog.schema.field("flags").metadata[b"description"].decode().startswith(FLAGS_START)
    galaxies = catalog.to_pandas()[["ra", "dec", "flags"]].head(1)
    galaxies.assign(flags=33).to_csv(tmp_path / "mine.csv", index=False)
    where = (run_dir, tmp_path / "mine.csv", "--radius-arcsec", 1, "--columns", "flags")
    header, row = call("crossmatch", *where).stdout.splitlines()
    assert header.split() == ["ra", "dec", "flags", "flags_skymetal", "separation_arcsec"]
    assert row.split()[2:4] == ["33", "clean"]
    query = "SELECT flags, 33 AS flags, flags > 0 AS flags FROM catalogue LIMIT 1"
    assert call("sql", run_dir, query).stdout.splitlines()[1].split() == ["clean", "33", "False"]


def test_a_url_is_refused_as_it_was_given(run_dir: Path) -> None:
    assert "https://host/run: only s3:// URLs" in refused("info", "https://host/run")
    assert "s3://bucket/x.csv is a URL" in refused("export", run_dir, "s3://bucket/x.csv")


def test_a_scaled_column_has_no_unit_that_it_does_not_have(run_dir: Path, tmp_path: Path) -> None:
    query = "SELECT ra / 15 AS ra, dec FROM catalogue"
    assert call("sql", run_dir, query, "--out", tmp_path / "x.parquet").exit_code == 0
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert not schema.field("ra").metadata
    assert schema.field("dec").metadata[b"unit"] == b"deg"


def test_a_terminal_shows_so_many_rows_and_says_how_many_more_there_are(run_dir: Path) -> None:
    lines = call("sql", run_dir, "SELECT object_id FROM catalogue").output.splitlines()
    assert len(lines) == 42
    assert lines[-1] == f"… {NUM_ROWS - 40} more rows; --format csv prints all"


@pytest.mark.parametrize("form", ["csv", "json"])
def test_text_for_a_program_loses_nothing(run_dir: Path, catalog: Catalog, form: str) -> None:
    result = call("sql", run_dir, "SELECT object_id, ra, oh_p50, flags FROM catalogue", "--format", form)
    read = pd.read_csv if form == "csv" else lambda text: pd.read_json(text, lines=True, precise_float=True)
    frame = read(io.StringIO(result.stdout))
    table = catalog.to_arrow(["object_id", "ra", "oh_p50", "flags"])
    assert frame["object_id"].tolist() == table["object_id"].to_pylist()
    assert frame["ra"].to_numpy() == pytest.approx(table["ra"].to_numpy(), rel=1e-15)
    assert (frame["oh_p50"].to_numpy().astype("float32") == table["oh_p50"].to_numpy()).all()
    assert frame["flags"].tolist() == table["flags"].to_pylist()


def test_an_answer_goes_into_a_file_with_its_units_and_its_query(run_dir: Path, tmp_path: Path) -> None:
    for name in ("x.parquet", "x.fits", "x.vot", "x.csv"):
        result = call("sql", run_dir, TWO, "--out", tmp_path / name)
        assert (result.exit_code, result.output) == (0, f"{tmp_path / name}: 2 rows\n")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.field("oh_p50").metadata[b"unit"] == b"dex"
    assert table.schema.metadata[b"skymetal_query"] == TWO.encode()
    with fits.open(tmp_path / "x.fits") as hdus:
        assert hdus[1].header["TUNIT2"] == "dex"
        assert hdus[1].data["object_id"].tolist() == table["object_id"].to_pylist()
    parsed = votable.parse(tmp_path / "x.vot", verify="exception")
    assert {info.name: info.value for info in parsed.resources[0].infos}["skymetal_query"] == TWO


def test_a_cone_is_shown_and_written_like_any_table(run_dir: Path, catalog: Catalog, tmp_path: Path) -> None:
    where = ("--ra", 0, "--dec", 0, "--radius-arcsec", 2000)
    found = catalog.cone(0, 0, 2000)
    assert found.num_rows > 5
    assert len(call("cone", run_dir, *where, "--format", "csv").stdout.splitlines()) == found.num_rows + 1
    assert call("cone", run_dir, *where, "--out", tmp_path / "near.parquet").exit_code == 0
    assert pq.read_table(tmp_path / "near.parquet").equals(found)


def test_an_export_is_the_whole_catalogue_or_the_columns_asked_for(
    run_dir: Path, catalog: Catalog, tmp_path: Path
) -> None:
    result = call("export", run_dir, tmp_path / "all.parquet")
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'all.parquet'}: {NUM_ROWS} rows\n")
    assert pq.read_table(tmp_path / "all.parquet").equals(catalog.to_arrow())
    assert call("export", run_dir, tmp_path / "some", "--format", "csv", "--columns", "oh_p50, ra").exit_code == 0
    assert (tmp_path / "some").read_text().splitlines()[0] == '"oh_p50","ra"'


def test_an_export_replaces_nothing_unasked(run_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("mine")
    assert refused("export", run_dir, out) == f"skymetal: {out} is there already; give another name, or --overwrite\n"
    assert "is there already" in refused("sql", run_dir, TWO, "--out", out)
    assert out.read_text() == "mine"
    assert call("export", run_dir, out, "--overwrite").exit_code == 0
    assert len(out.read_text().splitlines()) == NUM_ROWS + 1


def test_what_cannot_be_shown_or_written_is_refused_in_a_line(run_dir: Path, tmp_path: Path) -> None:
    inside = run_dir / "catalogue" / "x.fits"
    assert "needs --out FILE" in refused("sql", run_dir, TWO, "--format", "parquet")
    assert "is for the terminal" in refused("sql", run_dir, TWO, "--format", "table", "--out", tmp_path / "x")
    assert "does not end in" in refused("export", run_dir, tmp_path / "x.doc")
    assert "did you mean 'oh_p50'" in refused("export", run_dir, tmp_path / "x.csv", "--columns", "oh_p5")
    assert "lies in the catalogue" in refused("export", run_dir, inside)
    assert "lies in the catalogue" in refused("sql", run_dir, TWO, "--out", inside)
    assert "max_memory_bytes must be at least" in refused("sql", run_dir, TWO, "--max-memory-mib", 1)
    assert "gives more than 1 rows" in refused("sql", run_dir, TWO, "--max-rows", 1)
    assert "column 'ra' is there twice" in refused("sql", run_dir, "SELECT ra, ra FROM catalogue", "--format", "csv")
    assert "got DROP" in refused("sql", run_dir, "DROP VIEW catalogue")
    assert list(tmp_path.iterdir()) == []


def test_a_name_from_a_query_does_not_steer_the_terminal(run_dir: Path) -> None:
    output = call("sql", run_dir, "SELECT 'a\x1b[2J' AS \"x\x1b[31m\"").output
    assert "\x1b" not in output
    assert r"x\x1b[31m" in output


def test_a_box_across_ra_0_and_a_sample_are_shown(run_dir: Path, catalog: Catalog) -> None:
    result = call("box", run_dir, "--ra", 359, 1, "--dec", -1, 1, "--format", "csv")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == 1 + catalog.box((359, 1), (-1, 1)).num_rows > 100
    rows = [json.loads(line) for line in call("sample", run_dir, "--rows", 7, "--format", "json").output.splitlines()]
    assert [row["object_id"] for row in rows] == catalog.sample(7)["object_id"].to_pylist()
    assert "the lower first" in refused("box", run_dir, "--ra", 0, 1, "--dec", 1, -1)


def test_a_table_is_crossmatched_and_what_was_found_is_said(run_dir: Path, catalog: Catalog, tmp_path: Path) -> None:
    galaxies = catalog.sample(30).to_pandas()
    mine = galaxies[["ra", "dec"]].rename(columns={"ra": "RAJ2000"})
    mine.loc[len(mine)] = (123.0, 45.0)
    mine.to_csv(tmp_path / "mine.csv", index=False)
    arguments = (
        run_dir,
        tmp_path / "mine.csv",
        "--radius-arcsec",
        1,
        "--ra",
        "RAJ2000",
        "--columns",
        "object_id,oh_p50",
    )
    out = tmp_path / "matched.parquet"
    result = call("crossmatch", *arguments, "--out", out)
    assert result.exit_code == 0
    assert f"30 of 31 rows of {tmp_path / 'mine.csv'} have a galaxy within 1″" in result.output
    matched = pq.read_table(out)
    assert matched.column_names == ["RAJ2000", "dec", "object_id", "oh_p50", "separation_arcsec"]
    assert sorted(matched["object_id"].to_pylist()) == sorted(galaxies["object_id"])
    assert call("crossmatch", *arguments, "--keep-all", "--format", "csv").output.count("\n") == 1 + 1 + 31
    assert "the table has no column 'RA'" in refused("crossmatch", *arguments[:4], "--ra", "RA")
    assert "does not exist" in refused("crossmatch", run_dir, tmp_path / "none.csv", "--radius-arcsec", 1)


def test_verify_says_that_all_is_well_or_names_every_wrong_file_with_exit_code_1(tmp_path: Path) -> None:
    receipt = publish_table(tmp_path, make_table(2))
    result = call("verify", tmp_path)
    assert result.exit_code == 0
    assert f"tiny: {NUM_ROWS} rows in " in result.output
    assert "all as published" in result.output
    first, second, *_ = sorted((Path(receipt.place) / "tiny" / "dataset").rglob("part-*.parquet"))
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    second.unlink()
    result = call("verify", tmp_path)
    assert result.exit_code == 1
    for path, words in ((first, "its bytes are not those that were published"), (second, "it is missing")):
        assert f"{path.relative_to(Path(receipt.place)).as_posix()}: {words}" in result.output
    assert "findings; delete that folder and run `skymetal publish` again" in result.output
    assert "Traceback" not in result.output


def test_serve_prints_its_address_and_ends_at_ctrl_c_at_once_and_without_a_word(run_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "skymetal", "catalog", "serve", str(run_dir)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "no cutouts: this catalogue is not in a run directory\n"
        assert process.stdout.readline() == f"tiny: {NUM_ROWS} rows, for you alone until Ctrl-C, at\n"
        address = urlsplit(process.stdout.readline().strip())
        with urlopen(address.geturl(), timeout=30) as answer:
            assert b"<title>skymetal</title>" in answer.read()
        endless = "(SELECT+count(*)+FROM+catalogue+a,catalogue+b,catalogue+c+WHERE+a.ra%2Bb.ra%2Bc.ra>9)>0"
        with socket.create_connection((address.hostname, address.port)) as client:
            request = f"GET {address.path}download/csv?where={endless} HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n"
            client.sendall(request.encode())
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_serve_refuses_what_is_no_catalogue_and_a_port_that_is_none(run_dir: Path, tmp_path: Path) -> None:
    assert "there is no catalogue at" in refused("serve", tmp_path)
    assert call("serve", run_dir, "--port", "70000").exit_code == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot be had" in call("serve", run_dir, "--port", taken.getsockname()[1]).output
