from __future__ import annotations

import pickle
import tomllib
from pathlib import Path

import pytest

from skymetal.catalogs.errors import InputError
from skymetal.deploy.cli import DEMO
from skymetal.deploy.config import read_job
from skymetal.engine.images import make_source

JOB = """
[job]
run_dir = "run"
[targets]
survey = "sdss"
tables = ["labels.csv"]
columns = { object_id = "objID" }
[images]
source = "folder"
folder = "images"
"""


def write(path: Path, text: str = JOB) -> Path:
    file = path / "job.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_job_is_read_with_its_defaults(tmp_path: Path) -> None:
    job = read_job(write(tmp_path))
    assert job.targets.columns == {"object_id": "objID"}
    assert job.images.size_pix == 128
    assert job.train.num_folds == 5
    assert job.score.views == 8
    assert job.cluster.kind == "auto"


def test_paths_in_the_file_are_relative_to_the_file_and_assigned_ones_to_where_you_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    job = read_job(write(tmp_path), ["images.folder=mine", "job.seed=7"])
    assert job.job.run_dir == str(tmp_path / "run")
    assert job.targets.tables == (str(tmp_path / "labels.csv"),)
    assert job.images.folder == str(tmp_path / "here" / "mine")
    assert job.job.seed == 7


def test_assignments_are_toml_values_or_bare_words(tmp_path: Path) -> None:
    job = read_job(
        write(tmp_path),
        ["catalog.name=mine", "images.bands=['z','r','g']", "targets.columns={object_id='id'}", "train.num_epochs = 3"],
    )
    assert job.catalog.name == "mine"
    assert job.images.bands == ("z", "r", "g")
    assert job.targets.columns == {"object_id": "id"}
    assert job.train.num_epochs == 3


def test_the_resolved_job_is_a_job_file_that_gives_the_same_job(tmp_path: Path) -> None:
    job = read_job(write(tmp_path))
    again = read_job(write(tmp_path, job.to_toml()))
    assert again == job
    assert tomllib.loads(job.to_toml())["score"]["views"] == 8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[train]\nnum_fold = 3", r"\[train\] has no key 'num_fold'; did you mean 'num_folds'\?"),
        ("[train]\nxyz = 3", r"\[train\] has no key 'xyz'; there is recipe, "),
        ("[trian]\nnum_folds = 3", r"unknown section \[trian\]; did you mean 'train'\?"),
        ("[train]\nnum_folds = 'five'", r"\[train\] num_folds must be a whole number, got 'five'"),
        ("[train]\nnum_folds = 5.0", r"\[train\] num_folds must be a whole number, got 5.0"),
        ("[train]\nnum_folds = true", r"\[train\] num_folds must be a whole number, got True"),
        ("[train]\nlabels = 'oh_p50'", r"\[train\] labels must be a list, as in .*, got 'oh_p50'"),
        ("[train]\nlabels = [1]", r"\[train\] labels must be a text in quotes, got 1"),
        ("[train]\nnum_folds = 1", r"\[train\] num_folds must be 2 to 99, got 1"),
        ("[score]\nviews = 3", r"\[score\] views must be one of 1, 2, 4, 5, 8, got 3"),
        ("[catalog]\nname = '../x'", r"\[catalog\] name"),
        (
            "[cluster]\nkind = 'slrum'",
            r"\[cluster\] kind must be one of auto, local-cpu, local-cuda, address, .*, ssh, got 'slrum'",
        ),
        ("[cluster]\nnum_workers = 1000000", r"\[cluster\] num_workers must be 0 to 1024, got 1000000"),
        ("[train]\nnum_folds = 2\nnum_folds = 3", "is not valid TOML"),
        ("nonsense", "is not valid TOML"),
    ],
)
def test_a_wrong_job_is_refused_by_section_key_and_value(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_job(write(tmp_path, JOB + line))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (JOB + "size_pix = 1" + "0" * 5000, r"is not valid TOML: Exceeds the limit \(4300 digits\) for integer"),
        ("a = " + "[" * 100_000, "is not valid TOML: it is nested too deeply"),
        (JOB + "pixel_scale_arcsec = 1" + "0" * 400, "pixel_scale_arcsec must be a number, got a whole number beyond"),
        (JOB + "size_pix = 0x1" + "0" * 5000, r"size_pix must be a whole number, got a whole number beyond 2\^63"),
    ],
)
def test_numbers_and_brackets_beyond_any_bound_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_job(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", ["1" + "0" * 5000, "[" * 100_000])
def test_an_assignment_beyond_any_bound_is_one_sentence(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"--set images\.size_pix has no valid TOML value: (Exceeds|it is nested)"):
        read_job(write(tmp_path), [f"images.size_pix={value}"])


def test_a_job_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_bytes(b"\xef\xbb\xbf" + JOB.encode())
    assert read_job(tmp_path / "job.toml").targets.survey == "sdss"


def test_a_missing_key_or_file_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[job\] run_dir is missing; add it .* --set job.run_dir=…"):
        read_job(write(tmp_path, "[targets]\nsurvey = 'simulated'\n"))
    with pytest.raises(InputError, match="does not exist"):
        read_job(tmp_path / "none.toml")
    with pytest.raises(InputError, match="must be a section of keys, got 3"):
        read_job(write(tmp_path, "job = 3"))
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(InputError, match="is not valid TOML"):
        read_job(tmp_path / "latin.toml")


@pytest.mark.parametrize("text", ["views=2", "score.views", "score.=2", ""])
def test_an_assignment_without_section_key_and_value_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"takes section\.key=value"):
        read_job(write(tmp_path), [text])


def test_the_demo_and_the_examples_are_jobs() -> None:
    assert read_job(DEMO, ["job.run_dir=x"]).targets.survey == "simulated"
    examples = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.toml"))
    assert len(examples) == 5
    assert {read_job(example).targets.survey for example in examples} == {"sdss", "legacy", "simulated"}


def test_every_section_that_the_docs_show_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "surveys.md").read_text(encoding="utf-8")
    sections = text.split("```toml\n")[1].split("```")[0].split("\n\n")
    assert len(sections) == 5
    for section in sections:
        text = '[job]\nrun_dir = "run"\n[targets]\nsurvey = "s"\ntables = ["t.csv"]\n[images]\n' + section
        job = read_job(write(tmp_path, text))
        assert pickle.dumps(make_source(job.images, run_dir=tmp_path, seed=0))
