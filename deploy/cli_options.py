"""What several verbs of the command line take: a job file, and replacements of its values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

set_option = click.option(
    "--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Replace one value of the job file."
)


def job_options(command: Command) -> Command:
    """Give a command its job file, ``job``, and its ``assignments``."""
    return click.argument("job", type=click.Path(path_type=Path))(set_option(command))
