"""What a step was begun with: the same again resumes, anything else is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import Folder, digest


def claim_inputs(run_dir: Folder, step: str, inputs: Mapping[str, Any], *, has_results: bool = True) -> str:
    """Record the inputs of a step, or check them against the record; return their digest.

    A step that has_results not yet may begin anew with others. Raises InputError, naming the first input that
    differs, when the step was begun with others.
    """
    record = _to_bytes(inputs)
    name = f"inputs/{step}.json"
    if not has_results:
        run_dir.write(name, record)
        return digest(record)
    if not run_dir.put_if_absent(name, record):
        try:
            before = json.loads(run_dir.read(name))
        except (ValueError, OSError, RecursionError) as error:
            raise RuntimeError(f"{run_dir}/{name} is damaged; delete it and run the same command again") from error
        refuse_other_inputs(before, inputs, where=f"{run_dir} began `{step}`")
    return digest(record)


def digest_inputs(inputs: Mapping[str, Any]) -> str:
    """Return the digest that :func:`claim_inputs` gives those inputs."""
    return digest(_to_bytes(inputs))


def _to_bytes(inputs: Mapping[str, Any]) -> bytes:
    return json.dumps(inputs, sort_keys=True, indent=1).encode()


def read_claim(run_dir: Folder, step: str) -> dict[str, Any]:
    """Return what a step began with, or nothing where it did not begin or the record is damaged."""
    try:
        return dict(json.loads(run_dir.read(f"inputs/{step}.json")))
    except (OSError, TypeError, ValueError, RecursionError):
        return {}


def refuse_other_inputs(
    before: Mapping[str, Any], now: Mapping[str, Any], *, where: str, remedy: str = "name another [job] run_dir"
) -> None:
    """Raise InputError where inputs are not those recorded ``before``; tuples and lists are alike."""
    found = _first_difference(dict(before), json.loads(json.dumps(now)))
    if found is not None:
        key, old, new = found
        raise InputError(
            f"{where} with {key} = {_show(old)}, but this job has {key} = {_show(new)}; "
            f"{remedy}, or restore what was there{_hint(new)}"
        )


def _first_difference(before: Any, now: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Return where two values first differ, as far inside them as can be said, and what is there in each."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(f"{key}.{name}".lstrip("."), before.get(name), now.get(name)) for name in sorted(before | now)]
    elif _are_tables(before, now):
        pairs = [(f"{key}[{place}]", *both) for place, both in enumerate(zip(before, now, strict=True))]
    else:
        return None if before == now else (key, before, now)
    differences = (_first_difference(old, new, name) for name, old, new in pairs)
    return next((found for found in differences if found is not None), None)


def _are_tables(before: Any, now: Any) -> bool:
    lists = isinstance(before, list) and isinstance(now, list) and len(before) == len(now)
    return lists and all(isinstance(item, dict) for item in (*before, *now))


def _hint(value: Any) -> str:
    is_digest = re.fullmatch(r"[0-9a-f]{64}", str(value[0] if isinstance(value, list) and value else value))
    return " (a digest differs when a file has changed)" if is_digest else ""


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
