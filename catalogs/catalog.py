"""Reading a published catalogue: whole, by SQL, or around a point on the sky."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from skymetal.catalogs import hats
from skymetal.catalogs.cone import check_cone, cone_ranges, separation_arcsec
from skymetal.catalogs.edition import PLAIN_PROPERTIES
from skymetal.catalogs.errors import InputError, missing_column
from skymetal.catalogs.publish import BUILDING_PREFIX, LINK, VERSIONS
from skymetal.catalogs.storage import open_folder

if TYPE_CHECKING:
    import pandas as pd

VIEW = "catalogue"
REMEDY = "delete that folder and run `skymetal publish` again"
# Over data that we opened ourselves: no file, no network, no extension, no Python variable of the caller's.
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """One version of a published catalogue; it stays the same whatever is published meanwhile.

    ``path`` is the version's folder; rows come in sky order, or by object_id where there are no positions.
    """

    path: Path
    name: str
    num_rows: int
    has_sky: bool
    schema: pa.Schema
    properties: dict[str, str]

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows; ``columns`` in the order asked for.

        Raises InputError for a column that is not there, RuntimeError where the catalogue is damaged.
        """
        table = self._read(columns=self._names(columns))
        self._check_rows(table.num_rows)
        return table

    def iter_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, a file at a time, so that memory does not grow with the catalogue.

        Raises as :meth:`to_arrow` does; that rows are missing shows at the end.
        """
        names = self._names(columns)
        num_rows = 0
        with self._damage_named():
            for fragment in self._dataset.get_fragments():
                table = fragment.to_table(schema=self.schema, columns=names)
                num_rows += table.num_rows
                yield table
        self._check_rows(num_rows)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows as a data frame; like :meth:`to_arrow`."""
        frame: pd.DataFrame = self.to_arrow(columns).to_pandas()
        return frame

    def sql(self, query: str) -> pa.Table:
        """Return what one SELECT over the table ``catalogue`` gives.

        Only this catalogue can be reached, and nothing can be changed. The time and memory of a query are not
        bounded here. Raises InputError for another kind of statement and for what duckdb refuses, RuntimeError where
        the catalogue is damaged.
        """
        connection = duckdb.connect(":memory:", config=_LOCKED)
        try:
            statements = duckdb.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise InputError(f"a query is one SELECT statement over {VIEW}, got {_describe(statements)}")
            connection.register(VIEW, self._dataset)
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            # duckdb has no class of its own for a table that it was given and could not read.
            if f"registered as '{VIEW}' failed" in str(error):
                raise RuntimeError(f"{self.path} is damaged: {error}; {REMEDY}") from error
            raise InputError(f"the query failed: {str(error).splitlines()[0]}") from error
        finally:
            connection.close()

    def cone(self, ra: float, dec: float, radius_arcsec: float) -> pa.Table:
        """Return the galaxies within ``radius_arcsec`` of an ICRS position in degrees, the border included.

        Raises InputError for a circle that is not on the sky, and for a catalogue without positions.
        """
        if not self.has_sky:
            raise InputError(
                f"{self.path} has no sky positions: its survey table had no ra and dec; select by object_id"
            )
        check_cone(ra, dec, radius_arcsec)
        index = pc.field("_healpix_29")
        # Parquet's statistics let whole row groups outside the ranges be skipped.
        ranges = [(index >= start) & (index < stop) for start, stop in cone_ranges(ra, dec, radius_arcsec).tolist()]
        near = self._read(filter=reduce(or_, ranges))
        angle_N = separation_arcsec(near["ra"].to_numpy(), near["dec"].to_numpy(), ra, dec)
        return near.filter(pa.array(angle_N <= radius_arcsec))

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        names = list(self.schema.names if columns is None else columns)
        for name in names:
            if name not in self.schema.names:
                raise missing_column(str(self.path), name, self.schema.names)
        return names

    def _check_rows(self, num_rows: int) -> None:
        if num_rows != self.num_rows:
            raise RuntimeError(f"{self.path} is damaged: it holds {num_rows} rows, not {self.num_rows}; {REMEDY}")

    def _read(self, **selection: Any) -> pa.Table:
        with self._damage_named():
            return self._dataset.to_table(**selection)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise RuntimeError(f"{self.path} is damaged: {error}; {REMEDY}") from error

    @cached_property
    def _dataset(self) -> ds.Dataset:
        # The schema is the catalogue's own: without it the folders' names would become columns.
        checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
        file_format = ds.ParquetFileFormat(default_fragment_scan_options=checked)
        return ds.parquet_dataset(self.path / hats.METADATA, schema=self.schema, format=file_format)


def open_catalog(path: str | Path) -> Catalog:
    """Open a published catalogue: a run directory, its ``catalogue``, or one of its versions.

    A link is followed once, so that the catalogue is one version whole. Raises InputError where there is none.
    """
    given = open_folder(path).path
    for place in (given / LINK, given):
        version = place.resolve()
        if version.name.startswith(BUILDING_PREFIX):
            raise InputError(f"{given} is half built: a publisher was killed, or is at work; run `skymetal publish`")
        for name in (hats.PROPERTIES, PLAIN_PROPERTIES):
            if (version / name).is_file():
                return _open_version(version, name)
    raise InputError(f"there is no catalogue at {given}: {_what_is_there(given)}")


def _open_version(version: Path, name: str) -> Catalog:
    properties = hats.parse_properties((version / name).read_bytes())
    has_sky = name == hats.PROPERTIES
    try:
        return Catalog(
            path=version,
            name=properties["obs_collection"],
            num_rows=int(properties["hats_nrows" if has_sky else "num_rows"]),
            has_sky=has_sky,
            schema=pq.read_schema(version / hats.COMMON_METADATA),
            properties=properties,
        )
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{version} is no catalogue that skymetal wrote, or is damaged: {error!r}; {REMEDY}"
        ) from error


def _what_is_there(given: Path) -> str:
    if not given.exists():
        return "nothing is there; give a run directory or its catalogue folder"
    if (given / "parts").is_dir() or (given / VERSIONS).is_dir():
        return "the run is not published yet; run `skymetal publish` on its job"
    names = sorted(entry.name for entry in given.iterdir())
    found = f"it holds {', '.join(names[:5])}{' …' if len(names) > 5 else ''}" if names else "it is empty"
    return f"{found}; give a run directory or its catalogue folder"


def _describe(statements: Sequence[duckdb.Statement]) -> str:
    return ", ".join(statement.type.name for statement in statements) or "nothing"
