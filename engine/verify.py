"""Looking over a store: which files are lost or damaged, and which galaxies that concerns; and clearing them away."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line
from skymetal.catalogs.storage import Location, digest, local_path, open_folder
from skymetal.catalogs.targets import TargetList
from skymetal.engine.shard import ATTRIBUTE, GROUP_METADATA, StoreLayout, array_metadata, checksums, decode_shard
from skymetal.engine.store import MANIFEST, CutoutStore, receipt_name, shard_name

MAX_THREADS = 4
SET_ASIDE = "set-aside"
_REPAIR_METADATA = "`skymetal store repair` with the run directory writes it again and keeps every shard"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One file that is not what it should be, and the galaxies whose images are lost with it."""

    file: str
    what: str
    object_id: tuple[int, ...] = ()


def open_damaged_store(location: Location, targets: TargetList | None) -> CutoutStore:
    """Open a store that may be damaged or unfinished.

    Raises InputError where there is none or it is not for these targets, RuntimeError where what describes it is lost.
    """
    folder = open_folder(location)
    try:
        layout = StoreLayout.from_json(json.loads(folder.read(GROUP_METADATA))["attributes"][ATTRIBUTE])
    except FileNotFoundError:
        if folder.exists("receipts"):
            raise RuntimeError(f"{folder}/{GROUP_METADATA} is missing; {_REPAIR_METADATA}") from None
        raise InputError(f"there is no cutout store at {folder}; run `skymetal ingest` first") from None
    except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise RuntimeError(
            f"{folder}/{GROUP_METADATA} is damaged, or another version's ({first_line(error)}); {_REPAIR_METADATA}"
        ) from error
    if targets is not None and targets.num_rows and layout.targets_digest != targets.digest:
        raise InputError(f"the store {folder} was made for another target list than {targets}")
    return CutoutStore(folder, layout)


def verify(store: CutoutStore, targets: TargetList | None) -> Iterator[tuple[int, list[Damage]]]:
    """Check every byte that the store's readers rely on; yield (galaxies looked at, damages found) as it goes.

    Up to four threads work, each with a few shards in memory. Where the store's own description is damaged, and the
    store was opened by it, its shards are not looked at. Without the target list, galaxies whose receipt is lost cannot
    be named.
    """
    damages = _verify_metadata(store)
    yield 0, damages
    by_manifest = not any(damage.file == MANIFEST for damage in damages)
    if any(damage.file == GROUP_METADATA for damage in damages) and not _layout_is_known(store):
        return  # it says how the shards are laid out: against a wrong layout each of them would look damaged
    num_threads = min(len(os.sched_getaffinity(0)), MAX_THREADS)
    with ThreadPoolExecutor(num_threads) as pool:
        # A few shards at a time: memory does not grow with the store.
        for first in range(0, store.num_blocks, 4 * num_threads):
            indices = range(first, min(first + 4 * num_threads, store.num_blocks))
            known = [_known_ids(store, targets, index) for index in indices]  # an open Parquet file is for one thread
            for index, damages in zip(
                indices, pool.map(partial(_verify_block, store, by_manifest), indices, known), strict=True
            ):
                start, stop = store.layout.rows(index)
                yield stop - start, damages


@contextmanager
def set_aside(store: CutoutStore, damages: Iterable[Damage]) -> Iterator[None]:
    """Take damaged files out of the way, so that ingest makes exactly these again.

    What the block did not make again is put back at its end: a shard with one bad galaxy is better than none.
    """
    folder = local_path(store.folder, what="repair")
    for damage in damages:
        path = folder / damage.file
        for parent in path.relative_to(folder).parents:
            if (folder / parent).is_file():
                (folder / parent).unlink()  # a file where a folder should be
        if path.is_file() and not path.is_symlink():
            aside = folder / SET_ASIDE / damage.file
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.replace(aside)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    try:
        yield
    finally:
        put_back(store)


def put_back(store: CutoutStore) -> None:
    """Return what a repair had set aside and nobody made again; the rest of it is deleted."""
    folder = local_path(store.folder, what="repair")
    root = folder / SET_ASIDE
    for aside in [path for path in root.rglob("*") if path.is_file()]:
        original = folder / aside.relative_to(root)
        if not original.exists():
            aside.replace(original)
    shutil.rmtree(root, ignore_errors=True)


def _verify_metadata(store: CutoutStore) -> list[Damage]:
    if not store.is_finished:
        return []
    try:
        content = json.loads(store.folder.read(MANIFEST))
        expected = {str(name): str(value) for name, value in content["metadata"].items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        return [Damage(file=MANIFEST, what=f"damaged: {first_line(error)}")]
    damages = []
    for name, value in expected.items():
        try:
            if digest(store.folder.read(name)) != value:
                damages.append(Damage(file=name, what="damaged: not as it was when the store was finished"))
        except OSError as error:
            damages.append(Damage(file=name, what=_why(error)))
    if not damages:
        try:
            if content["digest"] != store.digest or content["num_targets"] != store.num_targets:
                raise ValueError("its digest is not that of the store")
        except (KeyError, RuntimeError, ValueError) as error:
            damages.append(Damage(file=MANIFEST, what=f"damaged: {first_line(error)}"))
    return damages


def _layout_is_known(store: CutoutStore) -> bool:
    """Tell whether the layout is the one that the store was finished with, wherever it was read from."""
    try:
        expected = json.loads(store.folder.read(MANIFEST))["metadata"][GROUP_METADATA]
        return bool(digest(array_metadata(store.layout)[GROUP_METADATA]) == expected)
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return False


def _known_ids(store: CutoutStore, targets: TargetList | None, index: int) -> NDArray[np.int64] | None:
    if targets is None:
        return None
    object_id_N: NDArray[np.int64] = targets.read(*store.layout.rows(index))["object_id"].to_numpy()
    return object_id_N


def _verify_block(store: CutoutStore, by_manifest: bool, index: int, known: NDArray[np.int64] | None) -> list[Damage]:
    if not store.is_finished and not store.is_done(index):
        return []  # not yet ingested is not damaged
    start, stop = store.layout.rows(index)
    damages = []
    expected = None
    try:
        receipt = store.read_receipt(index, by_manifest=by_manifest)
        expected = receipt["crc32c"].to_numpy()
        if known is None:
            known = receipt["object_id"].to_numpy()
        elif not np.array_equal(known, receipt["object_id"].to_numpy()):
            raise RuntimeError("it names other galaxies than the target list")
    except RuntimeError as error:
        damages.append(Damage(file=receipt_name(index), what=_why(error.__cause__ or error), object_id=_ids(known)))
    try:
        data = store.read_shard(index)
    except OSError as error:
        return [*damages, Damage(file=shard_name(index), what=_why(error), object_id=_ids(known))]
    if expected is None or known is None:
        return damages
    is_lost_N = _lost_rows(store.layout, data, known, expected)
    if is_lost_N.any():
        what = f"damaged: {np.count_nonzero(is_lost_N)} of {stop - start} galaxies"
        damages.append(Damage(file=shard_name(index), what=what, object_id=_ids(known[is_lost_N])))
    return damages


def _lost_rows(
    layout: StoreLayout, data: bytes, object_id_N: NDArray[np.int64], crc_N: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Tell which galaxies of a shard are not what was ingested; chunk by chunk where the whole cannot be decoded."""
    num_rows = len(object_id_N)
    is_lost_N = np.ones(num_rows, bool)
    try:
        is_lost_N[:] = checksums(object_id_N, decode_shard(layout, data, slice(num_rows))) != crc_N
        return is_lost_N
    except ValueError:
        pass
    for first in range(0, num_rows, layout.chunk_size):
        rows = slice(first, min(first + layout.chunk_size, num_rows))
        try:
            is_lost_N[rows] = checksums(object_id_N[rows], decode_shard(layout, data, rows)) != crc_N[rows]
        except ValueError:
            continue
    return is_lost_N


def _ids(object_id_N: NDArray[np.int64] | None) -> tuple[int, ...]:
    return () if object_id_N is None else tuple(object_id_N.tolist())


def _why(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, OSError) and error.strerror:
        return f"unreadable: {error.strerror}"
    return f"damaged: {first_line(error)}"
