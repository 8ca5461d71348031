from __future__ import annotations

import csv
from pathlib import Path

from support import poison, poisoned_store, runs

from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.config import read_job
from skymetal.deploy.quarantine import write_quarantine
from skymetal.deploy.run import open_run
from skymetal.engine.score import finish_score, score_block


def test_the_list_holds_those_without_an_image_and_after_score_those_without_a_prediction(tmp_path: Path) -> None:
    job = read_job(runs.write_job(tmp_path))
    plan = poisoned_store.make_plan(
        LocalFolder(tmp_path / "run"), {3: poison.NOT_FINITE, 99: poison.NOT_FINITE}, num_galaxies=128, shard_size=64
    )
    without_image = ["10288", "10288.jpg", "blank"]
    with open_run(job) as run:
        write_quarantine(run)
        assert listed(tmp_path) == [without_image]
        for index in plan.missing_blocks():
            score_block(plan, index)
        finish_score(plan)
        for _ in range(2):  # ingest comes again too, where the same job is run twice
            write_quarantine(run)
            reason = "scoring: the prediction is not finite"
            assert listed(tmp_path) == [["10009", "10009.jpg", reason], without_image, ["10297", "10297.jpg", reason]]
        (tmp_path / "run" / "parts" / "manifest.json").write_text("{")
        write_quarantine(run)
        assert listed(tmp_path) == [without_image]


def listed(path: Path) -> list[list[str]]:
    with open(path / "run" / "quarantine.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["object_id", "source", "reason"]
    return rows
