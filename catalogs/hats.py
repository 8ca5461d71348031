"""The HATS layout (IVOA note 1.0): sky pixels, paths and small files, as functions of their arguments alone.

A catalogue is cut into HEALPix pixels, coarse where the sky is empty and fine where it is crowded, so that no pixel
holds more than ``max_rows`` rows. A pixel is a folder of part files (``hats_npix_suffix=/``): what was scored as one
block stays one file, and nothing has to be merged.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymetal.catalogs.healpix import ORDER

COLLECTION = "collection.properties"
PROPERTIES = "hats.properties"
PARTITION_INFO = "partition_info.csv"
DATASET = "dataset"
# Beside the dataset, not in it: the strict check of hats 0.11 takes each file in `dataset/_metadata` for a pixel.
METADATA = "_metadata"
COMMON_METADATA = f"{DATASET}/_common_metadata"
HATS_VERSION = "v1.0"
_PIXELS_PER_DIR = 10_000


@dataclass(frozen=True, kw_only=True)
class Pixel:
    """A nested HEALPix pixel that holds ``num_rows`` rows of a catalogue."""

    order: int
    npix: int
    num_rows: int

    @property
    def start(self) -> int:
        """The first order-29 index in the pixel."""
        return self.npix << 2 * (ORDER - self.order)

    @property
    def stop(self) -> int:
        """One past the last order-29 index in the pixel."""
        return (self.npix + 1) << 2 * (ORDER - self.order)

    @property
    def folder(self) -> str:
        """Where the pixel's part files lie in the catalogue."""
        first = self.npix // _PIXELS_PER_DIR * _PIXELS_PER_DIR
        return f"{DATASET}/Norder={self.order}/Dir={first}/Npix={self.npix}"


def pixel_of_file(name: str) -> Pixel:
    """Return the pixel that a data file's name says it is in."""
    order, npix = (int(part.partition("=")[2]) for part in name.split("/") if part.startswith(("Norder=", "Npix=")))
    return Pixel(order=order, npix=npix, num_rows=0)


def settle_pixels(
    index_N: NDArray[np.int64], *, previous: Pixel | None, max_rows: int, is_last: bool
) -> tuple[list[Pixel], NDArray[np.int64]]:
    """Return the partition's next pixels and the indices that no pixel can be settled for yet.

    Partitioning starts from the 12 pixels of order 0 and splits a pixel into its four children while it holds more
    than ``max_rows`` rows; only order 29 cannot be split. Pixels without rows are absent. ``index_N`` are sorted
    order-29 indices, all past ``previous``, the last pixel of the call before. As long as more than ``max_rows`` of
    them are at hand, the first pixel is certain without the rest of the sky, so a caller that feeds part after part
    holds about ``max_rows`` indices; ``is_last`` says that no more will come.
    """
    pixels: list[Pixel] = []
    while len(index_N) > (0 if is_last else max_rows):
        pixel = _first_pixel(index_N, covered=previous.stop if previous else 0, max_rows=max_rows)
        if pixel.num_rows == len(index_N) and not is_last:
            break  # one order-29 pixel, overfull: the next part may hold more of it
        pixels.append(pixel)
        previous, index_N = pixel, index_N[pixel.num_rows :]
    return pixels, index_N


def _first_pixel(index_N: NDArray[np.int64], *, covered: int, max_rows: int) -> Pixel:
    """Return the coarsest pixel around the first index that holds few enough rows and none that is covered."""
    first = int(index_N[0])
    for order in range(ORDER + 1):
        pixel = Pixel(order=order, npix=first >> 2 * (ORDER - order), num_rows=0)
        if pixel.start < covered:
            continue  # a pixel around one that is settled was split
        num_rows = int(np.searchsorted(index_N, pixel.stop))
        if num_rows <= max_rows:
            break
    return Pixel(order=order, npix=pixel.npix, num_rows=num_rows)


def partition_info(pixels: Iterable[Pixel]) -> bytes:
    """Return ``partition_info.csv``."""
    return "".join(["Norder,Npix\n", *(f"{pixel.order},{pixel.npix}\n" for pixel in pixels)]).encode()


def table_properties(*, name: str, pixels: Sequence[Pixel], max_rows: int) -> dict[str, str]:
    """Return the properties of the table of galaxies that a reader of HATS needs.

    ``hats_creation_date`` is left out, as the hats library allows: the bytes depend on the catalogue's content alone.
    """
    own = {"dataproduct_type": "object", "hats_max_rows": str(max_rows)}
    return own | _properties(name, pixels, num_rows=sum(pixel.num_rows for pixel in pixels))


def margin_properties(
    *, name: str, primary: str, margin_arcsec: float, pixels: Sequence[Pixel], num_rows: int
) -> dict[str, str]:
    """Return the properties of a table of margins around the pixels of the primary table."""
    own = {
        "dataproduct_type": "margin",
        "hats_primary_table_url": primary,
        "hats_margin_threshold": f"{margin_arcsec:g}",
    }
    return own | _properties(name, pixels, num_rows=num_rows)


def collection_properties(*, primary: str, margins: Sequence[str]) -> dict[str, str]:
    """Return the properties of a collection: the table of galaxies and those of its margins, by name."""
    margin = {"all_margins": " ".join(margins), "default_margin": margins[0]} if margins else {}
    return {"hats_primary_table_url": primary, **margin}


def _properties(name: str, pixels: Sequence[Pixel], *, num_rows: int) -> dict[str, str]:
    return {
        "obs_collection": name,
        "hats_nrows": str(num_rows),
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": "_healpix_29",
        "hats_col_healpix_order": str(ORDER),
        "hats_npix_suffix": "/",
        "hats_order": str(max(pixel.order for pixel in pixels)),
        "hats_version": HATS_VERSION,
        "hats_builder": "skymetal",
    }


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def format_properties(properties: Mapping[str, str]) -> bytes:
    """Return a Java properties file, in the order given. Keys are plain words; values may hold anything."""
    lines = []
    for key, value in properties.items():
        text = "".join(_ESCAPES.get(letter, letter) for letter in value)
        if text.startswith(" "):
            text = "\\" + text
        lines.append(f"{key}={text}\n")
    return "".join(lines).encode()


def parse_properties(data: bytes) -> dict[str, str]:
    """Return what :func:`format_properties` wrote."""
    properties = {}
    for line in data.decode().split("\n"):
        key, separator, text = line.partition("=")
        if separator and not key.startswith(("#", "!")):
            letters = iter(text)
            properties[key] = "".join(
                _UNESCAPES.get(escaped := next(letters, ""), escaped) if letter == "\\" else letter
                for letter in letters
            )
    return properties


def dataset_metadata(common: bytes, footers: Mapping[str, pq.FileMetaData]) -> bytes:
    """Return ``_metadata``: the row groups of every file, by the file's path in the table.

    ``common`` is ``_common_metadata``, whose words it carries; the files' own differ, as each names its source.
    """
    total = pq.read_metadata(pa.BufferReader(common))
    for path, footer in footers.items():
        footer.set_file_path(path)
        total.append_row_groups(footer)
    buffer = io.BytesIO()
    total.write_metadata_file(buffer)
    return buffer.getvalue()
