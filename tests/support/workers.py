"""What tests ask of worker processes: functions that a worker can import."""

from __future__ import annotations

import resource


def peak_bytes() -> int:
    """Return the most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
