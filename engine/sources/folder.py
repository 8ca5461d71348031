"""A folder of JPEG or PNG colour images, one file a galaxy, named by a pattern."""

from __future__ import annotations

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

    def check(self) -> None:
        """Raise InputError, before any work, where the folder cannot serve."""
        folder = Path(self.folder)
        if not folder.is_dir():
            raise InputError(f"[images] folder {folder} does not exist; name the folder with the image files")
        if "{object_id}" not in self.pattern:
            raise InputError(f"[images] pattern must contain {{object_id}}, got {self.pattern!r}")
        if not any(path.is_file() for path in folder.glob(self.pattern.replace("{object_id}", "*"))):
            there = next((path.name for path in sorted(folder.iterdir())[:1]), "nothing")
            raise InputError(
                f"[images] folder {folder} holds no file like {self.pattern!r}, but {there}; check folder and pattern"
            )

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target; a file that is missing or bad gives its reason."""
        for object_id in targets["object_id"].to_pylist():
            name = self.pattern.replace("{object_id}", str(object_id))
            try:
                yield Cutout(pixels=self._decode((Path(self.folder) / name).read_bytes()), source=name)
            except FileNotFoundError:
                yield Cutout(pixels=None, source=name, reason="no such file")
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
                yield Cutout(pixels=None, source=name, reason=_reason(error))

    def _decode(self, data: bytes) -> NDArray[np.uint8]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                expected = (self.input_size_pix, self.input_size_pix)
                if image.size != expected:
                    raise ValueError(
                        f"image is {image.size[0]}×{image.size[1]} pixels, expected {expected[0]}×{expected[1]}"
                    )
                if image.mode != "RGB":
                    raise ValueError(f"image is of mode {image.mode}, expected RGB")
                margin = (self.input_size_pix - self.crop_pix) / 2
                box = (margin, margin, margin + self.crop_pix, margin + self.crop_pix)
                if self.crop_pix == self.size_pix == self.input_size_pix:
                    return np.asarray(image).copy()
                size = (self.size_pix, self.size_pix)
                return np.asarray(image.resize(size, Image.Resampling.BOX, box=box)).copy()


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a JPEG or PNG image"
    return (str(error).splitlines() or [type(error).__name__])[0]
