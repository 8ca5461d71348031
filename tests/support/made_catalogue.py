"""A small catalogue of made-up numbers, published for real: across ra 0 and round both poles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.healpix import healpix29
from skymetal.catalogs.parts import commit_part, write_manifest
from skymetal.catalogs.publishing.publish import CatalogSettings, PublishReceipt, publish
from skymetal.catalogs.schema import catalogue_schema
from skymetal.catalogs.storage import LocalFolder

NUM_ROWS = 3000


Positions = tuple[NDArray[np.float64], NDArray[np.float64]]


def make_table(seed: int, *, has_sky: bool = True, positions: Positions | None = None) -> pa.Table:
    """Rows in store order: at these positions, or a third across ra 0, a third round each pole."""
    rng = np.random.default_rng(seed)
    ra, dec = positions or crowd(rng)
    columns: dict[str, object] = {"object_id": rng.permutation(10**18 + np.arange(len(ra)))}
    if has_sky:
        columns |= {"ra": ra, "dec": dec, "_healpix_29": healpix29(ra, dec)}
    schema = catalogue_schema(num_folds=2, has_sky=has_sky).to_arrow()
    for field in schema:
        if field.type == pa.float32():
            columns[field.name] = rng.normal(8.8, 0.2, len(ra)).astype(np.float32)
    columns |= {"is_out_of_fold": rng.random(len(ra)) < 0.1, "flags": np.zeros(len(ra), dtype=np.int32)}
    return pa.table(columns, schema=schema).sort_by("_healpix_29" if has_sky else "object_id")


def crowd(rng: np.random.Generator) -> Positions:
    third = NUM_ROWS // 3
    ra = np.concatenate([rng.uniform(-2, 2, third) % 360, rng.uniform(0, 360, 2 * third)])
    dec = np.concatenate([rng.uniform(-2, 2, third), rng.uniform(88, 90, third), rng.uniform(-90, -88, third)])
    ra[0], dec[0], dec[third], dec[-1] = 0.0, 0.0, 90.0, -90.0
    return ra, dec


def publish_table(
    run_dir: Path,
    table: pa.Table,
    *,
    name: str = "tiny",
    rows_a_part: int = 512,
    max_rows: int = 300,
    margin_arcsec: float = 10.0,
) -> PublishReceipt:
    parts = LocalFolder(run_dir / "parts")
    starts = range(0, table.num_rows, rows_a_part)
    for index, start in enumerate(starts):
        commit_part(parts, index, table.slice(start, rows_a_part), num_quarantined=0, run_digest="run")
    *_, receipt = publish(
        parts=parts,
        manifest=write_manifest(parts, len(starts), run_digest="run"),
        schema=table.schema,
        run_dir=LocalFolder(run_dir),
        settings=CatalogSettings(name=name, max_rows=max_rows, margin_arcsec=margin_arcsec),
        provenance={"job": "a = b, é"},
    )
    assert isinstance(receipt, PublishReceipt)
    return receipt
