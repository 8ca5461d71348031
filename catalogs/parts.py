"""Parts: one scored Parquet file a block, its receipt, and the manifest that sums them.

A part is committed in two steps: its file, named by its own digest, then an exclusive receipt that names the
file. Until the receipt is there the part does not exist; a file that no receipt names is debris, never data.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.schema import sort_key
from skymetal.catalogs.storage import Folder, commit_receipt, digest

MANIFEST = "manifest.json"
RECEIPTS = "receipts/*.json"
PARTS_FORMAT = 4
"""One of the things that a run's digest names: parts of another form, or other last digits, are not gone on with."""
PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
"""How tables are written. Without dictionaries float columns are both faster and smaller (measured)."""
PART_OPTIONS: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
"""A part is written once and read once, whole, under a digest: floats hardly shrink, the rest costs time (measured)."""


@dataclass(frozen=True, kw_only=True)
class PartReceipt:
    """Proof that block ``index`` is done by the run of that digest: how many rows went where, and the part's file.

    first_key and last_key are those of the column that the rows are in the order of; None where there is no row.
    num_quarantined counts galaxies without an image and those that could not be scored; the latter are ``rejected``,
    (object_id, reason) in the block's order.
    """

    run_digest: str
    index: int
    num_rows: int
    num_quarantined: int
    file: str
    num_bytes: int
    digest: str
    first_key: int | None = None
    last_key: int | None = None
    rejected: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        # JSON knows no tuples; a receipt that was read must equal the one that was written.
        object.__setattr__(self, "rejected", tuple((int(each), str(reason)) for each, reason in self.rejected))

    def to_json(self) -> bytes:
        """Return the receipt as bytes that depend on its values alone."""
        return json.dumps(vars(self), sort_keys=True).encode()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Every part of one finished pass, in block order, under the digest of what made them."""

    run_digest: str
    receipts: tuple[PartReceipt, ...]

    def __post_init__(self) -> None:
        if [receipt.index for receipt in self.receipts] != list(range(len(self.receipts))):
            raise ValueError("a manifest holds one receipt for every block, in order")

    @property
    def num_rows(self) -> int:
        """Rows scored, over all parts."""
        return sum(receipt.num_rows for receipt in self.receipts)

    @property
    def num_quarantined(self) -> int:
        """Galaxies quarantined, over all parts."""
        return sum(receipt.num_quarantined for receipt in self.receipts)

    @property
    def rejected(self) -> dict[int, str]:
        """Why each galaxy, by object_id, that has an image could not be scored."""
        return {object_id: reason for receipt in self.receipts for object_id, reason in receipt.rejected}

    def to_json(self) -> bytes:
        """Return the manifest as bytes that depend on its values alone."""
        rows = [vars(receipt) for receipt in self.receipts]
        return json.dumps({"run_digest": self.run_digest, "receipts": rows}, sort_keys=True, indent=1).encode()

    @cached_property
    def digest(self) -> str:
        """The digest that names this pass: same parts by the same run, same digest."""
        return digest(self.to_json())


def encode_parquet(table: pa.Table, *, row_group_size: int | None = None) -> bytes:
    """Return a table as Parquet bytes that depend on the table alone."""
    return _encode(table, PARQUET_OPTIONS, row_group_size=row_group_size)


def encode_part(table: pa.Table) -> bytes:
    """Return a table as the bytes of a part."""
    return _encode(table, PART_OPTIONS)


def _encode(table: pa.Table, options: Mapping[str, Any], **more: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options, **more)
    return buffer.getvalue()


def decode_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table of a small Parquet file in memory; raise OSError or ValueError for what is none.

    In this thread alone: Arrow's own threads, where a process that has only just read ends, can abort it.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)


def commit_part(
    folder: Folder,
    index: int,
    table: pa.Table,
    *,
    num_quarantined: int,
    run_digest: str,
    rejected: Sequence[tuple[int, str]] = (),
) -> PartReceipt:
    """Write one part and its receipt; doing it twice is harmless.

    Raises RuntimeError when another worker committed different rows for the same block.
    """
    data = encode_part(table)
    file = f"part-{index:06d}-{digest(data)[:12]}.parquet"
    keys = table[sort_key(table.column_names)]
    receipt = PartReceipt(
        run_digest=run_digest,
        index=index,
        num_rows=table.num_rows,
        num_quarantined=num_quarantined,
        file=file,
        num_bytes=len(data),
        digest=digest(data),
        first_key=keys[0].as_py() if len(keys) else None,
        last_key=keys[-1].as_py() if len(keys) else None,
        rejected=tuple(rejected),
    )
    folder.write(file, data)
    commit_receipt(folder, _receipt_name(index), receipt.to_json())
    return receipt


def find_receipt(folder: Folder, index: int, *, run_digest: str) -> PartReceipt | None:
    """Return the receipt of a block, or None where it is not done, or its part's file is lost.

    Raises InputError where another run made the part, RuntimeError for a receipt that cannot be read.
    """
    name = _receipt_name(index)
    try:
        receipt = PartReceipt(**json.loads(folder.read(name)))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise RuntimeError(f"{folder}/{name} is damaged; delete it and run `skymetal score` again") from error
    if receipt.run_digest != run_digest:
        raise InputError(
            f"{folder} holds parts that were scored with another model, store or setting ({name}); "
            f"name another [job] run_dir, or delete {folder}"
        )
    return receipt if folder.find_size(receipt.file) == receipt.num_bytes else None


def missing_blocks(folder: Folder, num_blocks: int, *, run_digest: str) -> list[int]:
    """Return the blocks that are not done: what is left to do is set subtraction. Raises as find_receipt does."""
    return [index for index in range(num_blocks) if find_receipt(folder, index, run_digest=run_digest) is None]


def read_part(folder: Folder, receipt: PartReceipt) -> pa.Table:
    """Return one part's rows; raise RuntimeError where the file is lost or not what its receipt says."""
    data = _read_file(folder, receipt)
    if digest(data) != receipt.digest:
        raise _damaged(folder, receipt, "it is not what its receipt says")
    return decode_parquet(data)


def read_keys(folder: Folder, receipt: PartReceipt, column: str) -> NDArray[np.int64]:
    """Return one column of a part; that the rest of the file is whole shows when it is read."""
    try:
        table = decode_parquet(_read_file(folder, receipt), [column])
        return np.asarray(table[column].to_numpy(), np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise _damaged(folder, receipt, first_line(error)) from error


def _read_file(folder: Folder, receipt: PartReceipt) -> bytes:
    try:
        return folder.read(receipt.file)
    except FileNotFoundError:
        raise RuntimeError(f"{folder}/{receipt.file} is lost; run `skymetal score` again") from None


def _damaged(folder: Folder, receipt: PartReceipt, how: str) -> RuntimeError:
    return RuntimeError(f"{folder}/{receipt.file} is damaged: {how}; delete it and run `skymetal score` again")


def write_manifest(folder: Folder, num_blocks: int, *, run_digest: str) -> Manifest:
    """Sum the receipts into a manifest; delete files that no receipt names and those that a killed worker left half.

    Raises RuntimeError when blocks are missing. A lost manifest is made again by the same call.
    """
    receipts = [find_receipt(folder, index, run_digest=run_digest) for index in range(num_blocks)]
    missing = [index for index, receipt in enumerate(receipts) if receipt is None]
    if missing:
        raise RuntimeError(f"{len(missing)} of {num_blocks} blocks are not done, the first is {missing[0]}")
    manifest = Manifest(run_digest=run_digest, receipts=tuple(r for r in receipts if r is not None))
    _delete_debris(folder, manifest.receipts)
    folder.write(MANIFEST, manifest.to_json())
    return manifest


def read_manifest(folder: Folder) -> Manifest:
    """Return the manifest of a finished pass; raise FileNotFoundError where there is none, RuntimeError if damaged."""
    try:
        content = json.loads(folder.read(MANIFEST))
        receipts = tuple(PartReceipt(**row) for row in content["receipts"])
        return Manifest(run_digest=content["run_digest"], receipts=receipts)
    except (KeyError, TypeError, ValueError) as error:
        raise RuntimeError(f"{folder}/{MANIFEST} is damaged; run `skymetal score`, which makes it again") from error


def _receipt_name(index: int) -> str:
    return f"receipts/{index:06d}.json"


def _delete_debris(folder: Folder, receipts: Iterable[PartReceipt]) -> None:
    kept = {receipt.file for receipt in receipts}
    for name in folder.names("part-*.parquet"):
        if name not in kept:
            folder.remove(name)
    folder.sweep()
