from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_training import tiny_plan

from skymetal.catalogs.errors import InputError
from skymetal.train.data import gather_pixels, pixels_name, read_training_set
from skymetal.train.loss import batch_loss
from skymetal.train.normalisation import measure_normalisation
from skymetal.train.ranks.gang import Gang
from skymetal.train.ranks.rank import RankOrder, is_final

ORDER = RankOrder(plan="{}", fold=0, rank=0, size=1, host="127.0.0.1", port=0, timeout_seconds=30, num_threads=1)


def raised(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def refuse() -> None:
    raise InputError("no")


def test_what_our_own_checks_refuse_is_final_and_what_a_library_says_is_not(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    gather_pixels(plan)
    np.save((Path(plan.checkpoints) / pixels_name(plan)), np.zeros((3, 32, 32, 3), np.uint8))
    assert is_final(raised(lambda: read_training_set(plan)))
    assert is_final(raised(refuse))
    assert not is_final(raised(lambda: measure_normalisation([], pixels="scaled")))
    assert not is_final(
        raised(lambda: batch_loss("huber", torch.ones(2, 1), torch.ones(3, 2), num_images=1, gang=Gang()))
    )
    assert not is_final(raised(lambda: (tmp_path / "none").read_bytes()))


def speak(order: RankOrder, *, keep_open: bool) -> tuple[int, list[dict[str, Any]]]:
    command = [sys.executable, "-m", "skymetal.train.ranks.rank"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order.to_json() + "\n")
        process.stdin.flush()
        if not keep_open:
            process.stdin.close()
        lines = [json.loads(line) for line in process.stdout]
        return process.wait(timeout=60), lines


@pytest.mark.slow
def test_a_rank_says_what_it_does_in_lines_of_json_and_dies_with_its_input(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    gather_pixels(plan)
    code, lines = speak(replace(ORDER, plan=plan.to_json()), keep_open=True)
    assert code == 0
    assert [line["epoch"]["epoch"] for line in lines if "epoch" in line] == [1, 2]
    assert lines[0] == {"beat": True}
    assert lines[-1] == {"done": True}

    code, lines = speak(replace(ORDER, plan=plan.to_json(), fold=1), keep_open=False)
    assert code != 0
    assert {"done": True} not in lines


@pytest.mark.slow
def test_a_rank_that_cannot_work_says_why_and_that_it_is_final(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    code, lines = speak(replace(ORDER, plan=replace(plan, store=str(tmp_path / "none")).to_json()), keep_open=True)
    assert code == 1
    assert lines[-1]["is_final"]
    assert "none" in lines[-1]["failure"]


@pytest.mark.slow
def test_a_rank_whose_peer_is_not_there_says_so_and_may_try_again(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        order = replace(ORDER, plan=plan.to_json(), rank=1, size=2, port=unused.getsockname()[1], timeout_seconds=2)
        code, lines = speak(order, keep_open=True)
    assert code == 1
    assert not lines[-1]["is_final"]
    assert "\n" not in lines[-1]["failure"]
