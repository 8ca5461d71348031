from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import runs

from skymetal.catalogs.errors import InputError
from skymetal.deploy.config import Job, read_job
from skymetal.deploy.jobs import slurm

HOSTILE = "it's a $(reboot) `dir`; %j & *"


def make_job(path: Path, *assignments: str) -> Job:
    return read_job(runs.write_job(path), assignments)


def script(job: Job, *, run_dir: str = "/data/run", drive: list[str] | None = None) -> str:
    return slurm.batch_script(job, run_dir=Path(run_dir), drive=drive or ["/data/job.toml", "--runner", "slurm"])


def directives(text: str) -> list[str]:
    return re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE)


def test_the_script_asks_for_what_the_job_file_says(tmp_path: Path) -> None:
    job = make_job(
        tmp_path,
        "submit.time_h=1.51",
        "submit.gpus_per_node=4",
        "submit.memory_gb=64.5",
        "submit.partition=gpu",
        "submit.account=astro",
        "submit.cpus_per_node=16",
        'submit.options=["--qos=long"]',
        'submit.setup=["module load cuda"]',
    )
    text = script(job)
    assert directives(text) == [
        "--job-name=skymetal-tiny",
        '--output="/data/run/logs/driver.log"',
        "--nodes=1",
        "--ntasks-per-node=1",
        "--partition=gpu",
        "--account=astro",
        "--time=91",
        "--cpus-per-task=16",
        "--mem=66048M",
        "--gpus-per-node=4",
        "--qos=long",
        "--requeue",
        "--open-mode=append",
        "--signal=B:USR1@120",
    ]
    assert "\nmodule load cuda\n" in text
    assert "dask cuda worker" in text
    assert "@" not in re.sub("USR1@", "", text)


def test_on_one_node_everything_listens_on_loopback_alone(tmp_path: Path) -> None:
    text = script(make_job(tmp_path))
    for command in re.findall(r"-m dask (?:scheduler|worker).*", text):
        assert "--host 127.0.0.1" in command
        assert "--dashboard-address 127.0.0.1:0" in command


def test_several_nodes_need_certificates(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[submit\] num_nodes = 2: .* set \[cluster\] tls_dir"):
        script(make_job(tmp_path, "submit.num_nodes=2"))
    text = script(make_job(tmp_path, "submit.num_nodes=2", "cluster.tls_dir=/home/me/my tls"))
    assert text.count("--protocol tls") == 2
    assert text.count("--tls-key '/home/me/my tls/key.pem'") == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_no_name_becomes_a_command(tmp_path: Path) -> None:
    text = script(make_job(tmp_path), run_dir=f"/data/{HOSTILE.replace(chr(39), '')}", drive=[f"/data/{HOSTILE}.toml"])
    subprocess.run(["bash", "-n"], input=text, text=True, check=True, timeout=20)
    line = next(line for line in text.splitlines() if "-m skymetal drive" in line)
    assert shlex.split(line.partition(" <")[0])[1:6] == [
        "-m",
        "skymetal",
        "drive",
        f"/data/{HOSTILE}.toml",
        "--scheduler-file",
    ]
    assert "%%j" in directives(text)[1]


@pytest.mark.parametrize(
    "run_dir", ["/data/a\n#SBATCH --uid=0", "/data/\x1b[2J", '/data/"quoted"', "/data/back\\slash"]
)
def test_a_path_that_no_quoting_makes_safe_is_refused(tmp_path: Path, run_dir: str) -> None:
    with pytest.raises(InputError, match="rename it"):
        script(make_job(tmp_path), run_dir=run_dir)


def test_dask_is_set_as_on_clusters_that_we_start(tmp_path: Path) -> None:
    text = script(make_job(tmp_path))
    code = "import dask; print(dask.config.get('distributed.scheduler.allowed-failures'))"
    exports = "\n".join(line for line in text.splitlines() if line.startswith("export"))
    result = subprocess.run(
        ["bash", "-c", f"{exports}\n{shlex.quote(sys.executable)} -c {shlex.quote(code)}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == "30\n"
    assert "export MALLOC_TRIM_THRESHOLD_=268435456" in exports
