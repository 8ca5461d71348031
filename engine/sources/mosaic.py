"""Frames and coadd bricks with a WCS: each galaxy is cut from the one that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.targets import TargetList
from skymetal.engine.decoding.client import Undecodable, shared_decoder
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.fits_cutouts import check_folder
from skymetal.engine.sources.flux import FluxCutout, parse_answer, refused, render_cutout
from skymetal.engine.sources.frames import BAND, file_name, frame_index, list_frames
from skymetal.engine.sources.pattern import FilePattern


@dataclass(frozen=True, kw_only=True)
class MosaicSource:
    """Cuts galaxies from ``folder/pattern``, plain, gzip, bzip2 or with compressed tiles (.fz), one file a band.

    A pattern with columns names each galaxy's frame (``{brickname}-{band}.fits.fz``). One without, where ``*`` is any
    text (``frame-{band}-*.fits.bz2``), stands for all frames that have every band: of those that hold a galaxy the one
    is taken where it is farthest from the edge. Each frame is opened once for all of a shard's galaxies.
    """

    folder: str
    pattern: str
    bands: tuple[str, ...]
    framing: Framing
    rendering: Rendering

    def check(self, targets: TargetList) -> None:
        """Raise InputError, before any work, where no galaxy can have an image."""
        check_folder(self.folder)
        if not targets.has_sky:
            raise InputError(
                "[images] source = 'mosaic' finds galaxies by position, and the target list has none; "
                "map ra and dec in [targets] columns"
            )
        if len(self.bands) > 1 and BAND not in self.pattern:
            raise InputError(
                f"[images] pattern must contain {BAND}, which stands for {', '.join(self.bands)}, got {self.pattern!r}"
            )
        if self._is_named:
            self._check_names(targets)
        else:
            self._check_search()

    @property
    def _is_named(self) -> bool:
        return bool(set(FilePattern(self.pattern).columns) - {"band"})

    def _check_names(self, targets: TargetList) -> None:
        pattern = FilePattern(self.pattern)
        pattern.check(targets.column_names, extra=("band",))
        if "*" in self.pattern:
            raise InputError(f"[images] pattern must have columns or *, not both, got {self.pattern!r}")
        example = None
        for table in targets.iter_tables([name for name in pattern.columns if name != "band"]):
            for name in dict.fromkeys(pattern.names(table, band=BAND)):
                if name and all((Path(self.folder) / file_name(name, band)).is_file() for band in self.bands):
                    return
                example = example or name
        raise InputError(
            f"[images] folder {self.folder} has not all bands of the frame of any of the {targets.num_rows} targets, "
            f"such as {example!r} in {', '.join(self.bands)}; check folder, pattern and bands"
        )

    def _check_search(self) -> None:
        parts = self.pattern.split("/")
        if self.pattern.startswith("/") or ".." in parts or not self.pattern.isprintable():
            raise InputError(f"[images] pattern must stay inside the folder, got {self.pattern!r}")
        if not list_frames(self.folder, self.pattern, self.bands):
            raise InputError(
                f"[images] folder {self.folder} has no frame named {self.pattern!r} with all bands of "
                f"{', '.join(self.bands)}; check folder, pattern and bands"
            )

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target, frame by frame: a frame is cut when its first galaxy's turn comes."""
        frames, reasons = self._find_frames(targets)
        rows_of: dict[str, list[int]] = {}
        for row, (frame, reason) in enumerate(zip(frames, reasons, strict=True)):
            if not reason:
                rows_of.setdefault(frame, []).append(row)
        waiting: dict[int, Cutout] = {}
        for row, (frame, reason) in enumerate(zip(frames, reasons, strict=True)):
            if reason:
                yield Cutout(pixels=None, source=frame, reason=reason)
                continue
            if row not in waiting:
                rows = rows_of[frame]
                for number, cutout in zip(rows, self._cut(frame, targets.take(rows)), strict=True):
                    waiting[number] = render_cutout(cutout, source=frame, rendering=self.rendering)
            yield waiting.pop(row)

    def _find_frames(self, targets: pa.Table) -> tuple[list[str], list[str]]:
        """Return every target's frame, and the reason of those which have none."""
        named = FilePattern(self.pattern).names(targets, band=BAND) if self._is_named else None
        index = None if named else frame_index(self.folder, self.pattern, self.bands)
        frames, reasons = [], []
        positions = (_floats(targets, "ra"), _floats(targets, "dec"), self.framing.pixel_scales(targets))
        for row, (ra, dec, scale) in enumerate(zip(*positions, strict=True)):
            frame, reason = named[row] if named else None, ""
            if not (np.isfinite(ra) and abs(dec) <= 90):
                reason = f"no position: ra {ra:g}, dec {dec:g}"
            elif not np.isfinite(scale):
                reason = f"no size: the size rule {self.framing} gives this galaxy no pixel scale"
            elif index is not None:
                choice = index.chooser.choose(ra, dec)
                frame, reason = (index.names[choice], "") if choice is not None else (None, index.outside)
            elif frame is None:
                reason = "no name: a value of the pattern is missing or is no file name"
            frames.append(frame or self.pattern)
            reasons.append(reason)
        return frames, reasons

    def _cut(self, frame: str, targets: pa.Table) -> Iterator[FluxCutout]:
        """Yield the cutouts of one frame's targets. What fails in the middle fails for the rest of them."""
        arguments = {
            "paths": [str(Path(self.folder) / file_name(frame, band)) for band in self.bands],
            "bands": list(self.bands),
            "ra": _floats(targets, "ra").tolist(),
            "dec": _floats(targets, "dec").tolist(),
            "scale_arcsec": self.framing.pixel_scales(targets).tolist(),
            "size_pix": self.framing.size_pix,
        }
        size = self.framing.size_pix
        shape, num_done = (size, size, len(self.bands)), 0
        try:
            for answer in shared_decoder().call("cut_frame", arguments, num_answers=targets.num_rows, shape=shape):
                num_done += 1
                yield parse_answer(*answer)
        except Undecodable as error:
            for _ in range(targets.num_rows - num_done):
                yield refused(error)


def _floats(targets: pa.Table, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = targets[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
