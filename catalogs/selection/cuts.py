"""The conditions a row must meet to become a target: named, applied in order, each counting what it removes.

A cut is a value, not code, so that the query for the survey's own database is written from the same definition
(:mod:`skymetal.catalogs.selection.sdss`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.errors import InputError, missing_column


class Cut(Protocol):
    """One condition: its name, the columns it looks at, and which rows of a table meet it (null: not met)."""

    @property
    def name(self) -> str:
        """The condition in words."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it looks at."""

    def keep(self, table: pa.Table) -> pa.ChunkedArray:
        """Tell which rows to keep."""


@dataclass(frozen=True, kw_only=True)
class Between:
    """low < column < high, or low < column - minus < high; a bound of None is no bound."""

    column: str
    low: float | None = None
    high: float | None = None
    minus: str | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """The inequality."""
        what = self.label or (self.column if self.minus is None else f"{self.column} - {self.minus}")
        if self.low is not None and self.high is not None:
            return f"{self.low:g} < {what} < {self.high:g}"
        return f"{what} > {self.low:g}" if self.low is not None else f"{what} < {self.high:g}"

    @property
    def columns(self) -> tuple[str, ...]:
        """One column, or the two whose difference it is."""
        return (self.column,) if self.minus is None else (self.column, self.minus)

    def keep(self, table: pa.Table) -> pa.ChunkedArray:
        """Tell which rows are inside; a value that is missing or NaN is not."""
        value = table[self.column]
        if self.minus is not None:
            value = pc.subtract(value, table[self.minus])
        inside = pc.is_valid(value)
        if self.low is not None:
            inside = pc.and_(inside, pc.greater(value, self.low))
        if self.high is not None:
            inside = pc.and_(inside, pc.less(value, self.high))
        return inside


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The column has a value: it is not missing, not NaN, not infinite."""

    column: str
    label: str | None = None

    @property
    def name(self) -> str:
        """What is measured."""
        return self.label or f"{self.column} is measured"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def keep(self, table: pa.Table) -> pa.ChunkedArray:
        """Tell which rows have a value."""
        value = table[self.column]
        return pc.is_finite(value) if pa.types.is_floating(value.type) else pc.is_valid(value)


@dataclass(frozen=True, kw_only=True)
class OneOf:
    """The column holds one of a few words."""

    column: str
    words: tuple[str, ...]
    label: str

    @property
    def name(self) -> str:
        """What the words have in common."""
        return self.label

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def keep(self, table: pa.Table) -> pa.ChunkedArray:
        """Tell which rows hold one of the words; a missing one is none of them."""
        return pc.is_in(table[self.column], value_set=pa.array(self.words))


@dataclass(frozen=True, kw_only=True)
class ClearBit:
    """One bit of a mask is not set."""

    column: str
    bit: int
    label: str

    @property
    def name(self) -> str:
        """The mask and the name of the bit."""
        return f"{self.column} has no {self.label}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def keep(self, table: pa.Table) -> pa.ChunkedArray:
        """Tell in which rows the bit is clear."""
        column = table[self.column]
        return pc.equal(pc.bit_wise_and(column, pa.scalar(1 << self.bit, column.type)), 0)


WU_BOADA_2019: tuple[Between | Measured, ...] = (
    # The WHERE clause of Wu & Boada (2019), their appendix; the join to the emission-line tables is the table's.
    Between(column="petroMag_r", low=10, high=18),
    Between(column="modelMag_u", minus="modelMag_r", low=0, high=6, label="u - r"),
    *(Between(column=f"modelMag_{band}", low=10, high=25) for band in "ugriz"),
    Between(column="rChi2", high=2),
    Between(column="zErr", low=0, high=0.01),
    Between(column="redshift", low=0.02),
    Measured(column="oh_p50"),
)

LEGACY_GALAXIES: tuple[Cut, ...] = (
    # PSF is a star or too small to tell, DUP a Gaia star on a galaxy that is there already, blank not fitted.
    OneOf(column="type", words=("REX", "EXP", "DEV", "SER", "COMP", "SIMP"), label="type is a galaxy's"),
    # The bits: https://www.legacysurvey.org/dr9/bitmasks/
    *(
        ClearBit(column="maskbits", bit=bit, label=label)
        for label, bit in {
            "NPRIMARY": 0,
            "BRIGHT": 1,
            "ALLMASK_G": 5,
            "ALLMASK_R": 6,
            "ALLMASK_Z": 7,
            "BAILOUT": 10,
        }.items()
    ),
    # A flux that is not positive has no magnitude.
    *(Measured(column=f"mag_{band}", label=f"flux_{band} > 0") for band in "grz"),
)

CUTS: dict[str, Sequence[Cut]] = {"none": (), "wu-boada-2019": WU_BOADA_2019, "legacy-galaxies": LEGACY_GALAXIES}


def check_cuts(cuts: Sequence[Cut], schema: pa.Schema, *, where: str) -> None:
    """Raise InputError where a table lacks a column that a cut looks at, or has it in a type that cannot be cut."""
    none = schema.empty_table()
    for cut in cuts:
        for column in cut.columns:
            if column not in schema.names:
                raise missing_column(f"{where}, which the cut '{cut.name}' looks at,", column, schema.names)
        try:
            cut.keep(none)
        except (pa.ArrowException, TypeError) as error:
            kinds = " and ".join(f"{column!r} is of type {schema.field(column).type}" for column in cut.columns)
            raise InputError(f"{where} cannot be cut by '{cut.name}': {kinds}; give it as numbers") from error


def apply_cuts(cuts: Sequence[Cut], table: pa.Table, num_removed: dict[str, int]) -> pa.Table:
    """Return the rows that meet every cut; add what each removes to ``num_removed``, under the cut's name."""
    for cut in cuts:
        kept = table.filter(cut.keep(table), null_selection_behavior="drop")
        num_removed[cut.name] = num_removed.get(cut.name, 0) + table.num_rows - kept.num_rows
        table = kept
    return table


def as_removed(num_removed: Mapping[str, int]) -> list[dict[str, object]]:
    """Return the counts as the target list records them."""
    return [{"cut": name, "num_removed": count} for name, count in num_removed.items()]
