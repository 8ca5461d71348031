"""evaluate on tables: what it prints and writes, and what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from skymetal.deploy.cli import main

COLUMNS = ("--truth", "truth", "--prediction", "ours")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    truth = random.normal(8.9, 0.2, 100)
    columns = {"objID": np.arange(100) + 10, "truth": truth, "name": ["x"] * 100}
    columns |= {"ours": truth + random.normal(0, 0.08, 100), "theirs": truth + random.normal(0, 0.15, 100)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_figures_and_numbers_go_where_they_are_asked_for(table: Path, tmp_path: Path) -> None:
    result = call(table, *COLUMNS, "--against", "theirs", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "theirs: RMSE 0.1" in result.output
    assert "this prediction is better than it" in result.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "evaluation.csv",
        "evaluation.json",
        "evaluation.png",
        "evaluation_binned.png",
        "evaluation_panels.png",
    ]
    (numbers,) = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert numbers["num_galaxies"] == numbers["rivals"][0]["num_galaxies"] == 100
    assert numbers["rivals"][0]["difference"]["rmse_interval"][1] < 0


def test_another_table_is_compared_galaxy_by_galaxy(table: Path, tmp_path: Path) -> None:
    other = pq.read_table(table).slice(0, 40).select(["objID", "theirs"]).rename_columns(["object_id", "ours"])
    pq.write_table(other.sort_by([("object_id", "descending")]), tmp_path / "other.parquet")
    result = call(table, *COLUMNS, "--against", tmp_path / "other.parquet")
    assert result.exit_code == 0, result.output
    assert "other.parquet: RMSE 0.1" in result.output
    assert "(40 galaxies)" in result.output


def test_the_paper_stands_beside_a_table(table: Path) -> None:
    result = call(table, *COLUMNS, "--against", "paper")
    assert "beside Wu & Boada (2019)" in result.output
    assert "single network                          0.0851" in result.output
    assert "above 9.1:" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--truth", "truth", "--prediction", "our"], "has no column 'our'; did you mean 'ours'?"),
        (["--truth", "truth", "--prediction", "name"], "column 'name' is of type string, not a number"),
        (["--truth", "truth"], "needs --truth COLUMN and --prediction COLUMN"),
        ([*COLUMNS, "--against", "their"], "--against their is no file, and table"),
        ([*COLUMNS, "--against", "name"], "column 'name' is of type string, not a number"),
        ([*COLUMNS, "--against", "few.csv"], "no three galaxies with a truth and both predictions in common"),
        ([*COLUMNS, "--against", "nameless.csv"], "has no column 'object_id'"),
        ([*COLUMNS, "--against", "twice.csv"], "an object_id stands in more than one row"),
        ([*COLUMNS, "--against", "float.csv"], "column 'objID' holds no whole numbers"),
        ([*COLUMNS, "--out", "t.parquet"], "cannot be a folder"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    table: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(table.parent)
    Path("few.csv").write_text("objID,ours\n10,8.5\n11,8.6\n999,8.7\n")
    Path("nameless.csv").write_text("id,ours\n10,8.5\n")
    Path("twice.csv").write_text("objID,ours\n10,8.5\n10,8.6\n12,8.7\n")
    Path("float.csv").write_text("objID,ours\n10.5,8.5\n11.0,8.6\n12.0,8.7\n")
    result = call("t.parquet", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1


def test_a_table_that_is_not_there_or_too_short_is_one_line(table: Path) -> None:
    missing = call(table.with_name("none.csv"), *COLUMNS)
    assert (missing.exit_code, "none.csv does not exist" in missing.output) == (2, True)
    pq.write_table(pq.read_table(table).slice(0, 2), table)
    short = call(table, *COLUMNS)
    assert (short.exit_code, "only 2 galaxies have both values" in short.output) == (2, True)


def test_the_options_of_a_table_are_refused_for_a_job(tmp_path: Path) -> None:
    result = call(tmp_path / "job.toml", "--out", tmp_path)
    assert (result.exit_code, "--truth, --prediction and --out are for tables" in result.output) == (2, True)
