"""Secrets: none is kept in a run directory, and none is said aloud."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from skymetal.catalogs.errors import InputError

# Amazon's secret keys have slashes in them; elsewhere what follows a slash is a path.
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@:\"']*:[^\s/@\"']*@|(\bs3://)[^\s/@:\"']*:[^\s@\"']*@")


def mask(text: str) -> str:
    """Return a text with the user:password@ of every URL in it made unreadable."""
    return _CREDENTIALS.sub(r"\1\2***@", text)


def refuse_credentials(where: str, values: Mapping[str, Any]) -> None:
    """Raise InputError for a URL with user:password@ among a section's values: they are copied to the run directory."""
    for key, value in values.items():
        if _has_credentials(value):
            raise InputError(
                f"{where} {key} has a user name and password in a URL, and a job file is copied to the run directory "
                "for all to read; leave them out, and give them by environment or the configuration of that service"
            )


def _has_credentials(value: Any) -> bool:
    if isinstance(value, str):
        return _CREDENTIALS.search(value) is not None
    if isinstance(value, Mapping):
        return any(_has_credentials(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_has_credentials(item) for item in value)


class MaskingFormatter(logging.Formatter):
    """Formats a log line as usual, then masks it: a library's error may quote a proxy's URL."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, its traceback included."""
        return mask(super().format(record))
