"""The step and its verb: one page, whole or not at all, and only where something has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.reported_run import Made, make_run

from skymetal.catalogs.storage import TEMPORARY_PREFIX
from skymetal.deploy.cli import main
from skymetal.deploy.report import report as module

JOB = '[job]\nrun_dir = "run"\n[targets]\nsurvey = "simulated"\nnum_galaxies = 60\n[images]\nsource = "simulated"\n'


@pytest.fixture
def job(tmp_path: Path) -> Path:
    make_run(tmp_path / "run", Made(num_galaxies=60))
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path / "job.toml"


def call(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["report", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def test_the_page_is_written_once_and_left_alone_while_nothing_changes(job: Path) -> None:
    page = job.parent / "run" / "report.html"
    assert f"report: {page}" in call(job).output
    before = page.stat().st_mtime_ns, page.read_bytes()
    assert f"report: {page}" in call(job).output
    assert (page.stat().st_mtime_ns, page.read_bytes()) == before


def test_a_lost_or_cut_page_is_made_again_with_the_same_bytes(job: Path) -> None:
    page = job.parent / "run" / "report.html"
    call(job)
    whole = page.read_bytes()
    page.unlink()
    call(job)
    assert page.read_bytes() == whole
    page.write_bytes(whole[:100])
    call(job)
    assert page.read_bytes() == whole


def test_what_has_changed_is_in_the_page(job: Path) -> None:
    page = job.parent / "run" / "report.html"
    call(job)
    assert "There is no score.json" in page.read_text()
    (page.parent / "score.json").write_text(
        '{"num_rows": 51, "drift": [{"name": "oh_p50", "ks": 0.1, "psi": 0.9, "psi_limit": 0.3}]}'
    )
    call(job)
    assert "Shifted: oh_p50." in page.read_text()
    shutil.rmtree(page.parent / "store.zarr")
    call(job)
    assert "The cutout store is not here any more" in page.read_text()


def test_a_page_that_cannot_be_made_leaves_the_old_one(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = job.parent / "run" / "report.html"
    call(job)
    before = page.read_bytes()
    (page.parent / "score.json").write_text('{"num_rows": 51, "drift": []}')

    def fail(*_: object) -> bytes:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "render_page", fail)
    assert CliRunner().invoke(main, ["report", str(job)]).exit_code == 1
    assert page.read_bytes() == before
    assert list(page.parent.rglob(f"{TEMPORARY_PREFIX}*")) == []


def test_a_damaged_shard_is_named_rather_than_shown(job: Path) -> None:
    shard = job.parent / "run" / "store.zarr" / "images" / "c" / "0" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(bytes(data))
    result = CliRunner().invoke(main, ["report", str(job)])
    assert result.exit_code == 1
    assert "images/c/0/0/0/0" in result.output
    assert "skymetal store repair" in result.output


def test_a_run_without_a_catalogue_is_refused_in_one_line(job: Path) -> None:
    (job.parent / "run" / "catalogue").unlink()
    result = CliRunner().invoke(main, ["report", str(job)])
    assert result.exit_code == 2
    assert "the run is not published yet; run `skymetal publish` on its job" in result.output
