from __future__ import annotations

import pytest
import torch

from skymetal.train.network.dropout import DrawnDropout, draw_dropout


def test_ranks_that_share_a_batch_drop_what_one_would_alone() -> None:
    layer, x = DrawnDropout(0.4, 500), torch.ones(6, 500)

    def dropped(rows: slice) -> torch.Tensor:
        draw_dropout(layer, 6, rows, torch.Generator().manual_seed(1), x.device)
        out: torch.Tensor = layer(x[rows])
        return out

    alone = dropped(slice(0, 6))
    assert torch.equal(torch.cat([dropped(slice(0, 2)), dropped(slice(2, 6))]), alone)
    assert (alone == 0).float().mean() == pytest.approx(0.4, abs=0.03)
    assert alone.mean() == pytest.approx(1.0, abs=0.05)


def test_it_does_nothing_in_evaluation_and_forgets_nothing_silently_in_training() -> None:
    layer, x = DrawnDropout(0.4, 3), torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="needs draw_for before every forward pass"):
        layer(x)
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(DrawnDropout(0.0, 3)(x), x)
