"""The name of a galaxy's file, made from the columns of its row: ``{object_id:.3}/{object_id}.jpg``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import Any

import pyarrow as pa

from skymetal.catalogs.errors import InputError, did_you_mean

MAX_NAME_LENGTH = 1024
_PREFIX = re.compile(r"\.([1-9][0-9]?)")
_ZEROS = re.compile(r"0[1-9][0-9]?d")
_SPECS = "{column}, {column:.3} for its first 3 characters or {column:06d} for 6 digits"


@dataclass(frozen=True)
class FilePattern:
    """A path inside a folder, in which ``{column}`` stands for the galaxy's value.

    ``{column:.3}`` is the first characters of the value, ``{column:06d}`` an integer filled up with zeros; nothing
    else of Python's format language is understood. A pattern may be made from any text: :meth:`check` judges it.
    """

    text: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in braces, each once, in order; those that are given as ``extra`` are among them."""
        return tuple(dict.fromkeys(field for _, field, _ in self._pieces if field))

    def check(self, column_names: Iterable[str], extra: tuple[str, ...] = ()) -> None:
        """Raise InputError where the pattern is not one, leaves its folder, or names what is not there."""
        known = list(dict.fromkeys((*column_names, *extra)))
        for _, field, spec in self._pieces:
            if field and field not in known:
                raise InputError(
                    f"[images] pattern {self.text!r} has no column {field!r}; {did_you_mean(field, known)}"
                )
            if field in extra and _ZEROS.fullmatch(spec):
                raise InputError(f"[images] pattern {self.text!r}: {field} is no integer; write {{{field}}}")
        if not self.columns:
            raise InputError(
                f"[images] pattern {self.text!r} names no column, so that every galaxy would have the same file; "
                "write {object_id} where the galaxy's id stands"
            )
        literals = [literal for literal, _, _ in self._pieces]
        inside = "x".join(literals)  # whatever the values are
        if self.text.startswith("/") or ".." in inside.split("/") or not inside.isprintable():
            raise InputError(
                f"[images] pattern must stay inside the folder: a relative path of printable signs without '..', "
                f"got {self.text!r}"
            )

    def names(self, targets: pa.Table, **extra: str) -> list[str | None]:
        """Return every row's name; None where a value is null or would make a name that is not safe to open.

        ``extra`` are values that are the same for all rows, such as a band; they win over columns.
        """
        values = {field: [extra[field]] * targets.num_rows for field in self.columns if field in extra}
        for field in self.columns:
            if field not in extra:
                values[field] = self._column(targets, field)
        if len(values) == 1 and not any(spec for _, _, spec in self._pieces):
            return [self._plain_name(value) for value in next(iter(values.values()))]
        return [self._name(dict(zip(values, row, strict=True))) for row in zip(*values.values(), strict=True)]

    @cached_property
    def _pieces(self) -> tuple[tuple[str, str, str], ...]:
        """(literal, field, spec) from left to right; a field may be empty only at the end."""
        try:
            pieces = list(Formatter().parse(self.text))
        except ValueError as error:
            raise InputError(f"[images] pattern {self.text!r} has broken braces ({error}); write {_SPECS}") from error
        for _, field, spec, conversion in pieces:
            if field is None:
                continue
            is_plain = not conversion and field and not set(field) & set(".[]{}")
            is_spec = not spec or _PREFIX.fullmatch(spec) or _ZEROS.fullmatch(spec)
            if not (is_plain and is_spec):
                shown = field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                raise InputError(f"[images] pattern {self.text!r} cannot use {{{shown}}}; write {_SPECS}")
        return tuple((literal, field or "", spec or "") for literal, field, spec, _ in pieces)

    def _column(self, targets: pa.Table, field: str) -> list[Any]:
        column = targets[field]
        needs_integer = any(name == field and _ZEROS.fullmatch(spec) for _, name, spec in self._pieces)
        if needs_integer and not pa.types.is_integer(column.type):
            raise InputError(
                f"[images] pattern {self.text!r} wants an integer, but column {field} is {column.type}; "
                f"write {{{field}}}"
            )
        return list(column.to_pylist())

    def _plain_name(self, value: Any) -> str | None:
        """Return the name where one column stands as it is: the common case, and several times faster."""
        if value is None:
            return None
        text = str(value)
        return _safe("".join(literal + text if field else literal for literal, field, _ in self._pieces))

    def _name(self, row: dict[str, Any]) -> str | None:
        words = []
        for literal, field, spec in self._pieces:
            words.append(literal)
            if not field:
                continue
            value = row[field]
            if value is None:
                return None
            words.append(format(value, spec) if spec.endswith("d") else format(str(value), spec))
        return _safe("".join(words))


def _safe(name: str) -> str | None:
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable() or name.startswith("/"):
        return None
    return None if ".." in name and ".." in name.split("/") else name
