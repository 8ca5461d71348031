"""What a person sees while waiting: one line a fact, a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from skymetal.deploy.jobs.secrets import mask

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 60.0


def say(text: str) -> None:
    """Print one line for the user, and keep it in the run's log."""
    text = mask(text)
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
    logger.info(text)


def track(
    items: Iterable[Item],
    *,
    title: str,
    total: int,
    unit: str,
    amount: Callable[[Item], int],
    note: Callable[[Item], str] | None = None,
) -> Iterator[Item]:
    """Pass items on while showing how many of ``total`` units they amount to, the rate and the time left.

    ``note`` is what the newest item adds to the line.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=title, unit=unit, dynamic_ncols=True, leave=False) as bar:
            for item in items:
                yield item
                bar.update(amount(item))
                if note is not None:
                    bar.set_postfix_str(note(item))
        return
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += amount(item)
        noted = f"; {note(item)}" if note is not None else ""
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            rate = done / (now - start)
            minutes = (total - done) / rate / 60
            say(f"{title}: {done} of {total} {unit}, {rate:.3g} a second, about {minutes:.0f} min left{noted}")


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines with the columns aligned: numbers to the right, words to the left."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(_is_number(cell) for cell in column[1:]) and len(rows) > 0 for column in columns]
    lines = []
    for row in [header, *rows]:
        cells = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell == "–" or cell.lstrip("−-+").split(" ")[0].replace(".", "", 1).replace("e-", "").isdigit()
