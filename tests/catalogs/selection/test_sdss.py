from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection import sdss
from skymetal.catalogs.selection.cuts import WU_BOADA_2019
from skymetal.catalogs.selection.sdss import casjobs_sql, fetch_sample
from skymetal.catalogs.selection.select import TargetSettings, select_all
from skymetal.catalogs.storage import LocalFolder, file_digest
from skymetal.catalogs.web.http import FetchLimits

SPEC = ["GalSpecInfo", "GalSpecLine", "GalSpecIndx", "GalSpecExtra"]


def make_database(num: int, seed: int) -> duckdb.DuckDBPyConnection:
    """A small SDSS: every column that the query names, its values on both sides of every condition."""
    rng = np.random.default_rng(seed)
    tables: dict[str, dict[str, Any]] = {"SpecObj": {}, "Galaxy": {}, **{name: {} for name in SPEC}}
    short = dict(re.findall(r"(\w+) AS (S|G|GSI|GSL|GSX|GSE)\b", casjobs_sql()))
    names = {alias: table for table, alias in short.items()}
    for alias, column in re.findall(r"\b(S|G|GSI|GSL|GSX|GSE)\.(\w+)", casjobs_sql()):
        tables[names[alias]][column] = rng.normal(9, 0.5, num)
    galaxy, spectrum = tables["Galaxy"], tables["SpecObj"]
    galaxy["objID"] = spectrum["bestObjID"] = 1237648702973411443 + rng.permutation(num)
    for name in ["SpecObj", *SPEC]:
        tables[name]["specObjID"] = np.arange(num, dtype=np.uint64) + np.uint64(2**63)
    galaxy |= {"ra": rng.uniform(0, 360, num), "dec": rng.uniform(-90, 90, num)}
    galaxy["petroMag_r"] = rng.uniform(15, 18.4, num)
    for band, low in zip("ugriz", (17.0, 16.0, 15.5, 15.2, 15.0), strict=True):
        galaxy[f"modelMag_{band}"] = np.where(rng.random(num) < 0.06, -9999.0, rng.uniform(low, low + 2.5, num))
    for first, u, r in ((0, 12.0, 9.5), (1, 26.0, 24.0)):  # the right colour, but too bright or too faint
        galaxy["modelMag_u"][first::30], galaxy["modelMag_r"][first::30] = u, r
    spectrum |= {"z": rng.uniform(0.01, 0.2, num), "rChi2": rng.uniform(0.8, 2.2, num)}
    spectrum["zErr"] = rng.uniform(-0.001, 0.011, num)
    tables["GalSpecExtra"]["oh_p50"] = np.where(rng.random(num) < 0.2, -9999.0, rng.normal(8.9, 0.2, num))
    connection = duckdb.connect()
    for table, columns in tables.items():
        connection.register(table, pa.table(columns))
    return connection


def as_csv(connection: duckdb.DuckDBPyConnection, sql: str) -> bytes:
    names = [name for name, *_ in connection.execute(sql).description]
    rows = connection.execute(sql).fetchall()
    return "\n".join([",".join(names), *(",".join(map(repr, row)) for row in rows), ""]).encode()


def test_the_query_keeps_the_rows_that_the_cuts_keep(folder: LocalFolder) -> None:
    connection = make_database(4000, 0)
    query = casjobs_sql().replace("INTO mydb.skymetal_targets\n", "")
    assert query.count("WHERE") == 1
    folder.write("all.csv", as_csv(connection, query[: query.index("WHERE")]))
    folder.write("chosen.csv", as_csv(connection, query))
    lists = {}
    for name in ("all", "chosen"):
        settings = TargetSettings(survey="sdss", tables=(str(folder.path / f"{name}.csv"),), cuts="wu-boada-2019")
        lists[name] = select_all(settings, seed=0, folder=folder, name=f"{name}.parquet")
    assert lists["all"].selection["rows_in"] == 4000
    assert 100 < lists["all"].num_rows < 2000
    assert all(cut["num_removed"] for cut in lists["all"].selection["removed"][1:-1])
    assert lists["chosen"].selection["rows_in"] == lists["chosen"].num_rows
    rows = [targets.read(0, targets.num_rows) for targets in lists.values()]
    assert rows[0].equals(rows[1])
    assert rows[0]["specObjID"].type == pa.uint64()
    assert rows[0]["specObjID"].to_numpy().min() >= 2**63


def test_the_query_is_ready_for_casjobs_and_with_a_limit_for_skyserver() -> None:
    assert casjobs_sql().startswith("SELECT\n  G.objID AS object_id,")
    assert "INTO mydb." in casjobs_sql()
    assert casjobs_sql(7).startswith("SELECT TOP 7\n")
    assert "INTO" not in casjobs_sql(7)
    assert casjobs_sql(7).count(" AS ") == casjobs_sql().count(" AS ")
    for cut in WU_BOADA_2019:
        for column in cut.columns:
            assert re.search(rf" AS {column},?\n", casjobs_sql())


class SkyServer(BaseHTTPRequestHandler):
    """Answers as SkyServer does; the server's ``answer`` says with what."""

    def do_GET(self) -> None:
        status, kind, body = self.server.answer  # type: ignore[attr-defined]
        self.server.asked.append(parse_qs(urlsplit(self.path).query))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if self.server.says_length:  # type: ignore[attr-defined]
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(
    status: int, kind: str, body: bytes, *, says_length: bool = True
) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SkyServer)
    server.answer, server.asked, server.says_length = (status, kind, body), [], says_length  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/sql", server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def sample() -> bytes:
    return as_csv(make_database(300, 1), casjobs_sql().replace("INTO mydb.skymetal_targets\n", ""))


def test_a_sample_is_fetched_once_and_selected_from(folder: LocalFolder, sample: bytes) -> None:
    with serve(200, "text/csv", b"#Table1\n" + sample) as (url, asked):
        settings = TargetSettings(survey="sdss", skyserver_rows=40, skyserver_url=url, cuts="wu-boada-2019")
        targets = select_all(settings, seed=0, folder=folder, name="targets.parquet")
        assert asked == [{"cmd": [casjobs_sql(40)], "format": ["csv"]}]
        assert targets.num_rows == targets.selection["rows_in"] == sample.count(b"\n") - 1
        assert targets.has_sky
        assert targets.selection["sample_digest"] == file_digest(folder.path / "skyserver.csv")
        folder.remove("targets.parquet")
        again = select_all(settings, seed=0, folder=folder, name="targets.parquet")
        assert again.digest == targets.digest
        assert len(asked) == 1
    folder.remove("skyserver.csv")
    assert select_all(settings, seed=0, folder=folder, name="targets.parquet").digest == targets.digest
    other = dataclasses.replace(settings, skyserver_rows=41)
    with pytest.raises(InputError, match="was selected with skyserver_rows = 40"):
        select_all(other, seed=0, folder=folder, name="targets.parquet")


def test_a_sample_that_may_be_cut_short_is_not_kept(folder: LocalFolder, sample: bytes) -> None:
    cut = sample[: len(sample) // 2]
    with (
        serve(200, "text/csv", cut[: cut.rindex(b",") + 3], says_length=False) as (url, _),
        pytest.raises(
            InputError, match=r"gave no sample: the answer does not say how long it is.*run the same command"
        ),
    ):
        fetch_sample(folder, num_rows=300, url=url)
    assert list(folder.path.iterdir()) == []


def test_a_sample_of_another_size_is_not_taken_for_this_one(folder: LocalFolder, sample: bytes) -> None:
    with serve(200, "text/csv", sample) as (url, asked):
        path = fetch_sample(folder, num_rows=40, url=url)
        assert path.read_bytes() == sample
        with pytest.raises(InputError, match=r"began `skyserver` with .*skyserver_rows = 41"):
            fetch_sample(folder, num_rows=41, url=url)
        with pytest.raises(InputError, match=r"began `skyserver` with skyserver_url = .* has skyserver_url = .*/dr9"):
            fetch_sample(folder, num_rows=40, url=url + "/dr9")
        assert len(asked) == 1


HTML = b"""<!doctype html><html><head><title>Error</title><style>p {color: red}</style></head><body>
<h2>SQL returned the following error message:</h2><p>Your query &lt;timed out&gt;\x1b[31m</p></body></html>"""


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/html", HTML, r"SQL returned the following error message: Your query <timed out>\\x1b\[31m"),
        (
            "application/json",
            json.dumps({"ErrorCode": 400, "ErrorMessage": "Invalid object name 'G'."}).encode(),
            "Invalid object name 'G'.",
        ),
        ("application/json", b'[{"Rows": []}]', r"\[\{\"Rows\": \[\]\}\]"),
        ("text/csv", b"", "nothing"),
        ("text/csv", b"#Table1\n", "#Table1"),
        ("text/html", b"<p>" + b"no " * 100_000, "no no no"),
    ],
)
def test_what_skyserver_says_instead_of_a_table_is_repeated(
    folder: LocalFolder, kind: str, body: bytes, words: str
) -> None:
    with (
        serve(200, kind, body) as (url, _),
        pytest.raises(InputError, match=f"answered with no table but: {words}") as caught,
    ):
        fetch_sample(folder, num_rows=5, url=url)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 450
    assert not folder.path.joinpath("skyserver.csv").exists()
    assert not folder.exists("inputs")


def test_a_table_that_lacks_a_column_is_refused(folder: LocalFolder, sample: bytes) -> None:
    other = sample.replace(b"petroMag_r", b"magnitude")
    with serve(200, "text/csv", other) as (url, _), pytest.raises(InputError, match="has no column petroMag_r"):
        fetch_sample(folder, num_rows=5, url=url)


@pytest.mark.parametrize("status", [500, 404])
def test_a_service_that_fails_is_named_and_nothing_is_kept(
    folder: LocalFolder, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdss, "_LIMITS", FetchLimits(attempts=2, backoff_s=0.01, deadline_s=5.0))
    with serve(status, "text/html", HTML) as (url, asked):
        words = r"and says: SQL returned the following error message: Your query <timed out>\\x1b\[31m; run the same"
        with pytest.raises(InputError, match=f"SkyServer at {url} gave no sample: HTTP {status}: .*, {words}"):
            fetch_sample(folder, num_rows=5, url=url)
        assert len(asked) == (2 if status == 500 else 1)
    assert list(folder.path.iterdir()) == []


def test_an_empty_sample_is_refused(folder: LocalFolder, sample: bytes) -> None:
    with serve(200, "text/csv", sample[: sample.index(b"\n") + 1]) as (url, _):
        settings = TargetSettings(survey="sdss", skyserver_rows=5, skyserver_url=url, cuts="wu-boada-2019")
        with pytest.raises(InputError, match="the survey table has no rows"):
            select_all(settings, seed=0, folder=folder, name="targets.parquet")
