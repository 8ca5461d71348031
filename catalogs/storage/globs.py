"""Glob patterns over names with slashes, as pathlib means them: ``*`` stays within a step, ``**/`` is any steps."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

_SPECIAL = re.compile(r"[*?\[]")


@lru_cache(maxsize=64)
def glob_to_regex(pattern: str) -> re.Pattern[str]:
    """Return the expression that the whole of a name must match."""
    steps = []
    for step in pattern.split("/"):
        if step == "**":
            steps.append("(?:[^/]+/)*")
        else:
            inner = fnmatch.translate(step).removeprefix("(?s:").removesuffix(r")\Z")
            steps.append(inner.replace(".*", "[^/]*") + "/")
    return re.compile("".join(steps).removesuffix("/"))


def literal_start(pattern: str) -> str:
    """Return the steps of a pattern before the first that is no plain name: nothing elsewhere can match."""
    steps = pattern.split("/")
    first = next((place for place, step in enumerate(steps[:-1]) if _SPECIAL.search(step)), len(steps) - 1)
    return "/".join(steps[:first])
