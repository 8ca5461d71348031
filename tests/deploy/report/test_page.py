"""The whole page: of every kind of run, the same bytes each time, and nothing in it that a name could break."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.reported_run import HOSTILE, Made, hostile, make_run

from skymetal.deploy.report.facts import Quarantine, RunFacts
from skymetal.deploy.report.page import ASSETS, CONTENTS, render_page
from skymetal.deploy.report.summary import summarise


def render(facts: RunFacts, *, said_of: RunFacts | None = None) -> str:
    summary = summarise(facts.catalog, facts.targets, label=facts.label)
    return render_page(said_of or facts, summary).decode()


def parse(page: str) -> ElementTree.Element:
    """Read the page as XML, its own script left out: all is closed, every attribute quoted, every name escaped."""
    script = (ASSETS / "page.js").read_text()
    assert page.count(script) == 1
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n").replace(script, ""))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (Made(), "600 targets = 514 scored + 86 quarantined (86 blank; "),
        (Made(has_sky=False), "The survey table has no ra and dec, so there is no map of the sky."),
        (Made(has_truth=False), "There is no truth to judge by"),
        (Made(has_photometry=False), "The target list has no stellar mass (lgm_tot_p50)"),
        (Made(num_galaxies=1), "1 target = 1 scored + 0 quarantined."),
        (Made(num_galaxies=3), "3 targets"),
        (Made(all_out_of_fold=True), "out of fold, against measured oh_p50"),
        (Made(embeddings=True, num_galaxies=60), "60 targets"),
        (Made(num_galaxies=6000), "A random sample of 2 000 of the 5 143 galaxies"),
    ],
    ids=["usual", "no sky", "no truth", "bare", "one", "three", "all out of fold", "embeddings", "many"],
)
def test_every_kind_of_run_has_a_page_that_says_what_it_has_not(tmp_path: Path, made: Made, says: str) -> None:
    page = render(make_run(tmp_path, made))
    root = parse(page)
    text = re.sub(r"\s+", " ", "".join(root.find("body").itertext()))  # type: ignore[union-attr]
    assert says in text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    anchors = {element.get("id") for element in root.iter()}
    assert set(CONTENTS) <= anchors
    numbers = [
        value for e in root.iter() for name, value in e.attrib.items() if name not in ("src", "class", "content")
    ]
    assert not re.search(r"\bnan\b|\binf\b", f"{text} {numbers}", flags=re.IGNORECASE)


def test_what_is_gone_is_said_to_be_gone(facts: RunFacts) -> None:
    bare = replace(facts, store=None, ensemble=None, quarantine=Quarantine(), comparisons=[], monitor=None, times=[])
    page = render(bare)
    parse(page)
    for sentence in (
        "The cutout store is not here any more, so there are no pictures.",
        "the ensemble is not here any more",
        "<code>skymetal evaluate</code> has not judged this catalogue, so there are no numbers.",
        "There is no score.json, so nothing is known of drift.",
        "There is no event of a finished step, so nothing is known of times.",
    ):
        assert sentence in page


def test_the_same_run_gives_the_same_bytes(facts: RunFacts, tmp_path: Path) -> None:
    assert render(facts) == render(facts)
    again = make_run(tmp_path)
    assert render(again) == render(facts)


def test_other_facts_are_other_inputs(facts: RunFacts) -> None:
    inputs = facts.inputs()
    assert inputs == facts.inputs()
    for other in (
        replace(facts, job_toml="other"),
        replace(facts, monitor=None),
        replace(facts, times=facts.times[:1]),
        replace(facts, comparisons=[]),
        replace(facts, quarantine=replace(facts.quarantine, first=[])),
        replace(facts, ensemble=None),
        replace(facts, store=None),
    ):
        assert other.inputs() != inputs


def test_no_name_can_break_out(facts: RunFacts) -> None:
    page = render(facts, said_of=hostile(facts, HOSTILE))
    root = parse(page)
    assert [element.tag for element in root.iter("script")] == ["script", "script"]
    assert {name for element in root.iter() for name in element.attrib if name.startswith("on")} == set()
    assert all(element.get("src", "").startswith("data:image/png;base64,") for element in root.iter("img"))
    title = root.find("head/title")
    assert title is not None
    assert title.text is not None
    assert title.text.startswith("</script><script>alert(1)</script>")
    assert "\\u202e\\x00\\x1b" in title.text


def test_it_asks_the_network_for_nothing(facts: RunFacts) -> None:
    root = parse(render(facts))
    policy = next(e.get("content", "") for e in root.iter("meta") if e.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    for element in root.iter():
        assert element.get("style") is None, "the policy forbids it"
        for name in ("src", "href"):
            value = element.get(name)
            assert value is None or value.startswith(("data:", "#")), value


def test_it_can_be_read_without_seeing_it(facts: RunFacts) -> None:
    root = parse(render(facts))
    assert root.get("lang") == "en"
    assert all(element.get("alt") for element in root.iter("img"))
    charts = [e for e in root.iter("svg") if e.get("class") == "chart"]
    assert len(charts) > 10
    assert all(e.get("role") == "img" and e.get("aria-label") for e in charts)
    for table in root.iter("table"):
        assert all(cell.get("scope") for cell in table.iter("th"))
    assert all(element.get("aria-label") for element in root.iter("input"))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter("section"):
        assert element.get("aria-label") or element.get("aria-labelledby") in ids
