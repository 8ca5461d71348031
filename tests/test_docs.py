"""What the documentation tells users to type, typed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.made_catalogue import make_table, publish_table

from skymetal.deploy.cli import DEMO
from skymetal.deploy.config import read_job

ROOT = Path(__file__).resolve().parent.parent


# dask 2026.7.1 under pandas 3.1.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:pandas.errors.Pandas4Warning")
@pytest.mark.parametrize("page", ["README.md", "docs/catalogue.md"])
def test_the_python_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = read_job(DEMO, [f"job.run_dir={tmp_path}"]).catalog.name
    publish_table(tmp_path / "skymetal-demo", make_table(1), name=name)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    found: dict[str, Any] = {}
    exec("\n".join(blocks), found)  # noqa: S102 (our own pages)
    assert len(found["frame" if "frame" in found else "galaxies"]) > 0


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path)
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page.name} links to {target}"
