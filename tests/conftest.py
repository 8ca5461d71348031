"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skymetal.catalogs.storage import Folder

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real galaxies, which are not part of the project."""
    path = Path(os.environ.get("SKYMETAL_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real galaxies at {path}; SKYMETAL_TEST_DATA may name their folder")
    return path
