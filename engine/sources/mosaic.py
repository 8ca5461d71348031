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
from skymetal.engine.sources.fits_cutouts import check_folder, require_folder
from skymetal.engine.sources.flux import FluxCutout, parse_answer, refused, render_cutout
from skymetal.engine.sources.frames import BAND, file_name, frame_index, keep_index, list_frames
from skymetal.engine.sources.pattern import FilePattern


@dataclass(frozen=True, kw_only=True)
class MosaicSource:
    """Cuts galaxies from ``folder/pattern``, plain, gzip, bzip2 or with compressed tiles (.fz), one file a band.

    A pattern with columns names each galaxy's frame (``{brickname}-{band}.fits.fz``). One without, where ``*`` is any
    text (``frame-{band}-*.fits.bz2``), stands for all frames that have every band: of those that hold a galaxy the one
    is taken where it is farthest from the edge, or the next best if nothing can be cut from that. Each frame is opened
    once for all of a shard's galaxies. Where the frames lie is kept in the folder index_folder, if there is one, so
    that not every process must find out.
    """

    folder: str
    pattern: str
    bands: tuple[str, ...]
    framing: Framing
    rendering: Rendering
    index_folder: str = ""

    def check(self, targets: TargetList) -> None:
        """Raise InputError, before any work, where no galaxy can have an image."""
        check_folder(self.folder)
        if not targets.has_sky:
            raise InputError(
                "[images] source = 'mosaic' finds galaxies by position, and the target list has none; "
                "map ra and dec in [targets] columns"
            )
        self.framing.check_columns(targets.schema)
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
        names = list_frames(self.folder, self.pattern, self.bands)
        if not names:
            raise InputError(
                f"[images] folder {self.folder} has no frame named {self.pattern!r} with all bands of "
                f"{', '.join(self.bands)}; check folder, pattern and bands"
            )
        keep_index(self.folder, self.pattern, self.bands, names, self.index_folder)

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target, frame by frame: a frame is cut when its first galaxy's turn comes."""
        require_folder(self.folder)
        frames, reasons = self._find_frames(targets)
        rows_of: dict[str, list[int]] = {}
        for row, reason in enumerate(reasons):
            if not reason:
                rows_of.setdefault(frames[row][0], []).append(row)
        waiting: dict[int, Cutout] = {}
        for row, reason in enumerate(reasons):
            if reason:
                yield Cutout(pixels=None, source=self._file_at_fault(frames[row][0], reason), reason=reason)
                continue
            if row not in waiting:
                for number, cutout in self._cut_rows(targets, rows_of[frames[row][0]], frames, rank=0):
                    if cutout.pixels is not None or number not in waiting:
                        waiting[number] = cutout
            yield waiting.pop(row)

    def _find_frames(self, targets: pa.Table) -> tuple[list[list[str]], list[str]]:
        """Return every target's frames, the best first, and the reason of those which have none."""
        named = FilePattern(self.pattern).names(targets, band=BAND) if self._is_named else None
        index = None if named else frame_index(self.folder, self.pattern, self.bands, self.index_folder)
        frames, reasons = [], []
        positions = (_floats(targets, "ra"), _floats(targets, "dec"), self.framing.pixel_scales(targets))
        for row, (ra, dec, scale) in enumerate(zip(*positions, strict=True)):
            name, reason = named[row] if named else None, ""
            found = [name] if name else []
            if not (np.isfinite(ra) and abs(dec) <= 90):
                reason = f"no position: ra {ra:g}, dec {dec:g}"
            elif not np.isfinite(scale):
                reason = f"no size: the size rule {self.framing} gives this galaxy no pixel scale"
            elif index is not None:
                found = [index.names[number] for number in index.chooser.rank(ra, dec)]
                reason = "" if found else index.outside
            elif not found:
                reason = "no name: a value of the pattern is missing or is no file name"
            frames.append(found or [self.pattern])
            reasons.append(reason)
        return frames, reasons

    def _cut_rows(
        self, targets: pa.Table, rows: list[int], frames: list[list[str]], *, rank: int
    ) -> Iterator[tuple[int, Cutout]]:
        """Yield rows and their cutouts from the frame that they share; then those that failed, from their next best."""
        frame = frames[rows[0]][rank]
        failed: dict[str, list[int]] = {}
        for row, cutout in zip(rows, self._cut(frame, targets.take(rows)), strict=True):
            source = frame if cutout.flux_HWC is not None else self._file_at_fault(frame, cutout.reason)
            yield row, render_cutout(cutout, source=source, rendering=self.rendering)
            if cutout.flux_HWC is None and rank + 1 < len(frames[row]):
                failed.setdefault(frames[row][rank + 1], []).append(row)
        for others in failed.values():
            yield from self._cut_rows(targets, others, frames, rank=rank + 1)

    def _file_at_fault(self, frame: str, reason: str) -> str:
        """Return the file of a frame that a reason speaks of: that of the band it names, or else of the first."""
        if frame == self.pattern and ("*" in frame or self._is_named):
            return frame  # no frame was found: what was looked for is all that can be told
        named = (b for b in self.bands if reason.endswith((f" in {b}", f" band {b}")) or f" band {b}," in reason)
        return file_name(frame, next(named, self.bands[0]))

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
            if str(error).startswith("no such file"):
                require_folder(self.folder)
            for _ in range(targets.num_rows - num_done):
                yield refused(error)


def _floats(targets: pa.Table, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = targets[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
