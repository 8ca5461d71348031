"""The server by real HTTP, asked well and asked badly."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits, votable
from PIL import Image
from support.made_catalogue import NUM_ROWS
from support.served_run import QUARANTINED, make_run, pixels_of, running

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.deploy.serving.found import MAX_ROWS_SHOWN
from skymetal.deploy.serving.server import CatalogServer

CONE = {"ra": 359.9, "dec": 0.2, "radius_arcsec": 3000}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(address: str, *, method: str = "GET", data: bytes | None = None, **headers: str) -> Answer:
    request = Request(address, method=method, data=data, headers=headers)
    try:
        with urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def catalog(run_dir: Path) -> Catalog:
    return open_catalog(run_dir)


@pytest.fixture(scope="module")
def server(catalog: Catalog) -> Iterator[CatalogServer]:
    with running(catalog) as opened:
        yield opened


def rows(server: CatalogServer, **words: object) -> Any:
    answer = ask(f"{server.url}rows?{urlencode(words)}")
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.body)


def raw(server: CatalogServer, request: bytes) -> bytes:
    """Return all that comes back for some bytes."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_it_is_bound_to_this_machine_alone_and_its_address_cannot_be_guessed(server: CatalogServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", server.url)


def test_the_page_comes_with_a_policy_and_is_not_kept(server: CatalogServer) -> None:
    answer = ask(server.url)
    assert answer.status == ask(f"{server.url}?ra=1").status == 200
    assert answer.text.startswith("<!DOCTYPE html>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["", "rows", "rows?ra=x", "cutout/1.png", "nothing"])
def test_every_answer_forbids_what_a_page_of_another_site_could_do_with_it(server: CatalogServer, path: str) -> None:
    for answer in (ask(f"{server.url}{path}"), ask(f"{server.url}{path}", method="POST", data=b"x")):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Server"] == "skymetal"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_rows_are_found_by_place_by_filter_by_both_and_at_random(server: CatalogServer, catalog: Catalog) -> None:
    near = catalog.cone(**CONE)  # type: ignore[arg-type]
    found = rows(server, **CONE)
    assert found["num_found"] == near.num_rows
    assert {row[0] for row in found["rows"]} <= {str(each) for each in near["object_id"].to_pylist()}
    assert found["columns"][3] == "separation"
    clean = rows(server, where="flags = 0")
    assert (clean["num_found"], len(clean["rows"])) == (2 * NUM_ROWS // 3, MAX_ROWS_SHOWN)
    assert {row[-1] for row in clean["rows"]} == {"clean"}
    both = rows(server, **CONE, where="flags <> 0")
    assert 0 < both["num_found"] < near.num_rows
    assert {row[-1] for row in both["rows"]} == {"SATURATED, SCORE_OOD"}
    assert rows(server)["num_found"] == len(rows(server)["rows"]) == 24


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({**CONE, "ra": "abc"}, "ra must be a number, got 'abc'"),
        ({**CONE, "dec": "nan"}, "dec must be a number, got 'nan'"),
        ({"where": "oh_p5 < 8"}, 'Referenced column "oh_p5" not found'),
        ({"where": "1=1) UNION SELECT * FROM catalogue --"}, "the filter is one condition"),
        ({"where": "1=1; DROP TABLE catalogue"}, "syntax error"),
        ({"where": "object_id IN (SELECT 1 FROM read_csv('/etc/passwd'))"}, "Permission Error"),
        ({"where": "\x1b[31m <"}, "the query failed"),
        ({"where": "é" * 4001}, "the filter has 4001 characters"),
        ({"sort": "oh_p50 DESC"}, "there is no order by"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line_of_plain_text(
    server: CatalogServer, words: dict[str, object], says: str
) -> None:
    answer = ask(f"{server.url}rows?{urlencode(words)}")
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert says in answer.text
    assert answer.text.isprintable()


def test_what_cannot_be_answered_cannot_be_saved(server: CatalogServer) -> None:
    answer = ask(f"{server.url}download/csv?{urlencode({'where': '1=1; DROP TABLE catalogue'})}")
    assert (answer.status, "syntax error" in answer.text) == (400, True)
    assert answer.headers["Content-Disposition"] is None


def test_a_cutout_is_the_galaxy_s_own(server: CatalogServer, catalog: Catalog) -> None:
    for object_id in catalog.sample(5)["object_id"].to_pylist():
        answer = ask(f"{server.url}cutout/{object_id}.png")
        assert answer.headers["Content-Type"] == "image/png"
        assert (np.asarray(Image.open(io.BytesIO(answer.body))) == pixels_of(object_id)).all()


@pytest.mark.parametrize(
    "name",
    [
        f"cutout/{QUARANTINED}.png",
        "cutout/0.png",
        f"cutout/{2**64}.png",
        f"cutout/{'9' * 19}.png",
        f"cutout/{'9' * 5000}.png",
        "cutout/../../targets.parquet",
        "cutout/..%2f..%2ftargets.parquet",
        "cutout/%2e%2e/%2e%2e/etc/passwd",
        "cutout/../page.html",
        "cutout/1.png/",
        "cutout/1.png%00",
        "cutout/²¹.png".encode().decode("latin-1"),
        "cutout/-.png",
        "cutout/",
        "cutout",
        "rows/",
        "page.html",
        "../",
        "download/",
        "download/CSV",
        "favicon.ico",
    ],
)
def test_what_is_not_there_is_not_found(server: CatalogServer, name: str) -> None:
    request = f"GET {server.url}{name} HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
    request = request.replace(f"http://127.0.0.1:{server.server_port}", "")
    assert raw(server, request.encode("latin-1")).startswith(b"HTTP/1.0 404 ")


@pytest.mark.parametrize("token", ["", "/", "/x/", "/x/rows", "//", "/é/", "/%00/rows", "/../"])
def test_without_the_token_nothing_is_told(server: CatalogServer, token: str) -> None:
    host = f"127.0.0.1:{server.server_port}".encode()
    answer = raw(server, b"GET /" + token.encode()[1:] + b" HTTP/1.0\r\nHost: " + host + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 403 ")
    assert server.token.encode() not in answer
    assert b"tiny" not in answer


def test_a_token_that_is_nearly_right_is_wrong(server: CatalogServer) -> None:
    for token in (server.token[:-1], server.token + "x", server.token.swapcase(), server.token.replace("/", "")[::-1]):
        assert ask(f"http://127.0.0.1:{server.server_port}/{token}/rows").status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{}", "[::1]:{}", ""]
)
def test_another_name_than_its_own_is_refused(server: CatalogServer, host: str) -> None:
    answer = ask(server.url, Host=host.format(server.server_port))
    assert answer.status == 403
    assert "tunnel" in answer.text


def test_no_name_and_two_names_are_refused(server: CatalogServer) -> None:
    path = server.url.partition(str(server.server_port))[2].encode()
    host = f"Host: 127.0.0.1:{server.server_port}\r\n".encode()
    assert raw(server, b"GET " + path + b" HTTP/1.0\r\n" + host + b"\r\n").startswith(b"HTTP/1.0 200 ")
    assert raw(server, b"GET " + path + b" HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 403 ")
    twice = b"GET " + path + b" HTTP/1.0\r\n" + host + b"Host: evil\r\n\r\n"
    assert raw(server, twice).startswith(b"HTTP/1.0 403 ")


def test_localhost_is_its_name_too(server: CatalogServer) -> None:
    assert ask(server.url, Host=f"localhost:{server.server_port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "_refuse"])
def test_nothing_but_get_is_understood(server: CatalogServer, method: str) -> None:
    assert ask(f"{server.url}rows", method=method, data=b"where=true").status == 501


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET http://evil.example/ HTTP/1.0\r\nHost: evil.example\r\n\r\n",
    ],
    ids=["nothing", "TLS", "no path", "version", "huge address", "many headers", "proxy"],
)
def test_bytes_that_are_no_request_do_no_harm(server: CatalogServer, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:  # the rest of what was sent is not read
            answer = b""
    assert b" 200 " not in answer[:20]
    assert ask(server.url).status == 200


def test_many_may_ask_at_once(server: CatalogServer, catalog: Catalog) -> None:
    ids = catalog.sample(60)["object_id"].to_pylist()
    addresses = [f"{server.url}cutout/{each}.png" for each in ids] + [f"{server.url}rows?{urlencode(CONE)}"] * 20
    addresses += [f"{server.url}rows?where=true"] * 4
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, addresses))
    assert {answer.status for answer in answers} == {200}
    for object_id, answer in zip(ids, answers, strict=False):
        assert (np.asarray(Image.open(io.BytesIO(answer.body))) == pixels_of(object_id)).all()


def test_who_goes_away_in_the_middle_is_not_missed(server: CatalogServer, capfd: pytest.CaptureFixture[str]) -> None:
    path = server.url.partition(str(server.server_port))[2]
    for what in ("download/csv?where=true", "rows", ""):
        request = f"GET {path}{what} HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(request)
    assert rows(server)["num_found"] == 24
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("words", [CONE, {**CONE, "where": "true"}], ids=["cone", "cone and filter"])
def test_what_is_saved_is_what_the_catalogue_finds(
    server: CatalogServer, catalog: Catalog, words: dict[str, object]
) -> None:
    expected = catalog.cone(**CONE).to_pandas()  # type: ignore[arg-type]

    def saved(form: str) -> io.BytesIO:
        answer = ask(f"{server.url}download/{form}?{urlencode(words)}")
        assert answer.status == 200, answer.text
        assert answer.headers["Content-Type"] == "application/octet-stream"
        suffix = {"votable": "vot"}.get(form, form)
        assert answer.headers["Content-Disposition"] == f'attachment; filename="tiny.{suffix}"'
        return io.BytesIO(answer.body)

    pd.testing.assert_frame_equal(pd.read_parquet(saved("parquet")), expected)
    exact = pd.read_csv(saved("csv")).astype(expected.dtypes)
    pd.testing.assert_frame_equal(exact, expected)
    with fits.open(saved("fits")) as opened:
        records = opened[1].data
        for name in expected:
            assert (np.asarray(records[name]) == expected[name].to_numpy()).all()
        assert "deg" in [opened[1].header.get(f"TUNIT{column}") for column in range(1, 5)]
    table = votable.parse_single_table(saved("votable")).to_table()
    for name in expected:
        assert (np.asarray(table[name]) == expected[name].to_numpy()).all()


def test_a_file_tells_what_was_asked_for(server: CatalogServer) -> None:
    words = {**CONE, "where": "oh_p50 > 8.5 -- é\nAND true"}
    for form in ("fits", "votable", "parquet", "csv", "json"):
        answer = ask(f"{server.url}download/{form}?{urlencode(words)}")
        assert answer.status == 200, answer.text
        if form in ("votable", "parquet"):
            assert b"radius_arcsec = 3000.0, oh_p50 &gt; 8.5" in answer.body.replace(b">", b"&gt;")


def test_an_unknown_format_is_refused_with_those_there_are(server: CatalogServer) -> None:
    answer = ask(f"{server.url}download/excel")
    assert answer.status == 400
    assert "there is no format 'excel'" in answer.text


def test_a_catalogue_without_positions_or_cutouts_is_served_as_well(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", has_sky=False)
    shutil.rmtree(run_dir / "store.zarr")
    catalog = open_catalog(run_dir)
    with running(catalog) as server:
        assert "there is no cutout store at" in server.why_none
        assert rows(server)["columns"] == ["object_id", "oh_p50", "interval", "ood_score", "flags"]
        answer = ask(f"{server.url}rows?{urlencode(CONE)}")
        assert (answer.status, "no sky positions" in answer.text) == (400, True)
        assert ask(f"{server.url}cutout/{catalog.sample(1)['object_id'][0]}.png").status == 404


def test_damage_is_told_as_damage(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run")
    catalog = open_catalog(run_dir)
    with running(catalog) as server:
        object_id = catalog.sample(1)["object_id"][0].as_py()
        for path in (run_dir / "store.zarr" / "images" / "c").rglob("0"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-20])
        answer = ask(f"{server.url}cutout/{object_id}.png")
        assert answer.status == 500
        assert "`skymetal store repair` makes it again" in answer.text
        for path in catalog.path.rglob("part-*.parquet"):
            path.unlink()
        answer = ask(f"{server.url}rows?{urlencode(CONE)}")
        assert (answer.status, "is damaged" in answer.text) == (500, True)


def test_a_port_that_is_taken_is_refused_in_words(server: CatalogServer, catalog: Catalog) -> None:
    with pytest.raises(InputError, match=r"cannot be had \(Address already in use\); name another, or none"):
        CatalogServer(catalog, port=server.server_port)
