"""Proof that the parts are what they claim: every digest checked, and some shards scored again and compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from skymetal.catalogs.errors import first_line
from skymetal.catalogs.flags import Flag
from skymetal.catalogs.parts import encode_part, find_receipt, read_part
from skymetal.catalogs.storage import digest
from skymetal.engine.score import make_rows
from skymetal.engine.score_plan import ScorePlan

AT_THRESHOLDS = int(Flag.SIZE_OUT | Flag.COLOUR_OUT | Flag.TEXTURE_OUT | Flag.SCORE_OOD)
"""Flags of measured values: one that lies at the threshold may fall on either side of it on another processor."""
TOLERANCE = 1e-3
"""Another processor or library adds in another order; what differs by more (dex) is another model or other pixels."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One shard looked at: what is wrong, or ""; how many of its rows were made again, and how near they came.

    difference is the largest of any prediction, dex; is_identical says that every byte is the same.
    """

    index: int
    problem: str = ""
    num_rows_made_again: int = 0
    difference: float = 0.0
    is_identical: bool = False


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
    if digest(encode_part(made.table)) == receipt.digest:
        return Check(index=index, num_rows_made_again=receipt.num_rows, is_identical=True)
    problem, difference = _compare(read_part(plan.parts, receipt), made.table)
    where = f"{plan.parts}/{receipt.file}: "
    return Check(
        index=index,
        problem=where + problem if problem else "",
        num_rows_made_again=receipt.num_rows,
        difference=difference,
    )


def _compare(kept: pa.Table, made: pa.Table) -> tuple[str, float]:
    """Return what differs beyond rounding, or "", and the largest difference of a prediction, dex."""
    if not kept["object_id"].equals(made["object_id"]):
        return "it holds other galaxies than the store", float("nan")
    largest = 0.0
    for name in kept.column_names:
        old, new = kept[name], made[name]
        if name == "embedding":
            before, after = (_numbers(column.combine_chunks().flatten()) for column in (old, new))
            is_same = np.allclose(before, after, atol=0.05)
        elif name == "flags":
            is_same = bool(((_numbers(old).astype(int) ^ _numbers(new).astype(int)) & ~AT_THRESHOLDS == 0).all())
        elif name == "ood_score":
            is_same = np.allclose(_numbers(old), _numbers(new), rtol=0.01, equal_nan=True)
        elif old.type == pa.float32():
            difference_N = np.abs(_numbers(old) - _numbers(new))
            is_same = np.allclose(_numbers(old), _numbers(new), rtol=0, atol=TOLERANCE, equal_nan=True)
            if not is_same:
                is_one_null_N = np.isnan(_numbers(old)) != np.isnan(_numbers(new))
                worst = int(np.argmax(np.where(is_one_null_N, np.inf, np.nan_to_num(difference_N))))
                values = (_numbers(old)[worst], _numbers(new)[worst])
                galaxy = kept["object_id"][worst].as_py()
                return f"galaxy {galaxy} has {name} = {values[0]:.4f}, but scored again it is {values[1]:.4f}", largest
            largest = max(largest, float(np.nan_to_num(difference_N).max(initial=0)))
        else:
            is_same = old.equals(new)
        if not is_same:
            return f"its column {name} is not what the store gives", largest
    return "", largest


def _numbers(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
