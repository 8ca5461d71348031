"""From a survey to a catalogue by the command line, with two real worker processes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support import runs

import skymetal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_every_row_is_accounted_for_at_every_step(undisturbed: Path) -> None:
    output = (undisturbed.parent / "stdout").read_text()
    assert "select: 192 rows in = 192 targets + 0 removed" in output
    (stored,) = re.findall(r"ingest: 192 targets = (\d+) stored \+ (\d+) quarantined", output)
    (scored,) = re.findall(r"score: 192 rows in = (\d+) scored \+ (\d+) quarantined, in 12 parts", output)
    (published,) = re.findall(r"publish: (\d+) rows in \d+ partitions \(HATS\)", output)
    assert sum(map(int, stored)) == 192
    assert scored == stored
    assert published == scored[0]
    rejects = pd.read_csv(undisturbed / "quarantine.csv")
    catalogue = skymetal.open_catalog(undisturbed).to_pandas()
    targets = pq.read_table(undisturbed / "targets.parquet")["object_id"].to_pylist()
    assert sorted([*rejects["object_id"], *catalogue["object_id"]]) == sorted(targets)


def test_the_catalogue_says_who_predicted_what(undisturbed: Path) -> None:
    catalogue = skymetal.open_catalog(undisturbed).to_pandas().set_index("object_id")
    targets = pq.read_table(undisturbed / "targets.parquet").to_pandas().set_index("object_id").loc[catalogue.index]
    assert (catalogue["is_out_of_fold"] == targets["oh_p50"].notna()).all()
    own = catalogue[catalogue["is_out_of_fold"]]
    assert (own[["oh_fold0", "oh_fold1"]].notna().sum(axis=1) == 1).all()
    new = catalogue[~catalogue["is_out_of_fold"]]
    assert np.allclose(
        new[["oh_fold0", "oh_fold1"]].mean(axis=1) - new["oh_p50"],
        (new["oh_fold0"] + new["oh_fold1"] - 2 * new["oh_p50"]).iloc[0] / 2,
        atol=1e-5,
    )
    assert (catalogue["oh_p2p5"] <= catalogue["oh_p16"]).all()
    assert (catalogue["oh_p16"] <= catalogue["oh_p84"]).all()
    assert catalogue["oh_p50"].between(7, 10).all()
    table = pq.read_table(undisturbed / "ensemble" / "out_of_fold.parquet").to_pandas().set_index("object_id")
    assert sorted(table.index) == sorted(own.index)


def test_pandas_and_duckdb_read_what_skymetal_reads(undisturbed: Path) -> None:
    ours = skymetal.open_catalog(undisturbed).to_pandas()
    pandas = pd.read_parquet(undisturbed / "catalogue" / "tiny" / "dataset")[ours.columns]
    pd.testing.assert_frame_equal(pandas.sort_values("_healpix_29", ignore_index=True), ours)
    count, mean = duckdb.sql(
        f"SELECT count(*), avg(oh_p50) FROM read_parquet('{undisturbed}/catalogue/tiny/dataset/**/*.parquet')"
    ).fetchall()[0]
    assert count == len(ours)
    assert mean == pytest.approx(float(ours["oh_p50"].astype(float).mean()), rel=1e-9)


@pytest.mark.filterwarnings("ignore:The inplace keyword in NestedFrame:pandas.errors.Pandas4Warning")
def test_lsdb_finds_the_galaxies_around_a_position(undisturbed: Path) -> None:
    lsdb = pytest.importorskip("lsdb")
    ours = skymetal.open_catalog(undisturbed).to_pandas()
    centre = ours.iloc[len(ours) // 2]
    found = lsdb.open_catalog(str(undisturbed / "catalogue")).cone_search(centre["ra"], centre["dec"], 2000)
    ra, dec = np.radians(ours["ra"]), np.radians(ours["dec"])
    ra0, dec0 = np.radians(centre["ra"]), np.radians(centre["dec"])
    hav = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    near = ours[np.degrees(2 * np.arcsin(np.sqrt(hav))) * 3600 <= 2000]
    assert 1 < len(near) < len(ours)
    assert sorted(found.compute()["object_id"]) == sorted(near["object_id"])
    assert sorted(
        skymetal.open_catalog(undisturbed).cone(centre["ra"], centre["dec"], 2000)["object_id"].to_pylist()
    ) == (sorted(near["object_id"]))


def test_the_same_command_again_does_nothing_and_says_the_same(job: Path) -> None:
    first = runs.run("run", job)  # writes the report again, which names its place
    assert first.returncode == 0, first.stderr
    before = times_of_writing(job.parent / "run")
    second = runs.run("run", job)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert times_of_writing(job.parent / "run") == before


def times_of_writing(run_dir: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (*run_dir.rglob("*.parquet"), run_dir / "report.html")}


def test_the_run_ends_with_a_page_about_it(undisturbed: Path) -> None:
    page = (undisturbed / "report.html").read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    assert "<h1>tiny</h1>" in page
    assert page.count('src="data:image/png;base64,') == 40
    numbers = json.loads((undisturbed / "evaluation.json").read_bytes())[0]
    assert f"<b>{numbers['rmse']:.3f}</b><span>RMSE, dex</span>" in page
    for anchor in ("sky", "accuracy", "mass", "drift", "time"):
        (section,) = re.findall(rf'<section id="{anchor}".*?</section>', page, flags=re.DOTALL)
        assert 'class="absent"' not in section, anchor


def test_the_events_tell_what_ran_and_how_long(undisturbed: Path) -> None:
    events = [json.loads(line) for line in (undisturbed / "events.jsonl").read_text().splitlines()]
    ended = [event["step"] for event in events if event["event"] == "ended"]
    assert ended[:7] == ["select", "ingest", "train", "score", "publish", "evaluate", "report"]
    assert len([event for event in events if event["event"] == "epoch"]) == 6


@pytest.mark.parametrize(
    ("step", "change", "message"),
    [
        ("score", "score.views=2", "began `score` with views = 1, but this job has views = 2"),
        ("train", "train.num_epochs=4", "num_epochs"),
        ("ingest", "images.size_pix=64", "began `ingest` with size_pix = 32, but this job has size_pix = 64"),
        ("run", "job.seed=4", "with seed = 3, but this job has seed = 4"),
    ],
)
def test_a_run_is_not_continued_with_other_settings(job: Path, step: str, change: str, message: str) -> None:
    result = runs.run(step, job, "--set", change)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_half_precision_without_what_it_is_fast_on_is_refused_where_something_would_be_computed(job: Path) -> None:
    half = ("--set", "score.runtime=torch-fp16")
    published = runs.run("publish", job, *half)
    assert "were scored with another model, store or setting" in published.stderr
    for name in ("parts", "versions"):
        shutil.rmtree(job.parent / "run" / name)
    (job.parent / "run" / "inputs" / "score.json").unlink()
    for verb in ("score", "plan", "verify"):
        result = runs.run(verb, job, *half)
        assert result.returncode == 2, result.stdout
        assert "runtime = 'torch-fp16' is for workers with a GPU each, and not every one here has it" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_an_ensemble_scores_another_survey_but_not_other_bands(undisturbed: Path, tmp_path: Path) -> None:
    text = runs.TINY_JOB.replace("seed = 3", "seed = 9").replace("num_galaxies = 192", "num_galaxies = 40")
    job = runs.write_job(tmp_path, text.replace("[score]", f'[score]\nensemble = "{undisturbed}/ensemble"'))
    result = runs.run("run", job)
    assert result.returncode == 0, result.stderr
    catalogue = skymetal.open_catalog(tmp_path / "run").to_pandas()
    assert not catalogue["is_out_of_fold"].any()
    assert len(catalogue) + len(pd.read_csv(tmp_path / "run" / "quarantine.csv")) == 40
    wrong = runs.run("run", job, "--set", "job.run_dir=" + str(tmp_path / "b"), "--set", "images.bands=['z','r','g']")
    assert wrong.returncode == 2
    assert "has bands = irg, but the store" in wrong.stderr
    assert not (tmp_path / "b" / "parts").exists()
