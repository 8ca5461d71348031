"""A folder of JPEG or PNG colour images, one file a galaxy, named by a pattern."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from skymetal.catalogs.errors import InputError
from skymetal.engine.sources import Cutout

FORMATS = ("JPEG", "PNG")
MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Reads ``folder/pattern``, where ``{object_id}`` stands for the galaxy's id.

    Files must be square RGB images of input_size_pix. The middle crop_pix of them is kept and averaged down
    (or resampled up) to size_pix; the three are equal where nothing is to be done.
    """

    folder: str
    pattern: str
    size_pix: int
    input_size_pix: int
    crop_pix: int

    def check(self, targets: pa.Table) -> None:
        """Raise InputError, before any work, where the folder has an image for none of the galaxies."""
        folder = Path(self.folder)
        if not folder.is_dir():
            raise InputError(f"[images] folder {folder} does not exist; name the folder with the image files")
        if "{object_id}" not in self.pattern:
            raise InputError(f"[images] pattern must contain {{object_id}}, got {self.pattern!r}")
        if Path(self.pattern).is_absolute() or ".." in Path(self.pattern).parts:
            raise InputError(f"[images] pattern must stay inside the folder, got {self.pattern!r}")
        object_id = targets["object_id"]
        if not any((folder / self._name(value.as_py())).exists() for value in object_id):
            there = next((path.name for path in sorted(folder.iterdir())[:1]), "nothing")
            raise InputError(
                f"[images] folder {folder} has no image of any of the {len(object_id)} targets, such as "
                f"{self._name(object_id[0].as_py())!r}; it holds {there}: check folder and pattern"
            )

    def _name(self, object_id: int) -> str:
        return self.pattern.replace("{object_id}", str(object_id))

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target; a file that is missing or bad gives its reason."""
        for object_id in targets["object_id"].to_pylist():
            name = self._name(object_id)
            try:
                yield Cutout(pixels=self._decode(_read_file(Path(self.folder) / name)), source=name)
            except FileNotFoundError:
                yield Cutout(pixels=None, source=name, reason="no such file")
            except UnidentifiedImageError:
                yield Cutout(pixels=None, source=name, reason="not a JPEG or PNG image")
            except _Unsuitable as error:
                yield Cutout(pixels=None, source=name, reason=str(error))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
                words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                yield Cutout(pixels=None, source=name, reason=f"unreadable image: {words.splitlines()[0]}")

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                expected = (self.input_size_pix, self.input_size_pix)
                if image.size != expected:
                    raise _Unsuitable(
                        f"wrong size: {image.width}×{image.height} pixels, expected {expected[0]}×{expected[1]}"
                    )
                if image.mode != "RGB":
                    raise _Unsuitable(f"wrong mode: {image.mode}, expected RGB")
                margin = (self.input_size_pix - self.crop_pix) / 2
                box = (margin, margin, margin + self.crop_pix, margin + self.crop_pix)
                if self.crop_pix == self.size_pix == self.input_size_pix:
                    return np.asarray(image).copy()
                size = (self.size_pix, self.size_pix)
                return np.asarray(image.resize(size, Image.Resampling.BOX, box=box)).copy()


class _Unsuitable(Exception):
    """A file that can be read, and is not what the job says it is."""


def _read_file(path: Path) -> bytes:
    """Return the bytes of a regular file; reading a pipe or device might never end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _Unsuitable("not a regular file")
    if status.st_size > MAX_BYTES:
        raise _Unsuitable(f"file too large: {status.st_size} bytes, at most {MAX_BYTES} are read")
    return path.read_bytes()
