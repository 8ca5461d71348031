from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from support import runs


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a tiny job that nothing went wrong in.

    Processes that test side by side share it: whoever runs something in it works in a copy.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "stdout").exists():
            result = runs.run("run", runs.write_job(folder))
            assert result.returncode == 0, result.stderr
            (folder / "stdout").write_text(result.stdout)
    return folder / "run"


@pytest.fixture
def job(undisturbed: Path, tmp_path: Path) -> Path:
    """The job file beside a copy of the undisturbed run, to do something in."""
    shutil.copytree(undisturbed.parent, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy" / "job.toml"
