"""The page: sections in their order, with style and script inside, and a policy that lets it ask for nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.markup import Markup, element, joined, verbatim
from skymetal.deploy.report.sections.accuracy import accuracy
from skymetal.deploy.report.sections.flags import drift, flags
from skymetal.deploy.report.sections.galaxies import galaxy_table
from skymetal.deploy.report.sections.gallery import gallery
from skymetal.deploy.report.sections.headline import headline, one_line
from skymetal.deploy.report.sections.predictions import predictions
from skymetal.deploy.report.sections.run import provenance, throughput
from skymetal.deploy.report.sections.sky import sky
from skymetal.deploy.report.sections.trends import relation, trends
from skymetal.deploy.report.summary import CatalogueSummary

PALETTE = Path(__file__).parents[1] / "palette.css"
ASSETS = Path(__file__).with_name("assets")
CONTENTS = {
    "gallery": "Gallery",
    "sky": "Sky",
    "predictions": "Predictions",
    "accuracy": "Accuracy",
    "trends": "Errors",
    "mass": "Mass",
    "flags": "Flags",
    "drift": "Drift",
    "galaxies": "Table",
    "time": "Time",
    "provenance": "Provenance",
}


def render_page(facts: RunFacts, summary: CatalogueSummary) -> bytes:
    """Return the whole page; the same facts and summary give the same bytes."""
    palette, style, script = (
        path.read_text(encoding="utf-8") for path in (PALETTE, ASSETS / "style.css", ASSETS / "page.js")
    )
    style = palette + style
    body = element(
        "body",
        _header(facts, summary),
        element("main", *_sections(facts, summary)),
        _footer(),
        verbatim("script", script),
    )
    head = _head(facts.catalog.name, style=style, script=script)
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n".encode()


def _sections(facts: RunFacts, summary: CatalogueSummary) -> list[Markup]:
    return [
        headline(facts, summary),
        gallery(summary, facts.store),
        sky(summary),
        predictions(facts, summary),
        accuracy(facts, summary),
        trends(summary, label=facts.label),
        relation(summary, label=facts.label),
        flags(summary),
        drift(facts),
        galaxy_table(summary, label=facts.label),
        throughput(facts),
        provenance(facts),
    ]


def _head(name: str, *, style: str, script: str) -> Markup:
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{name} – skymetal"),
        element("link", rel="icon", href="data:,"),
        verbatim("style", style),
    )


def _header(facts: RunFacts, summary: CatalogueSummary) -> Markup:
    links = [element("a", words, href=f"#{anchor}") for anchor, words in CONTENTS.items()]
    return element(
        "header",
        element(
            "div",
            element("p", "skymetal", class_="kicker"),
            element("button", "Dark", type="button", id="theme", hidden="hidden"),
            class_="top",
        ),
        element("h1", facts.catalog.name),
        element("p", one_line(facts, summary), class_="lead"),
        element("nav", joined(links, " "), aria_label="Contents"),
    )


def _footer() -> Markup:
    method = "Wu & Boada (2019, MNRAS 484, 4683)"
    return element("footer", element("p", f"Made by skymetal, after {method}. This page asks the network for nothing."))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
