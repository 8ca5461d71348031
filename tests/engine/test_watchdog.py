from __future__ import annotations

import subprocess
import sys
import time

from skymetal.engine.watchdog import watch

HANG = """
import ctypes, threading, time
from skymetal.engine.watchdog import watch

def work(seconds):
    with watch(seconds):
        ctypes.PyDLL(None).sleep(60)  # never lets another thread run

with watch(50):
    with watch(0.01):
        pass  # shorter, and done
    threading.Thread(target=work, args=(0.5,)).start()
    time.sleep(60)
"""


def test_work_that_hangs_ends_its_process_without_a_word_even_where_it_never_lets_go_of_the_interpreter() -> None:
    start = time.monotonic()
    result = subprocess.run([sys.executable, "-c", HANG], capture_output=True, check=False, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (1, b"", b"")
    assert 0.5 < time.monotonic() - start < 30


def test_work_that_is_done_in_time_is_let_be() -> None:
    for _ in range(3):
        with watch(0.2):
            pass
    time.sleep(0.3)
