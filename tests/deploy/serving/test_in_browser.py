"""The page in a real Chromium, at a real server: it finds, shows, sorts and saves, and asks nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from support.browser import Browser, obstacle, open_browser
from support.served_run import make_run, running

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.deploy.serving.server import CatalogServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
]
ENTER = "\ue007"
STATUS = 'return document.getElementById("status").textContent.replaceAll("\\u202f", " ");'
CELLS = 'return [...document.querySelectorAll(`#galaxies td[data-name="${arguments[0]}"]`)].map((c) => c.textContent);'
ARE_LOADED = """
const missing = [...document.images].find((image) => image.naturalWidth === 0);
missing?.scrollIntoView(); // a picture is not asked for until it is near
return !missing && document.images.length > 0;
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return open_catalog(make_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def server(catalog: Catalog) -> Iterator[CatalogServer]:
    with running(catalog) as opened:
        yield opened


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def session(downloads: Path) -> Iterator[Browser]:
    with open_browser(downloads) as opened:
        yield opened


@pytest.fixture
def browser(session: Browser, server: CatalogServer) -> Iterator[Browser]:
    """The browser with the page as it comes; whatever a test does, no other host is asked and nothing goes wrong."""
    session.pretend()
    session.open(server.url)
    wait(lambda: says(session) == "24 galaxies of 3 000, at random")
    session.complaints()
    yield session
    assert {urlsplit(each).netloc for each in session.requests() if not each.startswith(("data:", "about:"))} == {
        f"127.0.0.1:{server.server_port}"
    }


def wait(is_so: Callable[[], bool]) -> None:
    for _ in range(300):
        if is_so():
            return
        time.sleep(0.1)
    raise TimeoutError


def says(browser: Browser) -> str:
    return str(browser.run(STATUS))


def search(browser: Browser, **fields: str) -> str:
    """Fill the form by key, press Enter, and return what the page says of what it found."""
    for name in ("ra", "dec", "radius_arcsec", "where"):
        browser.type(f"[name={name}]", fields.get(name, ""))
    browser.run("document.querySelector('[name=where]').focus();")
    browser.press(ENTER)
    wait(lambda: says(browser) != "Searching …")
    return says(browser)


def test_a_circle_is_searched_its_rows_and_cutouts_are_seen_and_saved(
    browser: Browser, catalog: Catalog, downloads: Path
) -> None:
    near = catalog.cone(359.9, 0.2, 3000)
    assert search(browser, ra="359.9", dec="0.2", radius_arcsec="3000") == f"{near.num_rows} galaxies"
    assert sorted(browser.run(CELLS, "object_id")) == sorted(map(str, near["object_id"].to_pylist()))
    separations = [float(text) for text in browser.run(CELLS, "separation")]
    assert separations == sorted(separations)
    wait(lambda: bool(browser.run(ARE_LOADED)))
    browser.click("#save a")
    wait(lambda: (downloads / "tiny.csv").exists())
    saved = pd.read_csv(downloads / "tiny.csv")
    assert saved["object_id"].tolist() == near["object_id"].to_pylist()
    browser.open(browser.run("return location.href;"))
    wait(lambda: says(browser) == f"{near.num_rows} galaxies")
    assert browser.complaints() == []


def test_a_heading_sorts_all_that_is_found_by_mouse_and_by_keyboard(browser: Browser, catalog: Catalog) -> None:
    assert search(browser, where="flags = 0") == "2 000 galaxies; the first 200 are shown"
    clean = catalog.sql("SELECT oh_p50 FROM catalogue WHERE flags = 0 ORDER BY oh_p50")["oh_p50"].to_pylist()
    browser.click('[data-sort="oh_p50"]')
    wait(lambda: says(browser) == "2 000 galaxies; the first 200 by oh_p50 are shown")
    assert browser.run(CELLS, "oh_p50") == [f"{value:.3f}" for value in clean[:200]]
    assert browser.run("return document.activeElement.dataset.sort;") == "oh_p50"
    browser.press(ENTER)
    wait(lambda: bool(browser.run(CELLS, "oh_p50")[0] == f"{clean[-1]:.3f}"))
    sorts = browser.run('return [...document.querySelectorAll("#galaxies th")].map((each) => each.ariaSort);')
    assert sorts.count("descending") == 1
    assert browser.complaints() == []


def test_what_is_wrong_is_said_and_can_be_mended(browser: Browser) -> None:
    assert search(browser, ra="x", dec="1", radius_arcsec="2") == "ra must be a number, got 'x'"
    assert 'Referenced column "oh_p5" not found' in search(browser, where="oh_p5 < 8")
    assert browser.run('return document.getElementById("galaxies").hidden && document.getElementById("save").hidden;')
    assert search(browser, where="oh_p50 > 99") == "No galaxy is like that."
    assert search(browser, where="oh_p50 = (SELECT max(oh_p50) FROM catalogue)") == "1 galaxy"
    first = browser.run(CELLS, "object_id")
    browser.click("#random")
    wait(lambda: says(browser) == "24 galaxies of 3 000, at random")
    assert browser.run(CELLS, "object_id") != first


def test_around_a_galaxy_are_the_galaxy_and_its_neighbours(browser: Browser) -> None:
    first = browser.run(CELLS, "object_id")[0]
    browser.click(".around")
    wait(lambda: browser.run(CELLS, "object_id")[0] == first and bool(browser.run(CELLS, "separation")))
    assert browser.run(CELLS, "separation")[0] in ("0.00", "0.01", "0.02")
    assert browser.run("return document.querySelector('[name=radius_arcsec]').value;") == "600"


@pytest.mark.parametrize("width", [380, 768, 1000, 1280])
def test_the_page_does_not_run_over_its_edge(browser: Browser, width: int) -> None:
    browser.pretend(width=width)
    search(browser, ra="359.9", dec="0.2", radius_arcsec="3000")
    browser.run("document.querySelector('details').open = true;")
    assert browser.run("return innerWidth;") == width
    assert browser.run("return document.documentElement.scrollWidth;") <= width


def test_the_theme_is_that_of_the_system_until_it_is_turned(browser: Browser) -> None:
    background = "return getComputedStyle(document.body).backgroundColor;"
    light = browser.run(background)
    browser.click("#theme")
    dark = browser.run(background)
    browser.pretend(scheme="dark")
    browser.run("delete document.documentElement.dataset.theme;")
    assert browser.run(background) == dark != light


def test_a_catalogue_without_positions_or_cutouts_has_neither_fields_nor_pictures(
    session: Browser, tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path / "run", has_sky=False)
    (run_dir / "targets.parquet").unlink()
    with running(open_catalog(run_dir)) as server:
        session.open(server.url)
        wait(lambda: says(session) == "24 galaxies of 3 000, at random")
        assert session.run("return document.images.length + document.querySelectorAll('.around').length;") == 0
        assert session.run("return document.getElementById('cone').checkVisibility();") is False
        assert session.run("return document.getElementById('absent').textContent;") == (
            "This catalogue has no sky positions, so it cannot be searched by place. "
            "There are no cutouts: this catalogue is not in a run directory."
        )
