"""The rows of one file, read from the parts it is made of and checked against the receipts and the plan."""

from __future__ import annotations

import pyarrow as pa

from skymetal.catalogs.parts import PartReceipt, read_part
from skymetal.catalogs.publishing.edition import Edition
from skymetal.catalogs.publishing.file_plan import FilePlan, out_of_order


def read_rows(edition: Edition, plan: FilePlan) -> pa.Table:
    """Return the rows of a file; RuntimeError where a part is damaged, out of order, or not in the file's pixel."""
    rows = pa.concat_tables(
        _read(edition, piece.receipt).slice(piece.start, piece.stop - piece.start) for piece in plan.pieces
    )
    first, last = (rows[edition.sort_key][place].as_py() for place in (0, -1))
    pixel = plan.pixel
    if pixel and not (pixel.start <= first and last < pixel.stop):
        raise RuntimeError(f"{edition.parts}: the rows for {plan.folder} lie elsewhere; nothing is published")
    return rows


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
