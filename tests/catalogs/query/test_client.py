from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.made_catalogue import NUM_ROWS, make_table, publish_table

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import file_digest

SLEEP = "SELECT sleep_ms(60000)"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    path = tmp_path_factory.mktemp("run")
    publish_table(path, make_table(1))
    return open_catalog(path)


def tree(*folders: Path) -> dict[str, tuple[str, int]]:
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    return {str(path): (file_digest(path) if path.is_file() else "folder", path.lstat().st_mtime_ns) for path in paths}


def outcome(catalog: Catalog, query: str, *, max_seconds: float = 10.0) -> str:
    """What a query comes to, in one line; anything but an answer and an InputError fails."""
    try:
        return f"{catalog.sql(query, max_seconds=max_seconds).num_rows} rows"
    except InputError as error:
        text = str(error)
    assert "\n" not in text
    assert len(text) < 1000
    return text


OUTSIDE = {
    "SELECT * FROM read_csv('{file}')": "Permission Error",
    "SELECT * FROM read_json('{file}')": "Permission Error",
    "SELECT * FROM read_parquet('{part}')": "Permission Error",
    "SELECT * FROM read_text('/etc/hostname')": "Permission Error",
    "SELECT * FROM read_blob('/proc/self/environ')": "Permission Error",
    "SELECT * FROM glob('/etc/*')": "Permission Error",
    "SELECT * FROM '{file}'": "Permission Error",
    "SELECT * FROM sniff_csv('{file}')": "Permission Error",
    "SELECT * FROM 'https://example.org/x.csv'": "the query failed",
    "SELECT getenv('HOME')": "Function with name getenv does not exist",
    "FROM duckdb_secrets()": "Permission Error",
    "SELECT * FROM the_callers_table": "the_callers_table does not exist",
    "SELECT * FROM query('COPY catalogue TO ''{out}''')": "the query failed: Parser Error",
    "SELECT * FROM enable_logging(storage_path='{out}')": "configuration has been locked",
    "SELECT * FROM enable_profiling(save_location='{out}')": "configuration has been locked",
}
STATEMENTS = {
    "COPY catalogue TO '{out}'": "got COPY",
    "COPY catalogue TO '{inside}'": "got COPY",
    "EXPLAIN ANALYZE COPY catalogue TO '{out}'": "got EXPLAIN",
    "EXPORT DATABASE '{out}'": "got EXPORT",
    "IMPORT DATABASE '{out}'": "got PRAGMA",
    "ATTACH '{out}'": "got ATTACH",
    "INSTALL httpfs": "got LOAD",
    "LOAD httpfs": "got LOAD",
    "SET enable_external_access = true": "got SET",
    "RESET enable_external_access": "got SET",
    "PRAGMA enable_external_access = true": "got SET",
    "SET lock_configuration = false": "got SET",
    "SET memory_limit = '100GB'": "got SET",
    "SET temp_directory = '{out}'": "got SET",
    "PRAGMA threads = 64": "got SET",
    "PRAGMA database_list": "got PRAGMA",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')": "got CREATE",
    "CREATE OR REPLACE VIEW catalogue AS SELECT 1": "got CREATE",
    "DROP VIEW catalogue": "got DROP",
    "INSERT INTO catalogue FROM catalogue": "got INSERT",
    "UPDATE catalogue SET oh_p50 = 9": "got UPDATE",
    "DELETE FROM catalogue": "got DELETE",
    "PREPARE p AS SELECT 1": "got PREPARE",
    "EXECUTE p": "got EXECUTE",
    "PIVOT catalogue ON flags": r"got a PIVOT that takes its columns from the rows: name them, PIVOT … ON x IN \(…\)",
    "SELECT 1; SELECT 2": "got SELECT, SELECT",
    "SELECT 1; COPY catalogue TO '{out}'": "got SELECT, COPY",
    "SELECT 1;SELECT 1;SELECT 1;SELECT 1;SELECT 1;SELECT 1": "got SELECT, SELECT, SELECT, SELECT, SELECT, …",
    "": "got nothing",
    " ;; -- nothing": "got nothing",
}
MALFORMED = {
    "SELEC 1": "the query failed: Parser Error: syntax error",
    "SELECT no_such FROM catalogue": 'column "no_such" not found.* Candidate bindings: "',
    "SELECT * FROM catalog": 'name catalog does not exist! Did you mean "catalogue"',
    "SELECT * FROM catalogue WHERE object_id = ?": "the query failed: .*parameter",
    "SELECT 'abc'::INT": "the query failed: Conversion Error",
    "SELECT CASE WHEN range < 900000 THEN '1' ELSE 'abc' END::INT FROM range(1000000)": "Conversion Error",
    "SELECT 1\0; DROP VIEW catalogue": "NUL character at place 8",
    "SELECT '\ud800'": "is not text",
    "SELECT * FROM pandas_scan(1::POINTER)": "the query failed",
}
TOO_MUCH = "does not fit into 1 GiB of memory|took longer than"
HUGE = {
    "SELECT * FROM range(1000000) a, range(1000000) b ORDER BY a.range * b.range": TOO_MUCH,
    "WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT t.a FROM t, range(1000)) SELECT count(*) FROM t": TOO_MUCH,
    "SELECT * FROM range(100000000)": "more than 10000000 rows; aggregate, add LIMIT, .*catalog export",
    "SELECT repeat('x', 1000) FROM range(100000000)": "more than 512 MiB; aggregate|took longer than",
    "SELECT string_agg(range::VARCHAR) FROM range(100000000)": TOO_MUCH,
    "SELECT length(repeat('x', 2000000000))": TOO_MUCH,
    f"SELECT count(*) FROM catalogue WHERE object_id IN ({', '.join(['1000000000000000007'] * 10**6)})": TOO_MUCH,
    f"SELECT {'(' * 20000}1{')' * 20000}": "expression depth|" + TOO_MUCH,
    f"SELECT '{'x' * 10_000_000}'": "1 rows|" + TOO_MUCH,
    "x" * 10_000_000: "Parser Error: syntax error|" + TOO_MUCH,
    "SELECT 1;" * 1_000_000: TOO_MUCH,
}
ENDLESS = {
    "SELECT count(*) FROM range(1000000) a, range(1000000) b": "took longer than 3 s; ask for less",
    "WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t": "took longer than 3 s",
    # Its rows stream: what has come by the end of its time must not pass for the answer.
    "WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT a + 1 FROM t) SELECT * FROM t": "took longer than 3 s",
    SLEEP: "took longer than 3 s",
}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("hostile", "max_seconds"),
    [(OUTSIDE, 10), (STATEMENTS, 10), (MALFORMED, 10), (ENDLESS, 3)],
    ids=["outside", "statements", "malformed", "endless"],
)
def test_a_hostile_query_gets_one_line_writes_nothing_and_spoils_nothing(
    catalog: Catalog, tmp_path: Path, hostile: dict[str, str], max_seconds: float
) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    places = {
        "file": tmp_path / "secret.csv",
        "out": tmp_path / "out",
        "inside": catalog.path / "out.parquet",
        "part": next(catalog.path.rglob("part-*.parquet")),
    }
    before = tree(tmp_path, catalog.path)
    the_callers_table = pa.table({"a": [1]})

    def run(query: str) -> str:
        for name, path in places.items():
            query = query.replace(f"{{{name}}}", str(path))
        return outcome(catalog, query, max_seconds=max_seconds)

    with ThreadPoolExecutor(2) as pool:
        got = dict(zip(hostile, pool.map(run, hostile), strict=True))
    assert_all(got, hostile)
    assert outcome(catalog, "FROM catalogue") == f"{NUM_ROWS} rows"
    assert tree(tmp_path, catalog.path) == before
    assert the_callers_table.num_rows == 1


def assert_all(got: dict[str, str], patterns: dict[str, str]) -> None:
    wrong = {
        query[:100]: got[query] for query, pattern in patterns.items() if not re.search(pattern, got[query], re.DOTALL)
    }
    assert wrong == {}


ASK = """
import json, resource, sys
from skymetal.catalogs.catalog import open_catalog
catalog, got = open_catalog(sys.argv[1]), {}
for query in json.load(sys.stdin):
    try:
        got[query] = f"{catalog.sql(query, max_seconds=10).num_rows} rows"
    except ValueError as error:
        got[query] = str(error)
kilobytes = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
json.dump([got, kilobytes], sys.stdout)
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_huge_query_stays_within_its_memory_and_so_do_we(catalog: Catalog) -> None:
    result = subprocess.run(
        [sys.executable, "-c", ASK, str(catalog.path)], input=json.dumps(list(HUGE)), capture_output=True, text=True
    )
    assert result.stderr == ""
    got, (query_kilobytes, our_kilobytes) = json.loads(result.stdout)
    assert_all(got, HUGE)
    assert query_kilobytes < 1 << 20
    assert our_kilobytes < 1 << 20
    assert outcome(catalog, "FROM catalogue") == f"{NUM_ROWS} rows"


def test_a_result_over_its_limit_is_refused_and_one_at_it_is_not(catalog: Catalog) -> None:
    assert catalog.sql("FROM catalogue", max_rows=NUM_ROWS).num_rows == NUM_ROWS
    with pytest.raises(InputError, match=f"gives more than {NUM_ROWS - 1} rows; aggregate"):
        catalog.sql("FROM catalogue", max_rows=NUM_ROWS - 1)


@contextmanager
def sleeping_query(catalog: Catalog) -> Iterator[tuple[psutil.Process, list[str]]]:
    """A query's process at its work, and what comes of it."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(outcome(catalog, SLEEP, max_seconds=60)))
    thread.start()
    child = wait_for_child(psutil.Process())
    try:
        yield child, said
    finally:
        child.kill()
        thread.join(timeout=30)


def wait_for_child(parent: psutil.Process) -> psutil.Process:
    for _ in range(3000):
        for child in parent.children():
            with suppress(psutil.NoSuchProcess):
                if "skymetal.catalogs.query" in child.cmdline() and child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0):
                    return child
        time.sleep(0.01)
    raise AssertionError("no query was started")


def test_the_process_of_a_query_has_no_environment_and_may_neither_write_nor_grow(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    with sleeping_query(catalog) as (child, said):
        assert "SECRET_TOKEN" not in child.environ()
        assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_DATA)[1] < 1 << 30
        assert os.getpgid(child.pid) == child.pid
        assert not [path for path in child.open_files() if path.mode != "r"]
        assert not [library for library in child.memory_maps() if "/pandas/" in library.path]
    assert "does not fit" in said[0]
    assert "signal 9" in said[0]


PARENT = """
import sys
from skymetal.catalogs.catalog import open_catalog
try:
    open_catalog(sys.argv[1]).sql(sys.argv[2])
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(("number", "text"), [(signal.SIGINT, "interrupted\n"), (signal.SIGKILL, "")])
def test_a_query_ends_with_ctrl_c_and_with_the_process_that_asked(
    catalog: Catalog, number: signal.Signals, text: str
) -> None:
    asker = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(catalog.path), SLEEP], stdout=subprocess.PIPE, text=True
    )
    child = wait_for_child(psutil.Process(asker.pid))
    asker.send_signal(number)
    assert asker.communicate(timeout=30)[0] == text
    _, alive = psutil.wait_procs([child], timeout=20)
    assert alive == []


def test_half_floats_are_read_as_floats(tmp_path: Path) -> None:
    table = make_table(3)
    values_NK = np.random.default_rng(4).normal(size=(NUM_ROWS, 8)).astype(np.float16)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values_NK.ravel()), 8)
    publish_table(tmp_path, table.append_column(pa.field("embedding", vectors.type, nullable=False), vectors))
    answer = open_catalog(tmp_path).sql(
        "SELECT b.object_id FROM catalogue a, catalogue b WHERE a.object_id = 1000000000000000007 "
        "ORDER BY list_cosine_similarity(a.embedding, b.embedding) DESC LIMIT 1"
    )
    assert answer.to_pylist() == [{"object_id": 1000000000000000007}]


def test_only_the_columns_and_row_groups_that_a_query_needs_are_read(tmp_path: Path) -> None:
    publish_table(tmp_path, make_table(5))
    catalog = open_catalog(tmp_path)
    file = max(catalog.path.rglob("part-*.parquet"), key=lambda path: path.stat().st_size)
    first, last = pq.read_table(file, columns=["_healpix_29"])["_healpix_29"].to_numpy()[[0, -1]]
    place = pq.read_metadata(file).row_group(0).column(catalog.schema.get_field_index("ra"))
    data = bytearray(file.read_bytes())
    data[place.data_page_offset + place.total_compressed_size // 2] ^= 1
    file.write_bytes(data)
    assert catalog.sql("SELECT count(dec) FROM catalogue").num_rows == 1
    elsewhere = f"SELECT count(ra) FROM catalogue WHERE _healpix_29 < {first} OR _healpix_29 > {last}"
    assert catalog.sql(elsewhere).num_rows == 1
    with pytest.raises(RuntimeError, match=r"is damaged: IOError: .*CRC.*; delete that folder"):
        catalog.sql("SELECT count(ra) FROM catalogue")
