"""A driver to be killed: scores a pickled plan, on a cluster of its own or one whose [cluster] is given as JSON.

``python -m support.drive PLAN SCRATCH [CLUSTER]``
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

from skymetal.deploy.clusters.lazy import LazyCluster
from skymetal.deploy.clusters.settings import ClusterSettings
from skymetal.engine.score import finish_score, score
from skymetal.engine.score_plan import ScorePlan


def main() -> None:
    plan: ScorePlan = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 (the test's own)
    settings = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {"kind": "local-cpu", "num_workers": 2}
    with LazyCluster(ClusterSettings(**settings), scratch=Path(sys.argv[2])) as cluster:
        for _ in score(plan, cluster.client()):
            pass
    finish_score(plan)


if __name__ == "__main__":
    main()
