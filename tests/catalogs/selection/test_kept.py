from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.kept import PIN, refuse_damaged_list
from skymetal.catalogs.selection.select import TargetSettings, select_all
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList


def settings(path: Path) -> TargetSettings:
    (path / "t.csv").write_text("object_id,ra,dec\n" + "".join(f"{k},{k},{k}\n" for k in range(1, 25)))
    return TargetSettings(survey="sdss", tables=(str(path / "t.csv"),))


def select(path: Path) -> TargetList:
    return select_all(settings(path), seed=0, folder=LocalFolder(path), name="targets.parquet")


def test_no_flipped_bit_of_a_list_is_believed(tmp_path: Path) -> None:
    targets = select(tmp_path)
    refuse_damaged_list(targets)
    clean = Path(str(targets)).read_bytes()
    for place in np.random.default_rng(0).choice(len(clean), 200, replace=False):
        damaged = bytearray(clean)
        damaged[place] ^= 1 << int(place) % 8
        Path(str(targets)).write_bytes(damaged)
        with pytest.raises(RuntimeError, match=r"targets\.parquet is damaged: it is not the list that"):
            refuse_damaged_list(TargetList(targets.folder, targets.name))


def test_a_damaged_list_is_not_selected_over(tmp_path: Path) -> None:
    targets = select(tmp_path)
    Path(str(targets)).write_bytes(Path(str(targets)).read_bytes()[:-100])
    with pytest.raises(RuntimeError, match="delete it and run `skymetal select` again"):
        select(tmp_path)


def test_a_list_that_was_deleted_is_selected_again_under_the_same_digest(tmp_path: Path) -> None:
    before = select(tmp_path)
    pin = tmp_path / PIN.format(name="targets.parquet")
    assert pin.read_text().strip() == before.digest
    Path(str(before)).unlink()
    assert select(tmp_path).digest == before.digest


def test_a_list_without_a_pin_is_believed(tmp_path: Path) -> None:
    targets = select(tmp_path)
    (tmp_path / PIN.format(name="targets.parquet")).unlink()
    refuse_damaged_list(targets)


def test_other_settings_are_refused_by_name_with_what_can_be_done(tmp_path: Path) -> None:
    path = str(select(tmp_path))
    other = TargetSettings(survey="legacy", tables=settings(tmp_path).tables)
    what = 'selected with survey = "sdss", but this job has survey = "legacy"'
    with pytest.raises(InputError, match=f"{what}; delete {path} to select again, or restore what was there"):
        select_all(other, seed=0, folder=LocalFolder(tmp_path), name="targets.parquet")
    LocalFolder(tmp_path).write("inputs/ingest.json", b"{}")
    with pytest.raises(InputError, match=rf"{what}; name another \[job\] run_dir, or restore what was there"):
        select_all(other, seed=0, folder=LocalFolder(tmp_path), name="targets.parquet")
