from __future__ import annotations

import pytest
import torch

from skymetal.train import step
from skymetal.train.network.dropout import draw_dropout
from skymetal.train.network.network import MetallicityNet
from skymetal.train.ranks.gang import Gang
from skymetal.train.step import Stepper, own_stream

needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
DEVICES = [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=needs_gpu)]


def train(device: torch.device, *, num_steps: int, part: str = "all") -> tuple[list[float], dict[str, torch.Tensor]]:
    """Return the losses of some steps on batches of 8 and 7 images in turn, and the weights after them."""
    torch.manual_seed(0)
    network = MetallicityNet(num_labels=2, starts_as_mean=False).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    stepper, generator, losses = Stepper(network=network, loss="huber", gang=Gang()), torch.Generator(), []
    with own_stream(device), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        network.train_part(part)
        for number in range(num_steps):
            size = 8 - number % 2
            generator.manual_seed(number)
            images, truth = torch.randn(size, 3, 32, 32, generator=generator), torch.randn(size, 2, generator=generator)
            draw_dropout(network, size, slice(0, size), generator, device)
            predicted = stepper.gradients(images.to(device), truth.to(device), num_images=size)
            optimiser.step()
            losses.append(float((predicted.cpu() - truth).square().mean()))
    return losses, {name: tensor.cpu() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("part", ["all", "head"])
def test_a_recorded_step_is_to_the_bit_what_it_would_be_unrecorded(
    device: torch.device, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, weights = train(device, num_steps=14, part=part)
    assert len(set(losses)) == len(losses)
    monkeypatch.setattr(step, "_STEPS_BEFORE_RECORDING", 1000)
    plain_losses, plain_weights = train(device, num_steps=14, part=part)
    assert losses == plain_losses
    for name, tensor in weights.items():
        assert torch.equal(tensor, plain_weights[name]), name


@pytest.mark.parametrize("device", DEVICES)
def test_a_frozen_trunk_gets_no_gradient(device: torch.device) -> None:
    _, before = train(device, num_steps=0, part="head")
    _, after = train(device, num_steps=10, part="head")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("head.") for name in changed)
