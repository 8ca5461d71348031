"""The page in a real Chromium: nothing goes wrong, nothing is asked for, and what can be operated works."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Browser, obstacle, open_browser
from support.reported_run import Made, hostile, make_run

from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.page import render_page
from skymetal.deploy.report.summary import summarise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
]
ENTER = "\ue007"
READ_TABLE = """
return [...document.querySelector("#galaxies-table tbody").rows].map((row) => [...row.cells].map((c) => c.textContent));
"""
STATUS = 'return document.getElementById("galaxies-status").textContent.replaceAll("\\u202f", " ");'


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def session(downloads: Path) -> Iterator[Browser]:
    with open_browser(downloads) as opened:
        yield opened


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return make_run(tmp_path_factory.mktemp("run"), Made(num_galaxies=2800))


@pytest.fixture(scope="module")
def page(facts: RunFacts) -> Path:
    summary = summarise(facts.catalog, facts.targets, label=facts.label)
    path = facts.targets.folder.path / "report.html"
    path.write_bytes(render_page(facts, summary))
    path.with_name("hostile.html").write_bytes(render_page(hostile(facts), summary))
    return path


@pytest.fixture
def browser(session: Browser, page: Path) -> Browser:
    """The browser as it comes, with the page open."""
    session.pretend()
    session.open(page)
    session.run("localStorage.clear();")
    session.open(page)
    session.complaints()
    session.requests()
    return session


def column(browser: Browser, name: str) -> list[str]:
    names = browser.run('return [...document.querySelectorAll("#galaxies-table th button")].map((b) => b.textContent);')
    return [row[names.index(name)] for row in browser.run(READ_TABLE)]


def num_shown(browser: Browser) -> int:
    (number,) = re.findall(r"of ([\d ]+) of 2 000 rows", browser.run(STATUS))
    return int(number.replace(" ", ""))


def head(name: str) -> str:
    return f"#galaxies-table th:nth-child({place_of(name)}) button"


def field(name: str) -> str:
    return f'#galaxies-table input[aria-label="Filter {name}"]'


def place_of(name: str) -> int:
    return ["object_id", "oh_p50"].index(name) + 1


@pytest.mark.parametrize("name", ["report.html", "hostile.html"])
def test_nothing_goes_wrong_and_nothing_is_asked_for(browser: Browser, page: Path, name: str) -> None:
    browser.open(page.with_name(name))
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert {url.rpartition("/")[2] for url in asked} <= {"report.html", "hostile.html"}
    assert browser.run("return [...document.images].every((image) => image.complete && image.naturalWidth > 0);")
    assert browser.run("return document.images.length;") == 40


def test_a_heading_sorts_by_mouse_and_by_keyboard(browser: Browser) -> None:
    assert browser.run(STATUS) == "1 to 25 of 2 000 rows"
    browser.click(head("oh_p50"))
    shown = [float(text) for text in column(browser, "oh_p50")]
    assert len(shown) == 25
    assert shown == sorted(shown)
    browser.run(f"document.querySelector('{head('oh_p50')}').focus();")
    browser.press(ENTER)
    turned = [float(text) for text in column(browser, "oh_p50")]
    assert turned == sorted(turned, reverse=True)
    assert turned[0] > shown[-1]
    sorts = browser.run('return [...document.querySelectorAll("#galaxies-table th")].map((h) => h.ariaSort);')
    assert sorts.count("descending") == 1
    browser.click(head("object_id"))
    ids = [int(text) for text in column(browser, "object_id")]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("asked", "meets"),
    [
        ("< 8.7", lambda value: value < 8.7),
        ("oh_p50 >= 8.8 & < 8.9", lambda value: 8.8 <= value < 8.9),
        ("8.8..8.9", lambda value: 8.8 <= value <= 8.9),
        ("> 8.9, < 9", lambda value: 8.9 < value < 9),
        ("≠ 8.9", lambda value: value != 8.9),
        ("8.8", lambda value: f"{value:.3f}".startswith("8.8")),
    ],
)
def test_a_condition_filters_a_column(browser: Browser, asked: str, meets: object) -> None:
    assert callable(meets)
    browser.type(field("oh_p50"), asked)
    shown = column(browser, "oh_p50")
    assert len(shown) == 25
    assert all(meets(float(text)) for text in shown)
    assert 25 < num_shown(browser) < 2000


def test_text_filters_ids_and_flags_and_nonsense_is_marked(browser: Browser) -> None:
    wanted = column(browser, "object_id")[3]
    browser.type(field("object_id"), f"= {wanted}")
    assert column(browser, "object_id") == [wanted]
    browser.click("#galaxies-clear")
    browser.type(field("flags"), "score_ood")
    assert {text.count("SCORE_OOD") for text in column(browser, "flags")} == {1}
    browser.type(field("oh_p50"), "< x")
    assert browser.run(f"return document.querySelector('{field('oh_p50')}').ariaInvalid;") == "true"
    browser.type(field("flags"), "nothing like it")
    assert browser.run(STATUS) == "0 of 2 000 rows"
    browser.click("#galaxies-clear")
    assert browser.run(STATUS) == "1 to 25 of 2 000 rows"
    browser.click("#galaxies-next")
    assert browser.run(STATUS) == "26 to 50 of 2 000 rows"


def test_the_rows_that_are_shown_can_be_saved(browser: Browser, downloads: Path) -> None:
    browser.type(field("oh_p50"), "< 8.6")
    browser.click(head("oh_p50"))
    number = num_shown(browser)
    browser.click("#galaxies-save")
    path = downloads / "galaxies.csv"
    for _ in range(100):
        if path.exists() and path.stat().st_size:
            break
        time.sleep(0.1)
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == number > 25
    assert [row["object_id"] for row in rows[:25]] == column(browser, "object_id")
    assert all(float(row["oh_p50"]) < 8.6 for row in rows)


def test_the_theme_turns_and_is_kept(browser: Browser, page: Path) -> None:
    background = "return getComputedStyle(document.body).backgroundColor;"
    light = browser.run(background)
    browser.click("#theme")
    dark = browser.run(background)
    assert luminance(light) > 0.9
    assert luminance(dark) < 0.05
    for _ in range(50):  # the browser takes its time to tell its next process what the page has kept
        browser.open(page)
        if browser.run(background) == dark:
            break
        time.sleep(0.1)
    assert browser.run(background) == dark
    browser.click("#theme")
    assert browser.run(background) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_either_theme(browser: Browser, scheme: str) -> None:
    browser.pretend(scheme=scheme)
    probe = (
        "const probe = document.body.appendChild(document.createElement('i'));"
        "probe.style.color = `var(--${arguments[0]})`; return getComputedStyle(probe).color;"
    )
    names = ("paper", "panel", "ink", "soft", "accent", "quiet", "line")
    colours = {name: luminance(browser.run(probe, name)) for name in names}
    assert (colours["paper"] < 0.05) == (scheme == "dark")
    for paper in ("paper", "panel"):
        assert all(contrast(colours[name], colours[paper]) >= 4.5 for name in ("ink", "soft", "accent", "line"))
        assert contrast(colours["quiet"], colours[paper]) >= 3


@pytest.mark.parametrize("width", [380, 768])
@pytest.mark.parametrize("name", ["report.html", "hostile.html"])
def test_a_narrow_page_does_not_run_over_its_edge(browser: Browser, page: Path, width: int, name: str) -> None:
    browser.pretend(width=width)
    browser.open(page.with_name(name))
    assert browser.run("return innerWidth;") == width
    assert browser.run("return document.documentElement.scrollWidth;") <= width


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour, as WCAG defines it."""
    channels = [int(text) / 255 for text in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
