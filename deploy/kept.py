"""What was made before from the same inputs: nothing is measured, drawn or written twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skymetal.catalogs.inputs import read_claim
from skymetal.catalogs.storage import Folder


def record_name(step: str) -> str:
    """Return the name, in the run directory, of what a step leaves on record."""
    return f"inputs/{step}.json"


def keep(folder: Folder, step: str, inputs: Mapping[str, Any], *, said: Sequence[str], files: Sequence[str]) -> None:
    """Record what a step with those inputs said, and the files it left."""
    sizes = {name: folder.size(name) for name in files}
    record = {"inputs": inputs, "said": list(said), "files": sizes}
    folder.write(record_name(step), json.dumps(record, sort_keys=True, indent=1).encode())


def recall(folder: Folder, step: str, inputs: Mapping[str, Any]) -> list[str] | None:
    """Return what a step said of the same inputs, or None where they differ or a file that it left is lost."""
    try:
        record = read_claim(folder, step)
        sizes, said = dict(record["files"]), [str(line) for line in record["said"]]
        is_same = record["inputs"] == json.loads(json.dumps(inputs))
    except (KeyError, TypeError, ValueError):
        return None  # there is none, or it is damaged: made again either way
    is_there = all(folder.exists(name) and folder.size(name) == size for name, size in sizes.items())
    return said if is_same and is_there else None
