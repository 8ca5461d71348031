"""The HATS layout (IVOA note 1.0): sky pixels, paths and small files, as functions of their arguments alone.

A catalogue is cut into HEALPix pixels, coarse where the sky is empty and fine where it is crowded, so that no pixel
holds more than ``max_rows`` rows. A pixel is a folder of part files (``hats_npix_suffix=/``), each of consecutive rows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

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


def settle_pixels(rank: Callable[[int], int], *, max_rows: int) -> list[Pixel]:
    """Return the partition: from the 12 pixels of order 0 down, each split in four while it holds too many rows.

    ``rank`` tells how many rows have an order-29 index below a number. Only order 29 cannot be split; pixels without
    rows are absent.
    """
    pixels: list[Pixel] = []
    waiting = [(0, npix) for npix in reversed(range(12))]
    while waiting:
        order, npix = waiting.pop()
        start, stop = (number << 2 * (ORDER - order) for number in (npix, npix + 1))
        num_rows = rank(stop) - rank(start)
        if num_rows <= max_rows or order == ORDER:
            pixels += [Pixel(order=order, npix=npix, num_rows=num_rows)] if num_rows else []
        else:
            waiting += [(order + 1, 4 * npix + child) for child in reversed(range(4))]
    return pixels


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
