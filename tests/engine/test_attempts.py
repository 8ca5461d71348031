from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.attempts import attempt, forget_all_attempts, forget_attempts

DIE = """
import os, signal, sys
from pathlib import Path
from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.attempts import attempt
with attempt(LocalFolder(Path(sys.argv[1])), 7):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die(folder: LocalFolder) -> None:
    result = subprocess.run([sys.executable, "-c", DIE, str(folder)], check=False, timeout=60)
    assert result.returncode == -signal.SIGKILL


def test_only_a_try_that_its_process_did_not_survive_is_counted(folder: LocalFolder) -> None:
    with attempt(folder, 7) as num_lost:
        assert num_lost == 0
    with pytest.raises(SystemExit), attempt(folder, 7):
        raise SystemExit(3)
    die(folder)
    with attempt(folder, 7) as num_lost:
        assert num_lost == 1
    with attempt(folder, 70) as num_lost:
        assert num_lost == 0


def test_a_block_that_is_done_is_forgotten_with_every_note(folder: LocalFolder) -> None:
    die(folder)
    die(folder)
    with attempt(folder, 8):
        forget_attempts(folder, 7)
        assert len(os.listdir(folder.path / "attempts")) == 1
    forget_all_attempts(folder)
    forget_all_attempts(folder)
    assert not folder.exists("attempts")
