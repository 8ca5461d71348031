"""The command line as a user meets it: one clear line and exit code 2 for what is theirs to mend."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import skymetal
from skymetal.deploy.cli import main


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def simulated_job(path: Path) -> Path:
    file = path / "job.toml"
    file.write_text(
        '[job]\nrun_dir = "run"\n[targets]\nsurvey = "simulated"\nnum_galaxies = 20\n[images]\nsource = "simulated"\n'
    )
    return file


def test_help_names_every_verb_and_where_to_start() -> None:
    result = call("--help")
    assert result.exit_code == 0
    for verb in ("demo", "select", "ingest", "train", "score", "publish", "run", "evaluate", "report", "catalog"):
        assert f"  {verb} " in result.output
    assert "Start with `skymetal demo`" in result.output
    assert skymetal.__version__ in call("--version").output


@pytest.mark.parametrize("verb", ["select", "ingest", "train", "score", "publish", "run", "evaluate", "report"])
def test_a_missing_job_file_is_one_line_and_exit_code_2(verb: str, tmp_path: Path) -> None:
    result = call(verb, tmp_path / "none.toml")
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "none.toml does not exist" in result.output


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("ingest", "run `skymetal select` first"),
        ("train", "run `skymetal ingest` first"),
        ("score", "run `skymetal train` first"),
        ("publish", "run `skymetal score` first"),
        ("evaluate", "there is no catalogue"),
        ("report", "there is no catalogue"),
    ],
)
def test_a_step_before_its_time_says_what_to_run_first(verb: str, message: str, tmp_path: Path) -> None:
    result = call(verb, simulated_job(tmp_path))
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1


def test_select_counts_and_repeats_itself_without_harm(tmp_path: Path) -> None:
    job = simulated_job(tmp_path)
    first, second = call("select", job), call("select", job)
    assert first.output == second.output == "select: 20 rows in = 20 targets + 0 removed\n"
    other = call("select", job, "--set", "targets.num_galaxies=30")
    assert other.exit_code == 2
    assert "num_galaxies = 20, but this job has num_galaxies = 30" in other.output


def test_an_unexpected_error_is_one_line_with_exit_code_1_and_its_details_in_the_log(tmp_path: Path) -> None:
    job = simulated_job(tmp_path)
    assert call("select", job).exit_code == 0
    (tmp_path / "run" / "targets.parquet").write_bytes(b"PAR1 but not really")
    result = call("select", job)
    assert result.exit_code == 1
    assert "targets.parquet is damaged" in result.output.splitlines()[0]
    assert "logs/skymetal.log" in result.output.splitlines()[1]
    assert "Traceback" not in result.output
    assert "Traceback" in (tmp_path / "run" / "logs" / "skymetal.log").read_text()


def test_a_table_is_evaluated_by_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": [8.5, 8.7, 9.0, 9.1], "p": [8.6, 8.7, 8.9, 8.8]}), tmp_path / "t.parquet")
    result = call("evaluate", tmp_path / "t.parquet", "--truth", "t", "--prediction", "p")
    assert result.exit_code == 0
    assert "4 galaxies" in result.output
    assert "RMSE      0.1658" in result.output
    assert "outliers  25.00 %" in result.output
    wrong = call("evaluate", tmp_path / "t.parquet", "--truth", "truth", "--prediction", "p")
    assert (wrong.exit_code, "has no column 'truth'" in wrong.output) == (2, True)
    assert call("evaluate", tmp_path / "t.parquet").exit_code == 2


def test_the_published_predictions_give_the_published_numbers(real_data: Path) -> None:
    table = real_data / "published" / "wu-boada-2019-predictions.csv"
    result = call("evaluate", table, "--truth", "oh_p50", "--prediction", "prediction")
    assert "20366 galaxies" in result.output
    for number in ("RMSE      0.0850", "NMAD      0.0650", "bias     -0.0104", "outliers  3.17 %", "0.820"):
        assert number in result.output


def test_a_place_without_a_catalogue_says_so(tmp_path: Path) -> None:
    for arguments in (["info"], ["sql", "SELECT 1"], ["cone", "--ra", "1", "--dec", "1", "--radius-arcsec", "1"]):
        result = call("catalog", arguments[0], tmp_path, *arguments[1:])
        assert result.exit_code == 2
        assert "there is no catalogue" in result.output
