from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pytest
from support.made_catalogue import NUM_ROWS, make_table, publish_table
from support.served_run import make_run

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.catalogs.errors import InputError
from skymetal.deploy.serving.found import MAX_ROWS_SHOWN, NUM_AT_RANDOM, find, take
from skymetal.deploy.serving.search import SORTS, Cone, Search

ACROSS_0 = Cone(ra=359.9, dec=0.2, radius_arcsec=3000)
ROUND_POLE = Cone(ra=10, dec=89.9, radius_arcsec=2500)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return open_catalog(make_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def placeless(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    run_dir = tmp_path_factory.mktemp("placeless")
    publish_table(run_dir, make_table(1, has_sky=False))
    return open_catalog(run_dir)


@pytest.mark.parametrize("cone", [ACROSS_0, ROUND_POLE])
def test_a_circle_finds_what_the_catalogue_finds_the_nearest_first(catalog: Catalog, cone: Cone) -> None:
    expected = catalog.cone(cone.ra, cone.dec, cone.radius_arcsec)
    assert take(catalog, Search(cone=cone)).equals(expected)
    found = find(catalog, Search(cone=cone))
    assert found.num_found == expected.num_rows > 50
    separations = found.rows["separation"].to_numpy()
    assert (np.diff(separations) >= 0).all()
    assert separations[-1] <= cone.radius_arcsec
    assert set(found.rows["object_id"].to_pylist()) <= set(expected["object_id"].to_pylist())


@pytest.mark.parametrize("cone", [ACROSS_0, ROUND_POLE])
def test_a_filter_in_a_circle_finds_what_a_filter_of_the_circle_finds(catalog: Catalog, cone: Cone) -> None:
    search = Search(cone=cone, condition="flags = 0 OR oh_p50 > 9")
    near = catalog.cone(cone.ra, cone.dec, cone.radius_arcsec)
    meets = pc.or_(pc.equal(near["flags"], 0), pc.greater(near["oh_p50"], 9))
    assert take(catalog, search).to_pylist() == near.filter(meets).to_pylist()
    assert find(catalog, search).num_found == pc.sum(meets).as_py() > 20


def test_a_galaxy_on_the_border_of_a_circle_is_in_it_with_and_without_a_filter(catalog: Catalog) -> None:
    galaxy = catalog.sample(1, seed=3).to_pylist()[0]
    far = find(catalog, Search(cone=Cone(ra=galaxy["ra"], dec=galaxy["dec"], radius_arcsec=3000))).rows
    border = far["separation"].to_pylist()[7]
    cone = Cone(ra=galaxy["ra"], dec=galaxy["dec"], radius_arcsec=border)
    assert (
        find(catalog, Search(cone=cone)).num_found == find(catalog, Search(cone=cone, condition="true")).num_found == 8
    )


def test_a_filter_alone_looks_everywhere_and_counts_all(catalog: Catalog) -> None:
    search = Search(condition="flags = 0")
    expected = catalog.to_arrow().filter(pc.equal(catalog.to_arrow()["flags"], 0))
    found = find(catalog, search)
    assert found.num_found == expected.num_rows == 2 * NUM_ROWS // 3
    assert found.rows["object_id"].to_pylist() == expected["object_id"].to_pylist()[:MAX_ROWS_SHOWN]
    assert take(catalog, search).to_pylist() == expected.to_pylist()
    assert find(catalog, Search(condition="oh_p50 > 99")).num_found == 0


def test_with_nothing_asked_for_some_come_at_random(catalog: Catalog) -> None:
    found = find(catalog, Search(seed=4))
    assert found.num_found == NUM_AT_RANDOM
    assert take(catalog, Search(seed=4)).equals(catalog.sample(NUM_AT_RANDOM, seed=4))
    assert found.rows["object_id"].to_pylist() == catalog.sample(NUM_AT_RANDOM, seed=4)["object_id"].to_pylist()
    assert found.rows["object_id"] != find(catalog, Search(seed=5)).rows["object_id"]


@pytest.mark.parametrize("search", [Search(), Search(cone=ACROSS_0), Search(condition="oh_p50 > 8.8")], ids=str)
@pytest.mark.parametrize("sort", ["oh_p50", "interval"])
def test_an_order_is_that_of_all_that_is_found(catalog: Catalog, search: Search, sort: str) -> None:
    everything = take(catalog, search)
    keys = everything["oh_p50"] if sort == "oh_p50" else pc.subtract(everything["oh_p84"], everything["oh_p16"])
    for is_down in (False, True):
        shown = find(catalog, Search(cone=search.cone, condition=search.condition, sort=sort, is_down=is_down)).rows
        expected = np.sort(keys.to_numpy())[::-1] if is_down else np.sort(keys.to_numpy())
        assert shown[sort].to_numpy().tolist() == expected[:MAX_ROWS_SHOWN].tolist()


@pytest.mark.parametrize("search", [{}, {"condition": "true"}, {"cone": ACROSS_0}])
def test_every_column_of_the_page_can_be_sorted_by(catalog: Catalog, search: dict[str, object]) -> None:
    for sort in SORTS:
        if sort != "separation" or "cone" in search:
            assert find(catalog, Search(sort=sort, **search)).num_found > 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("oh_p5 < 8", 'Referenced column "oh_p5" not found'),
        ("1; DROP TABLE catalogue", "syntax error"),
        ("SELECT", "SELECT clause without selection list"),
        ("oh_p50 <", "syntax error"),
        ("1, 2", "the query failed"),
        ("'a'", "Could not convert string 'a' to BOOL"),
        ("object_id IN (SELECT object_id FROM read_parquet('/etc/passwd'))", "Permission Error"),
        ("a\0b", "NUL"),
        ("/*", "unterminated"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(catalog: Catalog, condition: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        find(catalog, Search(condition=condition))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_condition_is_none_in_a_circle_either(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="Referenced column"):
        find(catalog, Search(cone=ACROSS_0, condition="oh_p5 < 8"))


def test_a_condition_may_end_in_a_comment_and_ask_the_catalogue_itself(catalog: Catalog) -> None:
    condition = "oh_p50 > (SELECT max(oh_p50) - 0.0001 FROM catalogue) -- the richest"
    assert find(catalog, Search(condition=condition)).num_found == 1
    assert take(catalog, Search(condition=condition)).num_rows == 1


def test_a_catalogue_without_positions_has_no_circles_but_all_the_rest(placeless: Catalog) -> None:
    for search in (Search(), Search(condition="flags = 0"), Search(condition="flags = 0", sort="oh_p50")):
        rows = find(placeless, search).rows
        assert rows.num_rows > 0
        assert not {"ra", "dec", "separation"} & set(rows.column_names)
    for search in (Search(cone=ACROSS_0), Search(cone=ACROSS_0, condition="true"), Search(sort="ra")):
        with pytest.raises(InputError, match="no sky positions"):
            find(placeless, search)
