"""What users get wrong: each is one clear line, exit code 2, and nothing is lost or half done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from skymetal.deploy.cli import main

JOB = """
[job]
run_dir = "run"
[targets]
survey = "sdss"
tables = ["labels.csv"]
columns = { object_id = "objID" }
[images]
source = "folder"
folder = "images"
pattern = "{object_id}.png"
size_pix = 32
shard_size = 8
chunk_size = 8
[train]
num_folds = 2
[cluster]
kind = "local-cpu"
num_workers = 1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A job that is right, with images of ten galaxies."""
    (tmp_path / "images").mkdir()
    for object_id in range(10):
        pixels = np.random.default_rng(object_id).integers(0, 200, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{object_id}.png")
    (tmp_path / "labels.csv").write_text("objID,oh_p50\n" + "".join(f"{k},{8 + k / 10}\n" for k in range(10)))
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def call(verb: str, job: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [verb, str(job), *arguments])


def break_key(place: Path) -> None:
    (place / "job.toml").write_text(JOB.replace("shard_size", "shard_sise"))


def break_type(place: Path) -> None:
    (place / "job.toml").write_text(JOB.replace("shard_size = 8", "shard_size = 'eight'"))


def break_column(place: Path) -> None:
    (place / "job.toml").write_text(JOB.replace('"objID"', '"specObjID"'))


def break_folder(place: Path) -> None:
    for image in (place / "images").iterdir():
        image.unlink()


def break_ids(place: Path) -> None:
    with open(place / "labels.csv", "a") as file:
        file.write("3,8.5\n")


def break_table(place: Path) -> None:
    (place / "labels.csv").unlink()


def break_output(place: Path) -> None:
    (place / "run").write_text("a file where the run directory should be")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (break_key, "[images] has no key 'shard_sise'; did you mean 'shard_size'?"),
        (break_type, "[images] shard_size must be a whole number, got 'eight'"),
        (break_column, "has no column 'specObjID'; did you mean 'objID'?"),
        (
            break_folder,
            "has no image of any of the 10 targets, such as '0.png'; it holds nothing: check folder and pattern",
        ),
        (break_ids, "object_id 3 stands in 2 rows"),
        (break_table, "labels.csv does not exist; check the path"),
        (break_output, "is a file; name another folder"),
    ],
)
def test_it_is_refused_in_one_line(place: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(place)
    result = call("run", place / "job.toml")
    assert result.exit_code == 2
    line = result.output.splitlines()[-1]
    assert line.startswith("skymetal: ")
    assert message in line
    assert "Traceback" not in result.output
    assert not (place / "run" / "store.zarr").exists()


def test_a_place_that_may_not_be_written_is_refused_in_one_line(place: Path) -> None:
    output = place / "sealed"
    output.mkdir()
    output.chmod(0o500)
    run_dir = output / "run" if os.geteuid() else Path("/proc/skymetal")  # the administrator may write anywhere else
    result = call("run", place / "job.toml", "--set", f"job.run_dir={run_dir}")
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.slow
def test_a_truncated_image_is_quarantined_by_name_and_the_run_goes_on(place: Path) -> None:
    image = place / "images" / "4.png"
    image.write_bytes(image.read_bytes()[:700])
    assert call("select", place / "job.toml").exit_code == 0
    result = call("ingest", place / "job.toml")
    assert result.exit_code == 0, result.output
    assert "ingest: 10 targets = 9 stored + 1 quarantined" in result.output
    lines = (place / "run" / "quarantine.csv").read_text().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith('4,"4.png","')


def test_a_mistake_that_is_mended_leaves_no_trace(place: Path) -> None:
    break_column(place)
    assert call("select", place / "job.toml").exit_code == 2
    (place / "job.toml").write_text(JOB)
    assert call("select", place / "job.toml").exit_code == 0
