from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from support import poison
from support.poisoned_store import make_plan

from skymetal.catalogs.parts import commit_part, find_receipt, read_part
from skymetal.catalogs.storage import LocalFolder
from skymetal.engine.reproduce import check_part, score_again
from skymetal.engine.score import score_block
from skymetal.engine.score_plan import ScorePlan


@pytest.fixture
def plan(folder: LocalFolder) -> ScorePlan:
    plan = make_plan(folder, {}, num_galaxies=40, shard_size=10)
    for index in plan.missing_blocks():
        score_block(plan, index)
    return plan


def replace_part(plan: ScorePlan, index: int, change: dict[str, pa.Array]) -> None:
    """Put another table, with a receipt that fits it, in the place of a part: a lie that no digest shows."""
    receipt = find_receipt(plan.parts, index, run_digest=plan.run_digest)
    assert receipt is not None
    table = read_part(plan.parts, receipt)
    for name, column in change.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    plan.parts.remove(f"receipts/{index:06d}.json")
    commit_part(plan.parts, index, table, num_quarantined=receipt.num_quarantined, run_digest=plan.run_digest)


def test_parts_that_were_left_alone_are_the_same_to_the_last_bit(plan: ScorePlan) -> None:
    for index in range(4):
        assert check_part(plan, index).problem == ""
        again = score_again(plan, index)
        assert (again.problem, again.num_rows_made_again, again.difference) == ("", 10, 0.0)
        assert again.is_identical


def test_a_flipped_byte_and_a_lost_part_are_named(plan: ScorePlan) -> None:
    receipt = find_receipt(plan.parts, 1, run_digest=plan.run_digest)
    assert receipt is not None
    data = bytearray(plan.parts.read(receipt.file))
    data[len(data) // 2] ^= 1
    plan.parts.write(receipt.file, bytes(data))
    assert f"{receipt.file} is damaged" in check_part(plan, 1).problem
    assert f"{receipt.file} is damaged" in score_again(plan, 1).problem
    plan.parts.remove(receipt.file)
    assert check_part(plan, 1).problem == f"part 1 is lost from {plan.parts}; run `skymetal score` again"


def test_a_wrong_value_behind_a_right_digest_is_found_by_scoring_again(plan: ScorePlan) -> None:
    receipt = find_receipt(plan.parts, 2, run_digest=plan.run_digest)
    assert receipt is not None
    oh = read_part(plan.parts, receipt)["oh_p50"].to_numpy().copy()
    oh[3] += 0.02
    replace_part(plan, 2, {"oh_p50": pa.array(oh)})
    assert check_part(plan, 2).problem == ""
    assert "galaxy 10069 has oh_p50 = " in score_again(plan, 2).problem


def test_rounding_is_no_damage_and_is_told(plan: ScorePlan) -> None:
    receipt = find_receipt(plan.parts, 3, run_digest=plan.run_digest)
    assert receipt is not None
    oh = read_part(plan.parts, receipt)["oh_p50"].to_numpy()
    replace_part(plan, 3, {"oh_p50": pa.array(oh + np.float32(1e-5))})
    again = score_again(plan, 3)
    assert again.problem == ""
    assert again.difference == pytest.approx(1e-5, rel=0.2)


def test_other_galaxies_and_other_columns_are_not_what_the_store_gives(plan: ScorePlan) -> None:
    receipt = find_receipt(plan.parts, 0, run_digest=plan.run_digest)
    assert receipt is not None
    table = read_part(plan.parts, receipt)
    replace_part(plan, 0, {"object_id": pa.array(table["object_id"].to_numpy() + 1)})
    assert score_again(plan, 0).problem.endswith("it holds other galaxies than the store")
    own = table["is_out_of_fold"].to_numpy(zero_copy_only=False)
    replace_part(plan, 0, {"object_id": table["object_id"].combine_chunks(), "is_out_of_fold": pa.array(~own)})
    assert score_again(plan, 0).problem.endswith("its column is_out_of_fold is not what the store gives")


def test_a_damaged_shard_is_named_by_the_store(plan: ScorePlan) -> None:
    path = plan.store.folder.path / "images/c/0/0/0/0"
    path.write_bytes(path.read_bytes()[:-9])
    assert "is missing or damaged" in score_again(plan, 0).problem


def test_a_galaxy_that_kills_is_let_near_no_worker_again(folder: LocalFolder) -> None:
    plan = make_plan(folder, {3: poison.KINDS.index(poison.crash)}, num_galaxies=10, shard_size=10)
    for name in ("a", "b"):
        plan.parts.mark(f"attempts/000000-{name}")
    assert score_block(plan, 0).receipt.rejected == ((10_009, "scoring: the process was killed by signal 11"),)
    again = score_again(plan, 0)
    assert (again.problem, again.num_rows_made_again, again.difference) == ("", 9, 0.0)
