"""Drills: what can go wrong in a pass over the store is made to go wrong, and the bytes are compared.

SKYMETAL_DRILL_SEEDS says how many times the drills that are random are held; 1 if it is not set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dask
import psutil
import pyarrow as pa
import pytest
from distributed import Client
from support import poison, poisoned_store, runs

from skymetal.catalogs.parts import read_part
from skymetal.catalogs.storage import LocalFolder
from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.engine.blocks import BlocksFailed
from skymetal.engine.score import finish_score, score, score_block
from skymetal.engine.score_plan import ScorePlan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NUM_GALAXIES, SHARD_SIZE = 4096, 64
# One of each kind in a shard of its own, and a shard with two.
POISONED = {64 * (5 + 7 * kind) + 3 * kind: kind for kind in range(len(poison.REASONS))}
POISONED |= {64 * 60: poison.KINDS.index(poison.crash), 64 * 60 + 63: poison.KINDS.index(poison.leave)}
LIMIT_SECONDS = 3
SEEDS = range(int(os.environ.get("SKYMETAL_DRILL_SEEDS", "1")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> ScorePlan:
    """A pass that nothing went wrong in: no poison works, nobody is killed."""
    folder = LocalFolder(tmp_path_factory.mktemp("undisturbed"))
    plan = poisoned_store.make_plan(folder, POISONED, num_galaxies=NUM_GALAXIES, shard_size=SHARD_SIZE)
    plan = dataclasses.replace(plan, predictor=poison.ref("tame"))
    for index in plan.missing_blocks():
        score_block(plan, index)
    finish_score(plan)
    return plan


def drill(undisturbed: ScorePlan, path: Path, predictor: str) -> ScorePlan:
    return dataclasses.replace(undisturbed, parts=LocalFolder(path / "parts"), predictor=poison.ref(predictor))


@contextmanager
def cluster(path: Path, config: Mapping[str, str] | None = None) -> Iterator[Client]:
    """A cluster of two workers that must leave nothing running."""
    settings = ClusterSettings(kind="local-cpu", num_workers=2)
    with LazyCluster(settings, scratch=path / "scratch") as lazy, dask.config.set(config or {}):
        client = lazy.client()
        client.wait_for_workers(2, timeout=60)
        yield client
    assert processes_left(psutil.Process()) == []


def processes_left(parent: psutil.Process) -> list[psutil.Process]:
    # Other tests of this session may have left the decoder of foreign files at hand: it is theirs.
    kinds = ("spawn_main", "careful.child", "support.drive")
    children = [child for child in parent.children(recursive=True) if any(kind in command_of(child) for kind in kinds)]
    _, alive = psutil.wait_procs(children, timeout=20)
    return list(alive)


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def workers(parent: psutil.Process) -> list[psutil.Process]:
    return [child for child in parent.children() if "spawn_main" in command_of(child)]


def run(plan: ScorePlan, client: Client) -> None:
    for _ in score(plan, client):
        pass
    finish_score(plan)


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def num_done(plan: ScorePlan) -> int:
    return len(plan.parts.names("receipts/*.json"))


def assert_nothing_left(plan: ScorePlan) -> None:
    assert not list(plan.parts.path.rglob(".writing-*"))
    assert not plan.parts.exists("attempts")


def assert_as_undisturbed(plan: ScorePlan, undisturbed: ScorePlan) -> None:
    assert_nothing_left(plan)
    assert runs.contents(plan.parts.path) == runs.contents(undisturbed.parts.path)


def test_galaxies_that_kill_hang_or_break_the_worker_are_quarantined_alone(
    undisturbed: ScorePlan, tmp_path: Path
) -> None:
    plan = dataclasses.replace(drill(undisturbed, tmp_path, "wild"), block_timeout_s=LIMIT_SECONDS)
    with cluster(tmp_path) as client:
        run(plan, client)
    assert_nothing_left(plan)
    manifest, before = finish_score(plan), finish_score(undisturbed)
    limit = f"{LIMIT_SECONDS} s"
    assert manifest.rejected == {
        10_000 + 3 * row: f"scoring: {poison.REASONS[kind].format(limit=limit)}" for row, kind in POISONED.items()
    }
    assert manifest.num_rows + manifest.num_quarantined == NUM_GALAXIES
    for receipt, undisturbed_receipt in zip(manifest.receipts, before.receipts, strict=True):
        if not receipt.rejected:
            assert receipt == undisturbed_receipt
            continue
        rows = read_part(undisturbed.parts, undisturbed_receipt)
        is_kept = [object_id not in manifest.rejected for object_id in rows["object_id"].to_pylist()]
        assert read_part(plan.parts, receipt).equals(rows.filter(pa.array(is_kept)))


@pytest.mark.parametrize("seed", SEEDS)
def test_twenty_killed_workers_change_no_byte(undisturbed: ScorePlan, tmp_path: Path, seed: int) -> None:
    plan = drill(undisturbed, tmp_path, "tame seconds=0.4")
    chance, killed = random.Random(seed), []

    def kill() -> None:
        while len(killed) < 20:
            time.sleep(chance.uniform(0, 1.5))
            if at_hand := workers(psutil.Process()):  # some of them only just starting
                victim = chance.choice(at_hand)
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.kill()
                    killed.append((num_done(plan), victim.pid))

    with cluster(tmp_path) as client:
        killer = threading.Thread(target=kill)
        killer.start()
        run(plan, client)
        in_time = len(killed)
        killer.join()
    assert in_time == 20
    assert_as_undisturbed(plan, undisturbed)


def test_a_worker_frozen_until_it_is_given_up_and_woken_changes_no_byte(undisturbed: ScorePlan, tmp_path: Path) -> None:
    plan = drill(undisturbed, tmp_path, "tame seconds=0.2")

    def freeze(pid: int) -> None:
        wait_until(lambda: num_done(plan) >= 8)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(7)
        frozen.append(num_done(plan))
        with contextlib.suppress(ProcessLookupError):  # Dask may have ended it by now
            os.kill(pid, signal.SIGCONT)

    frozen: list[int] = []
    with cluster(tmp_path, {"distributed.scheduler.worker-ttl": "5s"}) as client:
        freezer = threading.Thread(target=freeze, args=[min(client.run(os.getpid).values())])
        freezer.start()
        run(plan, client)
        freezer.join()
    assert frozen[0] > 8
    assert_as_undisturbed(plan, undisturbed)


SCORE_ONE = """
import pickle, sys
from pathlib import Path
from skymetal.engine.score import score_block
score_block(pickle.loads(Path(sys.argv[1]).read_bytes()), 9)
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_process_that_wakes_after_another_did_its_block_agrees_with_it(
    undisturbed: ScorePlan, tmp_path: Path
) -> None:
    plan = drill(undisturbed, tmp_path, "tame seconds=1")
    (tmp_path / "plan").write_bytes(pickle.dumps(plan))
    command = [sys.executable, "-c", SCORE_ONE, str(tmp_path / "plan")]
    late = subprocess.Popen(command, env=environment())
    wait_until(lambda: bool(plan.parts.names("attempts/*")))
    late.send_signal(signal.SIGSTOP)
    score_block(dataclasses.replace(plan, predictor=poison.ref("tame")), 9)
    late.send_signal(signal.SIGCONT)
    assert late.wait(timeout=60) == 0
    assert plan.parts.names("attempts/*") == []
    expected = {name: each for name, each in runs.contents(undisturbed.parts.path).items() if "000009" in name}
    assert runs.contents(plan.parts.path) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_a_driver_killed_three_times_goes_on_where_it_was(undisturbed: ScorePlan, tmp_path: Path, seed: int) -> None:
    plan = drill(undisturbed, tmp_path, "tame seconds=0.2")
    (tmp_path / "plan").write_bytes(pickle.dumps(plan))
    command = [sys.executable, "-m", "support.drive", str(tmp_path / "plan"), str(tmp_path / "scratch")]
    for number in sorted(random.Random(seed).sample(range(1, 41), 3)):
        driver = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        wait_until(lambda number=number: num_done(plan) >= number)  # type: ignore[misc]
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait(timeout=30)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []
    assert num_done(plan) < 64
    assert subprocess.run(command, env=environment(), check=False, timeout=120).returncode == 0
    plan.parts.sweep()  # as a run directory is when it is opened
    assert_as_undisturbed(plan, undisturbed)


HOLD = """
import sys, time
from pathlib import Path
from skymetal.deploy.config import read_job
from skymetal.deploy.run_directory import hold_run_directory
with hold_run_directory(read_job(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_driver_on_a_run_directory_is_refused(tmp_path: Path) -> None:
    job = runs.write_job(tmp_path)
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(job)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = runs.run("score", job)
    first.kill()
    first.communicate(timeout=30)
    assert second.returncode == 2
    assert f"another skymetal (process {first.pid}) is at work in {tmp_path / 'run'}" in second.stderr


def test_damaged_shards_fail_by_name_and_are_scored_once_they_are_restored(
    undisturbed: ScorePlan, tmp_path: Path
) -> None:
    plan = drill(undisturbed, tmp_path, "tame")
    shutil.copytree(undisturbed.store.folder.path, tmp_path / "store.zarr")
    plan = dataclasses.replace(plan, store=dataclasses.replace(plan.store, folder=LocalFolder(tmp_path / "store.zarr")))
    shards = {index: tmp_path / f"store.zarr/images/c/{index}/0/0/0" for index in (3, 10, 20, 21, 30)}
    whole = {index: path.read_bytes() for index, path in shards.items()}
    flipped = bytearray(whole[3])
    flipped[len(flipped) // 2] ^= 1
    shards[3].write_bytes(flipped)
    shards[10].write_bytes(b"")
    shards[20].write_bytes(whole[21])
    shards[21].write_bytes(whole[20])
    shards[30].unlink()
    with cluster(tmp_path) as client:
        with pytest.raises(
            BlocksFailed, match=rf"5 of 64 blocks failed, the first is block 3: .*{shards[3]} .* repair"
        ):
            run(plan, client)
        assert plan.missing_blocks() == list(shards)
        for index, path in shards.items():
            path.write_bytes(whole[index])
        run(plan, client)
    assert_as_undisturbed(plan, undisturbed)


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here: that takes root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_is_told_and_the_pass_goes_on_when_there_is_space(undisturbed: ScorePlan, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, cluster(tmp_path) as client:
        plan = drill(undisturbed, disk, "tame")
        with pytest.raises(BlocksFailed, match=rf"No space left on device: '{disk}/parts/.*run the same command again"):
            run(plan, client)
        assert 0 < len(plan.missing_blocks()) < 64
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        run(plan, client)
        assert_as_undisturbed(plan, undisturbed)
