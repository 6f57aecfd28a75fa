"""The embedded model with convolutions of low rank in place of full ones."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from humanparse.bench import PHOTO  # noqa: E402
from humanparse.errors import BrokenModel  # noqa: E402
from humanparse.image import read_image  # noqa: E402
from humanparse.model.centre_parser import centre_parser  # noqa: E402
from humanparse.system.packaged import packaged  # noqa: E402
from humanparse.training import low_rank  # noqa: E402
from humanparse.training.init import load_exported  # noqa: E402
from humanparse.weights.catalog import model_file  # noqa: E402


@pytest.fixture(scope="module")
def full():
    """The model in the package at full rank: each of its pairs of convolutions is one."""
    ours = centre_parser()
    load_exported(model_file(None), ours)
    network = centre_parser(low_rank=False)
    low_rank.take_over(network, ours)
    for name in low_rank._replaced(network, ours):
        conv, norm = network.get_submodule(name)[-3:-1]
        first, mix, last = ours.get_submodule(name)[-4:-1]
        conv.weight.data = torch.einsum("om,mihw->oihw", mix.weight[:, :, 0, 0], first.weight).data
        norm.load_state_dict(last.state_dict())
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def low(full):
    generator = torch.Generator().manual_seed(1)
    looks = (torch.rand(1, 3, 128, 160, generator=generator) * 2 - 1 for _ in range(8))
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
    photo = read_image(packaged(PHOTO).read_bytes()).pixels
    scene = SimpleNamespace(pixels=cv2.resize(photo, (128, 128), interpolation=cv2.INTER_AREA))
    monkeypatch.setattr(low_rank, "SIZES", ((128, 1),))
    learner = centre_parser().eval()
    learner.load_state_dict(low.state_dict())
    with torch.no_grad():
        learner.class_head.bias += torch.linspace(-0.5, 0.5, 20)
        learner.centre_head.bias[1:] += 0.5
    look = torch.from_numpy(scene.pixels.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    backbone = [one.clone() for one in learner.backbone.state_dict().values()]

    def apart():
        with torch.no_grad():
            return low_rank.differences(learner(look), full(look))

    before = apart()
    low_rank.imitate(learner, full, SimpleNamespace(make=lambda *_: scene), steps=10)
    after = apart()
    for name in ("classes", "offset"):
        assert after[name] < 0.8 * before[name], name
    assert all(map(torch.equal, backbone, learner.backbone.state_dict().values()))


def test_the_same_maps_differ_by_nothing(full):
    maps = full(torch.zeros(1, 3, 64, 64))
    for name, difference in low_rank.differences(maps, maps).items():
        assert float(difference) == pytest.approx(0, abs=1e-6), name


def test_a_model_that_has_low_rank_already_is_refused(tmp_path):
    with pytest.raises(BrokenModel, match="does not fit this network"):
        low_rank.compress(tmp_path, tmp_path / "out.onnx", "humanparse-small")


def test_statistics_that_fit_leave_the_answers_as_they_are(low):
    looks = torch.rand(6, 3, 128, 160, generator=torch.Generator().manual_seed(3)) * 2 - 1
    network = centre_parser().eval()
    network.load_state_dict(low.state_dict())
    with torch.no_grad():
        before = network(looks)
        low_rank.settle_norms(network, looks.split(1))
        after = network(looks)
        in_training = network.train()(looks)  # with the statistics of this batch
    for name, maps in before.items():
        large = float(maps.abs().max())
        assert torch.allclose(after[name], maps, atol=1e-4 * large), name
        assert torch.allclose(in_training[name], maps, atol=1e-2 * large), name


def test_a_training_can_go_on_from_the_shipped_weights():
    """Their batch norms know what they see, so that training mode answers much the same."""
    network = centre_parser()
    load_exported(model_file(None), network)
    norms = [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    spreads = []

    def look_at(norm, given):
        away = (given[0] - norm.running_mean[:, None, None]).square().mean((0, 2, 3))
        spreads.append(float((away / norm.running_var).median()))

    for norm in norms:
        norm.register_forward_pre_hook(look_at)
    photo = read_image(packaged(PHOTO).read_bytes()).pixels
    look = torch.from_numpy(photo.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    with torch.no_grad():
        network.eval()(look[:, :, : photo.shape[0] // 32 * 32, : photo.shape[1] // 32 * 32])
    assert len(spreads) == len(norms)
    assert min(spreads) > 0.005 and max(spreads) < 5, spreads
