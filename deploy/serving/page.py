"""The page itself: one HTML file, told what catalogue it is for, and a policy that lets it ask nobody else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from skymetal.catalogs.catalog import Catalog
from skymetal.catalogs.votable import field_words
from skymetal.deploy.serving.cutouts import Cutouts

PAGE = Path(__file__).with_name("page.html")
PALETTE = Path(__file__).parents[1] / "palette.css"
"""The colours, light and dark, that the report has too."""
_PLACE = "__CATALOGUE__"


def make_page(catalog: Catalog, cutouts: Cutouts | None, *, why_none: str) -> bytes:
    """Return the page for a catalogue and its pictures; where there are none ``why_none`` says why."""
    facts = {
        "name": catalog.name,
        "version": catalog.version,
        "num_rows": catalog.num_rows,
        "has_sky": catalog.has_sky,
        "size_pix": cutouts.store.image_spec.size_pix if cutouts else 0,
        "why_no_cutouts": why_none,
        "columns": [
            {"name": each.name, **{word: field_words(each, word) for word in ("unit", "description")}}
            for each in catalog.schema
        ],
    }
    return _template().replace(_PLACE, _as_json(facts)).encode()


@cache
def page_policy() -> str:
    """Return the Content-Security-Policy of the page: its own style and script, and answers of its own server."""
    hashes = {
        tag: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, text in re.findall(r"<(style|script)>(.*?)</\1>", _template(), re.DOTALL)
    }
    return (
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors 'none'; style-src 'sha256-{hashes['style']}'; script-src 'sha256-{hashes['script']}'"
    )


@cache
def _template() -> str:
    return PAGE.read_text(encoding="utf-8").replace("__PALETTE__", PALETTE.read_text(encoding="utf-8"))


def _as_json(content: Any) -> str:
    """Return JSON that no name within it can end the script of."""
    text = json.dumps(content)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
