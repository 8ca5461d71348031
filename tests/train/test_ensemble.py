from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from distributed.protocol import deserialize, serialize
from safetensors.torch import load, save
from support.tiny_training import SPEC, UNLABELLED_ROW, make_cutouts

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.parts import encode_parquet
from skymetal.catalogs.schema import CALIBRATED
from skymetal.catalogs.storage import LocalFolder, digest, open_folder
from skymetal.engine.predict import ON_GPUS, RUNTIMES, Predictor, PredictorRef
from skymetal.train.assemble import write_ensemble
from skymetal.train.card import EnsembleCard, describe_ensemble, load_described
from skymetal.train.ensemble import Ensemble, load_ensemble
from skymetal.train.folds import TEST_FOLD
from skymetal.train.plan import TrainPlan


@pytest.fixture(scope="module")
def card(trained: TrainPlan, tmp_path_factory: pytest.TempPathFactory) -> EnsembleCard:
    copy = tmp_path_factory.mktemp("ensemble") / "ensemble"
    shutil.copytree(trained.ensemble, copy)
    return write_ensemble(replace(trained, ensemble=copy))


@pytest.fixture(scope="module")
def ensemble(card: EnsembleCard) -> Ensemble:
    return load_ensemble(str(card.path), digest=card.digest, num_views=2, batch_size=8, runtime="torch")


def test_the_card_tells_what_the_ensemble_is(card: EnsembleCard, trained: TrainPlan) -> None:
    assert describe_ensemble(card.path) == card
    assert card.image_spec == SPEC
    assert (card.num_members, card.labels, card.recipe.name, card.seed) == (2, ("oh_p50",), "modern", 1)
    assert card.plan_digest == trained.digest
    table = card.read_out_of_fold()
    assert table["object_id"].to_pylist() == sorted(table["object_id"].to_pylist())
    assert table.num_rows == 30
    residual = table["oh_p50_true"].to_numpy().astype(np.float64) - table["oh_p50"].to_numpy()
    calibration = card.calibration
    assert calibration.new == calibration.out_of_fold
    assert calibration.out_of_fold.intervals.num_galaxies == calibration.out_of_fold.receipt.num_galaxies == 30
    assert calibration.out_of_fold.intervals.centre == pytest.approx(np.median(residual), abs=1e-6)


def test_writing_it_twice_writes_the_same_bytes_and_sweeps_debris(card: EnsembleCard, trained: TrainPlan) -> None:
    folder = open_folder(card.path)
    before = {name: folder.read(name) for name in folder.names("*")}
    folder.write("fold0-000000000000.safetensors", b"left by a killed task")
    assert write_ensemble(replace(trained, ensemble=card.path)) == card
    assert {name: folder.read(name) for name in folder.names("*")} == before


def test_an_unfinished_training_makes_no_ensemble(trained: TrainPlan, tmp_path: Path) -> None:
    shutil.copytree(trained.ensemble, tmp_path / "ensemble")
    (tmp_path / "ensemble" / "fold1.json").unlink()
    with pytest.raises(RuntimeError, match="1 of 2 folds are not trained, the first is fold 1"):
        write_ensemble(replace(trained, ensemble=tmp_path / "ensemble"))
    with pytest.raises(InputError, match="run `skymetal train` first"):
        describe_ensemble(tmp_path / "ensemble")


def test_it_predicts_what_its_members_predicted_out_of_fold(card: EnsembleCard) -> None:
    ensemble = load_ensemble(card.path, digest=card.digest, num_views=8, batch_size=64, runtime="torch")
    table = card.read_out_of_fold()
    images, _ = make_cutouts(32)
    object_id = table["object_id"].to_numpy()
    wanted = ensemble.unseen(object_id)
    assert wanted.sum(axis=1).tolist() == [1] * 30
    predicted = ensemble.predict(images[(object_id - 1000) // 7], wanted).oh_NMV
    assert predicted.shape == (30, 2, 8)
    assert np.array_equal(np.isnan(predicted).all(axis=2), ~wanted)
    assert np.allclose(np.nanmean(predicted, axis=(1, 2)), table["oh_p50"].to_numpy(), atol=1e-5)


def test_a_galaxy_is_unseen_by_its_own_folds_member_and_a_stranger_by_all(ensemble: Ensemble) -> None:
    table = ensemble.card.read_out_of_fold()
    object_id, fold = table["object_id"].to_numpy(), table["fold"].to_numpy()
    asked = np.array([object_id[3], 5, 1000 + 7 * UNLABELLED_ROW, 10**18, object_id[-1]])
    unseen = ensemble.unseen(asked)
    assert unseen.tolist() == [[fold[3] == 0, fold[3] == 1], [True] * 2, [True] * 2, [True] * 2,
                               [fold[-1] == 0, fold[-1] == 1]]  # fmt: skip


def test_a_galaxys_bytes_do_not_depend_on_its_neighbours(ensemble: Ensemble) -> None:
    images, _ = make_cutouts(11)
    wanted = np.random.default_rng(0).random((11, 2)) < 0.6
    together = ensemble.predict(images, wanted).oh_NMV
    for n in range(len(images)):
        assert ensemble.predict(images[n : n + 1], wanted[n : n + 1]).oh_NMV.tobytes() == together[n : n + 1].tobytes()


def test_it_is_a_predictor_that_travels_by_reference(card: EnsembleCard) -> None:
    ref = PredictorRef(
        load=load_described,
        path=str(card.path),
        digest=card.digest,
        image_spec=card.image_spec,
        num_views=1,
        batch_size=4,
        runtime="torch",
    )
    assert deserialize(*serialize(ref)) == ref
    predictor: Predictor = ref.open()
    assert isinstance(predictor, Ensemble)
    assert predictor is ref.open()
    oh, spread, is_out_of_fold = np.array([8.7, 9.0]), np.array([0.01, 0.05]), np.array([True, False])
    columns = predictor.calibrate(oh, spread, is_out_of_fold)
    expected = card.calibration.apply(oh, spread, is_out_of_fold, num_views=1)
    assert list(columns) == list(CALIBRATED)
    assert all((columns[name] == expected[name]).all() for name in CALIBRATED)


def test_a_test_set_calibrates_new_galaxies(trained: TrainPlan, tmp_path: Path) -> None:
    shutil.copytree(trained.ensemble, tmp_path / "ensemble")
    folder = LocalFolder(tmp_path / "ensemble")
    random = np.random.default_rng(0)
    truth = random.normal(8.9, 0.2, 120).astype(np.float32)
    for fold in range(2):  # as if there had been a test set of 120: each member's file holds it too
        receipt = json.loads(folder.read(f"fold{fold}.json"))
        table = pq.read_table(folder.path / receipt["predictions"]["name"])
        test = pa.table(
            {
                "object_id": np.arange(120) + 10**6,
                "fold": np.full(120, TEST_FOLD, dtype=np.int32),
                "oh_p50_true": truth,
                "oh_p50": truth + random.normal(0, 0.05, 120).astype(np.float32),
                "oh_p50_std_views": np.full(120, 0.01, dtype=np.float32),
                **{name: np.zeros(120, np.float32) for name in table.column_names[5:]},
            }
        )
        data = encode_parquet(
            pa.concat_tables([table, test.select(table.column_names).cast(table.schema)]).combine_chunks()
        )
        folder.write(receipt["predictions"]["name"], data)
        receipt["predictions"]["sha256"] = digest(data)
        folder.write(f"fold{fold}.json", json.dumps(receipt).encode())
    card = write_ensemble(replace(trained, ensemble=folder.path))
    new = card.calibration.new
    assert (new.intervals.fitted_on, new.intervals.num_galaxies, new.receipt.num_galaxies) == ("test", 120, 120)
    assert new.intervals.scale == card.calibration.out_of_fold.intervals.scale
    table = card.read_test()
    assert table is not None
    columns = card.calibration.apply(
        table["oh_p50"].to_numpy().astype(float),
        table["oh_p50_std_views"].to_numpy().astype(float),
        np.zeros(120, dtype=bool),
        num_views=8,
    )
    inside = (columns["oh_p16"] <= truth) & (truth <= columns["oh_p84"])
    assert inside.mean() == pytest.approx(0.68, abs=0.03)


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES[1:] if torch.cuda.is_available() or name not in ON_GPUS])
def test_every_runtime_says_the_same(card: EnsembleCard, runtime: str) -> None:
    images, _ = make_cutouts(5)
    wanted = np.ones((5, 2), dtype=bool)
    plain, other = (
        load_ensemble(card.path, digest=card.digest, num_views=4, batch_size=32, runtime=name).predict(images, wanted)
        for name in ("torch", runtime)
    )
    assert np.abs(other.oh_NMV - plain.oh_NMV).max() < (1e-5 if runtime == "mnn" else 2e-2)
    assert np.allclose(other.ood_NM, plain.ood_NM, rtol=0.1 if "bf16" in runtime else 1e-2)
    assert np.ptp(plain.oh_NMV[:, 0, 0]) > 0


@pytest.mark.parametrize("runtime", ["torch", "mnn", "amx-bf16"])
def test_what_stands_beside_a_galaxy_never_changes_its_bytes(card: EnsembleCard, runtime: str) -> None:
    images, _ = make_cutouts(11)
    wanted = np.ones((11, 2), dtype=bool)
    ensemble = load_ensemble(card.path, digest=card.digest, num_views=4, batch_size=16, runtime=runtime)
    together = ensemble.predict(images, wanted)
    for n in range(11):
        alone = ensemble.predict(np.where(np.arange(11)[:, None, None, None] == n, images, 7).astype(np.uint8), wanted)
        assert alone.oh_NMV[n].tobytes() == together.oh_NMV[n].tobytes()
        assert alone.ood_NM[n].tobytes() == together.ood_NM[n].tobytes()


def test_an_embedding_is_of_every_galaxy_and_betrays_no_prediction(card: EnsembleCard, ensemble: Ensemble) -> None:
    images, _ = make_cutouts(9)
    wanted = np.random.default_rng(1).random((9, 2)) < 0.5
    with_it = load_ensemble(
        card.path, digest=card.digest, num_views=2, batch_size=8, runtime="torch", embeddings=True
    ).predict(images, wanted)
    plain = ensemble.predict(images, wanted)
    assert plain.embedding_NF is None
    assert with_it.embedding_NF is not None
    assert with_it.embedding_NF.shape == (9, 512)
    assert with_it.embedding_NF.any(axis=1).all()
    assert np.array_equal(with_it.oh_NMV, plain.oh_NMV, equal_nan=True)
    assert np.array_equal(with_it.ood_NM, plain.ood_NM, equal_nan=True)


def test_noise_is_farther_from_the_training_galaxies_than_they_are(card: EnsembleCard, ensemble: Ensemble) -> None:
    own = card.read_out_of_fold()["ood_score"].to_numpy()
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    assert 0.3 < np.median(own) < 1
    assert ensemble.predict(noise, np.ones((20, 2), dtype=bool)).ood_NM.min() > 1
    assert card.reference.limits("colour_i_r")[0] < 0 < card.reference.limits("colour_i_r")[1]


def test_a_changed_ensemble_is_refused(card: EnsembleCard, tmp_path: Path) -> None:
    shutil.copytree(card.path, tmp_path / "ensemble")
    folder = LocalFolder(tmp_path / "ensemble")

    def load_it(name: str = card.digest) -> Ensemble:
        return load_ensemble(folder.path, digest=name, num_views=1, batch_size=4, runtime="torch")

    with pytest.raises(InputError, match="is another than this run began with"):
        load_it("0" * 64)
    file = card.members[1].weights.name
    tensors = load(folder.read(file))
    folder.write(file, folder.read(file)[:-1] + b"x")
    with pytest.raises(RuntimeError, match=f"{file} is damaged"):
        load_it()
    for name, tensor, message in [
        ("conv1.weight", torch.zeros(64, 4, 7, 7), "'conv1.weight' is"),
        ("conv1.weight", tensors["conv1.weight"].half(), "'conv1.weight' is"),
        ("bn1.bias", torch.full((64,), torch.inf), "'bn1.bias' has values that are not finite"),
        ("extra", torch.zeros(1), "'extra' is only in one"),
    ]:
        data = save(tensors | {name: tensor})
        folder.write(file, data)
        text = (
            open_folder(card.path).read("ensemble.toml").decode().replace(card.members[1].weights.sha256, digest(data))
        )
        folder.write("ensemble.toml", text.encode())
        with pytest.raises(RuntimeError, match=message):
            load_it(digest(text.encode()))
