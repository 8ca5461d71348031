from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.reported_run import Made, make_run

from skymetal.catalogs.errors import InputError
from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.config import read_job
from skymetal.deploy.kept import keep
from skymetal.deploy.report.facts import NUM_SHOWN, RunFacts, gather_facts, read_quarantine
from skymetal.deploy.run import open_run

JOB = """
[job]
run_dir = "run"
[targets]
survey = "simulated"
num_galaxies = 60
[images]
source = "simulated"
contact = "somebody@example.org"
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    make_run(tmp_path / "run", Made(num_galaxies=60))
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path / "run"


def gather(run_dir: Path) -> RunFacts:
    with open_run(read_job(run_dir.parent / "job.toml")) as run:
        return gather_facts(run)


def test_the_reasons_are_counted_by_kind_and_the_first_galaxies_listed(tmp_path: Path) -> None:
    rows = [f'{10**18 + k},"a, ""{k}"".jpg","blank: no pixel of {k}"' for k in range(30)]
    rows += ["7,x.jpg,scoring: it hangs", '8,"two\nlines.jpg",no such file']
    (tmp_path / "quarantine.csv").write_text("\n".join(['"object_id","source","reason"', *rows, ""]))
    found = read_quarantine(LocalFolder(tmp_path))
    assert found.num_galaxies == 32
    assert found.reasons == {"blank": 30, "could not be scored": 1, "no such file": 1}
    assert len(found.first) == NUM_SHOWN
    assert found.first[1] == ("1000000000000000001", 'a, "1".jpg', "blank: no pixel of 1")


def test_an_empty_or_missing_quarantine_is_nothing(tmp_path: Path) -> None:
    assert read_quarantine(LocalFolder(tmp_path)).num_galaxies == 0
    (tmp_path / "quarantine.csv").write_text('"object_id","source","reason"\n')
    assert read_quarantine(LocalFolder(tmp_path)).num_galaxies == 0


def test_a_run_is_read_as_far_as_it_goes(run_dir: Path) -> None:
    facts = gather(run_dir)
    assert facts.catalog.num_rows == 51
    assert facts.store is not None
    assert (facts.ensemble, facts.monitor, facts.times, facts.comparisons) == (None, None, [], [])
    assert 'contact = "(left out)"' in facts.job_toml
    assert "somebody" not in facts.job_toml


def test_an_evaluation_of_an_older_catalogue_is_not_shown(run_dir: Path) -> None:
    folder = LocalFolder(run_dir)
    folder.write("evaluation.json", json.dumps([{"name": "out_of_fold", "title": "x", "rmse": 0.1}]).encode())
    assert gather(run_dir).comparisons == []
    version = gather(run_dir).catalog.path.name
    keep(folder, "evaluate", {"catalogue": version}, said=[], files=["evaluation.json"])
    assert [numbers["rmse"] for numbers in gather(run_dir).comparisons] == [0.1]
    keep(folder, "evaluate", {"catalogue": "older"}, said=[], files=["evaluation.json"])
    assert gather(run_dir).comparisons == []
    keep(folder, "evaluate", {"catalogue": version}, said=[], files=[])
    assert gather(run_dir).comparisons == []


def test_without_a_catalogue_there_is_nothing_to_report(run_dir: Path) -> None:
    (run_dir / "catalogue").unlink()
    with pytest.raises(InputError, match="there is no catalogue at"):
        gather(run_dir)
