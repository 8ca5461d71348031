"""Reading survey tables: CSV, Parquet and FITS, into Arrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.table import Table

from skymetal.catalogs.errors import InputError

FORMATS = (".csv", ".parquet", ".fits", ".fits.gz", ".fit")


def read_table(path: Path) -> pa.Table:
    """Read one survey table; its format is told by its name.

    Raises InputError where the file is missing, empty, or not what its name says.
    """
    if not path.is_file():
        raise InputError(f"table {path} does not exist" if not path.exists() else f"table {path} is not a file")
    try:
        if path.name.endswith(".csv"):
            table = pyarrow.csv.read_csv(path)
        elif path.name.endswith(".parquet"):
            table = pq.read_table(path)
        elif path.name.endswith((".fits", ".fits.gz", ".fit")):
            table = _read_fits(path)
        else:
            raise InputError(f"table {path} is of no known kind; its name must end in one of {', '.join(FORMATS)}")
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"table {path} cannot be read: {_first_line(error)}") from error
    repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if repeated:
        raise InputError(f"table {path} has more than one column {repeated[0]!r}; keep one of them")
    return table


def _read_fits(path: Path) -> pa.Table:
    table = Table.read(path, hdu=1, format="fits")
    columns = {}
    for name in table.colnames:
        values = table[name]
        if values.ndim != 1:
            continue
        mask = np.ma.getmaskarray(np.ma.asarray(values))
        plain = np.asarray(values)
        plain = (
            np.char.strip(plain.astype(str))
            if plain.dtype.kind in "SU"
            else plain.astype(plain.dtype.newbyteorder("="))
        )
        columns[name] = pa.array(plain, mask=mask if mask.any() else None)
    return pa.table(columns)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
