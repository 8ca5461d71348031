from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.served_run import make_run

from skymetal.catalogs.catalog import Catalog, open_catalog
from skymetal.deploy.serving.cutouts import open_cutouts
from skymetal.deploy.serving.page import make_page, page_policy


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return open_catalog(make_run(tmp_path_factory.mktemp("run")))


def facts_of(page: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" id="catalogue">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def test_the_page_is_told_what_it_is_about(catalog: Catalog) -> None:
    facts = facts_of(make_page(catalog, open_cutouts(catalog), why_none="").decode())
    assert (facts["name"], facts["num_rows"], facts["has_sky"], facts["size_pix"]) == ("tiny", 3000, True, 16)
    assert [column["name"] for column in facts["columns"]] == catalog.schema.names
    assert facts["columns"][1]["unit"] == "deg"
    assert facts_of(make_page(catalog, None, why_none="so").decode())["why_no_cutouts"] == "so"


def test_no_name_can_break_out(catalog: Catalog) -> None:
    name = "</script><script>alert(1)</script><!-- & __CATALOGUE__"
    page = make_page(replace(catalog, name=name), None, why_none=name).decode()
    assert page.count("<script") == 2
    assert facts_of(page)["name"] == facts_of(page)["why_no_cutouts"] == name


def test_the_policy_lets_the_page_run_its_own_script_and_ask_its_own_server_alone(catalog: Catalog) -> None:
    policy = dict(part.strip().split(" ", 1) for part in page_policy().split(";"))
    page = make_page(catalog, None, why_none="").decode()
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert policy[f"{tag}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert not re.search(r"https?:|src=|url\(|@import", page)
    assert not re.search(r"\son\w+=|\sstyle=|innerHTML", page)


def test_every_field_has_its_label() -> None:
    page = (Path(__file__).resolve().parents[3] / "deploy" / "serving" / "page.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<label>[^\n]*<input", page)) == len(re.findall(r"<input", page)) == 4
