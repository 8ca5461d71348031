from __future__ import annotations

import pytest
from support.made_catalogue import make_table, publish_table

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.query.plain import MAX_LENGTH
from skymetal.catalogs.votable import field_words


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    path = tmp_path_factory.mktemp("run")
    publish_table(path, make_table(1))
    return open_catalog(path)


@pytest.mark.parametrize(
    ("query", "units"),
    [
        ("SELECT ra, c.dec, oh_p50 AS oh_p50 FROM catalogue c WHERE ra > 3 ORDER BY dec", ["deg", "deg", "dex"]),
        ("SELECT * EXCLUDE (ra), ra FROM catalogue LIMIT 1", None),
        ("SELECT ra / 15 AS ra, dec FROM catalogue", ["", "deg"]),
        ("SELECT ({'ra': 1}).ra, dec, ra AS RA2 FROM catalogue", ["", "deg", ""]),
        ("SELECT ra / 15 AS oh_p50, * EXCLUDE (oh_p50) FROM catalogue WHERE false", None),
        ("SELECT avg(ra) AS ra, dec AS oh_p50 FROM catalogue GROUP BY dec", ["", ""]),
        ("SELECT * REPLACE (1 AS ra) FROM catalogue", ""),
        ("SELECT ra FROM (SELECT ra / 15 AS ra FROM catalogue)", [""]),
        ("WITH catalogue AS (SELECT 1.0 AS ra) SELECT ra FROM catalogue", [""]),
        ("SELECT ra FROM catalogue AS c(ra)", [""]),
        ("SELECT ra FROM catalogue UNION SELECT dec FROM catalogue", [""]),
        (f"SELECT ra FROM catalogue WHERE '{'x' * MAX_LENGTH}' != ''", [""]),
    ],
)
def test_only_a_column_that_is_the_catalogues_own_has_its_words(
    catalog: Catalog, query: str, units: list[str] | str | None
) -> None:
    found = {field.name: field_words(field, "unit") for field in catalog.sql(query).schema}
    if units is None:
        expected = {field.name: field_words(field, "unit") for field in catalog.schema}
        assert found == (expected if " AS oh_p50," not in query else expected | {"oh_p50": ""})
    else:
        assert set(found.values()) == {""} if units == "" else list(found.values()) == units
