"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skymetal.catalogs.storage import LocalFolder

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first: begun last, one of them would keep one process busy while the others have nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real galaxies, which are not part of the project."""
    path = Path(os.environ.get("SKYMETAL_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real galaxies at {path}; SKYMETAL_TEST_DATA may name their folder")
    return path
