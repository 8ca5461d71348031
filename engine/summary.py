"""A store in a few lines: what `ingest` and `skymetal store info` tell a person."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from skymetal.catalogs.flags import Flag
from skymetal.engine.store import REMEDY, CutoutStore, shard_name


@dataclass(frozen=True, kw_only=True)
class StoreCounts:
    """How every galaxy ended. reasons counts quarantined ones by the kind of reason, flags stored ones by bit."""

    num_targets: int
    num_stored: int
    reasons: dict[str, int]
    flags: dict[str, int]

    @property
    def num_quarantined(self) -> int:
        """How many have no usable image."""
        return self.num_targets - self.num_stored

    def describe_reasons(self) -> str:
        """Return the reasons in one line."""
        return ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())

    def describe_flags(self) -> str:
        """Return the flags in one line."""
        return ", ".join(f"{count} {name}" for name, count in self.flags.items())


def count_galaxies(store: CutoutStore) -> StoreCounts:
    """Sum the receipts of a finished store, one at a time."""
    num_stored = 0
    reasons: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    for index in range(store.num_blocks):
        receipt = store.read_receipt(index)
        is_stored_N = receipt["is_stored"].to_numpy()
        num_stored += int(np.count_nonzero(is_stored_N))
        reasons.update(reason.split(":")[0] for reason in receipt["reason"].to_pylist() if reason)
        flags_N = receipt["ingest_flags"].to_numpy()[is_stored_N]
        flags.update({str(flag.name): int(np.count_nonzero(flags_N & flag)) for flag in Flag})
    return StoreCounts(
        num_targets=store.num_targets,
        num_stored=num_stored,
        reasons=dict(sorted(reasons.items())),
        flags={name: count for name, count in flags.items() if count},
    )


def summarise_store(store: CutoutStore) -> dict[str, str]:
    """Return what a person asks of a finished store, name by name; raise RuntimeError where a file of it is lost."""
    counts, spec, layout = count_galaxies(store), store.image_spec, store.layout
    on_disk = sum(_bytes_on_disk(store, index) for index in range(store.num_blocks))
    ratio = store.num_targets * spec.cutout_bytes / on_disk
    return {
        "galaxies": f"{counts.num_targets} = {counts.num_stored} stored + {counts.num_quarantined} quarantined",
        "quarantined": counts.describe_reasons() or "none",
        "flags": counts.describe_flags() or "none",
        "survey": spec.survey,
        "bands": ", ".join(spec.bands),
        "cutouts": f"{spec.size_pix} × {spec.size_pix} × {len(spec.bands)} {spec.dtype}",
        "stretch": spec.stretch,
        "size rule": spec.size_rule,
        "shards": f"{store.num_blocks} of {layout.shard_size} galaxies, in chunks of {layout.chunk_size}",
        "on disk": f"{on_disk / 1e6:.1f} MB, {ratio:.2f} times smaller than the pixels",
        "digest": store.digest,
    }


def _bytes_on_disk(store: CutoutStore, index: int) -> int:
    """Return the size of a shard's file, looking no further; a pipe, a folder or a device in its place has none."""
    size, what = None, ""
    try:
        size = store.folder.find_size(shard_name(index))
    except OSError as error:
        what = f"unreadable ({error.strerror})"
    if size is None:
        what = what or ("not a regular file" if store.folder.exists(shard_name(index)) else "missing")
    elif not 0 < size <= store.layout.max_file_bytes:
        what = f"of {size} bytes"
    if size is None or what:
        raise RuntimeError(f"shard {store.folder}/{shard_name(index)} is {what}; {REMEDY}")
    return size
