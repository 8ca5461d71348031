"""Where the rows come from: the survey's tables, or one that is made, behind one face."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from skymetal.catalogs.errors import printable
from skymetal.catalogs.selection.cuts import CUTS, Cut, check_cuts
from skymetal.catalogs.selection.legacy import adapt_legacy
from skymetal.catalogs.selection.rows import SKY, OnSky, as_targets, rename_columns, unify, with_healpix
from skymetal.catalogs.selection.sdss import fetch_sample
from skymetal.catalogs.selection.settings import LEGACY, SIMULATED, TargetSettings
from skymetal.catalogs.selection.simulated import simulate_survey
from skymetal.catalogs.storage import Folder, digest, file_digest
from skymetal.catalogs.tables import SurveyTable, find_tables, open_table


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The tables to select from, by position, and what makes their rows ours."""

    settings: TargetSettings
    seed: int
    paths: tuple[Path, ...]

    @cached_property
    def num_bytes(self) -> int:
        """How large all tables are, on the disk."""
        return sum(self.fingerprint(position)[0] for position in range(len(self.paths)))

    def where(self, position: int) -> str:
        """Return the table's name for a sentence."""
        return "the simulated table" if self._is_simulated else f"table {printable(str(self.paths[position]))}"

    def read(self, position: int) -> Iterator[pa.Table]:
        """Yield a table's rows, some at a time."""
        if self._is_simulated:
            yield simulate_survey(num_galaxies=self.settings.num_galaxies, seed=self.seed)
        else:
            yield from self._open(position).batches()

    def _open(self, position: int) -> SurveyTable:
        """Return a table, looked at once: to learn the types of a CSV all of it must be read."""
        if position not in self._opened:
            self._opened[position] = open_table(self.paths[position])
        return self._opened[position]

    @cached_property
    def _opened(self) -> dict[int, SurveyTable]:
        return {}

    def digest(self, position: int) -> str:
        """Return what names a table's content."""
        if self._is_simulated:
            return digest(json.dumps([self.settings.num_galaxies, self.seed]).encode())
        return file_digest(self.paths[position])

    def fingerprint(self, position: int) -> tuple[int, int]:
        """Return what changes when somebody writes to the table."""
        if self._is_simulated:
            return (0, 0)
        status = self.paths[position].stat()
        return status.st_size, status.st_mtime_ns

    def prepare(self, table: pa.Table, *, where: str, first_row: int = 0) -> pa.Table:
        """Return rows under our names and types, before any cut. Raises InputError where that cannot be."""
        columns = self.settings.columns
        table = rename_columns(table, columns, where=where)
        if self.settings.survey == LEGACY:
            table = adapt_legacy(table, mapped=columns, where=where)
        return as_targets(table, where=where, first_row=first_row)

    def cuts(self, schema: pa.Schema) -> tuple[Cut, ...]:
        """Return the cuts for tables of this schema, in their order."""
        return (*((OnSky(),) if SKY[0] in schema.names else ()), *CUTS[self.settings.cuts])

    def unified_schema(self) -> pa.Schema:
        """Look at the columns of every table, before any row is read; return the columns of the list, but group_id.

        Raises InputError for a table that cannot be read, lacks a column, or does not go with the others.
        """
        return unify(self._schemas())

    def inputs(self, table_digests: Sequence[str]) -> dict[str, Any]:
        """Return all that decides the list."""
        return _inputs(self.settings, self.seed, table_digests)

    def _schemas(self) -> Iterator[tuple[str, pa.Schema]]:
        for position in range(len(self.paths)):
            where = self.where(position)
            if self._is_simulated:
                theirs = simulate_survey(num_galaxies=1, seed=self.seed).schema
            else:
                theirs = self._open(position).schema
            ours = with_healpix(self.prepare(theirs.empty_table(), where=where))
            check_cuts(self.cuts(ours.schema), ours.schema, where=where)
            yield where, ours.schema

    @property
    def _is_simulated(self) -> bool:
        return self.settings.survey == SIMULATED


def find_survey(settings: TargetSettings, *, seed: int, folder: Folder) -> Survey:
    """Find the tables, fetching the sample from SkyServer where the job says so and it is not there yet.

    Raises InputError where a table is missing or the sample cannot be had.
    """
    if settings.survey == SIMULATED:
        paths = [Path(SIMULATED)]
    elif settings.skyserver_rows:
        paths = [fetch_sample(folder, num_rows=settings.skyserver_rows, url=settings.skyserver_url)]
    else:
        paths = find_tables(settings.tables)
    return Survey(settings=settings, seed=seed, paths=tuple(paths))


def selection_inputs(settings: TargetSettings, *, seed: int) -> dict[str, Any]:
    """Return all that decides a list, as it is recorded in the list; reads the tables for their digests."""
    digests = [file_digest(path) for path in find_tables(settings.tables)] if settings.tables else []
    return _inputs(settings, seed, digests)


def _inputs(settings: TargetSettings, seed: int, table_digests: Sequence[str]) -> dict[str, Any]:
    inputs: dict[str, Any] = {"survey": settings.survey, "cuts": settings.cuts, "columns": settings.columns}
    if settings.survey == SIMULATED:
        return inputs | {"num_galaxies": settings.num_galaxies, "seed": seed}
    if settings.skyserver_rows:
        # The sample itself is kept in the run directory: the service may give another one every day.
        return inputs | {"skyserver_rows": settings.skyserver_rows}
    return inputs | {"tables": list(table_digests)}
