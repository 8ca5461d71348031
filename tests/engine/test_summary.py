from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.stores import fill

from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.store import open_store, shard_name
from skymetal.engine.summary import summarise_store


def test_a_summary_counts_every_galaxy_and_every_byte(folder: LocalFolder) -> None:
    fill(folder)
    summary = summarise_store(open_store(folder.path))
    assert summary["galaxies"] == "20 = 19 stored + 1 quarantined"
    assert summary["quarantined"] == "1 no such file"
    num_bytes = sum(folder.size(shard_name(index)) for index in range(3))
    assert summary["on disk"].startswith(f"{num_bytes / 1e6:.1f} MB")


def be_a_folder(path: Path) -> None:
    path.mkdir()


def be_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def be_a_broken_link(path: Path) -> None:
    path.symlink_to("/nowhere")


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda path: None, "missing"),
        (os.mkfifo, "not a regular file"),
        (be_a_folder, "not a regular file"),
        (be_a_device, "not a regular file"),
        (be_a_broken_link, "missing"),
        (Path.touch, "of 0 bytes"),
    ],
)
def test_a_shard_that_is_lost_is_named_with_what_mends_it(
    folder: LocalFolder, harm: Callable[[Path], None], what: str
) -> None:
    fill(folder)
    path = folder.path / shard_name(1)
    path.unlink()
    harm(path)
    with pytest.raises(RuntimeError, match=rf"shard {path} is {what}; `skymetal store repair` makes it again"):
        summarise_store(open_store(folder.path))
