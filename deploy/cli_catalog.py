"""The command line's ``skymetal catalog …``: looking into a published catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pyarrow as pa

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.catalogs.export.export import FORMATS, export_rows
from skymetal.catalogs.export.rows import rows_of_catalog
from skymetal.catalogs.query.order import MAX_MEMORY_BYTES, MAX_ROWS, MAX_SECONDS
from skymetal.catalogs.votable import field_words
from skymetal.deploy.console import say, track
from skymetal.deploy.showing import TABLE, Showing, showing_options, with_words

_MIB = 1 << 20


@click.group()
def catalog() -> None:
    """Look into a published catalogue. PATH is a run directory or a catalogue."""


@catalog.command()
@click.argument("path", type=click.Path(path_type=Path))
@showing_options
def info(path: Path, form: str | None, out: Path | None, overwrite: bool) -> None:
    """What is in a catalogue: rows, columns with units and meaning, where it came from."""
    opened = open_catalog(path)
    showing = Showing(form=form, out=out, overwrite=overwrite)
    columns = {
        "column": opened.schema.names,
        "type": [str(field.type) for field in opened.schema],
        **{word: [field_words(field, word) for field in opened.schema] for word in ("unit", "ucd", "description")},
    }
    is_for_people = out is None and form in (None, TABLE)
    if is_for_people:
        click.echo(f"{opened.name}: {opened.num_rows} rows at {opened.path}\n")
        columns["meaning"] = columns.pop("description")
        del columns["ucd"]
    showing.show(pa.table(columns), name=opened.name, properties=opened.properties)
    if is_for_people:
        click.echo("")
        for key, value in opened.properties.items():
            click.echo(f"{key} = {value}")


@catalog.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("query")
@click.option("--max-seconds", type=float, default=MAX_SECONDS, show_default=True, help="End a query after so long.")
@click.option(
    "--max-memory-mib",
    type=int,
    default=MAX_MEMORY_BYTES // _MIB,
    show_default=True,
    help="Memory that a query may take; its result, half of that.",
)
@click.option("--max-rows", type=int, default=MAX_ROWS, show_default=True, help="Rows that a result may have.")
@showing_options
def sql(
    path: Path,
    query: str,
    max_seconds: float,
    max_memory_mib: int,
    max_rows: int,
    form: str | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Run one SELECT over the table `catalogue` (duckdb's SQL)."""
    opened = open_catalog(path)
    showing = Showing(form=form, out=out, overwrite=overwrite)
    _refuse_inside(opened, out)
    table = opened.sql(query, max_seconds=max_seconds, max_memory_bytes=max_memory_mib * _MIB, max_rows=max_rows)
    showing.show(
        with_words(table, opened.schema), name=opened.name, properties={**opened.properties, "skymetal_query": query}
    )


@catalog.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--ra", required=True, type=float, help="Centre, ICRS degrees.")
@click.option("--dec", required=True, type=float, help="Centre, ICRS degrees.")
@click.option("--radius-arcsec", required=True, type=float, help="Radius, arcsec.")
@showing_options
def cone(
    path: Path, ra: float, dec: float, radius_arcsec: float, form: str | None, out: Path | None, overwrite: bool
) -> None:
    """Galaxies around a position."""
    opened = open_catalog(path)
    showing = Showing(form=form, out=out, overwrite=overwrite)
    _refuse_inside(opened, out)
    showing.show(opened.cone(ra, dec, radius_arcsec), name=opened.name, properties=opened.properties)


@catalog.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--columns", metavar="A,B", help="Only these columns, in this order.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="Default: what OUT's suffix says.")
@click.option("--overwrite", is_flag=True, help="Replace OUT where it is there.")
def export(path: Path, out: Path, columns: str | None, form: str | None, overwrite: bool) -> None:
    """Write a catalogue to one file, OUT, for other programs: FITS, VOTable, CSV, Parquet, or JSON lines."""
    opened = open_catalog(path)
    _refuse_inside(opened, out)
    rows = rows_of_catalog(opened, [name.strip() for name in columns.split(",")] if columns is not None else None)
    watched = replace(
        rows,
        tables=lambda names: track(
            rows.tables(names), title="export", total=rows.num_rows, unit="rows", amount=lambda table: table.num_rows
        ),
    )
    export_rows(watched, out, form=form, overwrite=overwrite)
    say(f"{out}: {rows.num_rows} rows")


def _refuse_inside(opened: Catalog, out: Path | None) -> None:
    """Refuse a file in the catalogue itself, which nothing changes once it is published."""
    if out is not None and opened.path in out.expanduser().resolve().parents:
        raise InputError(f"{out} lies in the catalogue, which never changes; write it elsewhere")
