"""How the predictions are distributed, beside what the networks learnt from."""

from __future__ import annotations

import numpy as np

from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.histogram import OH_EDGES, WIDTH_EDGES, Histogram
from skymetal.deploy.report.markup import Markup
from skymetal.deploy.report.sections.parts import figure, figures, section
from skymetal.deploy.report.sections.quantities import OH
from skymetal.deploy.report.summary import CatalogueSummary
from skymetal.deploy.report.svg.frame import Axis, Frame, Values
from skymetal.deploy.report.svg.marks import steps
from skymetal.deploy.report.svg.shades import key
from skymetal.deploy.report.words import PERCENT_68, counted, fixed, galaxies

NUM_BINS = 50
SHARE = "% of galaxies a bin"


def predictions(facts: RunFacts, summary: CatalogueSummary) -> Markup:
    """Return the histograms of predictions and of their intervals."""
    return section("predictions", "Predictions", figures(_metallicities(facts, summary), _widths(summary)))


def _metallicities(facts: RunFacts, summary: CatalogueSummary) -> Markup:
    kinds = {"accent": summary.oh, "second": summary.unshrunk}
    if facts.ensemble and len(facts.ensemble.label_N):
        kinds = {"quiet": Histogram.of(facts.ensemble.label_N, OH_EDGES)} | kinds
    limits = _limits(list(kinds.values()))
    bins = {kind: histogram.coarser(NUM_BINS, limits) for kind, histogram in kinds.items()}
    shares = {kind: _share(histogram) for kind, histogram in bins.items()}
    edges = bins["accent"].edges
    frame = Frame(
        x=Axis(low=float(edges[0]), high=float(edges[-1]), label=OH, num_ticks=7),
        y=Axis(low=0.0, high=1.08 * max(float(share.max()) for share in shares.values()), label=SHARE, num_ticks=4),
    )
    marks = [steps(frame, edges, share, kind=kind, is_filled=kind != "second") for kind, share in shares.items()]
    names = {"quiet": "learnt from", "accent": "oh_p50", "second": "oh_unshrunk"}
    says = (
        f"Histogram of oh_p50: median {fixed(summary.oh_quantile(0.5), 2)}, 90 % of the galaxies between "
        f"{fixed(summary.oh_quantile(0.05), 2)} and {fixed(summary.oh_quantile(0.95), 2)}."
    )
    legend = key([(kind, names[kind]) for kind in kinds])
    caption = f"{galaxies(summary.num_rows)}, {_beside_labels(facts)}."
    return figure(frame.draw(*marks, says=says), caption, title="Metallicities", legend=legend)


def _beside_labels(facts: RunFacts) -> str:
    if not facts.ensemble:
        return "alone: the ensemble is not here any more, so what it learnt from is not known"
    label_N = facts.ensemble.label_N
    number = counted(len(label_N), "measured metallicity", "measured metallicities")
    return f"before the {number} that the networks learnt from (median {fixed(float(np.median(label_N)), 2)})"


def _widths(summary: CatalogueSummary) -> Markup:
    histogram = summary.width_68
    low, high = histogram.quantile(0.0), histogram.quantile(0.999)
    histogram = Histogram(WIDTH_EDGES / 2, histogram.counts).coarser(NUM_BINS, (low / 2, max(high / 2, low / 2 + 0.01)))
    share = _share(histogram)
    frame = Frame(
        x=Axis(
            low=float(histogram.edges[0]),
            high=float(histogram.edges[-1]),
            label=f"half of the {PERCENT_68} interval (dex)",
        ),
        y=Axis(low=0.0, high=1.08 * float(share.max()), label=SHARE, num_ticks=4),
    )
    middle = summary.width_68.quantile(0.5) / 2
    says = f"Histogram of half the width of the {PERCENT_68} interval: median {fixed(middle, 3)} dex."
    return figure(
        frame.draw(steps(frame, histogram.edges, share, kind="accent", is_filled=True), says=says),
        f"How sure each prediction claims to be: half of `oh_p84` − `oh_p16`, median {fixed(middle, 3)} dex.",
        title="Uncertainties",
    )


def _share(histogram: Histogram) -> Values:
    return 100.0 * histogram.counts / max(histogram.total, 1)


def _limits(histograms: list[Histogram]) -> tuple[float, float]:
    """Return what all but the outermost 0.05 % of each lie in."""
    full = [h for h in histograms if h.total]
    low, high = min(h.quantile(0.0005) for h in full), max(h.quantile(0.9995) for h in full)
    return low - 0.02, high + 0.02
