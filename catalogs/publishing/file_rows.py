"""The rows of a file, read from the parts it is made of and checked against the receipts and the plan."""

from __future__ import annotations

from functools import lru_cache, partial

import pyarrow as pa

from skymetal.catalogs.parts import PartReceipt, read_part
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.file_plan import FilePlan, Piece, out_of_order

PARTS_HELD = 4


class RowReader:
    """Reads the rows of files. A part that several files share is read once while these follow each other."""

    def __init__(self, edition: Edition) -> None:
        self._edition = edition
        self._read_shared = lru_cache(maxsize=PARTS_HELD)(partial(_read, edition))

    def read(self, plan: FilePlan) -> pa.Table:
        """Return the rows of a file, in any thread.

        RuntimeError where a part is damaged, out of order, or not in the file's pixel.
        """
        edition, pixel = self._edition, plan.pixel
        rows = pa.concat_tables(map(self._read_piece, plan.pieces))
        first, last = (rows[edition.sort_key][place].as_py() for place in (0, -1))
        if pixel and not (pixel.start <= first and last < pixel.stop):
            raise RuntimeError(f"{edition.parts}: the rows for {plan.folder} lie elsewhere; nothing is published")
        return rows

    def _read_piece(self, piece: Piece) -> pa.Table:
        receipt = piece.receipt
        if piece.stop - piece.start == receipt.num_rows:
            return _read(self._edition, receipt)
        return self._read_shared(receipt).slice(piece.start, piece.stop - piece.start)


def _read(edition: Edition, receipt: PartReceipt) -> pa.Table:
    """Return a part's rows, in order and all that its receipt counts; RuntimeError where it has other columns."""
    table = read_part(edition.parts, receipt)
    where = f"{edition.parts}/{receipt.file}"
    if table.schema.names != edition.schema.names or table.schema.types != edition.schema.types:
        raise RuntimeError(f"{where} has other columns than the catalogue: {table.schema.names}")
    if table.num_rows != receipt.num_rows:
        raise RuntimeError(f"{where} holds {table.num_rows} rows; its receipt says {receipt.num_rows}")
    key_N = table[edition.sort_key].to_numpy()
    if (key_N[0], key_N[-1]) != (receipt.first_key, receipt.last_key):
        raise RuntimeError(f"{where} has another first or last row than its receipt says")
    if (key_N[1:] < key_N[:-1]).any():
        raise out_of_order(edition, receipt)
    return table
