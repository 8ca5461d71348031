"""What is lost from a finished run is made again by the same command, with the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def lose(run: Path, *patterns: str) -> None:
    for pattern in patterns:
        path = sorted(run.glob(pattern))[0]
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def cut(run: Path, pattern: str) -> None:
    path = sorted(run.glob(pattern))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_something_of_every_step(run: Path) -> None:
    """Of every step files are lost or cut, and one block looks as if two workers had died of it.

    That block is then scored in a process of its own.
    """
    lose(run, "store.zarr/images/c/3", "store.zarr/receipts/000005.parquet", "store.zarr/images/zarr.json")
    lose(run, "store.zarr/manifest.json", "ensemble/fold1-*.safetensors", "ensemble/out_of_fold.parquet")
    lose(run, "parts/part-000001-*", "parts/part-000002-*", "parts/part-000003-*", "parts/receipts/000004.json")
    lose(run, "parts/manifest.json", "versions/*/tiny/dataset/**/part-000002-*.parquet", "catalogue", "evaluation.csv")
    cut(run, "versions/*/tiny/_metadata")
    cut(run, "versions/*/tiny/dataset/**/part-000003-*.parquet")
    (run / "parts" / "attempts").mkdir()
    for name in ("a", "b"):
        (run / "parts" / "attempts" / f"000003-{name}").touch()


def test_what_is_lost_is_made_again(undisturbed: Path, tmp_path: Path) -> None:
    job = runs.write_job(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run, symlinks=True)
    lose_something_of_every_step(run)
    result = runs.run("run", job)
    assert result.returncode == 0, result.stderr
    for folder in ("catalogue", "store.zarr", "ensemble", "parts"):
        assert runs.contents(run / folder) == runs.contents(undisturbed / folder)
    assert (run / "evaluation.csv").read_bytes() == (undisturbed / "evaluation.csv").read_bytes()


def test_what_is_damaged_is_named_with_a_remedy_that_works(undisturbed: Path, tmp_path: Path) -> None:
    job = runs.write_job(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run, symlinks=True)
    lose(run, "parts/part-000003-*")
    for pattern in ("store.zarr/receipts/000003.parquet", "ensemble/fold0-*.safetensors", "targets.parquet"):
        cut(run, pattern)

    def refusal() -> str:
        result = runs.run("run", job)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        return result.stderr

    said = refusal()
    assert "targets.parquet" in said
    assert "delete it and run `skymetal select` again" in said
    lose(run, "targets.parquet")
    said = refusal()
    assert "store.zarr/receipts/000003.parquet" in said
    assert "`skymetal store repair` makes it again" in said
    assert runs.run("store", "repair", run).returncode == 0
    said = refusal()
    assert str(sorted(run.glob("ensemble/fold0-*.safetensors"))[0].relative_to(run)) in said
    assert "delete fold0-" in said
    lose(run, "ensemble/fold0-*.safetensors")
    result = runs.run("run", job)
    assert result.returncode == 0, result.stderr
    assert runs.contents(run / "catalogue") == runs.contents(undisturbed / "catalogue")
