"""JPEG or PNG colour images, one file a galaxy, named by a pattern; in a folder or in a tar archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.targets import TargetList
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.fits_cutouts import require_folder
from skymetal.engine.sources.pattern import FilePattern
from skymetal.engine.sources.pictures import Unsuitable, decode_picture, read_regular_file
from skymetal.engine.sources.tar import open_tar


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Reads ``folder/pattern``, where ``{object_id}``, or any other column, stands for the galaxy's value.

    Where ``folder`` is an uncompressed tar archive, the pattern names its members.
    Files must be square RGB images of input_size_pix. The middle crop_pix of them is kept and averaged down
    (or resampled up) to size_pix; the three are equal where nothing is to be done.
    """

    folder: str
    pattern: str
    size_pix: int
    input_size_pix: int
    crop_pix: int

    def check(self, targets: TargetList) -> None:
        """Raise InputError, before any work, where there is an image for none of the galaxies."""
        pattern = FilePattern(self.pattern)
        pattern.check(targets.column_names)
        if not Path(self.folder).exists():
            raise InputError(
                f"[images] folder {self.folder} does not exist; name the folder, or the tar archive, with the images"
            )
        first = None
        with self._open() as files:
            for table in targets.iter_tables(pattern.columns):
                for name in pattern.names(table):
                    if name is None:
                        continue
                    if files.has(name):
                        return
                    first = first or name
            there = files.example()
        raise InputError(
            f"[images] {self.folder} has no image of any of the {targets.num_rows} targets"
            + (f", such as {first!r}" if first else f": no row has all of {', '.join(pattern.columns)}")
            + f"; it holds {there or 'nothing'}: check folder and pattern"
        )

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target; a file that is missing or bad gives its reason.

        Raises OSError where the folder or archive is not there, or no more: that is no galaxy's fault.
        """
        with self._open() as files:
            for name in FilePattern(self.pattern).names(targets):
                cutout = self._read_one(name, files.read)
                if files.is_folder and cutout.reason.startswith("no such file"):
                    require_folder(self.folder)
                yield cutout

    def _read_one(self, name: str | None, read: Callable[[str], bytes]) -> Cutout:
        if name is None:
            return Cutout(
                pixels=None,
                source=self.pattern,
                reason="no file name: a value that the pattern needs is missing, or cannot be part of a name",
            )
        try:
            pixels = decode_picture(
                read(name), input_size_pix=self.input_size_pix, crop_pix=self.crop_pix, size_pix=self.size_pix
            )
        except Unsuitable as reason:
            return Cutout(pixels=None, source=name, reason=str(reason))
        return Cutout(pixels=pixels, source=name)

    @contextmanager
    def _open(self) -> Iterator[_Files]:
        """Open the folder or archive. That it has vanished is no galaxy's fault, and raises OSError."""
        if Path(self.folder).is_dir():
            yield _Files(
                is_folder=True,
                has=lambda name: os.path.exists(f"{self.folder}/{name}"),
                read=lambda name: read_regular_file(f"{self.folder}/{name}"),
                example=lambda: min((printable(entry.name) for entry in os.scandir(self.folder)), default=""),
            )
        else:
            with open_tar(self.folder) as archive:
                yield _Files(is_folder=False, has=archive.__contains__, read=archive.read, example=archive.first_name)


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What a folder and an archive have in common."""

    is_folder: bool
    has: Callable[[str], bool]
    read: Callable[[str], bytes]
    example: Callable[[], str]
