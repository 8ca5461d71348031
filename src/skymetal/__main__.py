"""The command ``skymetal``, and ``python -m skymetal``: one line even when it is stopped while it is still loading."""

import sys
from importlib import import_module


def main() -> None:
    """Load the command line and run it."""
    try:
        import_module("skymetal.deploy.cli").main()
    except KeyboardInterrupt:
        print("skymetal: stopped before it began", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
