from __future__ import annotations

from pathlib import Path

import pytest

from skymetal.catalogs.storage import Folder, LocalFolder


@pytest.fixture(params=["local", pytest.param("objects", marks=pytest.mark.slow)])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty folder on a disk, and one in a bucket: both keep the same promises."""
    if request.param == "local":
        return LocalFolder(tmp_path / "folder")
    folder: Folder = request.getfixturevalue("objects")
    return folder
