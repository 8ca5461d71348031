"""The table of margins: few rows of a file for many pixels, held until a pixel's are worth a file of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor

import numpy as np
import pyarrow as pa

from skymetal.catalogs import hats
from skymetal.catalogs.hats import Pixel
from skymetal.catalogs.publishing.ahead import map_ahead
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

    def find(self, rows: pa.Table) -> list[tuple[Pixel, pa.Table]]:
        """Return copies of those rows that are in margins, with the pixels whose margins these are; in any thread."""
        found = list(self._finder.find(rows["_healpix_29"].to_numpy()))
        if not found:
            return []
        taken = rows.take(np.concatenate([row_M for _, row_M in found]))
        ends = np.cumsum([len(row_M) for _, row_M in found]).tolist()
        return [
            (pixel, taken.slice(end - len(row_M), len(row_M))) for (pixel, row_M), end in zip(found, ends, strict=True)
        ]

    def add(self, found: Iterable[tuple[Pixel, pa.Table]]) -> None:
        """Take what was found among the next rows of the pass."""
        for pixel, rows in found:
            self._held.setdefault(pixel, []).append(rows)
            self._num_held += rows.num_rows
        while self._num_held * self._edition.row_bytes > BYTES_HELD:
            fullest = max(self._held, key=lambda each: sum(table.num_rows for table in self._held[each]))
            self.writer.add(self.writer.write(len(self.writer.entries), fullest.folder, self._take(fullest)))

    def finish(self, pool: Executor) -> bool:
        """Write what is held and the summaries; return whether there is any row, so whether there is a table."""
        held = sorted(self._held, key=lambda each: each.start)
        first = len(self.writer.entries)
        jobs = ((number, pixel, self._take(pixel)) for number, pixel in enumerate(held, start=first))
        for written in map_ahead(pool, lambda job: self.writer.write(job[0], job[1].folder, job[2]), jobs):
            self.writer.add(written)
        pixels = sorted(self._written, key=lambda each: each.start)
        if not pixels:
            return False
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

    def _take(self, pixel: Pixel) -> pa.Table:
        rows = pa.concat_tables(self._held.pop(pixel))
        self._num_held -= rows.num_rows
        self._written.add(pixel)
        return rows
