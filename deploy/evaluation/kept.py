"""An evaluation that was made before: nothing is drawn or measured twice from the same catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skymetal.catalogs.inputs import read_claim
from skymetal.catalogs.storage import Folder

STEP = "evaluate"
KEPT = f"inputs/{STEP}.json"


def keep_evaluation(folder: Folder, inputs: Mapping[str, Any], *, said: Sequence[str], files: Sequence[str]) -> None:
    """Record what an evaluation of those inputs said, and the files it left."""
    sizes = {name: folder.size(name) for name in files}
    record = {"inputs": inputs, "said": list(said), "files": sizes}
    folder.write(KEPT, json.dumps(record, sort_keys=True, indent=1).encode())


def recall_evaluation(folder: Folder, inputs: Mapping[str, Any]) -> list[str] | None:
    """Return what was said of the same inputs, or None where they differ or a file of that evaluation is lost."""
    try:
        record = read_claim(folder, STEP)
        sizes, said = dict(record["files"]), [str(line) for line in record["said"]]
        is_same = record["inputs"] == json.loads(json.dumps(inputs))
    except (KeyError, TypeError, ValueError):
        return None  # there is none, or it is damaged: made again either way
    is_there = all(folder.exists(name) and folder.size(name) == size for name, size in sizes.items())
    return said if is_same and is_there else None
