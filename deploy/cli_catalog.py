"""The command line's ``skymetal catalog …``: looking into a published catalogue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.csv

from skymetal.catalogs.catalog import open_catalog
from skymetal.catalogs.errors import printable
from skymetal.deploy.console import format_table

MAX_ROWS_SHOWN = 40


@click.group()
def catalog() -> None:
    """Look into a published catalogue. PATH is a run directory or a catalogue."""


@catalog.command()
@click.argument("path", type=click.Path(path_type=Path))
def info(path: Path) -> None:
    """What is in a catalogue: rows, columns with units and meaning, where it came from."""
    opened = open_catalog(path)
    click.echo(f"{opened.name}: {opened.num_rows} rows at {opened.path}\n")
    rows = [
        [field.name, str(field.type), _words(field, b"unit"), _words(field, b"description")] for field in opened.schema
    ]
    click.echo(format_table(["column", "type", "unit", "meaning"], rows))
    click.echo()
    for key, value in opened.properties.items():
        click.echo(f"{key} = {value}")


@catalog.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("query")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", show_default=True)
def sql(path: Path, query: str, form: str) -> None:
    """Run one SELECT over the table `catalogue` (duckdb's SQL)."""
    _show(open_catalog(path).sql(query), form)


@catalog.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--ra", required=True, type=float, help="Centre, ICRS degrees.")
@click.option("--dec", required=True, type=float, help="Centre, ICRS degrees.")
@click.option("--radius-arcsec", required=True, type=float, help="Radius, arcsec.")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table", show_default=True)
def cone(path: Path, ra: float, dec: float, radius_arcsec: float, form: str) -> None:
    """Galaxies around a position."""
    _show(open_catalog(path).cone(ra, dec, radius_arcsec), form)


def _words(field: Any, key: bytes) -> str:
    return str((field.metadata or {}).get(key, b"").decode())


def _show(table: pa.Table, form: str) -> None:
    if form == "csv":
        pyarrow.csv.write_csv(table, sys.stdout.buffer)
        return
    shown = table.slice(0, MAX_ROWS_SHOWN)
    rows = list(zip(*([_cell(value) for value in column.to_pylist()] for column in shown.columns), strict=True))
    click.echo(format_table(table.column_names, rows))
    if table.num_rows > MAX_ROWS_SHOWN:
        click.echo(f"… {table.num_rows - MAX_ROWS_SHOWN} more rows; --format csv prints all")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) and abs(value) < 100 else printable(str(value))
