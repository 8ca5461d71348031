"""evaluate for any table that has truths and predictions as columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import InputError, first_line, missing_column
from skymetal.catalogs.storage import open_folder
from skymetal.catalogs.tables import read_table
from skymetal.deploy.evaluation.beside_paper import PAPER, beside_paper
from skymetal.deploy.evaluation.files import write_figures, write_numbers
from skymetal.train.evaluation.evaluate import compare, judge_comparison
from skymetal.train.evaluation.photometry import MASS
from skymetal.train.evaluation.rivals import Rival
from skymetal.train.evaluation.wording import format_judgement

ID_NAMES = ("object_id", "objID", "objid", "OBJID")


def evaluate_table(
    path: Path, *, truth: str, prediction: str, against: str | None = None, out: Path | None = None
) -> str:
    """Return the field's numbers for two columns of a table, as lines of text.

    against is ``paper``, another column of the table, or another table with the same prediction column, whose rows
    are matched by object_id. Into ``out``, where it is given, go the figures and the numbers.
    Raises InputError for a column that is missing or no number, and for too few galaxies.
    """
    table = read_table(path)
    names = [truth, prediction, *([against] if against and against in table.column_names else [])]
    for name in names:
        _check_column(table, name, where=f"table {path}")
    rival = _find_rival(table, path, against=against, prediction=prediction)
    ids = _object_ids(table, path) if rival and against not in table.column_names else np.arange(table.num_rows)
    rows = {"object_id": pa.array(ids)} | ({MASS: table[MASS]} if MASS in table.column_names else {})
    title = f"{path.name}: {prediction} against {truth}"
    comparison = compare("evaluation", title, table[truth], table[prediction], pa.table(rows))
    judgement = judge_comparison(comparison, [rival] if rival else [])
    if rival and not judgement.rivals:
        raise InputError(f"{path} and {against} have no three galaxies with a truth and both predictions in common")
    numbers = judgement.to_json()
    lines = [format_judgement(judgement)]
    if against == PAPER:
        lines.append(beside_paper([numbers]))
    if out:
        folder = open_folder(out)
        try:
            write_figures(folder, judgement, [rival] if rival else [], own_title=prediction)
            write_numbers(folder, [numbers])
        except OSError as error:
            raise InputError(f"--out {out} cannot be written ({error.strerror}); name another folder") from error
        lines.append(f"figures and numbers are in {folder}")
    return "\n".join(lines)


def _check_column(table: pa.Table, name: str, *, where: str) -> None:
    if name not in table.column_names:
        raise missing_column(where, name, table.column_names)
    kind = table[name].type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise InputError(f"{where}: column {name!r} is of type {kind}, not a number; name another column")


def _find_rival(table: pa.Table, path: Path, *, against: str | None, prediction: str) -> Rival | None:
    """Return the other prediction: of the same rows, numbered from 0, or of another table, by object_id."""
    if against is None or against == PAPER:
        return None
    if against in table.column_names:
        return Rival(name="other", title=against, object_id_S=np.arange(table.num_rows), oh_S=_as_float(table[against]))
    other_path = Path(against)
    if not other_path.is_file():
        problem = missing_column(f"table {path}", against, table.column_names)
        raise InputError(f"--against {against} is no file, and {problem}")
    other = read_table(other_path)
    _check_column(other, prediction, where=f"table {other_path}")
    ids = _object_ids(other, other_path)
    return Rival(name="other", title=other_path.name, object_id_S=ids, oh_S=_as_float(other[prediction]))


def _object_ids(table: pa.Table, path: Path) -> NDArray[np.int64]:
    name = next((name for name in ID_NAMES if name in table.column_names), None)
    if name is None:
        raise missing_column(f"table {path}", "object_id", table.column_names)
    try:
        if pa.types.is_floating(table[name].type):
            raise ValueError("a floating-point number does not hold all digits of an id")
        return np.asarray(table[name].cast(pa.int64()).to_numpy(), dtype=np.int64)
    except ValueError as error:  # Arrow's errors are too
        raise InputError(f"table {path}: column {name!r} holds no whole numbers ({first_line(error)})") from error


def _as_float(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
