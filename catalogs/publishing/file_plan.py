"""Which rows of which parts become which file: told by the receipts' counts alone, before any part is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skymetal.catalogs.hats import DATASET, Pixel
from skymetal.catalogs.parts import PartReceipt
from skymetal.catalogs.publishing.edition import Edition

# Parts are joined to files of about so many rows: a survey's worth of small files is slow to copy, list and open.
FILE_ROWS = 131_072
FILE_BYTES = 64 << 20
"""In memory: with embeddings a row is a kilobyte."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The rows ``start`` to ``stop`` of one part."""

    receipt: PartReceipt
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class FilePlan:
    """One file of the table of galaxies: pieces of neighbouring parts, all in one sky pixel where there are any."""

    pieces: tuple[Piece, ...]
    pixel: Pixel | None = None

    @property
    def folder(self) -> str:
        """Where the file lies in the table."""
        return self.pixel.folder if self.pixel else DATASET

    @property
    def source_shards(self) -> str:
        """The first and the last shard that its rows are of."""
        return f"{self.pieces[0].receipt.index}-{self.pieces[-1].receipt.index}"


def check_receipts(edition: Edition) -> None:
    """Raise RuntimeError where the receipts' keys do not go up from part to part, or deny what the counts say.

    A part without rows is not read: there is nothing in it that could be lost.
    """
    last: int | None = None
    for receipt in edition.manifest.receipts:
        if receipt.first_key is None or receipt.last_key is None:
            if receipt.num_rows or receipt.first_key is not None or receipt.last_key is not None:
                raise _contradictory(edition, receipt)
            continue
        if receipt.num_rows < 1:
            raise _contradictory(edition, receipt)
        if last is not None and receipt.first_key < last:
            raise out_of_order(edition, receipt)
        last = receipt.last_key


def out_of_order(edition: Edition, receipt: PartReceipt) -> RuntimeError:
    """Return what is to be said of a part whose rows go down."""
    where = f"{edition.parts}/{receipt.file}"
    return RuntimeError(f"{where} is out of order: {edition.sort_key} goes down in it, or from the part before")


def _contradictory(edition: Edition, receipt: PartReceipt) -> RuntimeError:
    return RuntimeError(
        f"the receipt of {edition.parts}/{receipt.file} is damaged: it counts {receipt.num_rows} rows and gives "
        f"{receipt.first_key} and {receipt.last_key} for the first and the last {edition.sort_key}; delete it and "
        "run `skymetal score` again"
    )


def plan_files(edition: Edition, pixels: Sequence[Pixel]) -> Iterator[FilePlan]:
    """Yield the files in the order of their rows: parts cut at the pixels' borders, joined until a file is full.

    Without pixels (no positions) only its size ends a file.
    """
    max_rows = min(FILE_ROWS, FILE_BYTES // edition.row_bytes)
    held: list[Piece] = []
    held_pixel: Pixel | None = None
    for pixel, piece in _cut(edition.manifest.receipts, pixels):
        if held and (pixel != held_pixel or sum(each.stop - each.start for each in held) >= max_rows):
            yield FilePlan(pieces=tuple(held), pixel=held_pixel)
            held = []
        held.append(piece)
        held_pixel = pixel
    if held:
        yield FilePlan(pieces=tuple(held), pixel=held_pixel)


def _cut(receipts: Sequence[PartReceipt], pixels: Sequence[Pixel]) -> Iterator[tuple[Pixel | None, Piece]]:
    """Cut the parts at the pixels' borders: both are in the order of the sky, so counting rows is enough."""
    following = iter(pixels)
    pixel: Pixel | None = None
    room = 0
    for receipt in receipts:
        start = 0
        while start < receipt.num_rows:
            if pixels and not room:
                pixel = next(following, None)
                if pixel is None:
                    raise RuntimeError(f"{receipt.file} holds rows that are in no pixel: their index is not of the sky")
                room = pixel.num_rows
            stop = min(receipt.num_rows, start + room) if pixels else receipt.num_rows
            yield pixel, Piece(receipt=receipt, start=start, stop=stop)
            room -= stop - start
            start = stop
