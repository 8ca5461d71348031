from __future__ import annotations

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.inputs import claim_inputs
from skymetal.catalogs.storage import LocalFolder


def test_the_same_inputs_resume_under_the_same_digest(folder: LocalFolder) -> None:
    first = claim_inputs(folder, "score", {"views": 8, "labels": ("oh_p50",)})
    assert claim_inputs(folder, "score", {"labels": ["oh_p50"], "views": 8}) == first
    assert claim_inputs(folder / "elsewhere", "score", {"views": 8, "labels": ("oh_p50",)}) == first


def test_other_inputs_are_refused_by_name(folder: LocalFolder) -> None:
    claim_inputs(folder, "score", {"views": 8, "store": "abc"})
    with pytest.raises(InputError, match=r"began `score` with views = 8, but this job has views = 4; name another"):
        claim_inputs(folder, "score", {"views": 4, "store": "abc"})
    with pytest.raises(InputError, match="with extra = null, but this job has extra = 1"):
        claim_inputs(folder, "score", {"views": 8, "store": "abc", "extra": 1})


def test_a_step_without_results_may_begin_anew_with_others(folder: LocalFolder) -> None:
    claim_inputs(folder, "ingest", {"service_url": "mistyped"}, has_results=False)
    claim_inputs(folder, "ingest", {"service_url": "right"}, has_results=False)
    claim_inputs(folder, "ingest", {"service_url": "right"})
    with pytest.raises(InputError, match="began `ingest` with service_url"):
        claim_inputs(folder, "ingest", {"service_url": "mistyped"})


def test_a_difference_deep_inside_is_named_by_its_place(folder: LocalFolder) -> None:
    recipe = {"loss": "huber", "phases": [{"lr": 1.0}, {"lr": 0.5, "ramps": [{"num_epochs": 3}]}]}
    claim_inputs(folder, "train", {"recipe": recipe})
    other = {"loss": "huber", "phases": [{"lr": 1.0}, {"lr": 0.5, "ramps": [{"num_epochs": 4}]}]}
    place = r"with recipe.phases\[1\].ramps\[0\].num_epochs = 3, but this job has .* = 4"
    with pytest.raises(InputError, match=place):
        claim_inputs(folder, "train", {"recipe": other})
    with pytest.raises(InputError, match=r"with recipe.phases = \["):
        claim_inputs(folder, "train", {"recipe": recipe | {"phases": []}})


def test_steps_do_not_share_their_inputs(folder: LocalFolder) -> None:
    claim_inputs(folder, "score", {"views": 8})
    claim_inputs(folder, "train", {"views": 4})


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 200_000])
def test_a_damaged_record_is_named(folder: LocalFolder, content: bytes) -> None:
    folder.write("inputs/score.json", content)
    with pytest.raises(RuntimeError, match=r"inputs/score\.json is damaged; delete it and run the same command again"):
        claim_inputs(folder, "score", {"views": 8})
