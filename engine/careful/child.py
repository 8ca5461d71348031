"""The process that predicts where a crash does no harm. ``python -m skymetal.engine.careful.child``

It is given its parent's process id as its argument, then a :class:`CarefulOrder` and any number of calls on its
standard input; it dies with its parent, and before any other process when the machine runs out of memory.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from skymetal.catalogs.errors import first_line, printable
from skymetal.engine.careful.frames import CarefulOrder, Refusal, receive, send

MAX_REASON_LENGTH = 300
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer calls, (images, wanted), with Predictions or a Refusal until standard input ends."""
    # The signal comes with the end of the thread that started this process; that thread waits for our answers.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # it died before we asked to be told
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a library prints is no answer
    order: CarefulOrder = receive(calls)
    _limit_memory(order.memory_bytes)
    predictor = order.predictor.open()
    send(answers, None)
    os.dup2(silence, 2)
    while True:
        try:
            images_NHWC, wanted_NM = receive(calls)
        except EOFError:
            return
        try:
            answer = predictor.predict(images_NHWC, wanted_NM)
        except BaseException as error:  # SystemExit or a Rust panic is what we are here for
            send(answers, Refusal(reason=_describe(error)))
        else:
            send(answers, answer)


def _describe(error: BaseException) -> str:
    kind, text = type(error).__name__, first_line(error)
    return printable(kind if text == kind else f"{kind}: {text}")[:MAX_REASON_LENGTH]


def _limit_memory(num_bytes: int) -> None:
    """Let the kernel refuse us more memory than there is, and choose us first when it has none left.

    RLIMIT_DATA, not RLIMIT_AS: CUDA reserves addresses, not memory, by the terabyte.
    """
    with suppress(OSError):  # some containers do not show it
        Path("/proc/self/oom_score_adj").write_text("1000")
    for name, limit in ((resource.RLIMIT_DATA, num_bytes), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(name)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (limit, hard))


if __name__ == "__main__":
    main()
