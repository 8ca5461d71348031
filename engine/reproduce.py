"""Proof that the parts are what they claim: every digest checked, and some shards scored again and compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skymetal.catalogs.errors import first_line
from skymetal.catalogs.parts import encode_parquet, find_receipt, read_part
from skymetal.catalogs.storage import digest
from skymetal.engine.score import make_rows
from skymetal.engine.score_plan import ScorePlan

TOLERANCE = 1e-3
"""Another processor or library adds in another order; what differs by more (dex) is another model or other pixels."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One shard looked at: what is wrong, or ""; how many of its rows were made again, the largest difference, dex."""

    index: int
    problem: str = ""
    num_rows_made_again: int = 0
    difference: float = 0.0


def check_part(plan: ScorePlan, index: int) -> Check:
    """Compare a part with its receipt. Never raises for what is wrong with it."""
    try:
        receipt = find_receipt(plan.parts, index, run_digest=plan.run_digest)
        if receipt is None:
            return Check(index=index, problem=f"part {index} is lost from {plan.parts}; run `skymetal score` again")
        rows = read_part(plan.parts, receipt)
        if rows.num_rows != receipt.num_rows:
            return Check(
                index=index, problem=f"{plan.parts}/{receipt.file} has {rows.num_rows} rows, not those recorded"
            )
    except (RuntimeError, OSError, ValueError) as error:
        return Check(index=index, problem=first_line(error))
    return Check(index=index)


def score_again(plan: ScorePlan, index: int) -> Check:
    """Score a shard once more from the store and compare it with its part, row by row."""
    checked = check_part(plan, index)
    receipt = find_receipt(plan.parts, index, run_digest=plan.run_digest) if not checked.problem else None
    if receipt is None:
        return checked
    try:
        made = make_rows(plan, index, is_suspect=bool(receipt.rejected))  # what it could not bear, no worker should
    except (RuntimeError, OSError, ValueError) as error:
        return Check(index=index, problem=first_line(error))
    if digest(encode_parquet(made.table)) == receipt.digest:
        return Check(index=index, num_rows_made_again=receipt.num_rows)
    problem, difference = _compare(read_part(plan.parts, receipt), made.table)
    where = f"{plan.parts}/{receipt.file}: "
    return Check(
        index=index,
        problem=where + problem if problem else "",
        num_rows_made_again=receipt.num_rows,
        difference=difference,
    )


def _compare(kept: pa.Table, made: pa.Table) -> tuple[str, float]:
    """Return what differs beyond rounding, or "", and the largest difference of any floating-point column."""
    if not kept["object_id"].equals(made["object_id"]):
        return "it holds other galaxies than the store", float("nan")
    largest = 0.0
    for name in kept.column_names:
        old, new = kept[name], made[name]
        if not pa.types.is_floating(old.type):
            # A flag at its threshold may fall on either side of it, and an embedding is in half precision.
            if name not in ("flags", "embedding") and not old.equals(new):
                return f"its column {name} is not what the store gives", largest
            continue
        if not pc.is_null(old).equals(pc.is_null(new)):
            return f"its column {name} has values where the store gives none", largest
        difference_N = np.abs(old.to_numpy() - new.to_numpy())
        worst = int(np.nanargmax(difference_N)) if np.isfinite(difference_N).any() else 0
        largest = max(largest, float(np.nan_to_num(difference_N[worst])) if len(difference_N) else 0.0)
        if largest > TOLERANCE:
            return (
                f"galaxy {kept['object_id'][worst].as_py()} has {name} = {old[worst].as_py():.4f}, "
                f"but scored again it is {new[worst].as_py():.4f}"
            ), largest
    return "", largest
