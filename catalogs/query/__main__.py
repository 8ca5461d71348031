"""The process of one query. ``python -m skymetal.catalogs.query PARENT``: an order on standard input, Arrow out.

It dies with its parent, and before any other process when the machine runs out of memory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class _NoPandas:
    """pyarrow loads pandas where there is one; it takes longer than all the rest, and no query needs it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"{name} is not for queries", name=name)


def main() -> None:
    """Answer, and end with the exit code of an Ending."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # it died before we asked to be told
        os._exit(1)
    with suppress(OSError):  # some containers do not show it
        Path("/proc/self/oom_score_adj").write_text("1000")
    sys.meta_path.insert(0, _NoPandas)
    code = import_module("skymetal.catalogs.query.child").serve()
    sys.stdout.flush()
    os._exit(code)  # nothing is left to put in order, and a library's end may take its time


if __name__ == "__main__":
    main()
