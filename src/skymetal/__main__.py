"""The command ``skymetal``, and ``python -m skymetal``: one line even when it is stopped while it is still loading."""

import os
import sys
from contextlib import suppress
from importlib import import_module


def main() -> None:
    """Load the command line and run it."""
    try:
        import_module("skymetal.deploy.cli").main()
    except KeyboardInterrupt:
        print("skymetal: stopped before it began", file=sys.stderr)
        sys.exit(130)
    except SystemExit as end:
        if "obstore" in sys.modules and (end.code is None or isinstance(end.code, int)):
            _leave_at_once(end.code or 0)
        raise


def _leave_at_once(code: int) -> None:
    """End here: a thread of Arrow's that has read a bucket, and lets go of it while Python ends, aborts the process."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
