"""The DESI Legacy Imaging Surveys: sweep and tractor tables as target tables.

A source is named by release, brick and number within the brick. As one 64-bit integer that is DESI's TARGETID, so
that our catalogue joins with DESI's own.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line, printable

# DESI's layout (desitarget.targets.encode_targetid): 22 bits OBJID, 20 BRICKID, 16 RELEASE, the lowest first; the bits
# above are set for mocks, sky fibres and Gaia stars only.
OBJID_BITS, BRICKID_BITS, RELEASE_BITS = 22, 20, 16
BANDS = "griz"
KEY = ("release", "brickid", "objid")
SIMP_RADIUS_ARCSEC = 0.45
"""The fixed effective radius of the "simple" galaxy of DR3 to DR7."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def legacy_object_id(release_N: Ints, brickid_N: Ints, objid_N: Ints) -> Ints:
    """Return the object_id, DESI's TARGETID, of sources; raise InputError for a number beyond its bits."""
    for name, values_N, bits in zip(
        KEY, (release_N, brickid_N, objid_N), (RELEASE_BITS, BRICKID_BITS, OBJID_BITS), strict=True
    ):
        odd_N = (values_N < 0) | (values_N >= 1 << bits)
        if odd_N.any():
            raise InputError(
                f"{name} must be 0 to {(1 << bits) - 1} in a Legacy Survey table, got {values_N[odd_N][0]}"
            )
    release_N, brickid_N, objid_N = (np.asarray(v).astype(np.int64) for v in (release_N, brickid_N, objid_N))
    return (release_N << (BRICKID_BITS + OBJID_BITS)) | (brickid_N << OBJID_BITS) | objid_N


def legacy_key(object_id_N: Ints) -> tuple[Ints, Ints, Ints]:
    """Return release, brickid and objid of object_ids; raise InputError for one that is no Legacy Survey source."""
    odd_N = (object_id_N < 0) | (object_id_N >= 1 << (RELEASE_BITS + BRICKID_BITS + OBJID_BITS))
    if odd_N.any():
        raise InputError(f"object_id {object_id_N[odd_N][0]} is not the TARGETID of a Legacy Survey source")
    brickid_N = (object_id_N >> OBJID_BITS) & ((1 << BRICKID_BITS) - 1)
    return object_id_N >> (BRICKID_BITS + OBJID_BITS), brickid_N, object_id_N & ((1 << OBJID_BITS) - 1)


def adapt_legacy(table: pa.Table, *, mapped: Collection[str], where: str) -> pa.Table:
    """Return the columns we use of a sweep or tractor table, in our names and units, and no others.

    They are object_id, ra, dec (degrees), release, brickid, brickname, objid, type, maskbits (if there), mag_g, mag_r,
    mag_i, mag_z (AB, corrected for Galactic extinction; null where the flux is not positive or the band missing) and
    shape_r (effective radius in arcsec; null for a point source). Kept besides are the labels, oh_* and redshift,
    which may be called z, and what the job maps (``mapped``), which also takes the place of a column of that name that
    would be computed. All other columns, some hundred and fifty, are left out. The case of the table's names does not
    matter. Raises InputError for a table that is not one of these.
    """
    names = {name.lower(): name for name in sorted(table.column_names)}
    _refuse_others(names, mapped, where)
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    if "object_id" in mapped:
        columns["object_id"] = table["object_id"]
    else:
        columns["object_id"] = _object_ids(table, names, where)
    for name, kind in {"ra": None, "dec": None, **dict.fromkeys(KEY, pa.int32())}.items():
        columns[name] = _column(table, names, name, kind, where)
    for name in ("brickname", "type"):
        columns[name] = pc.utf8_trim_whitespace(_column(table, names, name, pa.string(), where))
    if "maskbits" in names:  # since DR8; a cut that looks at it must not take its absence for a bad mask
        columns["maskbits"] = _column(table, names, "maskbits", pa.int32(), where)
    for band in BANDS:
        if f"mag_{band}" not in mapped:
            columns[f"mag_{band}"] = _magnitudes(table, names, band, where)
    columns["shape_r"] = _radius(table, names, columns["type"], where)
    if "redshift" not in names and "z" in names:
        columns["redshift"] = table[names["z"]]
    for lower, name in names.items():
        if name in mapped or lower.startswith("oh_") or lower == "redshift":
            columns.setdefault(name if name in mapped else lower, table[name])
    return pa.table(columns)


def _refuse_others(names: dict[str, str], mapped: Collection[str], where: str) -> None:
    needed = ["ra", "dec", "type", *(() if "object_id" in mapped else KEY)]
    missing = [name.upper() for name in needed if name not in names]
    if missing:
        raise InputError(
            f"{where} is no Legacy Survey sweep or tractor table: it has no column {' or '.join(missing)}; leave it "
            "out of [targets] tables, or name the columns it has in [targets] columns"
        )
    for band in BANDS:
        if f"mag_{band}" not in mapped and f"flux_{band}" in names and f"mw_transmission_{band}" not in names:
            raise InputError(
                f"{where} has FLUX_{band.upper()} but no column MW_TRANSMISSION_{band.upper()} to correct it for "
                "extinction; use a whole sweep or tractor table"
            )


def _column(table: pa.Table, names: dict[str, str], name: str, kind: pa.DataType | None, where: str) -> pa.ChunkedArray:
    """Return a column in the type we keep it in; nulls where there is none."""
    if name not in names:
        return pa.chunked_array([pa.nulls(table.num_rows, kind)])
    column = table[names[name]]
    try:
        return column if kind is None else pc.cast(column, kind, safe=not pa.types.is_floating(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        why = printable(first_line(error))
        raise InputError(f"{where}: column {printable(names[name])} cannot be used as {kind}: {why}") from error


def _object_ids(table: pa.Table, names: dict[str, str], where: str) -> pa.Array:
    columns = [_column(table, names, name, pa.int64(), where) for name in KEY]
    known = pc.and_(pc.and_(*(pc.is_valid(column) for column in columns[:2])), pc.is_valid(columns[2]))
    values = [np.asarray(pc.fill_null(column, 0).to_numpy()) for column in columns]
    try:
        object_id_N = legacy_object_id(values[0], values[1], values[2])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return pc.if_else(known, pa.chunked_array([object_id_N], pa.int64()), pa.scalar(None, pa.int64()))


def _floats(table: pa.Table, names: dict[str, str], name: str, where: str) -> Floats:
    """Return a column as float64, NaN where it is null or not there."""
    return np.asarray(_column(table, names, name, pa.float64(), where).to_numpy(), dtype=np.float64)


def _magnitudes(table: pa.Table, names: dict[str, str], band: str, where: str) -> pa.Array:
    flux_N, transmission_N = (_floats(table, names, f"{kind}_{band}", where) for kind in ("flux", "mw_transmission"))
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude_N = 22.5 - 2.5 * np.log10(flux_N / transmission_N)
    return pa.array(magnitude_N.astype(np.float32), mask=~np.isfinite(magnitude_N))


def _radius(table: pa.Table, names: dict[str, str], kind: pa.ChunkedArray, where: str) -> pa.Array:
    """Return the effective radius, arcsec: SHAPE_R since DR9, before that the one of the model that was fitted."""
    if "shape_r" in names:
        radius_N = _floats(table, names, "shape_r", where)
    else:
        kind_N = np.asarray(pc.fill_null(kind, "").to_numpy(), dtype=object)
        dev_N, exp_N, fracdev_N = (
            _floats(table, names, name, where) for name in ("shapedev_r", "shapeexp_r", "fracdev")
        )
        radius_N = np.full(table.num_rows, np.nan)
        for which_N, value_N in (
            (kind_N == "DEV", dev_N),
            ((kind_N == "EXP") | (kind_N == "REX"), exp_N),
            # A sum of both profiles: its radius lies between theirs, as the light does.
            (kind_N == "COMP", fracdev_N * dev_N + (1.0 - fracdev_N) * exp_N),
            (kind_N == "SIMP", np.full(table.num_rows, SIMP_RADIUS_ARCSEC)),
        ):
            radius_N[which_N] = value_N[which_N]
    with np.errstate(invalid="ignore"):
        return pa.array(radius_N.astype(np.float32), mask=~(radius_N > 0.0))
