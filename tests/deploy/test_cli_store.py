from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from support.stores import fill

from skymetal.catalogs.selection.select import TargetSettings, select_all
from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.cli import main
from skymetal.engine.store import shard_name


def test_info_tells_what_is_in_a_store(tmp_path: Path) -> None:
    fill(LocalFolder(tmp_path / "store.zarr"))
    result = CliRunner().invoke(main, ["store", "info", str(tmp_path)])
    assert result.exit_code == 0
    assert "20 = 19 stored + 1 quarantined" in result.output


def test_info_of_a_store_that_lost_a_shard_is_one_sentence(tmp_path: Path) -> None:
    store = fill(LocalFolder(tmp_path / "store.zarr"))
    store.folder.remove(shard_name(1))
    result = CliRunner().invoke(main, ["store", "info", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output == (
        f"skymetal: shard {store.folder}/{shard_name(1)} is missing; `skymetal store repair` makes it again\n"
    )


def test_verify_beside_a_damaged_target_list_says_which_file_is_damaged(tmp_path: Path) -> None:
    fill(LocalFolder(tmp_path / "store.zarr"))
    (tmp_path / "t.csv").write_text("object_id\n" + "".join(f"{1000 + row}\n" for row in range(20)))
    settings = TargetSettings(survey="sdss", tables=(str(tmp_path / "t.csv"),))
    path = Path(str(select_all(settings, seed=0, folder=LocalFolder(tmp_path), name="targets.parquet")))
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)
    result = CliRunner().invoke(main, ["store", "verify", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{path} is damaged: it is not the list that `skymetal select` wrote" in result.output


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_a_file_in_the_place_of_the_store_is_refused_in_one_line(tmp_path: Path, verb: str) -> None:
    (tmp_path / "store.zarr").write_bytes(b"x")
    result = CliRunner().invoke(main, ["store", verb, str(tmp_path)])
    assert result.exit_code == 2
    assert result.output == (
        f"skymetal: {tmp_path}/store.zarr is no folder, but the cutout store has its place there; move it away\n"
    )
