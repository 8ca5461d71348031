"""Axes: from values to places on the paper, with ticks on round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymetal.deploy.report.markup import Markup, compact, element, joined
from skymetal.deploy.report.words import fixed

Values = NDArray[np.float64]
TICK = 5.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of values, low < high, what they are, and about how many ticks they want; reversed, low is at the end."""

    low: float
    high: float
    label: str
    num_ticks: int = 5
    is_reversed: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an axis goes from low to high, got {self.low} and {self.high} for {self.label!r}")

    @classmethod
    def over(cls, *values: Values, label: str, outside: float = 0.0005, num_ticks: int = 5) -> Axis:
        """Return an axis over all finite values but the outermost on each side, a share of them, and a margin."""
        known = np.concatenate([v[np.isfinite(v)] for v in values])
        low, high = np.quantile(known, [outside, 1 - outside])
        margin = max(0.04 * (high - low), 0.01 * abs(high), 0.01) if high - low < 0.01 else 0.04 * (high - low)
        return cls(low=float(low - margin), high=float(high + margin), label=label, num_ticks=num_ticks)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places on round numbers, and their texts."""
        return nice_ticks(self.low, self.high, self.num_ticks)

    def place(self, values: Values, length: float) -> Values:
        """Return where values lie on an axis of that length."""
        share = (values - self.low) / (self.high - self.low)
        return np.asarray((1 - share if self.is_reversed else share) * length)


def nice_ticks(low: float, high: float, num_ticks: int) -> list[tuple[float, str]]:
    """Return some ``num_ticks`` or fewer multiples of 1, 2, 2.5 or 5 times a power of ten, with their texts."""
    power = 10.0 ** math.floor(math.log10((high - low) / max(num_ticks, 1)))
    step = next(s * power for s in _STEPS if (high - low) / (s * power) <= num_ticks + 1e-9)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += abs(round(step, digits) - step) > 1e-9 * step  # 2.5 wants one more
    return [(k * step, fixed(k * step + 0.0, digits)) for k in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Two axes round a plot, in units of the SVG; y grows upwards."""

    x: Axis
    y: Axis
    width: float = 440.0
    height: float = 300.0
    left: float = 46.0
    right: float = 10.0
    top: float = 26.0
    bottom: float = 42.0

    @property
    def inner(self) -> tuple[float, float]:
        """Width and height of the plot itself."""
        return self.width - self.left - self.right, self.height - self.top - self.bottom

    def place(self, x_N: Values, y_N: Values) -> tuple[Values, Values]:
        """Return where points lie inside the plot."""
        width, height = self.inner
        return self.x.place(np.asarray(x_N, np.float64), width), height - self.y.place(
            np.asarray(y_N, np.float64), height
        )

    def draw(self, *marks: Markup, says: str) -> Markup:
        """Return the chart; ``says`` is what a reader who cannot see it is told."""
        width, height = self.inner
        plot = element(
            "svg",
            *marks,
            x=self.left,
            y=self.top,
            width=width,
            height=height,
            viewBox=f"0 0 {compact(width)} {compact(height)}",
        )
        parts = [self._grid(), plot, self._x_axis(), self._y_axis()]
        return element(
            "svg",
            *parts,
            class_="chart",
            viewBox=f"0 0 {compact(self.width)} {compact(self.height)}",
            role="img",
            aria_label=says,
        )

    def _grid(self) -> Markup:
        width, height = self.inner
        levels = self.top + height - self.y.place(np.array([tick for tick, _ in self.y.ticks]), height)
        path = "".join(f"M{compact(self.left)} {compact(y)}h{compact(width)}" for y in levels)
        return element("path", class_="grid", d=path)

    def _x_axis(self) -> Markup:
        width, height = self.inner
        base = self.top + height
        places = self.left + self.x.place(np.array([tick for tick, _ in self.x.ticks]), width)
        path = f"M{compact(self.left)} {compact(base)}h{compact(width)}"
        path += "".join(f"M{compact(x)} {compact(base)}v{compact(TICK)}" for x in places)
        texts = [
            element("text", text, x=float(x), y=base + 18, text_anchor="middle")
            for x, (_, text) in zip(places, self.x.ticks, strict=True)
        ]
        label = element(
            "text", self.x.label, class_="label", x=self.left + width / 2, y=self.height - 5, text_anchor="middle"
        )
        return joined([element("path", class_="axis", d=path), *texts, label])

    def _y_axis(self) -> Markup:
        _, height = self.inner
        places = self.top + height - self.y.place(np.array([tick for tick, _ in self.y.ticks]), height)
        texts = [
            element("text", text, x=self.left - 6, y=float(y) + 4, text_anchor="end")
            for y, (_, text) in zip(places, self.y.ticks, strict=True)
        ]
        return joined([*texts, element("text", self.y.label, class_="label", x=0.0, y=13.0)])
