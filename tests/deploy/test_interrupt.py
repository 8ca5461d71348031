from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CODE = """
import time
from skymetal.deploy.interrupt import heed_interrupts
heed_interrupts()
class Slow:
    def __del__(self):
        print("destroying", flush=True)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
slow = Slow()
try:
    del slow
    time.sleep(20)
    print("not heard")
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_comes_while_an_object_is_destroyed_is_heard(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "destroying\n"
        process.send_signal(number)
        assert process.stdout.read() == "heard\n"
        assert process.wait(timeout=10) == 0
