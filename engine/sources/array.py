"""One HDF5 or Zarr array of ready cutouts, such as published sets of 152 or 160 pixels, with their object ids."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from skymetal.catalogs.errors import InputError, did_you_mean, first_line, printable
from skymetal.catalogs.targets import TargetList
from skymetal.engine.flux import crop_flux
from skymetal.engine.framing import Framing
from skymetal.engine.rendering import Rendering
from skymetal.engine.sources import Cutout
from skymetal.engine.sources.array_file import ArrayFile, open_array_file
from skymetal.engine.sources.flux import FluxCutout, render_cutout
from skymetal.engine.sources.pictures import crop_picture

MAX_ROWS = 200_000_000
SPAN_BYTES = 32 << 20
NUM_IDS_READ = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """Reads rows of the array ``images_key`` whose ``object_id_key``, an array of integers beside it, is a target's.

    The array is (N, H, W, C) or (N, C, H, W), its planes in the order of file_bands, of which ``bands`` are picked.
    ``uint8`` is taken as a picture (rendering None). Floats are flux, made pixels by rendering; NaN, ±inf and 0 are
    no data. Either way row 0 is the top of the picture: who fills an array from FITS planes turns them over first.
    The middle crop_pix of input_size_pix are kept, and resampled to the framing's size_pix. Each worker holds the ids
    of the whole array, 16 bytes a row, and of the images only what one shard needs.
    """

    path: str
    images_key: str
    object_id_key: str
    bands: tuple[str, ...]
    file_bands: tuple[str, ...]
    framing: Framing
    rendering: Rendering | None
    input_size_pix: int
    crop_pix: int

    def check(self, targets: TargetList) -> None:
        """Raise InputError, before any work, where the arrays are not as described or hold none of the galaxies."""
        with open_array_file(self.path) as file:
            self._images(file)
            ids_N, _ = self._index(file)
        is_repeat_N = ids_N[1:] == ids_N[:-1]
        if is_repeat_N.any():
            raise InputError(
                f"[images] {self.object_id_key!r} of {self.path} holds {ids_N[1:][is_repeat_N][0]} more than once "
                f"({np.count_nonzero(is_repeat_N)} rows repeat another's id); give every image its own"
            )
        for table in targets.iter_tables(["object_id"]):
            wanted_T = table["object_id"].to_numpy()
            if len(ids_N) and (ids_N[np.searchsorted(ids_N, wanted_T).clip(max=len(ids_N) - 1)] == wanted_T).any():
                return
        raise InputError(
            f"[images] {self.path} has no image of any of the {targets.num_rows} targets among its {len(ids_N)}; "
            f"check that {self.object_id_key!r} holds the same ids as the target list"
        )

    def read(self, targets: pa.Table) -> Iterator[Cutout]:
        """Yield one cutout a target; the array is read in its own order, span by span, never whole."""
        wanted_T = targets["object_id"].to_numpy()
        with open_array_file(self.path) as file:
            images = self._images(file)
            row_T, num_found_T = _find_rows(*self._index(file), wanted_T)
            cutouts = [self._missing(int(num)) for num in num_found_T]
            order = np.flatnonzero(num_found_T == 1)
            order = order[np.argsort(row_T[order], kind="stable")]
            for span in _spans(row_T[order], images):
                for target, cutout in zip(order[span], self._read_span(images, row_T[order[span]]), strict=True):
                    cutouts[target] = cutout
        yield from cutouts

    def _missing(self, num_found: int) -> Cutout:
        what = f"repeated id: {num_found} images have it" if num_found else "no such image: the array lacks its id"
        return Cutout(pixels=None, source=self._source(), reason=what)

    def _source(self, row: int | None = None) -> str:
        name = f"{os.path.basename(self.path)}:{self.images_key}"
        return name if row is None else f"{name}[{row}]"

    def _read_span(self, images: Any, row_S: NDArray[np.int64]) -> Iterator[Cutout]:
        first, last = int(row_S[0]), int(row_S[-1])
        reason = ""
        try:
            part = np.asarray(images[first : last + 1])
        except MemoryError:
            raise
        except Exception as error:  # codecs raise what they like, and a damaged chunk is its galaxies' fault only
            reason = f"unreadable image: {printable(first_line(error))}"
        for row in row_S.tolist():
            if reason:
                yield Cutout(pixels=None, source=self._source(row), reason=reason)
            else:
                yield self._cutout(part[row - first], self._source(row))

    def _cutout(self, pixels: NDArray[Any], source: str) -> Cutout:
        is_planes_first = pixels.shape != (self.input_size_pix, self.input_size_pix, len(self._file_bands))
        order = [self._file_bands.index(band) for band in self.bands]
        if self.rendering is not None:
            planes_CHW = pixels if is_planes_first else pixels.transpose(2, 0, 1)
            size_pix = self.framing.size_pix
            flux_HWC, flags, reason = crop_flux(
                planes_CHW[order], crop_pix=self.crop_pix, size_pix=size_pix, bands=self.bands
            )
            flux = FluxCutout(flux_HWC=flux_HWC, flags=flags, reason=reason)
            return render_cutout(flux, source=source, rendering=self.rendering)
        picture_HWC = pixels.transpose(1, 2, 0) if is_planes_first else pixels
        if self.bands != self._file_bands:
            picture_HWC = picture_HWC[:, :, order]
        if self.crop_pix == self.input_size_pix == self.framing.size_pix:
            return Cutout(pixels=picture_HWC.copy(), source=source)  # a view would keep the whole span in memory
        image = Image.fromarray(np.ascontiguousarray(picture_HWC))
        pixels_HWC = crop_picture(image, crop_pix=self.crop_pix, size_pix=self.framing.size_pix)
        return Cutout(pixels=pixels_HWC, source=source)

    @property
    def _file_bands(self) -> tuple[str, ...]:
        return self.file_bands or self.bands

    def _images(self, file: ArrayFile) -> Any:
        """Return the array of the images, of which shape and dtype are as they should be."""
        missing = [band for band in self.bands if band not in self._file_bands]
        if missing:
            raise InputError(f"[images] file_bands lack {missing[0]!r}; {did_you_mean(missing[0], self._file_bands)}")
        images = file.array("images_key", self.images_key)
        where = f"[images] {self.images_key!r} of {self.path}"
        size, num_bands = self.input_size_pix, len(self._file_bands)
        if tuple(images.shape[1:]) not in ((size, size, num_bands), (num_bands, size, size)):
            raise InputError(
                f"{where} has the shape {tuple(images.shape)}, expected (N, {size}, {size}, {num_bands}) or "
                f"(N, {num_bands}, {size}, {size}); give its size as input_size_pix and its planes as file_bands"
            )
        if self.rendering is None and images.dtype != np.uint8:
            raise InputError(
                f"{where} is {images.dtype}, but a picture is uint8; "
                "for flux give stretch = 'lupton', or dtype = 'float32' to keep it"
            )
        if self.rendering is not None and images.dtype.kind != "f":
            raise InputError(
                f"{where} is {images.dtype}, but flux is float32; for a ready picture leave stretch and dtype out"
            )
        return images

    def _ids(self, file: ArrayFile) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield (first row, ids) of all rows, a slice at a time."""
        ids, images = file.array("object_id_key", self.object_id_key), file.array("images_key", self.images_key)
        where = f"[images] {self.object_id_key!r} of {self.path}"
        if len(ids.shape) != 1 or ids.dtype.kind not in "iu":
            raise InputError(f"{where} is {ids.dtype} of shape {tuple(ids.shape)}; the ids must be one row of integers")
        if ids.shape[0] != images.shape[0]:
            raise InputError(
                f"{where} has {ids.shape[0]} ids for {images.shape[0]} images; name the ids of {self.images_key!r}"
            )
        if ids.shape[0] > MAX_ROWS:
            raise InputError(f"{where} has {ids.shape[0]} rows, and at most {MAX_ROWS} can be read; split the file")
        for start in range(0, ids.shape[0], NUM_IDS_READ):
            try:
                part = np.asarray(ids[start : start + NUM_IDS_READ])
            except MemoryError:
                raise
            except Exception as error:
                raise InputError(f"{where} cannot be read: {printable(first_line(error))}") from error
            yield start, part.astype(np.int64)

    def _index(self, file: ArrayFile) -> Index:
        """Return all ids, sorted, and the row of each; read once a process, and again where the file has changed."""
        status = os.stat(file.path)
        key = (self, status.st_ino, status.st_mtime_ns, status.st_size)
        with _lock:
            if key not in _indices:
                ids_N = np.concatenate([ids for _, ids in self._ids(file)] or [np.empty(0, np.int64)])
                row_N = np.argsort(ids_N, kind="stable")
                _indices.clear()
                _indices[key] = (ids_N[row_N], row_N)
            return _indices[key]


Index = tuple[NDArray[np.int64], NDArray[np.intp]]

_lock = threading.Lock()
_indices: dict[tuple[ArraySource, int, int, int], Index] = {}


def _find_rows(
    ids_N: NDArray[np.int64], row_N: NDArray[np.intp], wanted_T: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the array's row of every target, and how many rows have its id, both (T,)."""
    first_T = np.searchsorted(ids_N, wanted_T)
    num_T = np.searchsorted(ids_N, wanted_T, side="right") - first_T
    row_T = row_N[first_T.clip(max=len(row_N) - 1)] if len(row_N) else np.zeros(len(wanted_T), np.intp)
    return row_T.astype(np.int64), num_T


def _spans(row_S: NDArray[np.int64], images: Any) -> Iterator[slice]:
    """Yield the parts of sorted rows that are read in one go: of one chunk, or neighbours where there are none."""
    max_rows = max(1, SPAN_BYTES // (math.prod(images.shape[1:]) * images.dtype.itemsize))
    group_S = row_S // images.chunks[0] if images.chunks else row_S - np.arange(len(row_S))
    start = 0
    for stop in range(1, len(row_S) + 1):
        if stop == len(row_S) or group_S[stop] != group_S[start] or row_S[stop] - row_S[start] >= max_rows:
            yield slice(start, stop)
            start = stop
