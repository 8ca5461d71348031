"""A run directory to look around in (a published catalogue, its target list and store), and its server at work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from support.made_catalogue import make_table, publish_table
from support.stores import SPEC

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.deploy.serving.server import CatalogServer
from skymetal.engine.shard import StoreLayout
from skymetal.engine.store import create_store

QUARANTINED = 17
"""The object_id of a target that has no image, and so is not in the catalogue."""


def make_run(run_dir: Path, *, has_sky: bool = True) -> Path:
    """Publish 3000 galaxies, some of them flagged, with a cutout each in a store beside."""
    table = make_table(1, has_sky=has_sky)
    flags = np.where(np.arange(table.num_rows) % 3 == 0, 2049, 0).astype(np.int32)
    table = table.set_column(table.schema.get_field_index("flags"), table.schema.field("flags"), pa.array(flags))
    publish_table(run_dir, table)
    names = ["object_id", "ra", "dec"] if has_sky else ["object_id"]
    one_more = {"object_id": [QUARANTINED], "ra": [1.0], "dec": [1.0]}
    rows = pa.concat_tables([table.select(names), pa.table(one_more).select(names)], promote_options="permissive")
    fill_store(LocalFolder(run_dir), rows)
    return run_dir


def fill_store(folder: LocalFolder, rows: pa.Table) -> None:
    targets = write_targets(folder, "targets.parquet", rows, selection={"survey": "sdss"})
    layout = StoreLayout(
        image_spec=SPEC, num_targets=targets.num_rows, shard_size=512, chunk_size=64, targets_digest=targets.digest
    )
    store = create_store(folder / "store.zarr", layout)
    for index in range(store.num_blocks):
        object_id = targets.read(*layout.rows(index))["object_id"]
        num_rows = len(object_id)
        receipt = {
            "object_id": object_id,
            "is_stored": [each != QUARANTINED for each in object_id.to_pylist()],
            "ingest_flags": [0] * num_rows,
            "pixel_scale_arcsec": [0.4] * num_rows,
            "source": ["x.jpg"] * num_rows,
            "reason": [""] * num_rows,
        }
        pixels = np.stack([pixels_of(each) for each in object_id.to_pylist()])
        store.write_block(index, pixels, pa.table(receipt))
    store.finish()


def pixels_of(object_id: int) -> NDArray[Any]:
    """Return the cutout that the store has of a galaxy: no two are alike."""
    return np.random.default_rng(object_id).integers(0, 256, SPEC.frame).astype(np.uint8)


@contextmanager
def running(catalog: Catalog) -> Iterator[CatalogServer]:
    """Serve a catalogue from a thread of this process."""
    with CatalogServer(catalog) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
