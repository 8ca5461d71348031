from __future__ import annotations

from skymetal.catalogs.data_model import describe_columns
from skymetal.catalogs.flags import MEANINGS, describe_flags
from skymetal.catalogs.schema import catalogue_schema


def test_every_column_and_every_bit_stands_on_the_page_with_all_that_is_said_of_it() -> None:
    schema = catalogue_schema(num_folds=5, has_sky=True, embeddings=True)
    lines = describe_columns(schema.to_arrow(), title="tiny").decode().splitlines()
    for column in schema:
        (line,) = [line for line in lines if line.startswith(f"| `{column.name}` |")]
        assert column.description.replace(f"; {describe_flags()}", "") in line
        assert column.unit in line
        assert column.ucd in line
        assert line.count("|") == 7
    for flag, meaning in MEANINGS.items():
        assert f"| {flag.value} | `{flag.name}` | {meaning} |" in lines
    assert any("512 × halffloat" in line for line in lines)
