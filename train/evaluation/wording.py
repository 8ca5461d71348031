"""What an evaluation says at the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from skymetal.train.evaluation.diagnostics import HIGH_OH
from skymetal.train.evaluation.evaluate import Comparison, Judgement
from skymetal.train.evaluation.metrics import Difference, Interval


def format_comparisons(comparisons: Sequence[Comparison]) -> str:
    """Return one paragraph a comparison: the numbers, their 95 % intervals, and the mean predictor beside them."""
    lines = []
    for comparison in comparisons:
        m = comparison.metrics
        lines += [
            f"{comparison.title}: {m.num_galaxies} galaxies",
            f"  RMSE      {m.rmse:.4f} dex  {_interval(m.rmse_interval)}"
            f"   the mean for every galaxy: {comparison.rmse_of_mean:.4f}",
            f"  NMAD      {m.nmad:.4f} dex  {_interval(m.nmad_interval)}",
            f"  bias     {m.bias:+.4f} dex  [{m.bias_interval[0]:+.4f}, {m.bias_interval[1]:+.4f}]   median",
            f"  outliers  {100 * m.outlier_fraction:.2f} %       |Δ| > 0.2 dex",
            f"  R²        {m.r2:.3f}       [{m.r2_interval[0]:.3f}, {m.r2_interval[1]:.3f}]",
        ]
    return "\n".join(lines)


def format_judgement(judgement: Judgement) -> str:
    """Return a comparison's paragraph with what else was measured, a line each."""
    s = judgement.shrinkage
    lines = [
        format_comparisons([judgement.comparison]),
        f"  shrinkage: slope of prediction on truth {s.slope_of_prediction:.3f}, of truth on prediction "
        f"{s.slope_of_truth:.3f}; above {HIGH_OH}: {100 * s.high_truth:.1f} % of the truths, "
        f"{100 * s.high_prediction:.1f} % of the predictions",
    ]
    for item in judgement.coverage[:1]:
        lines.append(
            f"  coverage: {100 * item.coverage_68:.1f} % in the 68 % interval, "
            f"{100 * item.coverage_95:.1f} % in the 95 % interval"
        )
    for duel in judgement.rivals:
        lines.append(
            f"  {duel.title}: RMSE {duel.metrics.rmse:.4f}, NMAD {duel.metrics.nmad:.4f} "
            f"({duel.metrics.num_galaxies} galaxies); {format_difference(duel.difference, other='it')}"
        )
    if judgement.information:
        i = judgement.information
        lines.append(
            f"  information: forest and r band, 1/MSE added, would reach {i.combined_rmse:.4f} "
            f"{_interval(i.combined_rmse_interval)}; the colour images reach {i.colour_rmse:.4f} "
            f"({i.num_galaxies} galaxies); gain {i.gain:+.4f} {_signed(i.gain_interval)}"
        )
    if judgement.mass_metallicity:
        truth, predicted = judgement.mass_metallicity.truth, judgement.mass_metallicity.prediction
        lines.append(
            f"  mass–metallicity, about Tremonti et al. (2004): truth RMSE {truth.rmse:.4f}, NMAD {truth.nmad:.4f}; "
            f"prediction RMSE {predicted.rmse:.4f}, NMAD {predicted.nmad:.4f} ({truth.num_galaxies} galaxies)"
        )
    return "\n".join(lines)


def format_difference(difference: Difference, *, other: str) -> str:
    """Return what a paired comparison means, in words and numbers; ``other`` names the second prediction."""
    low, high = difference.rmse_interval
    verdict = f"better than {other}" if high < 0 else f"worse than {other}" if low > 0 else f"not told from {other}"
    return (
        f"this prediction is {verdict}: RMSE {difference.rmse:+.4f} {_signed(difference.rmse_interval)}, "
        f"NMAD {difference.nmad:+.4f} {_signed(difference.nmad_interval)}"
    )


def _interval(limits: Interval) -> str:
    return f"[{limits[0]:.4f}, {limits[1]:.4f}]"


def _signed(limits: Interval) -> str:
    return f"[{limits[0]:+.4f}, {limits[1]:+.4f}]"
