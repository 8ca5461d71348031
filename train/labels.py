"""The labels: which galaxies of a target list have all of them, and that they are what they claim. K labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, missing_column
from skymetal.catalogs.measures import OH_RANGE
from skymetal.catalogs.targets import TargetList

MIN_GALAXIES = 8


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The rows of a target list whose labels are all finite.

    group_id_N is what decides a galaxy's fold: galaxies within 2″ share one, since their cutouts show the same light.
    healpix_29_N is None where the target list has no positions.
    """

    row_N: NDArray[np.int64]
    object_id_N: NDArray[np.int64]
    group_id_N: NDArray[np.int64]
    healpix_29_N: NDArray[np.int64] | None
    labels_NK: NDArray[np.float32]


def read_labels(
    targets: TargetList, labels: tuple[str, ...], *, is_stored_N: NDArray[np.bool_] | None = None
) -> Labels:
    """Read the galaxies whose labels are all finite, of those stored where ``is_stored_N`` says which are.

    Raises InputError for a label that is no column, no number, the same for all or no metallicity, and for too few
    galaxies.
    """
    for name in labels:
        if name not in targets.column_names:
            raise missing_column(f"[train] labels: {targets}", name, targets.column_names)
    group = "group_id" if "group_id" in targets.column_names else "object_id"  # without positions no pair is known
    sky = ["_healpix_29"] if targets.has_sky else []
    columns = list(dict.fromkeys(["object_id", group, *sky, *labels]))
    table = pa.concat_tables(targets.iter_tables(columns))
    labels_NK = np.stack([_as_float(table[name], name) for name in labels], axis=1)
    usable_N = np.isfinite(labels_NK).all(axis=1)
    if is_stored_N is not None:
        usable_N &= is_stored_N
    row_N = np.flatnonzero(usable_N)
    if len(row_N) < MIN_GALAXIES:
        raise InputError(
            f"[train] labels: only {len(row_N)} of {targets.num_rows} galaxies have {' and '.join(labels)}"
            f"{'' if is_stored_N is None else ' and an image'}; training needs at least {MIN_GALAXIES}"
        )
    found = Labels(
        row_N=row_N,
        object_id_N=table["object_id"].to_numpy()[row_N],
        group_id_N=table[group].to_numpy()[row_N],
        healpix_29_N=table["_healpix_29"].to_numpy()[row_N] if sky else None,
        labels_NK=labels_NK[row_N],
    )
    _check_values(found, labels)
    return found


def _check_values(found: Labels, labels: tuple[str, ...]) -> None:
    for name, column_N in zip(labels, found.labels_NK.T, strict=True):
        if np.ptp(column_N) == 0:
            raise InputError(f"[train] labels: {name} is {column_N[0]:g} for every galaxy: nothing can be learnt")
        odd = np.flatnonzero((column_N < OH_RANGE[0]) | (column_N > OH_RANGE[1]))
        if name.startswith("oh_") and len(odd):
            raise InputError(
                f"[train] labels: {name} is {column_N[odd[0]]:g} for object_id {found.object_id_N[odd[0]]}, outside "
                f"{OH_RANGE[0]:g} to {OH_RANGE[1]:g}, so it is no 12+log(O/H); cut such rows or leave the field empty"
            )


def _as_float(column: pa.ChunkedArray, name: str) -> NDArray[np.float32]:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise InputError(f"[train] labels: column {name!r} is of type {column.type}, not a number")
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float32)
