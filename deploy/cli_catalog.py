"""The command line's ``skymetal catalog …``: looking into a published catalogue."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
import pyarrow as pa

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.crossmatch import SEPARATION
from skymetal.catalogs.errors import printable
from skymetal.catalogs.export.export import FORMATS, export_rows
from skymetal.catalogs.export.rows import rows_of_catalog
from skymetal.catalogs.files import REMEDY
from skymetal.catalogs.proof import prove_catalog
from skymetal.catalogs.query.order import MAX_MEMORY_BYTES, MAX_ROWS, MAX_SECONDS
from skymetal.catalogs.tables import read_table
from skymetal.catalogs.votable import field_words
from skymetal.deploy.console import say, track
from skymetal.deploy.serving.server import CatalogServer
from skymetal.deploy.showing import TABLE, Showing, showing_options

_MIB = 1 << 20


@click.group()
def catalog() -> None:
    """Look into a published catalogue. PATH is a run directory or a catalogue."""


@catalog.command()
@click.argument("path")
@showing_options
def info(path: str, showing: Showing) -> None:
    """What is in a catalogue: rows, columns with units and meaning, where it came from."""
    opened = open_catalog(path)
    columns = {
        "column": opened.schema.names,
        "type": [str(field.type) for field in opened.schema],
        **{word: [field_words(field, word) for field in opened.schema] for word in ("unit", "ucd", "description")},
    }
    is_for_people = showing.out is None and showing.form in (None, TABLE)
    if is_for_people:
        click.echo(f"{opened.name}: {opened.num_rows} rows at {opened.folder}\n")
        columns["meaning"] = columns.pop("description")
        del columns["ucd"]
    showing.show(pa.table(columns), name=opened.name, properties=opened.properties)
    if is_for_people:
        click.echo("")
        for key, value in opened.properties.items():
            click.echo(f"{key} = {value}")


@catalog.command()
@click.argument("path")
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
    path: str,
    query: str,
    max_seconds: float,
    max_memory_mib: int,
    max_rows: int,
    showing: Showing,
) -> None:
    """Run one SELECT over the table `catalogue` (duckdb's SQL)."""
    opened = open_catalog(path)
    table = opened.sql(query, max_seconds=max_seconds, max_memory_bytes=max_memory_mib * _MIB, max_rows=max_rows)
    showing.show(table, name=opened.name, properties={**opened.properties, "skymetal_query": query})


@catalog.command()
@click.argument("path")
@click.option("--ra", required=True, type=float, help="Centre, ICRS degrees.")
@click.option("--dec", required=True, type=float, help="Centre, ICRS degrees.")
@click.option("--radius-arcsec", required=True, type=float, help="Radius, arcsec.")
@showing_options
def cone(path: str, ra: float, dec: float, radius_arcsec: float, showing: Showing) -> None:
    """Galaxies around a position."""
    opened = open_catalog(path)
    showing.show(opened.cone(ra, dec, radius_arcsec), name=opened.name, properties=opened.properties)


@catalog.command()
@click.argument("path")
@click.option("--ra", required=True, type=float, nargs=2, help="From, to (eastwards), ICRS degrees.")
@click.option("--dec", required=True, type=float, nargs=2, help="From, to, ICRS degrees.")
@showing_options
def box(path: str, ra: tuple[float, float], dec: tuple[float, float], showing: Showing) -> None:
    """Galaxies between two right ascensions and two declinations. --ra 350 10 is across 0."""
    opened = open_catalog(path)
    showing.show(opened.box(ra, dec), name=opened.name, properties=opened.properties)


@catalog.command()
@click.argument("path")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--radius-arcsec", required=True, type=float, help="How far a galaxy may be, arcsec.")
@click.option("--ra", default="ra", show_default=True, help="Column of the table, ICRS degrees.")
@click.option("--dec", default="dec", show_default=True, help="Column of the table, ICRS degrees.")
@click.option("--columns", metavar="A,B", help="Only these columns of the catalogue.")
@click.option("--keep-all", is_flag=True, help="Rows of the table without a galaxy too.")
@showing_options
def crossmatch(
    path: str,
    table: Path,
    radius_arcsec: float,
    ra: str,
    dec: str,
    columns: str | None,
    keep_all: bool,
    showing: Showing,
) -> None:
    """The nearest galaxy to each row of a TABLE: CSV, FITS, VOTable or Parquet."""
    opened = open_catalog(path)
    rows = read_table(table)
    matched = opened.crossmatch(rows, radius_arcsec, _split(columns), ra=ra, dec=dec, keep_all=keep_all)
    num_found = matched.num_rows - matched[SEPARATION].null_count
    click.echo(f"{num_found} of {rows.num_rows} rows of {table} have a galaxy within {radius_arcsec:g}″", err=True)
    showing.show(matched, name=opened.name, properties=opened.properties)


@catalog.command()
@click.argument("path")
@click.option("--rows", "num_rows", default=20, show_default=True, type=int, help="How many galaxies.")
@click.option("--seed", default=0, show_default=True, type=int, help="Another seed, other galaxies.")
@showing_options
def sample(path: str, num_rows: int, seed: int, showing: Showing) -> None:
    """Galaxies drawn at random; the same for the same seed."""
    opened = open_catalog(path)
    showing.show(opened.sample(num_rows, seed=seed), name=opened.name, properties=opened.properties)


@catalog.command()
@click.argument("path")
def verify(path: str) -> None:
    """Prove a catalogue: every file by its digest, every row in its place. Exit 1 where something is wrong."""
    opened = open_catalog(path)
    num_files = num_wrong = 0
    checked = prove_catalog(opened)
    first = next(checked)
    everything = itertools.chain([first], checked)
    for each in track(everything, title="verify", total=first.num_total, unit="files", amount=lambda _: 1):
        num_files += 1
        for finding in each.findings:
            num_wrong += 1
            say(printable(str(finding)))
    if num_wrong:
        raise RuntimeError(f"{opened.folder}: {num_wrong} findings; {REMEDY}")
    say(f"{opened.name}: {opened.num_rows} rows in {num_files - 1} files, all as published")


@catalog.command()
@click.argument("path")
@click.argument("out")
@click.option("--columns", metavar="A,B", help="Only these columns, in this order.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="Default: what OUT's suffix says.")
@click.option("--overwrite", is_flag=True, help="Replace OUT where it is there.")
def export(path: str, out: str, columns: str | None, form: str | None, overwrite: bool) -> None:
    """Write a catalogue to one file, OUT, for other programs: FITS, VOTable, CSV, Parquet, or JSON lines."""
    opened = open_catalog(path)
    rows = rows_of_catalog(opened, _split(columns))
    watched = replace(
        rows,
        tables=lambda names: track(
            rows.tables(names), title="export", total=rows.num_rows, unit="rows", amount=lambda table: table.num_rows
        ),
    )
    export_rows(watched, out, form=form, overwrite=overwrite)
    say(f"{out}: {rows.num_rows} rows")


@catalog.command()
@click.argument("path")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any that is free.")
def serve(path: str, port: int) -> None:
    """Look around in a browser: a page on this machine, for you alone, until Ctrl-C."""
    with suppress(KeyboardInterrupt), CatalogServer(open_catalog(path), port=port) as server:
        if server.why_none:
            say(f"no cutouts: {server.why_none}")
        say(f"{server.catalog.name}: {server.catalog.num_rows} rows, for you alone until Ctrl-C, at\n{server.url}")
        server.serve_forever()
    os._exit(130)  # a thread may be within a library that does not bear the end of Python


def _split(columns: str | None) -> list[str] | None:
    return None if columns is None else [name.strip() for name in columns.split(",")]
