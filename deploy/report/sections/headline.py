"""The top of the page: what this catalogue is, how good it is, and how to read the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.markup import Markup, element, joined
from skymetal.deploy.report.sections.parts import absent, paragraph, prose, table
from skymetal.deploy.report.summary import CatalogueSummary
from skymetal.deploy.report.words import NOTHING, PERCENT_68, PERCENT_95, count, counted, fixed, galaxies, percent


def headline(facts: RunFacts, summary: CatalogueSummary) -> Markup:
    """Return name, key numbers, the account of all galaxies, and the paragraph that explains them."""
    return element(
        "section",
        element("div", *_key_numbers(facts, summary), class_="keys"),
        _account(facts, summary),
        _how_to_read(facts),
        *_accuracy_table(facts),
        id="summary",
        aria_label="Summary",
    )


def one_line(facts: RunFacts, summary: CatalogueSummary) -> str:
    """Return what the catalogue is of, in a line."""
    survey = facts.store.image_spec.survey if facts.store else facts.targets.selection.get("survey", "")
    ensemble = facts.ensemble
    of = f"{ensemble.num_members} networks ({ensemble.recipe})" if ensemble else "an ensemble that is not here any more"
    return f"12 + log(O/H) of {galaxies(summary.num_rows)}, predicted from {survey} images by {of}"


def _key_numbers(facts: RunFacts, summary: CatalogueSummary) -> list[Markup]:
    numbers = [
        ("galaxy" if summary.num_rows == 1 else "galaxies", count(summary.num_rows), _scored_share(facts, summary))
    ]
    if facts.comparisons:
        first = facts.comparisons[0]
        whole = _whole_coverage(first)
        low, high = first["rmse_interval"]
        numbers += [
            ("RMSE, dex", fixed(first["rmse"], 3), f"{fixed(low, 3)} to {fixed(high, 3)}"),
            ("NMAD, dex", fixed(first["nmad"], 3), f"bias {fixed(first['bias'], 3, sign=True)}"),
        ]
        if whole:
            numbers.append(
                (
                    f"in the {PERCENT_68} interval",
                    percent(whole["coverage_68"]),
                    f"{percent(whole['coverage_95'])} in the {PERCENT_95}",
                )
            )
    else:
        numbers += [
            ("median 12 + log(O/H)", fixed(summary.oh_quantile(0.5), 2), _middle(summary)),
            ("typical ± of a galaxy, dex", fixed(summary.width_68.quantile(0.5) / 2, 3), "half of oh_p16 to oh_p84"),
        ]
    return [
        element("div", element("b", value), element("span", name), element("small", note), class_="key-number")
        for name, value, note in numbers
    ]


def _scored_share(facts: RunFacts, summary: CatalogueSummary) -> str:
    return f"{percent(summary.num_rows / facts.targets.num_rows)} of {counted(facts.targets.num_rows, 'target')}"


def _middle(summary: CatalogueSummary) -> str:
    return f"90 % between {fixed(summary.oh_quantile(0.05), 2)} and {fixed(summary.oh_quantile(0.95), 2)}"


def _account(facts: RunFacts, summary: CatalogueSummary) -> Markup:
    """Say where every row that went in came out."""
    selection, quarantine = facts.targets.selection, facts.quarantine
    num_targets, num_lacking = facts.targets.num_rows, facts.targets.num_rows - summary.num_rows
    rows_in = int(selection.get("rows_in", num_targets))
    cuts = [cut for cut in selection.get("removed", []) if cut.get("num_removed")]
    removed = "; ".join(f"{count(cut['num_removed'])} by “{cut['cut']}”" for cut in cuts)
    why = ""
    if num_lacking and quarantine.num_galaxies == num_lacking:
        reasons = "; ".join(f"{count(number)} {reason}" for reason, number in quarantine.reasons.items())
        why = f" ({reasons}; `quarantine.csv` has each of them)"
    elif num_lacking:
        why = f" (`quarantine.csv` names {count(quarantine.num_galaxies)} of them)"
    return paragraph(
        f"{counted(rows_in, 'row')} of the survey table = {counted(num_targets, 'target')} + "
        f"{count(rows_in - num_targets)} removed{f' ({removed})' if removed else ''}. "
        f"{counted(num_targets, 'target')} = {count(summary.num_rows)} scored + {count(num_lacking)} quarantined{why}.",
        kind="account",
    )


def _how_to_read(facts: RunFacts) -> Markup:
    judged = ""
    if facts.comparisons:
        first = facts.comparisons[0]
        judged = (
            f"RMSE, NMAD and coverage are those of {galaxies(first['num_galaxies'])} {first['title']}; no "
            "network judges a galaxy that it learnt from. The RMSE is the typical error, the NMAD the same without the "
            "say of a few wild ones, and a coverage is honest where it is what its interval claims. "
        )
    words = (
        "`oh_p50` is the prediction for a galaxy, 12 + log(O/H); 0.1 dex is a quarter more oxygen. The interval from "
        f"`oh_p16` to `oh_p84` should hold what a spectrum would give for {PERCENT_68} of galaxies like those the "
        f"networks learnt from, `oh_p2p5` to `oh_p97p5` for {PERCENT_95}. {judged}For one galaxy use `oh_p50` and its "
        "interval; for a distribution, such as a histogram or a slope, `oh_unshrunk`, since predictions crowd towards "
        "the mean. Flags say what to doubt."
    )
    return element("p", element("strong", "How to read these numbers. "), prose(words), class_="reading")


def _accuracy_table(facts: RunFacts) -> list[Markup]:
    if not facts.comparisons:
        sentence = (
            "There is no truth to judge by: the target list has no measured metallicity of these galaxies, or "
            "`skymetal evaluate` has not run since the catalogue was published."
        )
        return [absent(sentence)]
    coverages = [f"in {level}" for level in (PERCENT_68, PERCENT_95)]
    header = ["", "galaxies", "RMSE", "NMAD", "bias", "|Δ| > 0.2 dex", "R²", *coverages, "RMSE of the mean for all"]
    rows = [_accuracy_row(numbers) for numbers in facts.comparisons]
    return [table(header, rows, says="Accuracy where the truth is known")]


def _accuracy_row(numbers: Mapping[str, Any]) -> list[str]:
    whole = _whole_coverage(numbers)
    return [
        str(numbers["title"]),
        count(numbers["num_galaxies"]),
        _with_interval(numbers, "rmse", 3),
        _with_interval(numbers, "nmad", 3),
        _with_interval(numbers, "bias", 3, sign=True),
        percent(numbers["outlier_fraction"]),
        fixed(numbers["r2"], 2),
        percent(whole["coverage_68"]) if whole else NOTHING,
        percent(whole["coverage_95"]) if whole else NOTHING,
        fixed(numbers["rmse_of_mean"], 3),
    ]


def _with_interval(numbers: Mapping[str, Any], name: str, digits: int, *, sign: bool = False) -> Markup:
    low, high = numbers.get(f"{name}_interval") or (None, None)
    interval = f"{fixed(low, digits, sign=sign)} to {fixed(high, digits, sign=sign)}"
    return joined([fixed(numbers[name], digits, sign=sign), element("small", interval)])


def _whole_coverage(numbers: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: list[Mapping[str, Any]] = [item for item in numbers.get("coverage", ()) if item["by"] == "all"]
    return found[0] if found else None
