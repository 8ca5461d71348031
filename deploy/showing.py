"""How a table reaches the user: lined up on a terminal, as text that a program reads, or in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import click
import pyarrow as pa

from skymetal.catalogs.errors import InputError, printable
from skymetal.catalogs.export.export import FORMATS, export_rows
from skymetal.catalogs.export.rows import check_columns, rows_of_table
from skymetal.catalogs.export.text import write_csv, write_json
from skymetal.catalogs.flags import decode_flags
from skymetal.catalogs.votable import field_words
from skymetal.deploy.console import format_table

MAX_ROWS_SHOWN = 40
TABLE = "table"
FLAGS_UCD, FLAGS_START = "meta.code.qual", "bit mask, 0 is clean; "
"""By these a column of our flags is known, whatever its name; a user's own table may have flags too."""
_ON_A_TERMINAL = {"csv": write_csv, "json": write_json}
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Showing:
    """Where a table goes, and in which format; None is what the file's suffix says, or a table on the terminal."""

    form: str | None
    out: str | None
    overwrite: bool

    def __post_init__(self) -> None:
        if self.out is None and self.form not in (None, TABLE, *_ON_A_TERMINAL):
            raise InputError(f"--format {self.form} needs --out FILE; a terminal cannot show it")
        if self.out is not None and self.form == TABLE:
            raise InputError(
                f"--format {TABLE} is for the terminal; with --out give {', '.join(FORMATS)}, or leave it out"
            )

    def show(self, table: pa.Table, *, name: str, properties: Mapping[str, str]) -> None:
        """Print the table, or write the file; ``properties`` say in a file where the table came from.

        Raises as :func:`export_rows` does.
        """
        rows = rows_of_table(table, name=name, properties=properties)
        if self.out is not None:
            export_rows(rows, self.out, form=self.form, overwrite=self.overwrite)
            click.echo(f"{self.out}: {table.num_rows} rows")
        elif self.form in _ON_A_TERMINAL:
            check_columns(rows)
            _ON_A_TERMINAL[self.form](sys.stdout.buffer, rows)
        else:
            click.echo(_lined_up(table))


def showing_options(command: Command) -> Command:
    """Add --format, --out and --overwrite to a command, which is given them as ``showing``."""

    @wraps(command)
    def shown(*, form: str | None, out: str | None, overwrite: bool, **others: Any) -> Any:
        return command(**others, showing=Showing(form=form, out=out, overwrite=overwrite))

    options = (
        click.option(
            "--format",
            "form",
            type=click.Choice([TABLE, *FORMATS]),
            help="Default: what FILE's suffix says, or a table on the terminal.",
        ),
        click.option("--out", metavar="FILE", help="Write a file instead."),
        click.option("--overwrite", is_flag=True, help="Replace FILE where it is there."),
    )
    for option in reversed(options):
        shown = option(shown)
    return cast(Command, shown)


def _lined_up(table: pa.Table) -> str:
    shown = table.slice(0, MAX_ROWS_SHOWN)
    cells = [map(_writer(field), column.to_pylist()) for field, column in zip(shown.schema, shown.columns, strict=True)]
    lines = format_table([printable(name) for name in shown.column_names], list(zip(*cells, strict=True)))
    if table.num_rows > MAX_ROWS_SHOWN:
        lines += f"\n… {table.num_rows - MAX_ROWS_SHOWN} more rows; --format csv prints all"
    return lines


def _writer(field: pa.Field) -> Callable[[Any], str]:
    """Return what writes a value of a column: all its numbers with the same precision, our flags by name."""
    if pa.types.is_float64(field.type):
        form = ".6f" if field_words(field, "unit") == "deg" else ".10g"
    else:
        form = ".6g" if pa.types.is_floating(field.type) else ""
    is_ours = field_words(field, "ucd") == FLAGS_UCD and field_words(field, "description").startswith(FLAGS_START)
    is_flags = is_ours and pa.types.is_integer(field.type)

    def write(value: Any) -> str:
        if value is None:
            return "–"
        if is_flags and value >= 0:
            return "|".join(decode_flags(value)) or "clean"
        return format(value, form) if form else printable(str(value))

    return write
