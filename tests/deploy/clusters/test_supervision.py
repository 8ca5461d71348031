from __future__ import annotations

import pytest
from distributed import Client, LocalCluster

from skymetal.deploy.clusters.supervision import replace_lost_workers


@pytest.mark.slow
def test_a_worker_whose_nanny_gave_up_is_replaced() -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        before = set(client.scheduler_info()["workers"])
        replace_lost_workers(cluster, every_seconds=0.2)
        cluster.sync(cluster.workers[0].close)
        client.wait_for_workers(2, timeout=60)
        assert len(before & set(client.scheduler_info()["workers"])) == 1
        assert client.gather(client.map(abs, range(4))) == [0, 1, 2, 3]
