"""The table of margins: few rows of a part for many pixels, held until a pixel's are worth a file of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from skymetal.catalogs import hats
from skymetal.catalogs.hats import Pixel
from skymetal.catalogs.publishing.dataset import DatasetWriter
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.margin import MarginFinder

BYTES_HELD = 128 << 20


class MarginTable:
    """Takes a pass's rows in order and writes those that are in some pixel's margin."""

    def __init__(self, writer: DatasetWriter, edition: Edition, pixels: Sequence[Pixel]) -> None:
        self.writer = writer
        self._edition = edition
        self._finder = MarginFinder(pixels, edition.margin_arcsec)
        self._held: dict[Pixel, list[pa.Table]] = {}
        self._num_held = 0
        self._written: set[Pixel] = set()

    def add(self, rows: pa.Table) -> None:
        """Take the next rows of the pass."""
        found = list(self._finder.find(rows["_healpix_29"].to_numpy()))
        if not found:
            return
        taken, first = rows.take(np.concatenate([row_M for _, row_M in found])), 0
        for pixel, row_M in found:
            self._held.setdefault(pixel, []).append(taken.slice(first, len(row_M)))
            first += len(row_M)
        self._num_held += first
        while self._num_held * self.writer.row_bytes > BYTES_HELD:
            self._write(max(self._held, key=lambda each: sum(table.num_rows for table in self._held[each])))

    def finish(self) -> bool:
        """Write what is held and the summaries; return whether there is any row, so whether there is a table."""
        for pixel in sorted(self._held, key=lambda each: each.start):
            self._write(pixel)
        pixels = sorted(self._written, key=lambda each: each.start)
        if not pixels:
            return False
        self.writer.flush()
        edition = self._edition
        properties = hats.margin_properties(
            name=edition.margin_name,
            primary=edition.name,
            margin_arcsec=edition.margin_arcsec,
            pixels=pixels,
            num_rows=self.writer.num_rows,
        )
        self.writer.finish(
            {
                hats.PROPERTIES: hats.format_properties(properties | edition.words),
                hats.PARTITION_INFO: hats.partition_info(pixels),
            }
        )
        return True

    def _write(self, pixel: Pixel) -> None:
        rows = pa.concat_tables(self._held.pop(pixel))
        self._num_held -= rows.num_rows
        self.writer.write(pixel.folder, rows)
        self._written.add(pixel)
