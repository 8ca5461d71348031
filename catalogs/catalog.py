"""Reading a published catalogue: whole, in samples, by SQL, around a point on the sky, beside another table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from skymetal.catalogs import hats
from skymetal.catalogs.contents import (
    LINK,
    NUM_ROWS,
    VERSIONS,
    is_version,
    read_contents,
    read_properties,
)
from skymetal.catalogs.crossmatch import Match, match_table
from skymetal.catalogs.dataset import open_dataset, without_half_floats
from skymetal.catalogs.errors import InputError, find_columns, first_line
from skymetal.catalogs.files import REMEDY, DataFiles, list_files
from skymetal.catalogs.query.client import run_query
from skymetal.catalogs.query.order import MAX_MEMORY_BYTES, MAX_ROWS, MAX_SECONDS, QueryLimits
from skymetal.catalogs.region import box_ranges, check_box, check_cone, cone_ranges, separation_arcsec
from skymetal.catalogs.sampling import sample_rows
from skymetal.catalogs.storage import BUILDING_PREFIX, Folder, Location, local_path, open_folder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """One version of a published catalogue; it stays the same whatever is published meanwhile.

    ``folder`` is the version's; rows come in sky order, or by object_id where there are no positions. ``columns``
    are in the order asked for; left out, all. Every method raises InputError for a column that is not there, and
    RuntimeError where the catalogue is damaged.
    """

    folder: Folder
    name: str
    num_rows: int
    has_sky: bool
    schema: pa.Schema
    properties: dict[str, str]

    @property
    def version(self) -> str:
        """The version's name: the same content, the same name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The version's folder on this machine's disk; InputError where it is in a bucket."""
        return local_path(self.folder, what="a path of the catalogue")

    @property
    def table_path(self) -> Path:
        """The folder, on the disk, of the table of galaxies: where there are positions a HATS catalogue."""
        return self.path / self.name

    def iter_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, a file at a time, so that memory does not grow with the catalogue.

        That rows are missing shows at the end.
        """
        names = self._names(columns)
        num_rows = 0
        for index in range(len(self._files.names)):
            table = self._files.read(index, names)
            num_rows += table.num_rows
            yield table
        self._check_rows(num_rows)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows."""
        table = self._files.read_all(self._names(columns))
        self._check_rows(table.num_rows)
        return table

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows as a data frame."""
        frame: pd.DataFrame = self.to_arrow(columns).to_pandas()
        return frame

    def to_dask(self, columns: Sequence[str] | None = None) -> Any:
        """Return a dask DataFrame, a file a partition."""
        from dask import dataframe  # a second to import, which every other reader can do without

        names, files = self._names(columns), self._files
        meta = self.schema.empty_table().select(names).to_pandas()
        return dataframe.from_map(_read_frame, range(len(files.names)), files=files, columns=names, meta=meta)

    def to_duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """Return a duckdb relation over all rows, of a connection of yours or duckdb's default one."""
        with self._files.damage_named():
            table = self.folder / self.name
            schema = without_half_floats(self.schema)
            dataset = open_dataset(table.arrow_path(hats.METADATA), schema, table.filesystem)
        return (connection or duckdb.default_connection()).from_arrow(dataset)

    def sql(
        self,
        query: str,
        *,
        max_seconds: float = MAX_SECONDS,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        max_rows: int = MAX_ROWS,
    ) -> pa.Table:
        """Return what one SELECT over the table ``catalogue`` gives.

        It runs in a process of its own: only this catalogue can be reached, nothing can be changed, and a query
        that exceeds its limits is ended. Raises InputError for that, for another kind of statement and for what
        duckdb refuses, RuntimeError where the catalogue is damaged.
        """
        table = local_path(self.folder / self.name, what="sql, which runs in a process without network,")
        limits = QueryLimits(seconds=max_seconds, memory_bytes=max_memory_bytes, num_rows=max_rows)
        with self._files.damage_named():
            return run_query(query, metadata=table / hats.METADATA, schema=self.schema, limits=limits)

    def cone(self, ra: float, dec: float, radius_arcsec: float, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the galaxies within ``radius_arcsec`` of an ICRS position in degrees, the border included.

        Only the files and row groups near it are read. Raises InputError for a circle that is not on the sky, and for
        a catalogue without positions.
        """
        self._need_sky("a cone search")
        check_cone(ra, dec, radius_arcsec)
        near, names = self._read_ranges(cone_ranges(ra, dec, radius_arcsec), columns)
        angle_N = separation_arcsec(near["ra"].to_numpy(), near["dec"].to_numpy(), ra, dec)
        return near.filter(pa.array(angle_N <= radius_arcsec)).select(names)

    def box(self, ra: tuple[float, float], dec: tuple[float, float], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the galaxies with ra from the first to the second, eastwards, and dec likewise, in degrees.

        ``ra=(350, 10)`` is 20 degrees across 0; the borders are included. Raises as :meth:`cone` does.
        """
        self._need_sky("a box search")
        check_box(ra, dec)
        near, names = self._read_ranges(box_ranges(ra, dec), columns)
        ra_N, dec_N = near["ra"].to_numpy(), near["dec"].to_numpy()
        width = ra[1] - ra[0] if ra[1] >= ra[0] else ra[1] - ra[0] + 360.0
        is_east_N = (ra_N - ra[0]) % 360.0 <= width
        return near.filter(pa.array(is_east_N & (dec_N >= dec[0]) & (dec_N <= dec[1]))).select(names)

    def crossmatch(
        self, table: Any, radius_arcsec: float, columns: Sequence[str] | None = None, **options: Any
    ) -> pa.Table:
        """Return, for each row of a table with positions, the nearest galaxy within ``radius_arcsec``.

        table is an Arrow, pandas or astropy table; see :class:`~skymetal.catalogs.crossmatch.Match` for the options:
        ra, dec (the names of its columns, in ICRS degrees) and keep_all (rows without a galaxy too, with nulls). The
        result has the table's columns, the catalogue's, and ``separation_arcsec``. Raises InputError for positions that
        are not on the sky, and for a catalogue without positions.
        """
        self._need_sky("a crossmatch")
        return match_table(self._files, table, Match(radius_arcsec=radius_arcsec, **options), self._names(columns))

    def sample(self, num_rows: int, *, seed: int = 0, columns: Sequence[str] | None = None) -> pa.Table:
        """Return galaxies drawn at random, in order: the same for the same seed, whatever the layout."""
        return sample_rows(self._files, num_rows, seed=seed, columns=self._names(columns))

    @cached_property
    def _files(self) -> DataFiles:
        try:
            contents = read_contents(self.folder, self.properties)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"{self.folder} is damaged: {error}; {REMEDY}") from error
        return list_files(self.folder / self.name, self.schema, contents)

    def _read_ranges(self, ranges: Any, columns: Sequence[str] | None) -> tuple[pa.Table, list[str]]:
        """Return the rows in the ranges, with their positions, and the names that were asked for."""
        names = self._names(columns)
        return self._files.read_ranges(ranges, [*names, *(each for each in ("ra", "dec") if each not in names)]), names

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        return find_columns(str(self.folder), columns, self.schema.names)

    def _need_sky(self, what: str) -> None:
        if not self.has_sky:
            raise InputError(
                f"{self.folder} has no sky positions, so {what} is not possible: its survey table had no ra and dec; "
                "select by object_id"
            )

    def _check_rows(self, num_rows: int) -> None:
        if num_rows != self.num_rows:
            raise RuntimeError(f"{self.folder} is damaged: it holds {num_rows} rows, not {self.num_rows}; {REMEDY}")


def open_catalog(path: Location) -> Catalog:
    """Open a published catalogue: a run directory, its ``catalogue``, one of its versions, or the table in that.

    It is named by a path or an ``s3://`` URL. A link is followed once, so that the catalogue is one version whole.
    Raises InputError where there is none, RuntimeError, naming the file, where one is damaged.
    """
    given = open_folder(path)
    given.check()
    for place in (given / LINK, given, *([given.parent] if given.exists(hats.DATASET) else [])):
        version = place.resolved()
        if version.name.startswith(BUILDING_PREFIX):
            raise InputError(f"{given} is half built: a publisher was killed, or is at work; run `skymetal publish`")
        if is_version(version):
            return _open_version(version)
    raise InputError(f"there is no catalogue at {given}: {_what_is_there(given)}")


def _open_version(version: Folder) -> Catalog:
    try:
        properties = read_properties(version)
        name = properties["obs_collection"]
        schema = pq.read_schema(pa.BufferReader((version / name).read(hats.COMMON_METADATA)))
        return Catalog(
            folder=version,
            name=name,
            num_rows=int(properties[NUM_ROWS]),
            has_sky="_healpix_29" in schema.names,
            schema=schema.remove_metadata(),
            properties=properties,
        )
    except (KeyError, ValueError, OSError) as error:  # Arrow's errors are the last two
        raise RuntimeError(f"{version} is damaged: {first_line(error)}; {REMEDY}") from error


def _read_frame(index: int, files: DataFiles, columns: Sequence[str]) -> pd.DataFrame:
    frame: pd.DataFrame = files.read(index, columns).to_pandas()
    return frame


def _what_is_there(given: Folder) -> str:
    if not given.exists():
        return "nothing is there; give a run directory or its catalogue folder"
    if given.exists(hats.PROPERTIES):
        return "it is HATS, but no catalogue that skymetal wrote; open it with LSDB"
    if given.exists("parts") or given.exists(VERSIONS):
        return "the run is not published yet; run `skymetal publish` on its job"
    names = given.names("*")
    found = f"it holds {', '.join(names[:5])}{' …' if len(names) > 5 else ''}" if names else "it is empty"
    return f"{found}; give a run directory or its catalogue folder"
