from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skymetal.catalogs.errors import InputError
from skymetal.train.network import init as init_module
from skymetal.train.network.init import find_init, is_torchvision, load_init
from skymetal.train.network.network import MetallicityNet


@pytest.fixture(scope="module")
def network() -> MetallicityNet:
    torch.manual_seed(0)
    return MetallicityNet(num_labels=2)


def pretrained(network: MetallicityNet) -> dict[str, torch.Tensor]:
    """A state dict as torchvision writes it: the trunk, then a classifier of 1000 classes."""
    trunk = {name: torch.full_like(tensor, 0.5) for name, tensor in network.trunk_state().items()}
    return trunk | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_torchvision_file_fills_the_trunk_and_not_the_head(suffix: str, tmp_path: Path) -> None:
    network = MetallicityNet(num_labels=1)
    head = network.head[2].weight.detach().clone()
    path = tmp_path / f"resnet34{suffix}"
    if suffix == ".pth":
        torch.save(pretrained(network), path)
    else:
        save_file(pretrained(network), path)
    load_init(network, path)
    assert bool((network.layer3[5].conv2.weight == 0.5).all())  # type: ignore[operator, index, union-attr]
    assert torch.equal(network.head[2].weight, head)


def test_an_old_file_without_batch_counters_is_taken(network: MetallicityNet, tmp_path: Path) -> None:
    old = {name: value for name, value in pretrained(network).items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    load_init(MetallicityNet(num_labels=1), tmp_path / "old.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer2.1.bn1.weight": None}, "lacks the tensor 'layer2.1.bn1.weight'"),
        ({"layer5.weight": torch.zeros(1)}, "has a tensor 'layer5.weight' that resnet34 lacks"),
        ({"conv1.weight": torch.zeros(64, 4, 7, 7)}, r"'conv1.weight' has shape \(64, 4, 7, 7\)"),
        ({"bn1.bias": torch.full((64,), torch.nan)}, "'bn1.bias' has values that are not finite"),
    ],
)
def test_a_file_of_another_network_is_refused_by_name(
    change: dict[str, torch.Tensor | None], message: str, network: MetallicityNet, tmp_path: Path
) -> None:
    tensors = {name: value for name, value in (pretrained(network) | change).items() if value is not None}
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(InputError, match=message):
        load_init(MetallicityNet(num_labels=1), tmp_path / "other.pth")


def test_a_file_that_holds_no_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"code": print}, tmp_path / "code.pth")
    for name in ("text.pth", "code.pth"):
        with pytest.raises(InputError, match="cannot be read as weights"):
            load_init(MetallicityNet(num_labels=1), tmp_path / name)
    torch.save({1: torch.zeros(1)}, tmp_path / "number.pth")
    with pytest.raises(InputError, match="does not hold a state dict"):
        load_init(MetallicityNet(num_labels=1), tmp_path / "number.pth")
    with pytest.raises(InputError, match="is not a file"):
        load_init(MetallicityNet(num_labels=1), tmp_path / "none.pth")


def test_a_member_of_an_ensemble_fills_the_head_too_but_a_last_layer_of_other_labels(tmp_path: Path) -> None:
    torch.manual_seed(4)
    member = MetallicityNet(num_labels=2, starts_as_mean=False)
    save_file(member.state_dict(), tmp_path / "fold0.safetensors")
    same, other = MetallicityNet(num_labels=2), MetallicityNet(num_labels=1)
    load_init(same, tmp_path / "fold0.safetensors")
    load_init(other, tmp_path / "fold0.safetensors")
    assert torch.equal(same.head[6].weight, member.head[6].weight)
    assert torch.equal(other.head[2].weight, member.head[2].weight)
    assert not other.head[6].weight.any()
    assert not is_torchvision(str(tmp_path / "fold0.safetensors"))


class _Weights(http.server.BaseHTTPRequestHandler):
    body = b"these are the weights"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Weights) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/resnet34.pth"
        server.shutdown()


def test_imagenet_is_fetched_once_and_believed_by_its_digest_alone(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"is not torchvision's file; get http.*give its path as \[train\] init"):
        find_init("imagenet", cache=tmp_path, url=address)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(init_module, "IMAGENET_SHA256_PREFIX", "1f37de1e")  # of the server's body
    path, digest = find_init("imagenet", cache=tmp_path, url=address)
    assert Path(path).read_bytes() == _Weights.body
    assert digest.startswith("1f37de1e")
    assert find_init("imagenet", cache=tmp_path, url=address.replace("127.0.0.1", "nowhere.invalid")) == (path, digest)
    Path(path).write_bytes(b"flipped")
    with pytest.raises(InputError, match="is not torchvision's resnet34, or damaged; delete it"):
        find_init("imagenet", cache=tmp_path, url=address)


def test_imagenet_that_cannot_be_had_says_how_to_get_it_by_hand(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be fetched \(.*\); get http://127.0.0.1:9/resnet34.pth by another"):
        find_init("imagenet", cache=tmp_path, url="http://127.0.0.1:9/resnet34.pth")


def test_a_damaged_file_of_either_format_is_refused_in_our_own_words(tmp_path: Path) -> None:
    random, network = np.random.default_rng(0), MetallicityNet(num_labels=1)
    for is_zip in (True, False):
        path = tmp_path / f"{is_zip}.pth"
        torch.save({"conv1.weight": torch.zeros(4)}, path, _use_new_zipfile_serialization=is_zip)
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[random.integers(len(whole))] ^= 1 << random.integers(8)
            path.write_bytes(damaged if random.random() < 0.5 else whole[: random.integers(len(whole))])
            with pytest.raises(InputError) as caught:
                load_init(network, path)
            assert "weights_only" not in str(caught.value)
