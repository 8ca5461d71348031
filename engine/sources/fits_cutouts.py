"""FITS cutouts: one file a galaxy, with its bands in planes or extensions, or one file a band."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.targets import TargetList
from skymetal.engine.decoding.client import Undecodable, shared_decoder
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.flux import FluxCutout, parse_answer, refused, render_cutout
from skymetal.engine.sources.pattern import FilePattern

MAX_OFFSET = 0.1
"""How far from its galaxy a file may be centred, as a share of the width that is kept."""


@dataclass(frozen=True, kw_only=True)
class FitsSource:
    """Reads ``folder/pattern``, where ``{column}`` stands for the galaxy's value, and ``{band}`` for one file a band.

    Images must be square and of input_size_pix. Which plane is which band is said by the header (BANDS = 'grz', or
    BAND0, BAND1, …), by the extensions' names, or else by file_bands. Files may be gzip or bzip2 or have compressed
    tiles (.fz). The middle crop_pix are kept.
    """

    folder: str
    pattern: str
    bands: tuple[str, ...]
    file_bands: tuple[str, ...]
    input_size_pix: int
    crop_pix: int
    framing: Framing
    rendering: Rendering

    def check(self, targets: TargetList) -> None:
        """Raise InputError, before any work, where the folder has a file for none of the galaxies."""
        check_folder(self.folder)
        pattern = FilePattern(self.pattern)
        pattern.check(targets.column_names, extra=("band",))
        refuse_one_name(pattern)
        example = None
        for table in targets.iter_tables([name for name in pattern.columns if name != "band"]):
            for names in zip(*(pattern.names(table, band=band) for band in self.bands), strict=True):
                if any(name is not None and (Path(self.folder) / name).exists() for name in names):
                    return
                example = example or names[0]
        raise InputError(
            f"[images] folder {self.folder} has no file of any of the {targets.num_rows} targets, such as {example!r}; "
            "check folder and pattern"
        )

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target; a file that is missing or bad gives its reason."""
        require_folder(self.folder)
        pattern = FilePattern(self.pattern)
        bands = self.bands if "band" in pattern.columns else self.bands[:1]
        shown = pattern.names(targets, band="{band}")
        layout = FitsLayout(
            bands=self.bands,
            file_bands=self.file_bands,
            input_size_pix=self.input_size_pix,
            crop_pix=self.crop_pix,
            size_pix=self.framing.size_pix,
        )
        names_by_band = (pattern.names(targets, band=band) for band in bands)
        for source, (ra, dec), *names in zip(shown, _positions(targets), *names_by_band, strict=True):
            paths = [Path(self.folder) / name for name in names if name is not None]
            if source is None or len(paths) != len(names):
                yield Cutout(
                    pixels=None, source="", reason="no name: a value of the pattern is missing or is no file name"
                )
                continue
            max_offset_pix = MAX_OFFSET * layout.size_pix
            place = None if ra is None or dec is None else SkyPlace(ra=ra, dec=dec, max_offset_pix=max_offset_pix)
            cutout = read_fits_cutout(paths, layout, place=place)
            if cutout.reason.startswith("no such file"):
                require_folder(self.folder)
            yield render_cutout(cutout, source=source, rendering=self.rendering)


@dataclass(frozen=True, kw_only=True)
class FitsLayout:
    """How cutouts lie in their files, and what is kept of them: see :class:`FitsSource`.

    file_bands is the order of the bands where the files do not say; the middle crop_pix of input_size_pix become
    size_pix.
    """

    bands: tuple[str, ...]
    file_bands: tuple[str, ...]
    input_size_pix: int
    crop_pix: int
    size_pix: int


@dataclass(frozen=True, kw_only=True)
class SkyPlace:
    """Where a galaxy is, degrees, and how many pixels of the returned cutout its file may be centred off it."""

    ra: float
    dec: float
    max_offset_pix: float


def read_fits_cutout(paths: Sequence[Path], layout: FitsLayout, *, place: SkyPlace | None) -> FluxCutout:
    """Return the flux of one galaxy, from one file or from a file a band, decoded by this process's decoder.

    An image with a WCS must be centred on the place, where that is given.
    """
    arguments = {
        "paths": [str(path) for path in paths],
        "bands": list(layout.bands),
        "file_bands": list(layout.file_bands),
        "input_size_pix": layout.input_size_pix,
        "crop_pix": layout.crop_pix,
        "size_pix": layout.size_pix,
        "place": None if place is None else [place.ra, place.dec, place.max_offset_pix],
    }
    shape = (layout.size_pix, layout.size_pix, len(layout.bands))
    try:
        ((fields, flux_HWC),) = shared_decoder().call("read_cutout", arguments, num_answers=1, shape=shape)
    except Undecodable as error:
        return refused(error)
    return parse_answer(fields, flux_HWC)


def _positions(targets: pa.Table) -> list[tuple[float | None, float | None]]:
    """Return every row's ra and dec; None for both where one is unknown."""
    if not {"ra", "dec"} <= set(targets.column_names):
        return [(None, None)] * targets.num_rows
    rows = zip(*(targets[name].cast(pa.float64()).to_pylist() for name in ("ra", "dec")), strict=True)
    known = ((math.isfinite(math.nan if ra is None or dec is None else ra + dec), ra, dec) for ra, dec in rows)
    return [(ra, dec) if is_known else (None, None) for is_known, ra, dec in known]


def check_folder(folder: str) -> None:
    """Raise InputError where the folder does not exist."""
    if not Path(folder).is_dir():
        raise InputError(f"[images] folder {folder} does not exist; name the folder with the image files")


def require_folder(folder: str) -> None:
    """Raise OSError where this machine does not see the images: that is no galaxy's fault."""
    try:
        with os.scandir(folder) as entries:
            is_empty = next(entries, None) is None
    except OSError as error:
        raise OSError(
            f"the folder with the images, {folder}, cannot be read on this machine: {error.strerror}"
        ) from error
    if is_empty:
        raise OSError(f"the folder with the images, {folder}, is empty on this machine; mount its disk here")


def refuse_one_name(pattern: FilePattern) -> None:
    """Raise InputError where every galaxy would have the same file."""
    if pattern.columns == ("band",):
        raise InputError(f"[images] pattern must name the galaxy, for example {{object_id}}, got {pattern.text!r}")
