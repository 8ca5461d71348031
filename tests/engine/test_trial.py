from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import TargetList, write_targets
from skymetal.engine.framing import Framing
from skymetal.engine.sources import Cutout
from skymetal.engine.trial import refuse_unlike_images

FRAMING = Framing(size_pix=4, size_rule="fixed", pixel_scale_arcsec=0.4)


@dataclass
class Telling:
    """A source in which a galaxy's id says what becomes of it."""

    reason: Callable[[int], str]
    scale_arcsec: float | None = None
    asked: list[int] = field(default_factory=list)

    def check(self, targets: TargetList) -> None:
        return

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        for object_id in targets["object_id"].to_pylist():
            self.asked.append(object_id)
            reason = self.reason(object_id)
            pixels = None if reason else np.ones((4, 4, 3), np.uint8)
            yield Cutout(pixels=pixels, source=f"{object_id}.jpg", reason=reason, pixel_scale_arcsec=self.scale_arcsec)


def target_list(path: Path, num_galaxies: int = 320) -> TargetList:
    table = pa.table({"object_id": list(range(num_galaxies))})
    return write_targets(LocalFolder(path), "targets.parquet", table, selection={})


def test_bad_galaxies_at_the_start_of_the_list_do_not_stop_a_survey(tmp_path: Path) -> None:
    source = Telling(lambda object_id: "wrong size: 3×3" if object_id < 40 else "")
    refuse_unlike_images(source, target_list(tmp_path), FRAMING)
    assert 1 < len(source.asked) < 8, "one good image ends the look"


@pytest.mark.parametrize(
    "reason",
    [
        "truncated: the file ends after 9 bytes",
        "unreadable FITS: short data",
        "blank: no pixel has data in any band",
        "missing band: no pixel has data in g",
        "no such file",
        "outside: no frame holds this position",
    ],
)
def test_lost_torn_and_blank_images_say_nothing_of_the_job(tmp_path: Path, reason: str) -> None:
    source = Telling(lambda _: reason)
    refuse_unlike_images(source, target_list(tmp_path), FRAMING)
    assert source.asked == sorted(source.asked)
    assert (source.asked[0], source.asked[-1], len(source.asked)) == (0, 319, 32)


@pytest.mark.parametrize(
    "reason",
    ["wrong size: 3×3 pixels", "wrong mode: grey", "unknown bands: 3 planes", "missing band: the file has g, r, not i"],
)
def test_images_that_are_all_of_another_kind_are_refused(tmp_path: Path, reason: str) -> None:
    source = Telling(lambda object_id: reason if object_id % 2 else "truncated: the file ends")
    with pytest.raises(InputError, match=rf"none of \d+ images from all over the list .*\.jpg': {reason}; say what"):
        refuse_unlike_images(source, target_list(tmp_path), FRAMING)


def test_images_that_all_tell_another_scale_are_refused(tmp_path: Path) -> None:
    targets = target_list(tmp_path)
    refuse_unlike_images(Telling(lambda _: "", 0.401), targets, FRAMING)
    with pytest.raises(InputError, match=r"none of 32 images .*wrong scale: 0\.5 arcsec/pixel by its WCS, 0\.4 by"):
        refuse_unlike_images(Telling(lambda _: "", 0.5), targets, FRAMING)


def test_three_images_are_too_few_to_tell(tmp_path: Path) -> None:
    refuse_unlike_images(Telling(lambda _: "wrong size: 3×3 pixels"), target_list(tmp_path, 3), FRAMING)
