"""Where the rows come from: the survey's tables, or one that is made, behind one face."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.selection.cuts import CUTS, Cut, check_cuts
from skymetal.catalogs.selection.legacy import adapt_legacy
from skymetal.catalogs.selection.rows import SKY, OnSky, as_targets, rename_columns, unify, with_healpix
from skymetal.catalogs.selection.sdss import fetch_sample
from skymetal.catalogs.selection.settings import LEGACY, SIMULATED, TargetSettings
from skymetal.catalogs.selection.simulated import simulate_survey
from skymetal.catalogs.storage import Folder, digest
from skymetal.catalogs.tables import find_tables, open_table


class Table(Protocol):
    """One table of a survey; as text, its name for a sentence."""

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def schema(self) -> pa.Schema:
        """Its columns, known before any row is read."""

    def batches(self) -> Iterator[pa.Table]:
        """Yield its rows, some at a time."""

    def digest(self) -> str:
        """Return what names its content."""

    def fingerprint(self) -> tuple[int, int]:
        """Return its size in bytes and its time: what changes when somebody writes to it."""


@dataclass(frozen=True, kw_only=True)
class SimulatedTable:
    """The table that is made where the survey is simulated."""

    num_galaxies: int
    seed: int
    path: Path = Path(SIMULATED)

    def __str__(self) -> str:
        return "the simulated table"

    @property
    def schema(self) -> pa.Schema:
        """The columns of every simulated survey."""
        return simulate_survey(num_galaxies=1, seed=self.seed).schema

    def batches(self) -> Iterator[pa.Table]:
        """Yield all rows at once."""
        yield simulate_survey(num_galaxies=self.num_galaxies, seed=self.seed)

    def digest(self) -> str:
        """Return what names the content."""
        return digest(json.dumps([self.num_galaxies, self.seed]).encode())

    def fingerprint(self) -> tuple[int, int]:
        """Return what never changes: nobody can write to it."""
        return 0, 0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The tables to select from, and what makes their rows ours."""

    settings: TargetSettings
    seed: int
    tables: tuple[Table, ...]

    @cached_property
    def num_bytes(self) -> int:
        """How large all tables are, on the disk."""
        return sum(table.fingerprint()[0] for table in self.tables)

    def prepare(self, rows: pa.Table, *, where: str, first_row: int = 0) -> pa.Table:
        """Return rows under our names and types, before any cut. Raises InputError where that cannot be."""
        columns = self.settings.columns
        rows = rename_columns(rows, columns, where=where)
        if self.settings.survey == LEGACY:
            rows = adapt_legacy(rows, mapped=columns, where=where)
        return as_targets(rows, where=where, first_row=first_row)

    def cuts(self, schema: pa.Schema) -> tuple[Cut, ...]:
        """Return the cuts for tables of this schema, in their order."""
        return (*((OnSky(),) if SKY[0] in schema.names else ()), *CUTS[self.settings.cuts])

    def unified_schema(self) -> pa.Schema:
        """Look at the columns of every table, before any row is read; return the columns of the list, but group_id.

        Raises InputError for a table that lacks a column, or does not go with the others.
        """
        return unify([(str(table), self._schema(table)) for table in self.tables])

    def inputs(self, table_digests: Sequence[str]) -> dict[str, Any]:
        """Return all that decides the list: the job's settings, and what is in its tables."""
        inputs = selection_inputs(self.settings, seed=self.seed)
        return inputs | {"tables": sorted(table_digests)} if self.settings.tables else inputs

    def _schema(self, table: Table) -> pa.Schema:
        try:
            rows = with_healpix(self.prepare(table.schema.empty_table(), where=str(table)))
        except InputError:
            for first in table.batches():
                self.prepare(first, where=str(table))  # says the same, with an example
                break
            raise
        check_cuts(self.cuts(rows.schema), rows.schema, where=str(table))
        return rows.schema


def find_survey(settings: TargetSettings, *, seed: int, folder: Folder) -> Survey:
    """Find and open the tables, fetching the sample from SkyServer where the job says so and it is not there yet.

    Raises InputError where a table is missing or cannot be read, or the sample cannot be had.
    """
    if settings.survey == SIMULATED:
        made = SimulatedTable(num_galaxies=settings.num_galaxies, seed=seed)
        return Survey(settings=settings, seed=seed, tables=(made,))
    if settings.skyserver_rows:
        paths = [fetch_sample(folder, num_rows=settings.skyserver_rows, url=settings.skyserver_url)]
    else:
        paths = find_tables(settings.tables)
    return Survey(settings=settings, seed=seed, tables=tuple(open_table(path) for path in paths))


def selection_inputs(settings: TargetSettings, *, seed: int) -> dict[str, Any]:
    """Return what of the settings decides a list, as it is recorded in the list."""
    inputs: dict[str, Any] = {"survey": settings.survey, "cuts": settings.cuts, "columns": settings.columns}
    if settings.survey == SIMULATED:
        return inputs | {"num_galaxies": settings.num_galaxies, "seed": seed}
    if settings.skyserver_rows:
        # The sample itself is kept in the run directory: the service may give another one every day.
        return inputs | {"skyserver_rows": settings.skyserver_rows, "skyserver_url": settings.skyserver_url}
    return inputs
