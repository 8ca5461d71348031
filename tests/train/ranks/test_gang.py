from __future__ import annotations

import torch

from skymetal.train.network.network import MetallicityNet
from skymetal.train.ranks.gang import Gang, synced_batch_norm


def test_the_rows_of_all_ranks_are_the_batch_in_order() -> None:
    for num_images in (0, 1, 5, 16, 33):
        for size in (1, 2, 3, 7):
            parts = [Gang(rank=rank, size=size).rows(num_images) for rank in range(size)]
            rows = [row for part in parts for row in range(part.start, part.stop)]
            assert rows == list(range(num_images))
            assert max(p.stop - p.start for p in parts) - min(p.stop - p.start for p in parts) <= 1


def test_a_gang_of_one_changes_nothing_and_asks_nobody() -> None:
    network, gang = MetallicityNet(num_labels=1), Gang()
    values = torch.ones(3)
    assert gang.sum(values) is values
    assert gang.parallel(network) is network
    with synced_batch_norm(network, gang):
        assert type(network.bn1) is torch.nn.BatchNorm2d
