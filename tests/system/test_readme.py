"""What the README shows, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_python_example_runs_on_a_catalogue(undisturbed: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "skymetal-demo").symlink_to(undisturbed)
    code = example + "\nprint(len(galaxies), len(near), mean[0][0])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    num_galaxies, num_near, mean = result.stdout.split()
    assert 180 < int(num_galaxies) <= 192
    assert 0 < int(num_near) < int(num_galaxies)
    assert 8 < float(mean) < 9.5


def test_every_file_it_points_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert len(links) > 5
    for link in links:
        assert (README.parent / link).exists(), link
