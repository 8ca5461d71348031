"""verify: a finished pass, proved."""

from __future__ import annotations

from functools import partial

import numpy as np

from skymetal.catalogs.parts import find_receipt, read_manifest
from skymetal.deploy.console import say, track
from skymetal.deploy.predictor import refuse_unfit
from skymetal.deploy.run import Run
from skymetal.deploy.scoring import make_score_plan
from skymetal.engine.blocks import map_over_blocks
from skymetal.engine.reproduce import check_part, score_again
from skymetal.engine.score_plan import ScorePlan


def verify(run: Run, *, num_shards: int) -> None:
    """Check every digest a finished pass rests on, and score some of its shards again.

    Raises RuntimeError, after all have been looked at, where anything is not what it should be.
    """
    plan = make_score_plan(run)
    num_blocks = plan.store.num_blocks
    sample = np.random.default_rng().choice(num_blocks, size=min(num_shards, num_blocks), replace=False)
    if len(sample):
        refuse_unfit(run, plan.predictor)
    problems = _check_manifest(plan)
    looked = map_over_blocks(partial(check_part, plan), range(num_blocks), run.client())
    for check in track(looked, title="verify parts", total=num_blocks, unit="parts", amount=lambda _: 1):
        problems += [check.problem] if check.problem else []
    again = map_over_blocks(partial(score_again, plan), sorted(sample.tolist()), run.client())
    num_rows, difference, is_identical = 0, 0.0, True
    for check in track(again, title="verify: scored again", total=len(sample), unit="shards", amount=lambda _: 1):
        problems += [check.problem] if check.problem and check.problem not in problems else []
        num_rows, difference = num_rows + check.num_rows_made_again, max(difference, check.difference)
        is_identical &= check.is_identical
    for problem in problems:
        say(f"verify: {problem}")
    if problems:
        raise RuntimeError(f"{len(problems)} things about the parts are not what they should be, see above")
    say(f"verify: {num_blocks} parts are what their receipts and the manifest say")
    if len(sample):
        same = "the same to the last bit" if is_identical else f"the same within {difference:.1g} dex"
        say(f"verify: {num_rows} rows of {len(sample)} shards drawn at random, scored again, are {same}")


def _check_manifest(plan: ScorePlan) -> list[str]:
    """Return what is wrong with the manifest that publish goes by."""
    try:
        manifest = read_manifest(plan.parts)
    except FileNotFoundError:
        return [f"{plan.parts} has no manifest: the pass is not finished; run `skymetal score`"]
    except RuntimeError as error:
        return [str(error)]
    kept = [find_receipt(plan.parts, index, run_digest=plan.run_digest) for index in range(plan.store.num_blocks)]
    if manifest.run_digest != plan.run_digest or list(manifest.receipts) != kept:
        return [f"the manifest of {plan.parts} names other parts than the receipts; run `skymetal score`"]
    return []
