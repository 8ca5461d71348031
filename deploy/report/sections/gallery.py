"""The gallery: the extremes, and some at random, so that an eye can judge what a number cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from skymetal.catalogs.flags import decode_flags
from skymetal.deploy.report.joined import ROW
from skymetal.deploy.report.markup import Markup, element, joined
from skymetal.deploy.report.pictures import to_data_uri
from skymetal.deploy.report.sections.parts import absent, paragraph, section
from skymetal.deploy.report.summary import CatalogueSummary
from skymetal.deploy.report.words import PERCENT_68, fixed
from skymetal.engine.lookup import read_cutouts_at
from skymetal.engine.store import CutoutStore

STRIPS = {
    "poor": ("Most metal-poor", "the lowest oh_p50"),
    "rich": ("Most metal-rich", "the highest oh_p50"),
    "uncertain": ("Most uncertain", "the widest oh_p16 to oh_p84"),
    "strange": ("Least like those learnt from", "the highest ood_score; 1 % of held-out galaxies exceed 1"),
    "random": ("At random", "the lowest hashes of object_id"),
}
SMALL_PIX = 72
"""Cutouts of fewer pixels are shown with their pixels as squares: that is all that the networks see."""


def gallery(summary: CatalogueSummary, store: CutoutStore | None) -> Markup:
    """Return strips of cutouts, each with what is predicted of it."""
    title = "Galaxies to look at"
    if store is None:
        return section("gallery", title, absent("The cutout store is not here any more, so there are no pictures."))
    spec = store.image_spec
    kind = "picture pixelated" if spec.size_pix < SMALL_PIX else "picture"
    strips = [
        _strip(summary.strips[name], store, title=words, why=why, kind=kind)
        for name, (words, why) in STRIPS.items()
        if name in summary.strips
    ]
    note = (
        f"Cutouts as the networks see them: {spec.size_pix} × {spec.size_pix} pixels, bands {', '.join(spec.bands)}. "
        f"Under each: oh_p50, the {PERCENT_68} interval, object_id and flags."
    )
    return section("gallery", title, paragraph(note), *strips)


def flag_names(bits: int) -> str:
    """Return the names of the flags that are set."""
    return " ".join(decode_flags(bits))


def _strip(rows: pa.Table, store: CutoutStore, *, title: str, why: str, kind: str) -> Markup:
    images_NHWC = read_cutouts_at(store, rows[ROW].to_numpy())
    items = [
        _galaxy(galaxy, to_data_uri(pixels), kind) for galaxy, pixels in zip(rows.to_pylist(), images_NHWC, strict=True)
    ]
    heading = element("h3", title, " ", element("small", why))
    return joined([heading, element("ul", *items, class_="strip", aria_label=title, tabindex="0")])


def _galaxy(galaxy: Mapping[str, Any], uri: str, kind: str) -> Markup:
    low, middle, high = (fixed(galaxy[name], 2) for name in ("oh_p16", "oh_p50", "oh_p84"))
    names = flag_names(galaxy["flags"])
    says = f"Galaxy {galaxy['object_id']}, predicted {middle}, between {low} and {high}"
    says += f", flagged {names}" if names else ""
    lines = [
        element("b", middle),
        element("span", f"{low}–{high}"),
        element("span", str(galaxy["object_id"]), class_="id"),
        *([element("span", names.replace(" ", ", "), class_="flagged")] if names else []),
    ]
    return element("li", element("img", src=uri, alt=says, class_=kind), *lines)
