from __future__ import annotations

from urllib.parse import urlencode

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.deploy.serving.search import Cone, Search, read_search

CONE = {"ra": "185", "dec": "-1.5", "radius_arcsec": "60"}


def read(**words: str) -> Search:
    return read_search(urlencode(words))


def test_an_empty_address_asks_for_some_at_random() -> None:
    assert read_search("") == read(ra="", where="  ") == Search()
    assert read(seed="5") == Search(seed=5)


def test_everything_can_be_asked_for_at_once() -> None:
    expected = Search(
        cone=Cone(ra=185, dec=-1.5, radius_arcsec=60), condition="flags = 0", sort="separation", is_down=True
    )
    assert read(**CONE, where=" flags = 0\n", sort="separation", down="1") == expected
    assert str(expected) == "ra = 185, dec = -1.5, radius_arcsec = 60, flags = 0"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({**CONE, "ra": "abc"}, "ra must be a number, got 'abc'"),
        ({**CONE, "ra": "nan"}, "ra must be a number, got 'nan'"),
        ({**CONE, "dec": "inf"}, "dec must be a number, got 'inf'"),
        ({**CONE, "radius_arcsec": "1e999"}, "radius_arcsec must be a number, got '1e999'"),
        ({**CONE, "ra": "9" * 10_000}, "ra must be a number, got '9999999999"),
        ({**CONE, "ra": "-1"}, "ra must be from 0 to 360 degrees, got -1.0"),
        ({**CONE, "dec": "91"}, "dec must be from -90 to 90 degrees, got 91.0"),
        ({**CONE, "radius_arcsec": "0"}, "the radius must be above 0"),
        ({**CONE, "radius_arcsec": "36001"}, "the radius must be at most 36000 arcsec here, got 36001"),
        ({"ra": "1", "radius_arcsec": "1"}, "a circle on the sky needs ra, dec and radius_arcsec; give dec too"),
        ({"dec": "1"}, "give ra and radius_arcsec too"),
        ({"seed": "x"}, "seed must be a number, got 'x'"),
        ({"sort": "oh_p5"}, "there is no order by 'oh_p5'; did you mean 'oh_p50'?"),
        ({"sort": "oh_p50; DROP TABLE catalogue"}, "there is no order by"),
        ({"sort": "separation"}, "an order by separation needs a position"),
        ({"wher": "1"}, "a search has no 'wher'; did you mean 'where'?"),
        ({"where": "x" * 4001}, "the filter has 4001 characters, at most 4000 are read"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(words: dict[str, str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        read(**words)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("query", ["where=%ff", "ra=1&ra=2", "&".join(f"a{i}=1" for i in range(99))])
def test_an_address_that_no_page_makes_is_refused(query: str) -> None:
    with pytest.raises(InputError, match="fill in the page again"):
        read_search(query)


@pytest.mark.parametrize(
    "condition",
    [
        "1=1) UNION SELECT * FROM catalogue --",
        "1=1) OR (1=1",
        "oh_p50 < 8.5) --",
        "(oh_p50 < 8.5",
        "oh_p50 < 8.5) /* (",
        "x = ')' ) OR ('(' = y",
    ],
)
def test_a_condition_cannot_leave_its_parentheses(condition: str) -> None:
    with pytest.raises(InputError, match="the filter is one condition"):
        Search(condition=condition)


@pytest.mark.parametrize(
    "condition", ["(oh_p50 < 8.5) AND (flags = 0)", "'é)' <> ''", '"oh)p" > 1', "1 = 1 -- )", "$$)$$ = 'a' /* ) */"]
)
def test_parentheses_that_are_none_do_not_count(condition: str) -> None:
    assert Search(condition=condition).condition == condition
