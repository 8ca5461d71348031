"""The frames in a folder, found by a pattern such as ``frame-{band}-*.fits.bz2``, and where on the sky each lies."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from skymetal.engine.decoding.client import Undecodable, shared_decoder
from skymetal.engine.footprint import Footprint, FrameChooser

BAND = "{band}"


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """The frames that have all bands, by name; in the names ``{band}`` stands for the band.

    unreadable counts those whose header could not be used, and first_unreadable names one and says why.
    """

    names: tuple[str, ...]
    chooser: FrameChooser
    num_unreadable: int
    first_unreadable: str

    @property
    def outside(self) -> str:
        """The reason of a galaxy that no frame holds."""
        if not self.num_unreadable:
            return "outside: no frame holds this position"
        return f"outside: no readable frame holds this position; {self.num_unreadable} are bad: {self.first_unreadable}"


def list_frames(folder: str, pattern: str, bands: Sequence[str]) -> list[str]:
    """Return the frames that match the pattern and have a file of every band, sorted. ``*`` is any text without /."""
    pieces = pattern.replace(BAND, bands[0]).split("*")
    found = sorted(glob.glob("*".join(glob.escape(piece) for piece in pieces), root_dir=folder))
    whole = re.compile("([^/]*?)".join(re.escape(piece) for piece in pieces))
    names = []
    for name in found:
        match = whole.fullmatch(name)
        if match is None:
            continue
        stars = iter(match.groups())
        frame = re.sub(r"\*", lambda _: next(stars), pattern)  # noqa: B023  used at once
        if all((Path(folder) / file_name(frame, band)).is_file() for band in bands):
            names.append(frame)
    return names


def file_name(frame: str, band: str) -> str:
    """Return the name of a frame's file in one band."""
    return frame.replace(BAND, band)


@lru_cache(maxsize=2)
def frame_index(folder: str, pattern: str, bands: tuple[str, ...]) -> FrameIndex:
    """Return the index of a folder, made once a process by reading one header a frame, that of the first band."""
    names, footprints, bad = [], [], []
    for name in list_frames(folder, pattern, bands):
        try:
            footprints.append(_footprint(Path(folder) / file_name(name, bands[0])))
            names.append(name)
        except Undecodable as error:
            bad.append(f"{name!r}, {error}")
    return FrameIndex(
        names=tuple(names),
        chooser=FrameChooser(footprints),
        num_unreadable=len(bad),
        first_unreadable=bad[0] if bad else "",
    )


def _footprint(path: Path) -> Footprint:
    ((fields, _),) = shared_decoder().call("read_footprint", {"path": str(path)}, num_answers=1)
    numbers = [fields.get(name) for name in ("ra", "dec", "radius_deg", "width", "height")]
    matrix = fields.get("to_pixels")
    if not (isinstance(matrix, list) and len(matrix) == 6 and all(_are_numbers(numbers + matrix))):
        raise Undecodable("crashed the decoder: it sent no proper footprint")
    ra, dec, radius_deg, width, height = (float(number) for number in numbers if number is not None)
    return Footprint(
        ra=ra, dec=dec, radius_deg=radius_deg, width=int(width), height=int(height), to_pixels=tuple(map(float, matrix))
    )


def _are_numbers(values: list[Any]) -> Iterator[bool]:
    return (isinstance(value, int | float) and abs(value) < 1e12 for value in values)
