from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from support import brightness, poison, poisoned_store, scored_store

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import read_part
from skymetal.catalogs.storage import LocalFolder
from skymetal.catalogs.targets import write_targets
from skymetal.engine.ingest import quarantined
from skymetal.engine.predict import Predictions
from skymetal.engine.rows import catalogue_rows
from skymetal.engine.score import finish_score, score_block
from skymetal.engine.score_plan import ScorePlan, ScoreSettings, refuse_other_store


@pytest.fixture
def plan(folder: LocalFolder) -> ScorePlan:
    random = np.random.default_rng(0)
    table = pa.table(
        {"object_id": range(100, 110), "ra": random.uniform(0, 360, 10), "dec": random.uniform(-60, 60, 10)}
    )
    return scored_store.make_plan(
        folder,
        table,
        lambda object_id: np.stack([np.full((8, 8, 3), each - 100, np.uint8) for each in object_id]),
        brightness.ref(),
        shard_size=4,
        rows={
            "is_stored": lambda each: each != 105,
            "ingest_flags": lambda each: int(each == 103),
            "reason": lambda each: "blank" if each == 105 else "",
        },
    )


def score_all(plan: ScorePlan) -> pa.Table:
    for index in plan.missing_blocks():
        score_block(plan, index)
    manifest = finish_score(plan)
    return pa.concat_tables([read_part(plan.parts, receipt) for receipt in manifest.receipts])


def test_rows_out_and_quarantined_are_rows_in(plan: ScorePlan) -> None:
    table = score_all(plan)
    assert sorted(table["object_id"].to_pylist()) == [100, 101, 102, 103, 104, 106, 107, 108, 109]
    assert (np.diff(table["_healpix_29"].to_numpy()) > 0).all()
    assert plan.missing_blocks() == []


def test_a_galaxy_without_a_label_is_the_mean_of_all_members_and_views(plan: ScorePlan) -> None:
    rows = {row["object_id"]: row for row in score_all(plan).to_pylist()}
    new = rows[103]
    assert new["oh_p50"] == pytest.approx(8.03 + 0.001 + 0.00005, abs=1e-6)
    assert new["oh_p16"] == pytest.approx(new["oh_p50"] - 0.08005, abs=1e-6)
    assert new["oh_p97p5"] == pytest.approx(new["oh_p50"] + 0.1601, abs=1e-6)
    assert new["oh_unshrunk"] == pytest.approx(1.25 * new["oh_p50"] - 2.25, abs=1e-6)
    assert [new[f"oh_fold{m}"] for m in range(3)] == pytest.approx([8.03005, 8.03105, 8.03205], abs=1e-6)
    assert new["oh_std_folds"] == pytest.approx(np.std([0, 0.001, 0.002]), abs=1e-6)
    assert new["oh_std_views"] == pytest.approx(0.00005, abs=1e-6)
    assert not new["is_out_of_fold"]
    assert new["flags"] & 0xFF == 1


def test_a_galaxy_with_a_label_is_described_only_by_the_member_that_never_saw_it(plan: ScorePlan) -> None:
    row = next(row for row in score_all(plan).to_pylist() if row["object_id"] == 104)
    assert row["is_out_of_fold"]
    assert row["oh_p50"] == pytest.approx(8.04 + 0.001 + 0.00005, abs=1e-6)
    assert row["oh_p84"] == pytest.approx(row["oh_p50"] + 0.10005, abs=1e-6)
    assert row["oh_fold0"] is None
    assert row["oh_fold1"] == pytest.approx(row["oh_p50"], abs=1e-6)
    assert row["oh_fold2"] is None
    assert row["oh_std_folds"] is None


def test_a_galaxys_row_does_not_depend_on_its_neighbours(plan: ScorePlan) -> None:
    block, targets, predictor = plan.store.read_block(1), plan.targets.read(4, 8), plan.predictor.open()
    unseen = predictor.unseen(block.object_id)
    oh = predictor.predict(block.images, unseen)
    everyone = dataclasses.replace(block, is_stored=np.ones(4, dtype=bool))
    together = catalogue_rows(everyone, targets, oh, unseen, predictor, np.zeros(4, np.int32))
    for n in range(4):
        one = slice(n, n + 1)
        only = dataclasses.replace(block, is_stored=np.arange(4) == n)
        alone = Predictions(oh_NMV=oh.oh_NMV[one], ood_NM=oh.ood_NM[one])
        assert catalogue_rows(only, targets, alone, unseen[one], predictor, np.zeros(1, np.int32)).equals(
            together.slice(n, 1)
        )


def test_embeddings_are_a_column_of_half_floats(plan: ScorePlan) -> None:
    block = dataclasses.replace(plan.store.read_block(2), is_stored=np.ones(2, dtype=bool))
    predictor = plan.predictor.open()
    unseen = predictor.unseen(block.object_id)
    embedding = np.random.default_rng(0).normal(size=(2, 512)).astype(np.float16)
    predictions = dataclasses.replace(predictor.predict(block.images, unseen), embedding_NF=embedding)
    table = catalogue_rows(block, plan.targets.read(8, 10), predictions, unseen, predictor, np.zeros(2, np.int32))
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), 512)
    assert (np.stack(table["embedding"].to_numpy()) == embedding).all()


def test_scoring_a_block_twice_gives_the_first_receipt(plan: ScorePlan) -> None:
    first = score_block(plan, 1).receipt
    assert plan.missing_blocks() == [0, 2]
    assert score_block(plan, 1).receipt == first


def test_a_prediction_that_is_not_finite_never_reaches_the_catalogue(plan: ScorePlan) -> None:
    block = plan.store.read_block(0)
    unseen = np.ones((4, 3), dtype=bool)
    oh = np.full((4, 3, 2), 8.5, np.float32)
    oh[2, 1, 0] = np.nan
    stored = dataclasses.replace(block, is_stored=np.ones(4, dtype=bool))
    predictions = Predictions(oh_NMV=oh, ood_NM=np.zeros((4, 3), np.float32))
    with pytest.raises(RuntimeError, match="not finite for a galaxy of shard 0"):
        catalogue_rows(
            stored, plan.targets.read(0, 4), predictions, unseen, plan.predictor.open(), np.zeros(4, np.int32)
        )


POISONED = {1: poison.KINDS.index(poison.panic), 5: poison.NOT_FINITE, 6: poison.KINDS.index(poison.leave)}


def test_a_galaxy_that_cannot_be_predicted_costs_no_other_row_and_is_listed_with_its_reason(
    folder: LocalFolder,
) -> None:
    plan = poisoned_store.make_plan(folder, POISONED, num_galaxies=16, shard_size=8)
    undisturbed = score_all(dataclasses.replace(plan, parts=folder / "tame", predictor=poison.ref("tame")))
    table = score_all(plan)
    assert table.equals(undisturbed.filter(pa.array([row not in POISONED for row in range(16)])))
    receipt = score_block(plan, 0).receipt
    assert receipt.num_quarantined == 3
    assert receipt.rejected == (
        (10_003, "scoring: Panic: index out of bounds"),
        (10_015, "scoring: the prediction is not finite"),
        (10_018, "scoring: SystemExit: 3"),
    )
    rejects = quarantined(plan.store, finish_score(plan).rejected).to_pylist()
    assert rejects[0] == {"object_id": 10_003, "source": "10003.jpg", "reason": "scoring: Panic: index out of bounds"}
    assert len(rejects) == 3
    assert not plan.parts.exists("attempts")


def test_a_block_that_was_lost_twice_is_scored_apart_with_the_same_bytes(folder: LocalFolder) -> None:
    plan = poisoned_store.make_plan(folder, {}, num_galaxies=16, shard_size=8)
    first = score_block(dataclasses.replace(plan, parts=folder / "here"), 0).receipt
    for name in ("a", "b"):
        plan.parts.mark(f"attempts/000000-{name}")
    own = poison.ref(f"wild once={folder}/died")  # would kill this process
    assert score_block(dataclasses.replace(plan, predictor=own), 0).receipt == first
    assert folder.exists("died")
    assert plan.parts.names("attempts/*") == []


def test_an_error_that_python_sees_leaves_no_note_and_is_the_blocks_own(folder: LocalFolder) -> None:
    plan = poisoned_store.make_plan(folder, {}, num_galaxies=16, shard_size=8)
    (plan.store.folder.path / "images/c/1/0/0/0").write_bytes(b"")
    for _ in range(3):
        with pytest.raises(RuntimeError, match="`skymetal store repair` makes it again"):
            score_block(plan, 1)
    assert plan.parts.names("attempts/*") == []


def test_a_pass_that_could_score_no_galaxy_is_an_error(folder: LocalFolder) -> None:
    plan = poisoned_store.make_plan(folder, dict.fromkeys(range(16), poison.NOT_FINITE), num_galaxies=16, shard_size=8)
    with pytest.raises(
        RuntimeError, match=r"not one of 16 galaxies could be scored, as 10000 \(scoring: the prediction"
    ):
        score_all(plan)


def test_an_ensemble_of_other_images_and_a_store_of_other_targets_are_refused(
    plan: ScorePlan, folder: LocalFolder
) -> None:
    other = dataclasses.replace(brightness.SPEC, bands=("z", "r", "g"))
    with pytest.raises(InputError, match=r"has bands = zrg, but the store .* has bands = irg"):
        refuse_other_store(plan.store, plan.targets, other, ensemble="other")
    targets = write_targets(folder, "other.parquet", pa.table({"object_id": range(10)}), selection={})
    with pytest.raises(InputError, match="made for another target list"):
        refuse_other_store(plan.store, targets, brightness.SPEC, ensemble="brightness")
    with pytest.raises(RuntimeError, match="holds other galaxies"):
        score_block(dataclasses.replace(plan, targets=targets), 0)


def test_settings_out_of_range_cannot_exist() -> None:
    with pytest.raises(InputError, match="views must be one of 1, 2, 4, 5, 8, got 3"):
        ScoreSettings(views=3)
    with pytest.raises(InputError, match=r"batch_size must be 0 .* to 65536, got -1"):
        ScoreSettings(batch_size=-1)
    with pytest.raises(InputError, match=r"runtime must be one of auto, torch, .*, amx-bf16, got 'tensorflow'"):
        ScoreSettings(runtime="tensorflow")
    for minutes in (0, float("nan"), 1e9):
        with pytest.raises(InputError, match=r"block_timeout_min must be 0\.01 to 10080 \(a week\), got"):
            ScoreSettings(block_timeout_min=minutes)
