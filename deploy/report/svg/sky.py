"""The sky: all of it in Mollweide's projection, and a field of it enlarged. East is to the left."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.healpix import cell_borders
from skymetal.deploy.report.markup import Markup, compact, element, joined
from skymetal.deploy.report.svg.frame import Axis, Frame, Values
from skymetal.deploy.report.svg.marks import points
from skymetal.deploy.report.svg.shades import levels_of, shaded
from skymetal.deploy.report.words import fixed

WIDTH, HEIGHT, RADIUS = 440.0, 226.0, 205.0
MIDDLE = (WIDTH / 2 + 8, HEIGHT / 2)
FIELD_HEIGHT = 320.0
_THETA = np.linspace(-np.pi / 2, np.pi / 2, 8001)
_SIN_DEC = (2 * _THETA + np.sin(2 * _THETA)) / np.pi


def mollweide(ra_N: Values, dec_N: Values, centre_ra: float) -> tuple[Values, Values]:
    """Return x from −1 to 1, growing with decreasing ra, and y from −1 to 1, of ICRS degrees.

    ra may be beyond a full turn from the centre: it is not wrapped, but kept on the border.
    """
    theta_N = np.interp(np.sin(np.radians(dec_N)), _SIN_DEC, _THETA)
    turn_N = np.clip((ra_N - centre_ra) / 180.0, -1.0, 1.0)
    return -turn_N * np.cos(theta_N), np.sin(theta_N)


def draw_sky(
    cells_N: NDArray[np.int64],
    counts_N: NDArray[np.int64],
    *,
    order: int,
    centre_ra: float,
    says: str,
    ring: tuple[float, float] | None = None,
) -> Markup:
    """Return the whole sky with the cells of a HEALPix order, nested, that hold galaxies; a ring round a position."""
    border_NP2 = cell_borders(cells_N, order, points_a_side=2 if order < 4 else 1)
    ra_NP = _in_one_piece(border_NP2, centre_ra)
    level_N, paths, levels = levels_of(counts_N, is_linear=True), [], []
    for turn in (0.0, 360.0, -360.0):
        is_seen_N = (np.abs(ra_NP + turn - centre_ra) < 180.0).any(axis=1)
        x_NP, y_NP = _on_paper(*mollweide(ra_NP[is_seen_N] + turn, border_NP2[is_seen_N][..., 1], centre_ra))
        paths += [_polygon(x, y) for x, y in zip(x_NP, y_NP, strict=True)]
        levels += level_N[is_seen_N].tolist()
    return element(
        "svg",
        element("ellipse", class_="sky", cx=MIDDLE[0], cy=MIDDLE[1], rx=RADIUS, ry=RADIUS / 2),
        shaded(np.array(levels), paths),
        _graticule(centre_ra),
        _ring(ring, centre_ra) if ring else Markup(),
        class_="chart",
        viewBox=f"0 0 {compact(WIDTH)} {compact(HEIGHT)}",
        role="img",
        aria_label=says,
    )


@dataclass(frozen=True, kw_only=True)
class Field:
    """A piece of the sky as a plane that touches it at the centre; offsets in degrees, east and north."""

    centre_ra: float
    centre_dec: float

    def frame(self, east_N: Values, north_N: Values) -> Frame:
        """Return axes that hold all offsets, equal scales on both; the plot is only as wide as the field needs."""
        east, north = (max(1.06 * float(np.abs(offset_N).max()), 0.02) for offset_N in (east_N, north_N))
        frame = Frame(x=Axis(low=-1, high=1, label=""), y=Axis(low=-1, high=1, label=""), height=FIELD_HEIGHT)
        width, height = frame.inner
        scale = min(width / east, height / north)
        plot_width = min(max(scale * east, 0.75 * height), width)
        return replace(
            frame,
            x=Axis(
                low=-plot_width / scale,
                high=plot_width / scale,
                label=f"degrees east of RA {fixed(self.centre_ra, 2)}°",
                is_reversed=True,
            ),
            y=Axis(
                low=-height / scale,
                high=height / scale,
                label=f"degrees north of Dec {fixed(self.centre_dec, 2, sign=True)}°",
            ),
            right=frame.right + width - plot_width,
        )

    def offsets(self, ra_N: Values, dec_N: Values) -> tuple[Values, Values]:
        """Return degrees east and north of the centre in the zenithal equal-area projection."""
        ra, dec, dec_0 = np.radians(ra_N - self.centre_ra), np.radians(dec_N), math.radians(self.centre_dec)
        towards = np.sin(dec) * math.sin(dec_0) + np.cos(dec) * math.cos(dec_0) * np.cos(ra)
        stretch = np.sqrt(2 / np.maximum(1 + towards, 1e-12))
        east = stretch * np.cos(dec) * np.sin(ra)
        north = stretch * (np.sin(dec) * math.cos(dec_0) - np.cos(dec) * math.sin(dec_0) * np.cos(ra))
        return np.degrees(east), np.degrees(north)

    def draw_points(self, ra_N: Values, dec_N: Values, *, says: str) -> Markup:
        """Return the field with a dot a galaxy."""
        east_N, north_N = self.offsets(ra_N, dec_N)
        frame = self.frame(east_N, north_N)
        return frame.draw(points(frame, east_N, north_N, kind="accent"), says=says)

    def draw_cells(self, cells_N: NDArray[np.int64], counts_N: NDArray[np.int64], *, order: int, says: str) -> Markup:
        """Return the field with the cells of a HEALPix order, nested, that hold galaxies."""
        border_NP2 = cell_borders(cells_N, order)
        east_NP, north_NP = self.offsets(border_NP2[..., 0], border_NP2[..., 1])
        frame = self.frame(east_NP, north_NP)
        x_NP, y_NP = frame.place(east_NP, north_NP)
        paths = [_polygon(x, y) for x, y in zip(x_NP, y_NP, strict=True)]
        return frame.draw(shaded(levels_of(counts_N, is_linear=True), paths), says=says)


def _in_one_piece(border_NP2: NDArray[np.float64], centre_ra: float) -> Values:
    """Return the right ascensions of borders, each whole and within half a turn of the centre by its own middle."""
    is_pole_NP = np.abs(border_NP2[..., 1]) > 90.0 - 1e-9
    east_N = border_NP2[:, border_NP2.shape[1] // 4, 0][:, None]  # the eastern corner is at no pole, where ra is any
    ra_NP = east_N + np.where(is_pole_NP, 0.0, _within_half_turn(border_NP2[..., 0] - east_N))
    turned_N = ra_NP.mean(axis=1) - centre_ra
    return np.asarray(ra_NP + (_within_half_turn(turned_N) - turned_N)[:, None])


def _graticule(centre_ra: float) -> Markup:
    """Return meridians every 60° and parallels every 30°, with their numbers."""
    lines, texts, arc = "", [], np.linspace(-90.0, 90.0, 37)
    for k in range(-3, 4):
        x, y = _on_paper(*mollweide(np.full_like(arc, centre_ra + 60.0 * k), arc, centre_ra))
        lines += _polyline(x, y)
        if abs(k) < 3:
            name = f"{round(centre_ra + 60 * k) % 360}°"
            texts.append(element("text", name, class_="key over", x=float(x[18]) + 3, y=float(y[18]) - 4))
    for dec in (-60.0, -30.0, 0.0, 30.0, 60.0):
        x, y = _on_paper(*mollweide(centre_ra + np.array([-180.0, 180.0]), np.full(2, dec), centre_ra))
        lines += _polyline(x, y)
        name = f"{fixed(dec, 0, sign=True) if dec else 0}°"
        texts.append(
            element(
                "text", name, class_="key", x=float(x[1]) - 4, y=float(y[1]) + (-3 if dec > 0 else 9), text_anchor="end"
            )
        )
    return joined([element("path", class_="grid", d=lines), *texts])


def _ring(position: tuple[float, float], centre_ra: float) -> Markup:
    ra, dec = position
    x, y = _on_paper(
        *mollweide(np.array([centre_ra + _within_half_turn(np.array(ra - centre_ra))]), np.array([dec]), centre_ra)
    )
    return element("circle", class_="line accent", cx=float(x[0]), cy=float(y[0]), r=11.0)


def _on_paper(x: Values, y: Values) -> tuple[Values, Values]:
    return MIDDLE[0] + RADIUS * x, MIDDLE[1] - RADIUS / 2 * y


def _within_half_turn(angle: Values) -> Values:
    return np.asarray((angle + 180.0) % 360.0 - 180.0)


def _polyline(x: Values, y: Values) -> str:
    return "M" + "L".join(f"{compact(a)} {compact(b)}" for a, b in zip(x, y, strict=True))


def _polygon(x: Values, y: Values) -> str:
    return f"{_polyline(x, y)}z"
