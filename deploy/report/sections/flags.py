"""What is doubtful: flags, and how far the galaxies are from those the networks learnt from."""

from __future__ import annotations

from skymetal.catalogs.flags import MEANINGS
from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.markup import Markup, element
from skymetal.deploy.report.sections.parts import absent, code, paragraph, section, share_bar, table
from skymetal.deploy.report.summary import CatalogueSummary
from skymetal.deploy.report.words import count, fixed, galaxies, percent
from skymetal.engine.monitor import SHIFTED_PSI

MEANT = {
    "oh_p50": "the predictions",
    "ood_score": "distance from the images learnt from",
    "concentration": "how concentrated the light is",
    "chroma": "how colourful the image is",
    "roughness": "how much neighbouring pixels differ",
}


def flags(summary: CatalogueSummary) -> Markup:
    """Return how many galaxies have each flag."""
    clean = paragraph(
        f"{count(summary.num_clean)} of {galaxies(summary.num_rows)} "
        f"({percent(summary.num_clean / summary.num_rows)}) without any flag."
    )
    if not summary.flags:
        return section("flags", "Flags", clean)
    most = max(summary.flags.values())
    rows = [
        [
            code(str(flag.name)),
            MEANINGS[flag],
            count(number),
            percent(number / summary.num_rows),
            share_bar(number / most),
        ]
        for flag, number in sorted(summary.flags.items(), key=lambda item: (-item[1], item[0]))
    ]
    header = ["flag", "meaning", "galaxies", "share", ""]
    return section("flags", "Flags", clean, table(header, rows, says="Galaxies a flag", num_words=2))


def drift(facts: RunFacts) -> Markup:
    """Return how the distributions differ from those of the ensemble's own galaxies."""
    title = "Drift"
    if not facts.monitor or not facts.monitor.get("drift"):
        return section("drift", title, absent("There is no score.json, so nothing is known of drift."))
    found = facts.monitor["drift"]
    shifted = [item["name"] for item in found if item["psi"] > item["psi_limit"]]
    limit = max(item["psi_limit"] for item in found)
    scale = max(1.25 * limit, *(item["psi"] for item in found))
    rows = [
        [
            code(item["name"]),
            MEANT.get(item["name"], "a colour of the image" if item["name"].startswith("colour") else ""),
            fixed(item["ks"], 3),
            fixed(item["psi"], 3),
            share_bar(item["psi"] / scale, mark=item["psi_limit"] / scale),
            element("strong", "shifted") if item["psi"] > item["psi_limit"] else "as learnt",
        ]
        for item in found
    ]
    words = (
        f"The {galaxies(facts.monitor['num_rows'])} of the last scoring command, beside those that "
        "the networks learnt from, each held out: Kolmogorov and Smirnov’s distance (KS), and the population stability "
        f"index (PSI), which is a shift above {fixed(limit, 2)} ({SHIFTED_PSI}, and what so few differ by chance). "
    )
    verdict = f"Shifted: {', '.join(shifted)}." if shifted else "Nothing has shifted."
    header = ["measured", "meaning", "KS", "PSI", "", ""]
    return section("drift", title, paragraph(words + verdict), table(header, rows, says="Drift", num_words=2))
