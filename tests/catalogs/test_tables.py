from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.tables import read_table

IDS = [1237648702973411443, 1237648702994383943, 3]


def test_csv_parquet_and_fits_give_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("objID,oh,name\n" + "".join(f"{i},8.{k},g{k}\n" for k, i in enumerate(IDS)))
    plain = pa.table({"objID": IDS, "oh": [8.0, 8.1, 8.2], "name": ["g0", "g1", "g2"]})
    pq.write_table(plain, tmp_path / "t.parquet")
    Table({"objID": np.array(IDS), "oh": [8.0, 8.1, 8.2], "name": ["g0", "g1", "g2"]}).write(tmp_path / "t.fits")
    for name in ("t.csv", "t.parquet", "t.fits"):
        assert read_table(tmp_path / name).to_pydict() == plain.to_pydict()


def test_masked_fits_values_become_null(tmp_path: Path) -> None:
    Table({"objID": MaskedColumn(IDS, mask=[0, 1, 0], fill_value=-1)}).write(tmp_path / "t.fits")
    assert read_table(tmp_path / "t.fits")["objID"].null_count == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "x", "no known kind"),
        ("t.csv", "", "cannot be read"),
        ("t.csv", "a,b\n1,2\n3\n", "cannot be read"),
        ("t.csv", "a,a\n1,2\n", "more than one column 'a'"),
        ("t.parquet", "PAR1", "cannot be read"),
        ("t.fits", "SIMPLE  = nonsense", "cannot be read"),
        ("t.fits", "", "cannot be read"),
    ],
)
def test_a_table_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is not a file"):
        read_table(tmp_path)
