from __future__ import annotations

import io
from pathlib import Path

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.query.order import QueryLimits, QueryOrder, read_order
from skymetal.catalogs.schema import catalogue_schema


def test_an_order_arrives_as_it_was_given() -> None:
    schema = catalogue_schema(num_folds=2, has_sky=True, embeddings=True).to_arrow()
    order = QueryOrder(
        text="SELECT 'é'\n -- \"x\"", metadata=Path("/a b\udcff/_metadata"), schema=schema, memory_bytes=7
    )
    arrived = read_order(io.BytesIO(order.to_bytes()))
    assert arrived == order
    assert arrived.schema.equals(schema, check_metadata=True)


@pytest.mark.parametrize(
    ("seconds", "memory_bytes", "num_rows", "text"),
    [
        (0.0, 1 << 30, 1, "max_seconds must be a positive number, got 0.0"),
        (float("nan"), 1 << 30, 1, "max_seconds must be"),
        (float("inf"), 1 << 30, 1, "max_seconds must be"),
        (1.0, 1 << 20, 1, r"max_memory_bytes must be at least 536870912 \(512 MiB\), got 1048576"),
        (1e10, 1 << 30, 1, r"max_seconds must be at most 604800 \(a week\), got 1e\+10"),
        (1.0, 1 << 70, 1, r"max_memory_bytes must be at most 17592186044416 \(16 TiB\), got 1180591620717411303424"),
        (1.0, 1 << 30, 0, "max_rows must be at least 1, got 0"),
    ],
)
def test_limits_that_no_query_could_keep_are_refused(
    seconds: float, memory_bytes: int, num_rows: int, text: str
) -> None:
    with pytest.raises(InputError, match=text):
        QueryLimits(seconds=seconds, memory_bytes=memory_bytes, num_rows=num_rows)
