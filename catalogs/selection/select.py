"""select: survey tables in, target list out, every row accounted for, in bounded memory.

One table after the other is read in pieces and cut, and what is left of it is spilled, sorted, into one file in
``selecting/``; the spills are merged, rows that repeat are removed, close pairs are grouped, and the list is written.
Every file is there whole or not at all, so a killed select goes on at the first table that has no spill.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.cuts import apply_cuts, as_removed
from skymetal.catalogs.selection.kept import Noted, note_tables, pin_list, refuse_other_selection, unpin_list
from skymetal.catalogs.selection.pairs import Groups, find_groups
from skymetal.catalogs.selection.repeats import refuse_repeats, without_repeats
from skymetal.catalogs.selection.rows import GROUP_ID, HEALPIX, conform, with_healpix
from skymetal.catalogs.selection.settings import TargetSettings as TargetSettings
from skymetal.catalogs.selection.spill import SpillWriter, merge_spills, read_notes, run_bytes
from skymetal.catalogs.selection.survey import Survey, Table, find_survey
from skymetal.catalogs.storage import Folder, LocalFolder, digest
from skymetal.catalogs.tables import find_tables
from skymetal.catalogs.targets import TargetList, sort_keys, write_sorted_targets

SELECTING = "selecting"
REPEATS = "repeats another row exactly"
_NOTES = "skymetal.spill"
_METHOD = 1
"""Raise it when the same table would give another spill: half-done selections must not be continued."""


@dataclass(frozen=True, kw_only=True)
class TableReceipt:
    """One table is done: its file, how many rows it had, and how many of them met every cut."""

    path: Path
    rows_in: int
    rows_kept: int


@dataclass(frozen=True, kw_only=True)
class _Spill:
    """What is left of one table; removed says how many rows each cut took, in the order of the cuts."""

    name: str
    table_digest: str
    rows_in: int
    rows_kept: int
    removed: dict[str, int]


def select(settings: TargetSettings, *, seed: int, folder: Folder, name: str) -> Iterator[TableReceipt]:
    """Read the survey tables, apply the cuts and write the target list; yield a receipt a table, the list last.

    A list that is there is kept, and nothing is yielded; :func:`refuse_other_selection` says what is checked. The
    list's bytes depend on the settings and the tables' contents alone, not on their names. Memory: some 250 MB, up to
    1 GB for the largest surveys, and 24 bytes a target. Until the list is there its folder holds about three times as
    much.

    Raises InputError for a table that cannot be read or lacks a column, an unusable object_id or one that names
    different rows, when no galaxy is left, and when the list that is there was selected otherwise. RuntimeError for
    a damaged spill.
    """
    scratch = folder.on_this_machine(SELECTING)
    if folder.exists(name):
        refuse_other_selection(TargetList(folder, name), settings, seed=seed, folder=folder)
    else:
        survey = find_survey(settings, seed=seed, folder=folder)
        schema = survey.unified_schema()
        spills = []
        noted: Noted = {}
        for table in survey.tables:
            before = table.fingerprint()
            spill = _spill_table(survey, schema, table, scratch)
            spills.append(spill)
            noted[str(table.path)] = (*before, spill.table_digest)
            yield TableReceipt(path=table.path, rows_in=spill.rows_in, rows_kept=spill.rows_kept)
        spills.sort(key=lambda spill: spill.table_digest)  # names that were changed must not change the list
        merged = _merge(survey, spills, schema, scratch)
        if settings.tables:
            note_tables(folder, noted)
        _write_list(survey, spills, merged, folder, name)
    scratch.parent.remove_folder(SELECTING)


def num_tables(settings: TargetSettings, *, folder: Folder, name: str) -> int:
    """Return how many receipts :func:`select` will yield, for a progress bar: none where the list is there."""
    if folder.exists(name):
        return 0
    return len(find_tables(settings.tables)) if settings.tables else 1


def select_all(settings: TargetSettings, *, seed: int, folder: Folder, name: str) -> TargetList:
    """Select without looking at the progress; return the list. Raises as :func:`select` does."""
    for _ in select(settings, seed=seed, folder=folder, name=name):
        pass
    return TargetList(folder, name)


def _spill_table(survey: Survey, schema: pa.Schema, table: Table, scratch: LocalFolder) -> _Spill:
    """Cut one table and spill what is left of it, unless that was done before."""
    before = table.fingerprint()
    table_digest = table.digest()
    what = {
        "table": table_digest,
        "settings": [survey.settings.survey, survey.settings.cuts, survey.settings.columns],
        "schema": [(field.name, str(field.type)) for field in schema],
        "method": _METHOD,
    }
    name = f"{digest(json.dumps(what, sort_keys=True).encode())[:16]}.parquet"
    if scratch.exists(name):
        try:
            return _Spill(**json.loads(read_notes(scratch.path / name)[_NOTES]))
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
            scratch.remove(name)  # the disk's doing: files are there whole; make it again
    where = str(table)
    rows_in = rows_kept = 0
    removed = dict.fromkeys((cut.name for cut in survey.cuts(schema)), 0)
    size = run_bytes(survey.num_bytes)
    with scratch.open_new(name) as file, SpillWriter(file, schema, sort_keys(schema), run_bytes=size) as spill:
        for rows in table.batches():
            ours = survey.prepare(rows, where=where, first_row=rows_in)
            kept = with_healpix(apply_cuts(survey.cuts(schema), ours, removed))
            spill.add(conform(kept, schema, where=where))
            rows_in += rows.num_rows
            rows_kept += kept.num_rows
        receipt = _Spill(name=name, table_digest=table_digest, rows_in=rows_in, rows_kept=rows_kept, removed=removed)
        spill.finish({_NOTES: json.dumps(dataclasses.asdict(receipt))})
        if table.fingerprint() != before:
            raise InputError(f"{where} changed while it was read; run the same command again once it is complete")
    return receipt


def _merge(survey: Survey, spills: Sequence[_Spill], schema: pa.Schema, scratch: LocalFolder) -> TargetList:
    """Return all rows that were kept, in the order of the list and without repeats, in a file of their own."""
    if not sum(spill.rows_kept for spill in spills):
        _refuse_emptiness(survey, spills)
    names = [spill.name for spill in spills]
    name = f"sorted-{digest(json.dumps(names).encode())[:16]}.parquet"
    for other in set(scratch.names("*.parquet")) - {name, *names}:
        scratch.remove(other)  # of a selection with other settings
    if not scratch.exists(name):
        keys = sort_keys(schema)
        rows = merge_spills(
            [scratch.path / spill for spill in names], schema, keys, range_bytes=run_bytes(survey.num_bytes)
        )
        try:
            write_sorted_targets(scratch, name, without_repeats(rows, keys), schema, selection={})
        except (pa.ArrowException, OSError) as error:
            raise RuntimeError(
                f"the rows in {scratch} cannot be sorted ({error}); see that the disk has room, delete that folder and "
                "run `skymetal select` again"
            ) from error
    return TargetList(scratch, name)


def _write_list(survey: Survey, spills: Sequence[_Spill], merged: TargetList, folder: Folder, name: str) -> None:
    """Check that every row is accounted for, find the close pairs, and write the list."""
    rows_in = sum(spill.rows_in for spill in spills)
    removed = {cut: sum(spill.removed[cut] for spill in spills) for cut in spills[0].removed}
    removed[REPEATS] = sum(spill.rows_kept for spill in spills) - merged.num_rows
    if merged.num_rows + sum(removed.values()) != rows_in:
        raise RuntimeError(f"{rows_in} rows in, but {merged.num_rows} out and {removed} removed; please report this")
    selection: dict[str, Any] = {
        "survey": survey.settings.survey,
        "rows_in": rows_in,
        "rows_out": merged.num_rows,
        "removed": as_removed(removed),
        "inputs": survey.inputs([spill.table_digest for spill in spills]),
    }
    if survey.settings.skyserver_rows:
        selection["sample_digest"] = spills[0].table_digest
    object_id_N = _read_column(merged, "object_id")
    refuse_repeats(object_id_N)
    groups = None
    schema = merged.schema
    if merged.has_sky:
        groups = find_groups(_read_column(merged, HEALPIX), object_id_N)
        selection["num_grouped"] = groups.num_grouped
        schema = schema.insert(schema.get_field_index(HEALPIX) + 1, pa.field(GROUP_ID, pa.int64()))
    unpin_list(TargetList(folder, name))
    pin_list(write_sorted_targets(folder, name, _with_groups(merged, groups), schema, selection=selection))


def _with_groups(merged: TargetList, groups: Groups | None) -> Iterator[pa.Table]:
    start = 0
    for table in merged.iter_tables():
        if groups is not None:
            ids = groups.ids(start, table["object_id"].to_numpy())
            table = table.add_column(table.column_names.index(HEALPIX) + 1, GROUP_ID, pa.array(ids))
        yield table
        start += table.num_rows


def _read_column(targets: TargetList, name: str) -> NDArray[np.int64]:
    column_N = np.empty(targets.num_rows, dtype=np.int64)
    start = 0
    for table in targets.iter_tables([name]):
        column_N[start : start + table.num_rows] = table[name].to_numpy()
        start += table.num_rows
    return column_N


def _refuse_emptiness(survey: Survey, spills: Sequence[_Spill]) -> None:
    rows_in = sum(spill.rows_in for spill in spills)
    if not rows_in:
        what = ", ".join(map(str, survey.tables[:3]))
        raise InputError(f"the survey table has no rows: {what}; give one with galaxies")
    removed = {cut: sum(spill.removed[cut] for spill in spills) for cut in spills[0].removed}
    why = ", ".join(f"'{cut}' removed {count}" for cut, count in removed.items() if count)
    raise InputError(f"no galaxy is left of {rows_in}: {why}; check the table's columns and units")
