"""Asks the careful process, starts another when it is lost, and says in words how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from skymetal.catalogs.errors import printable
from skymetal.engine.careful.frames import CarefulOrder, Refusal, receive, send
from skymetal.engine.predict import Predictions, PredictorRef

START_SECONDS = 600.0
"""Until it has imported its libraries and loaded the weights, from a network disk on a busy machine too."""


@dataclass(frozen=True, kw_only=True)
class CarefulLimits:
    """What one call may take: seconds on the clock, and all the memory that the machine has."""

    seconds: float
    memory_bytes: int


class PredictionFailed(Exception):
    """A call that gave no prediction. Its text is the reason, the same for the same failure."""


class CarefulPredictor:
    """A predictor in a process of its own. Not for several threads at once."""

    def __init__(self, ref: PredictorRef, limits: CarefulLimits) -> None:
        self._ref = ref
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def predict(self, images_NHWC: NDArray[np.uint8], wanted_NM: NDArray[np.bool_]) -> Predictions:
        """Return what the predictor says, the bytes it would give in this process.

        Raises PredictionFailed where it raises, crashes or outlasts its limits; the next call has a fresh process.
        RuntimeError where no process can be started.
        """
        if self._process is None:
            self._start()
        try:
            answer = self._exchange((images_NHWC, wanted_NM), self._limits.seconds)
        except PredictionFailed:
            self.close()
            raise
        if isinstance(answer, Refusal):
            self.close()  # what it holds after such an error, nobody knows
            raise PredictionFailed(answer.reason)
        return cast(Predictions, answer)

    def close(self) -> None:
        """End the process, and any that it started."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(OSError):  # what could not be sent is lost with it
                    cast(Any, pipe).close()

    def __enter__(self) -> CarefulPredictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "skymetal.engine.careful.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # The predictor may come from a module that only this process's path leads to.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            start_new_session=True,
        )
        try:
            self._exchange(CarefulOrder(predictor=self._ref, memory_bytes=self._limits.memory_bytes), START_SECONDS)
        except PredictionFailed as error:
            said = []
            if self._process is not None:  # one that was too late is closed already
                said = cast(Any, self._process.stderr).read().decode(errors="replace").strip().splitlines()
            self.close()
            why = printable(said[-1]) if said else str(error)
            raise RuntimeError(f"the process that scores carefully does not start: {why}") from error

    def _exchange(self, message: Any, seconds: float) -> Any:
        """Send one message and return the answer; when time is up the process is killed, which ends any wait."""
        process = cast("subprocess.Popen[bytes]", self._process)
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            _kill(process)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            send(cast(Any, process.stdin), message)
            return receive(cast(Any, process.stdout))
        except (OSError, EOFError):
            timer.cancel()
            code = process.wait()
            reason = f"it took longer than {_in_words(seconds)}" if is_late.is_set() else _how_it_ended(code)
            raise PredictionFailed(reason) from None
        finally:
            timer.cancel()
            timer.join()
            if is_late.is_set():  # perhaps only just after it had answered
                self.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _how_it_ended(code: int) -> str:
    return f"the process was killed by signal {-code}" if code < 0 else f"the process ended with exit code {code}"


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
