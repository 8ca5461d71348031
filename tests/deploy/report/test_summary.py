"""The pass over a catalogue, beside what pandas says of the whole table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.reported_run import Made, make_run

from skymetal.catalogs.flags import Flag
from skymetal.catalogs.sampling import hash_ids
from skymetal.deploy.report import summary as module
from skymetal.deploy.report.facts import RunFacts
from skymetal.deploy.report.summary import CatalogueSummary, summarise


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return make_run(tmp_path_factory.mktemp("run"), Made(num_galaxies=5000))


@pytest.fixture(scope="module")
def summary(facts: RunFacts) -> CatalogueSummary:
    return summarise(facts.catalog, facts.targets, label=facts.label)


@pytest.fixture(scope="module")
def whole(facts: RunFacts) -> pd.DataFrame:
    catalogue = facts.catalog.to_pandas()
    targets = facts.targets.read(0, facts.targets.num_rows).to_pandas()
    frame = catalogue.merge(targets.add_suffix("_target"), left_on="object_id", right_on="object_id_target")
    return frame.assign(
        width=frame["oh_p84"].astype(float) - frame["oh_p16"].astype(float),
        hash=hash_ids(frame["object_id"].to_numpy()),
    )


def test_counts_are_those_of_the_whole_table(summary: CatalogueSummary, whole: pd.DataFrame) -> None:
    assert summary.num_rows == len(whole)
    assert summary.num_out_of_fold == whole["is_out_of_fold"].sum()
    assert summary.num_clean == (whole["flags"] == 0).sum()
    expected = {flag: int(np.count_nonzero(whole["flags"].to_numpy() & flag)) for flag in Flag}
    assert summary.flags == {flag: number for flag, number in expected.items() if number}
    for histogram, column in ((summary.oh, "oh_p50"), (summary.unshrunk, "oh_unshrunk"), (summary.width_68, "width")):
        assert histogram.counts.tolist() == np.histogram(whole[column].astype(float), histogram.edges)[0].tolist()


@pytest.mark.parametrize(
    ("name", "column", "is_ascending"),
    [
        ("poor", "oh_p50", True),
        ("rich", "oh_p50", False),
        ("uncertain", "width", False),
        ("strange", "ood_score", False),
        ("random", "hash", True),
    ],
)
def test_the_strips_are_the_ends_of_a_sort(
    summary: CatalogueSummary, whole: pd.DataFrame, name: str, column: str, is_ascending: bool
) -> None:
    expected = whole.sort_values([column, "object_id"], ascending=[is_ascending, True])["object_id"].head(8)
    assert summary.strips[name]["object_id"].to_pylist() == expected.tolist()


def test_the_sample_is_that_of_the_lowest_hashes(summary: CatalogueSummary, whole: pd.DataFrame) -> None:
    expected = whole.sort_values("hash").head(module.TABLE_ROWS)
    assert summary.sample["object_id"].to_pylist() == expected["object_id"].tolist()
    assert np.array_equal(summary.sample["modelMag_r_target"].to_numpy(), expected["modelMag_r_target"].astype(float))


def test_clouds_hold_the_galaxies_of_each_comparison(summary: CatalogueSummary, whole: pd.DataFrame) -> None:
    own = whole[whole["is_out_of_fold"]].sort_values("hash")
    cloud = summary.comparisons["out_of_fold"]
    assert cloud.num_galaxies == len(own)
    assert not cloud.is_sample
    assert np.array_equal(cloud.numbers("oh_p50_target"), own["oh_p50_target"].astype(float))
    assert np.array_equal(cloud.numbers("oh_p50"), own["oh_p50"].astype(float))
    new = whole[~whole["is_out_of_fold"]]
    assert summary.comparisons["new_simulated"].num_galaxies == len(new)
    assert "new" not in summary.comparisons
    assert cloud.values("nothing") is None


def test_a_cloud_of_too_many_is_a_random_sample(facts: RunFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 100)
    summary = summarise(facts.catalog, facts.targets, label=facts.label)
    for cloud in (summary.everything, *summary.comparisons.values()):
        assert cloud.is_sample
        assert cloud.rows.num_rows == 100
        hashes = hash_ids(cloud.rows["object_id"].to_numpy())
        assert (np.diff(hashes.astype(float)) > 0).all()


def test_the_sky_is_counted_by_cells(summary: CatalogueSummary, whole: pd.DataFrame) -> None:
    assert summary.sky is not None
    for order in (9, 5, 0):
        cells, counts = summary.sky.at(order)
        expected = np.unique(whole["_healpix_29"].to_numpy() >> (2 * (29 - order)), return_counts=True)
        assert (cells.tolist(), counts.tolist()) == (expected[0].tolist(), expected[1].tolist())


def test_how_the_catalogue_is_cut_into_files_changes_nothing(tmp_path: Path, summary: CatalogueSummary) -> None:
    other = make_run(tmp_path, Made(num_galaxies=5000, part_rows=1111))
    again = summarise(other.catalog, other.targets, label=other.label)
    pd.testing.assert_frame_equal(again.sample.to_pandas(), summary.sample.to_pandas())
    assert {name: rows["object_id"] for name, rows in again.strips.items()} == {
        name: rows["object_id"] for name, rows in summary.strips.items()
    }
    assert again.oh.counts.tolist() == summary.oh.counts.tolist()
    pd.testing.assert_frame_equal(again.everything.rows.to_pandas(), summary.everything.rows.to_pandas())


def test_embeddings_are_not_read(tmp_path: Path) -> None:
    facts = make_run(tmp_path, Made(num_galaxies=30, embeddings=True))
    assert "embedding" in facts.catalog.schema.names
    summary = summarise(facts.catalog, facts.targets, label=facts.label)
    assert "embedding" not in summary.sample.column_names
