"""select: survey tables in, target list out, every cut counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.errors import InputError, missing_column
from skymetal.catalogs.healpix import valid_positions
from skymetal.catalogs.inputs import refuse_other_inputs
from skymetal.catalogs.simulated import simulate_survey
from skymetal.catalogs.storage import Folder, file_digest
from skymetal.catalogs.tables import read_table
from skymetal.catalogs.targets import TargetList, open_targets, write_targets

SIMULATED = "simulated"
SENTINEL = -9999.0
"""What SDSS writes for "not measured". It becomes null."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One condition a galaxy must meet to be a target, in words and as a mask over the table's rows."""

    name: str
    columns: tuple[str, ...]
    keep: Callable[[pa.Table], pa.ChunkedArray | pa.Array]


def _between(column: str, low: float, high: float) -> Cut:
    def keep(table: pa.Table) -> pa.ChunkedArray:
        return pc.and_(pc.greater(table[column], low), pc.less(table[column], high))

    return Cut(name=f"{low:g} < {column} < {high:g}", columns=(column,), keep=keep)


def _colour_cut() -> Cut:
    def keep(table: pa.Table) -> pa.ChunkedArray:
        colour = pc.subtract(table["modelMag_u"], table["modelMag_r"])
        return pc.and_(pc.greater(colour, 0.0), pc.less(colour, 6.0))

    return Cut(name="0 < u - r < 6", columns=("modelMag_u", "modelMag_r"), keep=keep)


def _valid_position() -> Cut:
    def keep(table: pa.Table) -> pa.Array:
        return pa.array(valid_positions(table["ra"].to_numpy(), table["dec"].to_numpy()))

    return Cut(name="position is on the sky", columns=("ra", "dec"), keep=keep)


CUTS: dict[str, tuple[Cut, ...]] = {
    "none": (),
    # The WHERE clause of Wu & Boada (2019), their appendix; the join to the emission-line tables is the table's.
    "wu-boada-2019": (
        _between("petroMag_r", 10, 18),
        _colour_cut(),
        *(_between(f"modelMag_{band}", 10, 25) for band in "ugriz"),
        _between("rChi2", -np.inf, 2),
        _between("zErr", 0, 0.01),
        _between("redshift", 0.02, np.inf),
        Cut(name="oh_p50 is measured", columns=("oh_p50",), keep=lambda table: pc.is_valid(table["oh_p50"])),
    ),
}


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """The job file's ``[targets]``.

    survey names the survey; ``simulated`` makes one of ``num_galaxies`` and reads no table. columns maps our
    names to the table's, as in ``{object_id = "objID"}``; other columns keep their names and are carried along.
    """

    survey: str
    tables: tuple[str, ...] = field(default=(), metadata={"path": True})
    columns: dict[str, str] = field(default_factory=dict)
    cuts: str = "none"
    num_galaxies: int = 0

    def __post_init__(self) -> None:
        if self.cuts not in CUTS:
            raise InputError(f"[targets] cuts must be one of {', '.join(CUTS)}, got {self.cuts!r}")
        if self.survey == SIMULATED:
            if self.tables:
                raise InputError(
                    "[targets] survey = 'simulated' makes its own table; remove tables, or name the real survey"
                )
            if self.num_galaxies < 1:
                raise InputError(f"[targets] num_galaxies must be at least 1, got {self.num_galaxies}")
        elif not self.tables:
            raise InputError("[targets] tables names no survey table; give at least one CSV, Parquet or FITS file")


def select(settings: TargetSettings, *, seed: int, folder: Folder, name: str) -> TargetList:
    """Read the survey tables, apply the cuts, and write the target list; one that is there is checked and kept.

    Raises InputError for a missing column, an unusable or repeated object_id, when no galaxy is left,
    and when the list that is there was selected otherwise.
    """
    inputs = _selection_inputs(settings, seed=seed)
    if folder.exists(name):
        targets = open_targets(folder.path / name)
        refuse_other_inputs(targets.selection["inputs"], inputs, where=f"{targets.path} was selected")
        return targets
    if settings.survey == SIMULATED:
        table = simulate_survey(num_galaxies=settings.num_galaxies, seed=seed)
    else:
        tables = [_rename(read_table(Path(path)), settings.columns, path) for path in settings.tables]
        table = pa.concat_tables(tables, promote_options="permissive")
    rows_in = table.num_rows
    if rows_in == 0:
        raise InputError(f"the survey table has no rows: {', '.join(settings.tables)}; give one with galaxies")
    table = _null_sentinels(_with_positions(_with_object_id(table)))
    table, removed = _apply_cuts(table, settings.cuts)
    if table.num_rows == 0:
        why = ", ".join(f"'{cut['cut']}' removed {cut['num_removed']}" for cut in removed if cut["num_removed"])
        raise InputError(f"no galaxy is left of {rows_in}: {why}; check the table's columns and units")
    selection = {
        "survey": settings.survey,
        "rows_in": rows_in,
        "rows_out": table.num_rows,
        "removed": removed,
        "inputs": inputs,
    }
    return write_targets(folder, name, table, selection=selection)


def _selection_inputs(settings: TargetSettings, *, seed: int) -> dict[str, Any]:
    inputs: dict[str, Any] = {"survey": settings.survey, "cuts": settings.cuts, "columns": settings.columns}
    if settings.survey == SIMULATED:
        return inputs | {"num_galaxies": settings.num_galaxies, "seed": seed}
    for name in settings.tables:
        if not Path(name).is_file():
            raise InputError(f"[targets] table {name} does not exist; check the path")
    return inputs | {"tables": [file_digest(Path(name)) for name in settings.tables]}


def _apply_cuts(table: pa.Table, cuts: str) -> tuple[pa.Table, list[dict[str, Any]]]:
    has_sky = {"ra", "dec"} <= set(table.column_names)
    removed = []
    for cut in (*((_valid_position(),) if has_sky else ()), *CUTS[cuts]):
        for column in cut.columns:
            if column not in table.column_names:
                raise missing_column(f"the table, which the cut '{cut.name}' looks at,", column, table.column_names)
        kept = table.filter(cut.keep(table), null_selection_behavior="drop")
        removed.append({"cut": cut.name, "num_removed": table.num_rows - kept.num_rows})
        table = kept
    return table, removed


def _rename(table: pa.Table, columns: dict[str, str], path: str) -> pa.Table:
    for theirs in columns.values():
        if theirs not in table.column_names:
            raise missing_column(f"table {path}", theirs, table.column_names)
    ours = {theirs: name for name, theirs in columns.items()}
    names = [ours.get(name, name) for name in table.column_names]
    if len(set(names)) != len(names):
        raise InputError(f"[targets] columns gives table {path} two columns of one name; map each name once")
    if "object_id" not in names:
        raise missing_column(f"table {path}", "object_id", table.column_names)
    return table.rename_columns(names)


def _with_object_id(table: pa.Table) -> pa.Table:
    position = table.column_names.index("object_id")
    column = table["object_id"]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        # "0012" would become 12, and no longer be the name of its image.
        odd = column.filter(pc.invert(pc.match_substring_regex(column, r"^(0|-?[1-9][0-9]*)$")))
        if len(odd.drop_null()):
            raise InputError(f"object_id must be an integer, got {odd.drop_null()[0].as_py()!r}")
    elif not pa.types.is_integer(column.type):
        raise InputError(f"object_id must be an integer of up to 19 digits, but its column is of type {column.type}")
    try:
        column = pc.cast(column, pa.int64())
    except pa.ArrowInvalid as error:
        raise InputError(f"object_id must be an integer below 2^63: {error}") from error
    if column.null_count:
        raise InputError(f"object_id is missing in {column.null_count} rows; every galaxy needs one")
    return table.set_column(position, "object_id", column)


def _with_positions(table: pa.Table) -> pa.Table:
    for name in {"ra", "dec"} & set(table.column_names):
        kind = table[name].type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise InputError(f"{name} must be in decimal degrees, but its column is of type {kind}")
        column = pc.cast(table[name], pa.float64())
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _null_sentinels(table: pa.Table) -> pa.Table:
    for position, name in enumerate(table.column_names):
        column = table[name]
        if pa.types.is_floating(column.type) or (pa.types.is_signed_integer(column.type) and name != "object_id"):
            measured = pc.not_equal(pc.cast(column, pa.float64(), safe=False), SENTINEL)
            table = table.set_column(position, name, pc.if_else(measured, column, pa.scalar(None, column.type)))
    return table
