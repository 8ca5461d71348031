from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import dask_processes, runs

from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.cli import main
from skymetal.deploy.jobs.state import DONE, FAILED, JobState, Progress, write_state
from skymetal.deploy.jobs.submission import latest_submission


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("runner", "shown"),
    [("local", "setsid "), ("slurm", "#SBATCH --nodes=1"), ("dask", "# on a worker of tls://10.0.0.1:8786")],
)
def test_print_shows_what_would_be_sent_and_does_nothing(tmp_path: Path, runner: str, shown: str) -> None:
    job = runs.write_job(tmp_path)
    (tmp_path / "tls").mkdir()
    text = job.read_text().partition("[cluster]")[0]
    job.write_text(text + '[cluster]\nkind = "address"\naddress = "tls://10.0.0.1:8786"\ntls_dir = "tls"\n')
    result = call("submit", job, "ingest", "--runner", runner, "--print")
    assert result.exit_code == 0, result.output
    assert shown in result.output
    assert f"drive {job} ingest --runner {runner}" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingets"], "there is no step 'ingets'; did you mean 'ingest'?"),
        (["--runner", "dask"], "--runner dask needs a cluster that is there"),
        (["--runner", "kubernetes", "--print"], "from [cluster] kind = 'kubernetes'"),
        (["--print", "--set", "job.seed=4"], "write the value there"),
        (["--set", "images.folder=http://me:hidden@host/x"], "user name and password in a URL"),
    ],
)
def test_what_cannot_be_submitted_is_refused_with_nothing_on_record(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = call("submit", runs.write_job(tmp_path), *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "hidden" not in result.output
    assert not (tmp_path / "run" / "submissions").exists()


def test_without_slurm_one_is_told_where_to_submit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for runner, program in (("slurm", "sbatch"), ("kubernetes", "kubectl")):
        result = call("submit", runs.write_job(tmp_path), "--runner", runner)
        assert result.exit_code == 2
        assert f"there is no {program} on this machine" in result.output
    assert latest_submission(LocalFolder(tmp_path / "run")) is None


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_what_kubernetes_refuses_is_told_and_not_left_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/dev/null")
    job = runs.write_job(tmp_path)
    cluster = f"""[cluster]
kind = "kubernetes"
num_workers = 1
memory_gb = 2
image = "skymetal"
tls_dir = "{dask_processes.write_certificates(tmp_path / "tls")}"
tls_secret = "skymetal-tls"
volume_claim = "skymetal:{tmp_path}"
"""
    job.write_text(job.read_text().partition("[cluster]")[0] + cluster)
    result = call("submit", job, "--runner", "kubernetes")
    assert result.exit_code == 1
    assert "kubectl could not apply the DaskJob" in result.output
    assert "kubectl could not apply the DaskJob" in call("jobs", "status", job).output


def test_the_list_shows_good_and_bad_directories(tmp_path: Path) -> None:
    progress = Progress(done=1, total=2, unit="galaxies", rate=0.5, eta_seconds=2.0)
    write_state(LocalFolder(tmp_path / "a"), JobState(state=DONE, steps=("ingest",), step="ingest", progress=progress))
    write_state(LocalFolder(tmp_path / "b"), JobState(state=FAILED, step="score", reason="no\x1b[2J space"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "state.json").write_text("{")
    (tmp_path / "d").mkdir()
    result = call("jobs", "list", tmp_path)
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        [f"{tmp_path}/a", "done"],
        [f"{tmp_path}/b", "failed"],
        [f"{tmp_path}/c", "damaged"],
    ]
    assert "score" in rows[1]
    assert "\x1b" not in result.output


def test_the_end_of_a_job_is_an_exit_code(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    write_state(folder, JobState(state=DONE, result="/data/catalogue"))
    assert call("jobs", "wait", tmp_path).exit_code == 0
    assert "result  /data/catalogue" in call("jobs", "status", tmp_path).output
    write_state(folder, JobState(state=FAILED, reason="no space"))
    result = call("jobs", "wait", tmp_path)
    assert (result.exit_code, result.output) == (1, "failed: no space\n")
    assert f"next    skymetal jobs resume {tmp_path}" in call("jobs", "status", tmp_path).output


@pytest.mark.parametrize("verb", ["status", "logs", "cancel", "wait", "resume"])
def test_a_place_without_a_job_is_one_line_and_exit_code_2(verb: str, tmp_path: Path) -> None:
    result = call("jobs", verb, tmp_path)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "no job has run in" in result.output


def test_what_was_never_submitted_cannot_be_resumed(tmp_path: Path) -> None:
    write_state(LocalFolder(tmp_path), JobState(state=FAILED))
    result = call("jobs", "resume", tmp_path)
    assert result.exit_code == 2
    assert "was never submitted" in result.output


def test_a_driver_for_a_submission_that_another_one_followed_does_nothing(tmp_path: Path) -> None:
    job = runs.write_job(tmp_path)
    for number in ("000001", "000002"):
        folder = tmp_path / "run" / "submissions" / number
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(
            f'{{"number": {int(number)}, "runner": "slurm", "steps": [], "host": "a", "machine": "a", "time": 0}}'
        )
    result = call("drive", job, "select", "--runner", "slurm", "--submission", "1")
    assert result.exit_code == 2
    assert "has been submitted again since (submission 2)" in result.output
    assert not (tmp_path / "run" / "targets.parquet").exists()
