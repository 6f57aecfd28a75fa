"""The embedded model with convolutions of low rank in place of full ones."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from humanparse.errors import BrokenModel  # noqa: E402
from humanparse.model.centre_parser import centre_parser  # noqa: E402
from humanparse.training import low_rank  # noqa: E402

RANK = 12  # below every rank of the cheaper network


@pytest.fixture(scope="module")
def full():
    """A network of full rank whose costly convolutions answer in RANK directions only."""
    torch.manual_seed(0)
    network = centre_parser(low_rank=False).eval().requires_grad_(False)
    for name in low_rank._replaced(network, centre_parser()):
        conv, norm = network.get_submodule(name)[-3:-1]
        rows, cells = conv.weight.shape[0], conv.weight[0].numel()
        weight = torch.randn(rows, RANK) @ torch.randn(RANK, cells) / (RANK * cells) ** 0.5
        conv.weight.copy_(weight.view(conv.weight.shape))
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    network.class_head.weight.mul_(10)  # otherwise all classes are as likely
    return network


@pytest.fixture(scope="module")
def low(full):
    generator = torch.Generator().manual_seed(1)
    looks = (torch.rand(1, 3, 64, 96, generator=generator) * 2 - 1 for _ in range(4))
    return low_rank.lowered(full, looks)


def test_convolutions_that_answer_in_few_directions_lose_nothing(full, low):
    pixels = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        theirs, ours = full(pixels), low(pixels)
    for name, maps in theirs.items():
        assert torch.allclose(ours[name], maps, atol=2e-3 * float(maps.abs().max())), name
    assert sum(p.numel() for p in low.parameters()) < 0.75 * sum(
        p.numel() for p in full.parameters()
    )


def test_a_network_that_differs_learns_to_give_the_same_maps(full, low, monkeypatch):
    def pixels(number, size):
        return np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)

    scenes = SimpleNamespace(make=lambda *key: SimpleNamespace(pixels=pixels(*key)))
    monkeypatch.setattr(low_rank, "SIZES", ((64, 2),))
    monkeypatch.setattr(low_rank, "RATE", 5e-4)
    torch.manual_seed(3)
    learner = centre_parser().eval()
    learner.load_state_dict(low.state_dict())
    with torch.no_grad():
        for head in (learner.class_head, learner.centre_head):
            head.weight.mul_(1 + 0.3 * torch.randn_like(head.weight))
    look = torch.from_numpy(pixels(0, 64).transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    backbone = [one.clone() for one in learner.backbone.state_dict().values()]

    def apart():
        with torch.no_grad():
            return low_rank.differences(learner(look), full(look))

    before = apart()
    low_rank.imitate(learner, full, scenes, steps=12)
    after = apart()
    assert after["classes"] < 0.7 * before["classes"]
    assert after["offset"] < before["offset"]
    assert all(map(torch.equal, backbone, learner.backbone.state_dict().values()))


def test_the_same_maps_differ_by_nothing(full):
    maps = full(torch.zeros(1, 3, 64, 64))
    for name, difference in low_rank.differences(maps, maps).items():
        assert float(difference) == pytest.approx(0, abs=1e-6), name


def test_a_model_that_has_low_rank_already_is_refused(tmp_path):
    with pytest.raises(BrokenModel, match="does not fit this network"):
        low_rank.compress(tmp_path, tmp_path / "out.onnx", "humanparse-small")
