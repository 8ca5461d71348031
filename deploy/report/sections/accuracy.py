"""Predictions where the truth is known: against it, in bins, and beside other ways to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skymetal.catalogs.measures import OUTLIER_DEX
from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.markup import Markup, element, joined
from skymetal.deploy.report.sections.parts import absent, figure, figures, paragraph, section, table
from skymetal.deploy.report.sections.quantities import LABELS, OH, SMALL, how_many
from skymetal.deploy.report.summary import CatalogueSummary, Cloud
from skymetal.deploy.report.svg.frame import Axis, Frame
from skymetal.deploy.report.svg.marks import cloud, error_bars, level_line, line, running_median
from skymetal.deploy.report.svg.shades import key
from skymetal.deploy.report.words import PERCENT_68, PERCENT_95, count, counted, fixed, percent
from skymetal.train.evaluation.evaluate import ComparisonKind, comparison_kinds
from skymetal.train.evaluation.rivals import MIN_GALAXIES


def accuracy(facts: RunFacts, summary: CatalogueSummary) -> Markup:
    """Return the paper's Figure 1 for each kind of galaxy with a truth, the coverage, and the rivals."""
    title = "Against the truth"
    known = [kind for kind in comparison_kinds(facts.label) if summary.num_with_truth(kind) >= MIN_GALAXIES]
    if not known:
        sentence = "Nothing is known of the true metallicities, so predictions cannot be judged here."
        return section("accuracy", title, absent(sentence))
    numbers = {item["name"]: item for item in facts.comparisons}
    charts = [_against_truth(summary.comparisons[kind.name], kind, numbers.get(kind.name)) for kind in known]
    parts = [figures(*charts), *_coverage(facts.comparisons), *_rivals(facts.comparisons)]
    if not numbers:
        parts.append(absent("`skymetal evaluate` has not judged this catalogue, so there are no numbers."))
    return section("accuracy", title, *parts)


def _against_truth(shown: Cloud, kind: ComparisonKind, numbers: Mapping[str, Any] | None) -> Markup:
    truth_N, oh_N = shown.numbers(f"{kind.truth}_target"), shown.numbers("oh_p50")
    x = Axis.over(truth_N, oh_N, label=f"true {OH}")
    frame = Frame(x=x, y=replace(x, label=f"predicted {OH}"), height=420.0)
    marks, legend = cloud(frame, truth_N, oh_N)
    ends = np.array([x.low, x.high])
    lines = [line(frame, ends, ends, kind="ink")]
    lines += [line(frame, ends, ends + shift, kind="ink dashed") for shift in (-OUTLIER_DEX, OUTLIER_DEX)]
    lines += running_median(frame, truth_N, oh_N)
    caption = how_many(shown)
    if numbers:
        caption += f": RMSE {fixed(numbers['rmse'], 4)}, NMAD {fixed(numbers['nmad'], 4)} dex"
    return figure(
        frame.draw(marks, *lines, says=f"Predicted against true metallicity, {kind.title}: {caption}."),
        f"{caption}. Straight lines: equal, and {OUTLIER_DEX} dex off; the other: running median.",
        title=kind.title[:1].upper() + kind.title[1:],
        legend=legend,
    )


def _coverage(comparisons: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Return the fraction inside the intervals, of the first kind of galaxies that has bins, by every quantity."""
    for numbers in comparisons:
        bins = [item for item in numbers.get("coverage", ()) if item["by"] != "all"]
        if bins:
            names = dict.fromkeys(item["by"] for item in bins)
            charts = [_coverage_chart([item for item in bins if item["by"] == name], name) for name in names]
            note = (
                "Bins of equal count. An interval is honest where points lie on their line; the bars are one standard "
                "error of a fraction that is as it should be, so one point in three may miss."
            )
            title = element("h3", f"Truths inside the intervals, {numbers['title']}")
            legend = key([("accent", f"{PERCENT_68} interval"), ("quiet", f"{PERCENT_95} interval")])
            return [title, legend, figures(*charts, columns=min(len(charts), 4)), paragraph(note, kind="note")]
    return []


def _coverage_chart(bins: Sequence[Mapping[str, Any]], name: str) -> Markup:
    centre_B, number_B = (np.array([item[key] for item in bins], np.float64) for key in ("centre", "num_galaxies"))
    lowest = min(item["coverage_68"] for item in bins)
    margin = max(0.08 * float(np.ptp(centre_B)), 1e-3)
    frame = Frame(
        x=Axis(low=centre_B.min() - margin, high=centre_B.max() + margin, label=LABELS.get(name, name), num_ticks=4),
        y=Axis(low=min(0.5, lowest - 0.08), high=1.02, label="fraction inside", num_ticks=5),
        **SMALL,
    )
    marks = []
    for level, kind in ((0.95, "quiet"), (0.68, "accent")):
        inside_B = np.array([item[f"coverage_{round(100 * level)}"] for item in bins], np.float64)
        error_B = np.sqrt(level * (1 - level) / number_B)
        marks.append(level_line(frame, level, kind=f"{kind} dashed"))
        marks.append(error_bars(frame, centre_B, inside_B, error_B, kind=kind))
    says = f"Coverage in {counted(len(bins), 'bin')} of {LABELS.get(name, name)}: " + "; ".join(
        f"{percent(item['coverage_68'])} and {percent(item['coverage_95'])}" for item in bins
    )
    return figure(frame.draw(*marks, says=says))


def _rivals(comparisons: Sequence[Mapping[str, Any]]) -> list[Markup]:
    rows = [
        [
            rival["title"],
            numbers["title"],
            count(rival["num_galaxies"]),
            fixed(rival["rmse"], 4),
            fixed(rival["nmad"], 4),
            _difference(rival["difference"]),
        ]
        for numbers in comparisons
        for rival in numbers.get("rivals", ())
    ]
    if not rows:
        return []
    header = ["predicted by", "judged", "galaxies", "RMSE", "NMAD", "RMSE of the networks − this"]
    return [
        element("h3", "Beside other ways to predict the same galaxies"),
        table(header, rows, says="Other predictors on the same galaxies", num_words=2),
    ]


def _difference(difference: Mapping[str, Any]) -> Markup:
    low, high = difference["rmse_interval"]
    verdict = "better" if high < 0 else "worse" if low > 0 else "not told apart"
    interval = f"{fixed(low, 4, sign=True)} to {fixed(high, 4, sign=True)}: {verdict}"
    return joined([fixed(difference["rmse"], 4, sign=True), element("small", interval)])
