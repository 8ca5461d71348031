from __future__ import annotations

from pathlib import Path

import pytest
from support import runs


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a tiny job that nothing went wrong in."""
    job = runs.write_job(tmp_path_factory.mktemp("undisturbed"))
    result = runs.run("run", job)
    assert result.returncode == 0, result.stderr
    (job.parent / "stdout").write_text(result.stdout)
    return job.parent / "run"
