"""What errors depend on, and the mass–metallicity relation."""

from __future__ import annotations

import numpy as np

from skymetal.catalogs.measures import OUTLIER_DEX
from skymetal.catalogs.selection.simulated import mass_metallicity
from skymetal.deploy.report.markup import Markup
from skymetal.deploy.report.sections.parts import absent, figure, figures, paragraph, section
from skymetal.deploy.report.sections.quantities import LABELS, OH, SMALL, how_many
from skymetal.deploy.report.summary import CatalogueSummary, Cloud
from skymetal.deploy.report.svg.frame import Axis, Frame, Values
from skymetal.deploy.report.svg.marks import band, cloud, level_line, line, running_median
from skymetal.deploy.report.words import PERCENT_68, SPACE, count, fixed, galaxies
from skymetal.train.evaluation.diagnostics import equal_bins
from skymetal.train.evaluation.evaluate import BINNED_BY, ComparisonKind, comparison_kinds
from skymetal.train.evaluation.mass import LGM_RANGE
from skymetal.train.evaluation.photometry import MASS
from skymetal.train.evaluation.rivals import MIN_GALAXIES

LGM = f"{MASS}_target"


def trends(summary: CatalogueSummary, *, label: str) -> Markup:
    """Return residuals against prediction, magnitude, redshift and size, as far as the target list has them."""
    title = "What the errors depend on"
    found = _first_with_truth(summary, label)
    if not found:
        return section("trends", title, absent("Without true metallicities there are no errors to look at."))
    kind, shown = found
    columns = {"prediction": "oh_p50"} | {name: f"{name}_target" for name in BINNED_BY}
    residual_N = shown.numbers("oh_p50") - shown.numbers(f"{kind.truth}_target")
    values = {name: shown.values(column) for name, column in columns.items()}
    charts = [_residuals(value_N, residual_N, LABELS[name]) for name, value_N in values.items() if value_N is not None]
    lacking = [name for name, value_N in values.items() if value_N is None]
    note = (
        f"{how_many(shown)} {kind.title}. Line and band: median and central {PERCENT_68} in bins of equal count; "
        f"the outermost 0.5{SPACE}% on each side are not drawn. A band that leaves zero is a bias to allow for."
    )
    if lacking:
        note += f" The target list has no {' and no '.join(lacking)}."
    return section("trends", title, figures(*charts, columns=min(len(charts), 4)), paragraph(note, kind="note"))


def relation(summary: CatalogueSummary, *, label: str) -> Markup:
    """Return the mass–metallicity relation, measured where that was done, and predicted."""
    title = "Mass and metallicity"
    if summary.everything.values(LGM) is None:
        sentence = f"The target list has no stellar mass ({MASS}), so there is no relation to draw."
        return section("mass", title, absent(sentence))
    panels = {"Predicted from images": (summary.everything, "oh_p50")}
    found = _first_with_truth(summary, label)
    if found and found[1].values(LGM) is not None:
        kind, known = found
        panels = {f"Known ({kind.truth})": (known, f"{kind.truth}_target")} | panels
    x = Axis.over(*(shown.numbers(LGM) for shown, _ in panels.values()), label=LABELS[MASS])
    y = Axis.over(*(shown.numbers(column) for shown, column in panels.values()), label=OH)
    frame = Frame(x=x, y=y, height=320.0)
    charts = [_relation_chart(frame, shown, column, title=name) for name, (shown, column) in panels.items()]
    note = (
        "Dark line: Tremonti et al. (2004); the other: running median. Predictions crowd towards the mean, so that the "
        "predicted relation is the tighter one; `oh_unshrunk` has the spread of the truth."
    )
    return section("mass", title, figures(*charts), paragraph(note, kind="note"))


def _residuals(value_N: Values, residual_N: Values, label: str) -> Markup:
    reach = max(1.5 * OUTLIER_DEX, 1.05 * float(np.quantile(np.abs(residual_N), 0.995)))
    y = Axis(low=-reach, high=reach, label="predicted − true (dex)")
    frame = Frame(x=Axis.over(value_N, label=label, outside=0.005, num_ticks=4), y=y, **SMALL)
    marks, legend = cloud(frame, value_N, residual_N)
    lines, says = [level_line(frame, 0.0, kind="ink")], f"Residuals against {label}"
    groups = equal_bins(value_N)
    if groups:
        centre_B = np.array([np.median(value_N[rows]) for rows in groups])
        low_B, middle_B, high_B = np.array([np.quantile(residual_N[rows], [0.16, 0.5, 0.84]) for rows in groups]).T
        lines = [band(frame, centre_B, low_B, high_B, kind="second"), *lines]
        lines += [line(frame, centre_B, middle_B, kind=each) for each in ("halo", "second")]
        pairs = zip(centre_B, middle_B, strict=True)
        says += ", medians: " + "; ".join(f"{fixed(m, 3, sign=True)} at {fixed(c, 2)}" for c, m in pairs)
    return figure(frame.draw(marks, *lines, says=f"{says}."), legend=legend)


def _relation_chart(frame: Frame, shown: Cloud, column: str, *, title: str) -> Markup:
    lgm_N, oh_N = shown.numbers(LGM), shown.numbers(column)
    marks, legend = cloud(frame, lgm_N, oh_N)
    lines = running_median(frame, lgm_N, oh_N)
    low, high = max(LGM_RANGE[0], frame.x.low), min(LGM_RANGE[1], frame.x.high)
    if low < high:
        curve = np.linspace(low, high, 60)
        lines.insert(0, line(frame, curve, mass_metallicity(curve), kind="ink"))
    num_lacking = int(np.count_nonzero(~np.isfinite(lgm_N)))
    lacking = f"; {count(num_lacking)} of those drawn have no stellar mass" if num_lacking else ""
    says = f"Metallicity against stellar mass, {title.lower()}, of {galaxies(shown.num_galaxies)}."
    chart = frame.draw(marks, *lines, says=says)
    return figure(chart, f"{how_many(shown)}{lacking}.", title=title, legend=legend)


def _first_with_truth(summary: CatalogueSummary, label: str) -> tuple[ComparisonKind, Cloud] | None:
    for kind in comparison_kinds(label):
        if summary.num_with_truth(kind) >= MIN_GALAXIES:
            return kind, summary.comparisons[kind.name]
    return None
