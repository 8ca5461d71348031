"""Where on the sky the galaxies are."""

from __future__ import annotations

import numpy as np

from skymetal.catalogs.healpix import cell_borders
from skymetal.deploy.report.markup import Markup
from skymetal.deploy.report.sections.parts import absent, figure, figures, section, wide_figure
from skymetal.deploy.report.sky_counts import SkyCounts
from skymetal.deploy.report.summary import CatalogueSummary
from skymetal.deploy.report.svg.marks import MANY_POINTS
from skymetal.deploy.report.svg.shades import density_legend
from skymetal.deploy.report.svg.sky import Field, draw_sky
from skymetal.deploy.report.words import counted, fixed, galaxies

MAX_CELLS = 4000
MIN_PER_CELL = 6.0
MAX_FIELD_DEG = 25.0
"""A survey that lies within such an angle of its centre is enlarged: on the whole sky it is a speck."""
COARSEST, FINEST_ON_MAP = 4, 6
CELL_DEG = 58.63
"""The width of a HEALPix cell of order 0; it halves with each order."""


def sky(summary: CatalogueSummary) -> Markup:
    """Return the map of the whole sky, and of the field where the survey is one."""
    if summary.sky is None:
        return section(
            "sky", "On the sky", absent("The survey table has no ra and dec, so there is no map of the sky.")
        )
    centre, radius_deg = summary.sky.centre_and_radius()
    if radius_deg > MAX_FIELD_DEG:
        return section("sky", "On the sky", wide_figure(_whole_sky(summary.sky, summary.num_rows)))
    maps = [_whole_sky(summary.sky, summary.num_rows, ring=centre), _field(summary, summary.sky, centre)]
    return section("sky", "On the sky", figures(*maps))


def _whole_sky(counts: SkyCounts, num_galaxies: int, *, ring: tuple[float, float] | None = None) -> Markup:
    order = max(counts.finest_order(max_cells=MAX_CELLS, min_per_cell=MIN_PER_CELL, finest=FINEST_ON_MAP), COARSEST)
    cells_N, counts_N = counts.at(order)
    ra_N = cell_borders(cells_N, order)[:, 1, 0]
    is_round_zero = float(counts_N @ np.cos(np.radians(ra_N))) > 0  # then the map's edge is best at 180
    centre_ra = 0.0 if is_round_zero else 180.0
    says = (
        f"Map of the whole sky in Mollweide’s projection, RA growing to the left, {centre_ra:.0f} degrees amid: "
        f"{galaxies(num_galaxies)} in {counted(len(cells_N), 'cell')} of HEALPix order {order}."
    )
    return figure(
        draw_sky(cells_N, counts_N, order=order, centre_ra=centre_ra, says=says, ring=ring),
        "ICRS in Mollweide’s projection, RA growing to the left; cells of HEALPix order "
        f"{order}, {fixed(CELL_DEG / 2**order, 1)}° wide{'; the ring: the field' if ring else ''}.",
        title="The whole sky",
        legend=density_legend(int(counts_N.max())),
    )


def _field(summary: CatalogueSummary, counts: SkyCounts, centre: tuple[float, float]) -> Markup:
    ra, dec = centre
    field = Field(centre_ra=ra, centre_dec=dec)
    says = f"Map of the field around RA {fixed(ra, 2)}, Dec {fixed(dec, 2)} degrees, east to the left."
    if summary.num_rows < MANY_POINTS:
        ra_N, dec_N = (summary.sample[name].to_numpy() for name in ("ra", "dec"))
        chart, legend, what = field.draw_points(ra_N, dec_N, says=says), None, "A dot is a galaxy"
    else:
        order = counts.finest_order(max_cells=MAX_CELLS, min_per_cell=MIN_PER_CELL)
        cells_N, counts_N = counts.at(order)
        chart = field.draw_cells(cells_N, counts_N, order=order, says=says)
        legend = density_legend(int(counts_N.max()))
        what = f"Cells of HEALPix order {order}, {fixed(60 * CELL_DEG / 2**order, 0)}′ wide"
    caption = f"{what}; zenithal equal-area projection, east to the left."
    return figure(chart, caption, title="The field", legend=legend)
