"""The columns of the value-added catalogue: name, type, unit, UCD and meaning, said once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from skymetal.catalogs.flags import describe_flags

OH_UNIT = "dex"
PERCENTILES = {"oh_p2p5": 0.025, "oh_p16": 0.16, "oh_p50": 0.5, "oh_p84": 0.84, "oh_p97p5": 0.975}
UNSHRUNK = "oh_unshrunk"
CALIBRATED = (*PERCENTILES, UNSHRUNK)
"""The columns that a calibration makes of a raw prediction."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its Arrow type, unit (VOUnit), UCD and one-line meaning."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    ucd: str = ""
    nullable: bool = False

    def to_arrow(self) -> pa.Field:
        """Return the Arrow field, its unit, UCD and description in the field metadata."""
        words = {"unit": self.unit, "ucd": self.ucd, "description": self.description}
        return pa.field(self.name, self.type, self.nullable, {key: value for key, value in words.items() if value})


@dataclass(frozen=True, kw_only=True)
class Schema:
    """An ordered set of columns with distinct names."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"column names repeat: {names}")

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def to_arrow(self) -> pa.Schema:
        """Return the Arrow schema with each column's metadata."""
        return pa.schema([column.to_arrow() for column in self.columns])


OBJECT_ID = Column(
    name="object_id", type=pa.int64(), ucd="meta.id;meta.main", description="the survey's own identifier"
)
SKY = (
    Column(name="ra", type=pa.float64(), unit="deg", ucd="pos.eq.ra;meta.main", description="ICRS right ascension"),
    Column(name="dec", type=pa.float64(), unit="deg", ucd="pos.eq.dec;meta.main", description="ICRS declination"),
    Column(name="_healpix_29", type=pa.int64(), ucd="pos.healpix", description="HEALPix index, nested, order 29"),
)

EMBEDDING_SIZE = 512
EMBEDDING = Column(
    name="embedding",
    type=pa.list_(pa.float16(), EMBEDDING_SIZE),
    ucd="meta.code",
    description="what the first member's last hidden layer makes of the image: for finding galaxies that look alike",
)


def sort_key(names: Sequence[str]) -> str:
    """Return the column that rows are in the order of: along the sky, or by identifier where there are no positions."""
    return "_healpix_29" if "_healpix_29" in names else "object_id"


def catalogue_schema(*, num_folds: int, has_sky: bool, embeddings: bool = False) -> Schema:
    """Return the catalogue's schema for an ensemble of ``num_folds`` members, with embeddings or without.

    Without sky positions the columns ra, dec and _healpix_29 are absent, not null.
    """
    percentiles = (
        Column(
            name=name,
            type=pa.float32(),
            unit=OH_UNIT,
            ucd="phys.abund.Z;stat.median" if name == "oh_p50" else "phys.abund.Z;stat.value",
            description=f"predicted gas-phase 12+log(O/H): percentile {100 * level:g} of the galaxy's own interval",
        )
        for name, level in PERCENTILES.items()
    )
    unshrunk = Column(
        name=UNSHRUNK,
        type=pa.float32(),
        unit=OH_UNIT,
        ucd="phys.abund.Z",
        description="prediction stretched to the spread of the truth: for distributions, oh_p50 is nearer for a galaxy",
    )
    spreads = (
        Column(
            name="oh_std_folds",
            type=pa.float32(),
            unit=OH_UNIT,
            ucd="stat.stdev;phys.abund.Z",
            description="spread of the members' predictions; null where only one member may predict",
            nullable=True,
        ),
        Column(
            name="oh_std_views",
            type=pa.float32(),
            unit=OH_UNIT,
            ucd="stat.stdev;phys.abund.Z",
            description="spread over the views of the image, root mean square over members",
        ),
    )
    members = (
        Column(
            name=f"oh_fold{fold}",
            type=pa.float32(),
            unit=OH_UNIT,
            ucd="phys.abund.Z",
            description=f"prediction of member {fold}; null where that member was trained on the galaxy",
            nullable=True,
        )
        for fold in range(num_folds)
    )
    status = (
        Column(
            name="is_out_of_fold",
            type=pa.bool_(),
            ucd="meta.code",
            description="true where members learnt from the galaxy: predicted by the one member that never saw it",
        ),
        Column(
            name="ood_score",
            type=pa.float32(),
            ucd="stat.value",
            description="how far the image lies from those learnt from; 1 % of held-out galaxies exceed 1",
        ),
        Column(
            name="flags", type=pa.int32(), ucd="meta.code.qual", description=f"bit mask, 0 is clean; {describe_flags()}"
        ),
    )
    extra = (EMBEDDING,) if embeddings else ()
    sky = SKY if has_sky else ()
    return Schema(columns=(OBJECT_ID, *sky, *percentiles, unshrunk, *spreads, *members, *status, *extra))
