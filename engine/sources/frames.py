"""The frames in a folder, found by a pattern such as ``frame-{band}-*.fits.bz2``, and where on the sky each lies."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import FileStamp, digest, open_folder
from skymetal.engine.decoding.client import Undecodable, shared_decoder
from skymetal.engine.footprint import Footprint, FrameChooser

BAND = "{band}"
KEPT_INDEX = "frames.json"
_SAME_PLACE_DIGITS = 5
"""Frames of one size whose middles agree to so many digits of a degree, 0.04 arcsec, show the same sky."""


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """The frames that have all bands, by name; in the names ``{band}`` stands for the band.

    num_unreadable counts those whose header could not be used, and first_unreadable names one and says why.
    """

    names: tuple[str, ...]
    footprints: tuple[Footprint, ...]
    num_unreadable: int
    first_unreadable: str

    @cached_property
    def chooser(self) -> FrameChooser:
        """What finds the frames that hold a position, by their number."""
        return FrameChooser(self.footprints)

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


def frame_index(folder: str, pattern: str, bands: tuple[str, ...], index_folder: str = "") -> FrameIndex:
    """Return the index of a folder: read once a process where it was kept in index_folder, or else made.

    Raises RuntimeError where there are no frames any more, InputError as :func:`make_index` does.
    """
    try:
        written = open_folder(index_folder).stamp(KEPT_INDEX) if index_folder else ()
    except OSError:
        written = ()
    return _index_once(folder, pattern, bands, index_folder, written)


@lru_cache(maxsize=2)
def _index_once(folder: str, pattern: str, bands: tuple[str, ...], index_folder: str, written: FileStamp) -> FrameIndex:
    names = list_frames(folder, pattern, bands)
    if not names:
        raise RuntimeError(f"the folder {folder} has no frame named {pattern!r} with all bands of {', '.join(bands)}")
    state = _state(folder, pattern, bands, names)
    return _load(index_folder, state) or make_index(folder, pattern, bands, names)


def keep_index(folder: str, pattern: str, bands: tuple[str, ...], names: Sequence[str], index_folder: str) -> None:
    """Make the index of the frames and keep it in index_folder, unless it is there: every process needs it.

    Frames that could not be read are tried again: a disk may have failed for a while.
    """
    state = _state(folder, pattern, bands, names)
    kept = _load(index_folder, state)
    if kept is not None and not kept.num_unreadable:
        return
    index = asdict(make_index(folder, pattern, bands, names))
    if index_folder:
        document = {"digest": _sign(index, state), "index": index}
        open_folder(index_folder).write(KEPT_INDEX, json.dumps(document).encode())


def make_index(folder: str, pattern: str, bands: tuple[str, ...], names: Sequence[str]) -> FrameIndex:
    """Return the index of the frames, made by reading one header each, that of the first band.

    Raises InputError where two show the same sky, since nothing tells which is meant, and where none can be read.
    """
    first: dict[tuple[float, ...], str] = {}
    found: dict[str, Footprint] = {}
    bad = []
    for name in names:
        file = file_name(name, bands[0])
        try:
            frame = _footprint(Path(folder) / file)
        except Undecodable as error:
            bad.append(f"{name!r}, {error}")
            continue
        place = (round(frame.ra, _SAME_PLACE_DIGITS), round(frame.dec, _SAME_PLACE_DIGITS), frame.width, frame.height)
        other = first.setdefault(place, file)
        if other != file:
            raise InputError(
                f"[images] pattern {pattern!r} matches both {other!r} and {file!r}, which show the same part of the "
                "sky; make the pattern name one of them"
            )
        found[name] = frame
    if not found:
        raise InputError(f"[images] none of the {len(bad)} frames in {folder} can be read; the first is {bad[0]}")
    return FrameIndex(
        names=tuple(found),
        footprints=tuple(found.values()),
        num_unreadable=len(bad),
        first_unreadable=bad[0] if bad else "",
    )


def _state(folder: str, pattern: str, bands: Sequence[str], names: Sequence[str]) -> str:
    """Return a digest of all that the index depends on."""
    files = [(name, os.stat(Path(folder) / file_name(name, bands[0]))) for name in names]
    state = [folder, pattern, bands, [(name, status.st_size, status.st_mtime_ns) for name, status in files]]
    return digest(json.dumps(state).encode())


def _sign(index: dict[str, Any], state: str) -> str:
    return digest((state + json.dumps(index)).encode())


def _load(index_folder: str, state: str) -> FrameIndex | None:
    """Return the index that was kept, or None where there is none, an older one, or a damaged one."""
    if not index_folder:
        return None
    try:
        document = json.loads(open_folder(index_folder).read(KEPT_INDEX))
        if document["digest"] != _sign(document["index"], state):
            return None
        fields = document["index"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    footprints = [Footprint(**frame | {"to_pixels": tuple(frame["to_pixels"])}) for frame in fields["footprints"]]
    return FrameIndex(**fields | {"names": tuple(fields["names"]), "footprints": tuple(footprints)})


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
