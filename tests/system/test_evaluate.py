"""evaluate on a finished run: beside the paper, beside another run, with the r band and grey images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import runs

from skymetal.deploy.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_run_is_set_beside_the_paper(job: Path) -> None:
    before = (job.parent / "run" / "evaluation.json").read_bytes()
    result = runs.run("evaluate", job, "--against", "paper")
    assert result.returncode == 0, result.stderr
    assert "single network" in result.stdout
    assert "RMSE by size of image: here 32 px" in result.stdout
    assert (job.parent / "run" / "evaluation.json").read_bytes() == before
    numbers = {item["name"]: item for item in json.loads(before)}
    assert {rival["name"] for rival in numbers["out_of_fold"]["rivals"]} >= {"forest_v16", "forest_default", "mass"}
    assert {item["by"] for item in numbers["new_simulated"]["coverage"]} >= {"all", "redshift", "petroR90_r"}
    with open(job.parent / "run" / "evaluation.csv", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) > 100


def test_the_r_band_and_grey_images_are_rivals_where_the_job_asks_for_them(undisturbed: Path, job: Path) -> None:
    settings = ["--set", f"evaluate.r_band_run={undisturbed}", "--set", "evaluate.grey_control=true"]
    result = runs.run("evaluate", job, *settings)
    assert result.returncode == 0, result.stderr
    out_of_fold = json.loads((job.parent / "run" / "evaluation.json").read_bytes())[0]
    rivals = {rival["name"]: rival for rival in out_of_fold["rivals"]}
    assert rivals["r_band"]["difference"]["rmse"] == 0  # the run stands in for one on the r band: it is itself
    assert rivals["grey"]["num_galaxies"] == out_of_fold["num_galaxies"]
    assert rivals["grey"]["rmse"] != out_of_fold["rmse"]
    assert out_of_fold["information"]["combined_rmse"] < rivals["r_band"]["rmse"]
    assert (job.parent / "run" / "figures" / "out_of_fold_panels.png").is_file()


def test_two_runs_are_compared_on_the_galaxies_of_both(undisturbed: Path, job: Path) -> None:
    for other in (undisturbed, undisturbed.parent / "job.toml"):
        result = runs.run("evaluate", job, "--against", other)
        assert result.returncode == 0, result.stderr
        assert "galaxies that both predict" in result.stdout
        assert "not told from that: RMSE +0.0000 [+0.0000, +0.0000]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "nowhere"], "nowhere does not exist; give 'paper', a job file or a run directory"),
        (["--against", "."], "there is no catalogue at"),
        (["--set", "evaluate.r_band_run=nowhere"], "there is no catalogue at"),
    ],
)
def test_a_run_that_is_not_there_is_one_line(job: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["evaluate", str(job), *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.splitlines()) == 1
