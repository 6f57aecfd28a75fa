"""Make the embedded model cheaper: costly convolutions of low rank in place of full ones.

What a convolution answers varies in a few directions much more than in the others. So it is
replaced by one to the directions in which its responses on people vary most, and a pointwise one
back from there (Zhang et al., arXiv 1505.06798). Then the cheaper network learns to give the maps
of the one that it was made from; nothing else is learnt, and the backbone stays as it is. At last
its batch norms get the statistics of what they see, so that a training can go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.export.graph import read_model
from humanparse.model.centre_parser import OFFSET_UNIT_PX, CentreParser, centre_parser
from humanparse.training.export import write_embedded
from humanparse.training.init import load_exported
from humanparse.training.memory import kept_memory
from humanparse.training.photos import load_known
from humanparse.training.scenes import SceneMaker
from humanparse.weights.catalog import model_file

LOOKS, LOOK_PX = 120, 640  # scenes on which the responses are taken, and their side
ELSEWHERE = 0.1  # how much a cell counts where nobody is; on a person 1 more
STEPS = 500
# Side and number of the scenes of each step, in turn.
SIZES = ((384, 4), (512, 3), (640, 2), (512, 3), (640, 2))
RATE = 3e-5  # at the beginning; four times as much undoes what the directions have brought
# How much each difference counts. Those of the features are shares of their energy.
WEIGHTS = {
    "features": 4.0,
    "classes": 5.0,
    "wears": 0.05,
    "person": 4.0,
    "centre": 60.0,
    "offset": 1.0,
}


def compress(
    root: Path,
    out: Path,
    model: str,
    *,
    steps: int = STEPS,
    log: Callable[[str], None] = print,
) -> None:
    """Write a model of the embedded kind again with convolutions of low rank.

    Args:
        root: The embedded model's data folder.
        out: The .onnx file to write; it appears whole or not at all.
        model: An .onnx file of `centre_parser(low_rank=False)`, fp32 or fp16.
        steps: For how many steps the result learns to give the same maps.
        log: Called with the progress now and then.

    Raises:
        BrokenModel: If the file is of another network.
        ModelError: If the file that is written differs from PyTorch.
    """
    path = model_file(model)
    _, card = read_model(path)
    full = centre_parser(len(card.labels), low_rank=False)
    load_exported(path, full)
    full.eval().requires_grad_(False)
    scenes = SceneMaker(load_known(root), seed=0)
    low = lowered(full, _looks(scenes))
    log(f"the responses of {LOOKS} scenes are seen")
    imitate(low, full, scenes, steps, log)
    settle_norms(low, _looks(scenes))
    write_embedded(low, out, card)


@torch.no_grad()
def lowered(full: CentreParser, looks: Iterable[Tensor]) -> CentreParser:
    """Return a network of low rank whose maps are near to those of the full one.

    Args:
        full: The network of full rank, for inference.
        looks: Pixels as the network takes them, on which its responses are taken.
    """
    low = centre_parser(full.class_head.out_channels).eval()
    take_over(low, full)
    names = list(_replaced(full, low))
    for name, (mean, covariance) in _responses(full, names, looks).items():
        _replace(full.get_submodule(name), low.get_submodule(name), mean, covariance)
    return low


def take_over(network: CentreParser, other: CentreParser) -> None:
    """Give a network the tensors that another one has under the same names and in the same shapes.

    Args:
        network: The network to change.
        other: The network with the weights.
    """
    own = network.state_dict()
    same = {
        name: tensor
        for name, tensor in other.state_dict().items()
        if name in own and own[name].shape == tensor.shape
    }
    network.load_state_dict(same, strict=False)


def imitate(
    low: CentreParser,
    full: CentreParser,
    scenes: SceneMaker,
    steps: int,
    log: Callable[[str], None] = print,
) -> None:
    """Let a network learn to give the maps of another one with the same backbone.

    Args:
        low: The network that learns. Its backbone and its statistics of batches stay as they are.
        full: The network to imitate.
        scenes: What they look at.
        steps: The number of steps.
        log: Called with the mean differences every 50 steps.
    """
    low.eval()
    learning = [one for name, one in low.named_parameters() if not name.startswith("backbone.")]
    names = list(_replaced(full, low))
    optimizer = torch.optim.AdamW(learning, RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sums: dict[str, float] = {}
    with kept_memory(), _kept(full, names) as theirs, _kept(low, names) as ours:
        for step in range(1, steps + 1):
            size, count = SIZES[step % len(SIZES)]
            numbers = range(LOOKS + step * 8, LOOKS + step * 8 + count)
            with torch.no_grad():
                features = full.backbone(_pixels(scenes, numbers, size))
                known = full.maps(features)
            parts = differences(low.maps(features), known)
            parts["features"] = torch.stack(
                [_share(ours[one], theirs[one]) for one in names]
            ).mean()
            loss = torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning, 2.0)
            optimizer.step()
            schedule.step()
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + float(part.detach())
            if step % 50 == 0:
                log(f"step {step}: " + " ".join(f"{k} {v / 50:.4f}" for k, v in sums.items()))
                sums = {}


def differences(maps: dict[str, Tensor], known: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return how far maps are from those that are known, by their names.

    Args:
        maps: What `CentreParser.maps` returns, of the network that learns.
        known: The same of the one to imitate.
    """
    person = known["person"].sigmoid()
    weight = ELSEWHERE + person[:, 0]
    theirs, ours = (one["classes"].log_softmax(1) for one in (known, maps))
    apart = (theirs.exp() * (theirs - ours)).sum(1)
    entropy = F.binary_cross_entropy(person, person)
    offset = (maps["offset"] - known["offset"]).abs() / OFFSET_UNIT_PX
    return {
        "classes": (apart * weight).sum() / weight.sum(),
        "wears": F.mse_loss(maps["wears"], known["wears"]),
        "person": F.binary_cross_entropy_with_logits(maps["person"], person) - entropy,
        "centre": F.mse_loss(maps["centre"].sigmoid(), known["centre"].sigmoid()),
        "offset": (offset * person).sum() / person.sum().clamp(min=1),
    }


@torch.no_grad()
def settle_norms(network: CentreParser, looks: Iterable[Tensor]) -> None:
    """Give each batch norm the statistics of what it sees, and leave what it answers as it is.

    In training a batch norm uses the statistics of the batch. A network whose own statistics differ
    from these answers something else as soon as it is trained.

    Args:
        network: The network to change, for inference.
        looks: Pixels as the network takes them, on which the statistics are taken.
    """
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    seen: dict[nn.Module, list[Tensor]] = {}

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        cells = given[0].movedim(1, 0).flatten(1).double()
        seen.setdefault(norm, []).append(torch.stack([cells.mean(1), cells.square().mean(1)]))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    for pixels in looks:
        network(pixels)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, square = torch.stack(seen[norm]).mean(0)
        _restate(norm, mean, square - mean.square())


def _restate(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Give a batch norm other statistics, and weights with which it answers the same."""
    assert norm.running_mean is not None and norm.running_var is not None
    before = (norm.running_var.double() + norm.eps).sqrt()
    slope = norm.weight.double() / before
    norm.bias.add_(slope * (mean - norm.running_mean.double()))
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _replaced(full: CentreParser, low: CentreParser) -> Iterator[str]:
    """The names of what has one layer more in `low`."""
    for name, theirs in full.named_modules():
        if isinstance(theirs, nn.Sequential):
            ours = low.get_submodule(name)
            if isinstance(ours, nn.Sequential) and len(ours) > len(theirs):
                yield name


def _replace(full: nn.Module, low: nn.Module, mean: Tensor, covariance: Tensor) -> None:
    """Give `low` the directions in which the responses of `full` vary most.

    Args:
        full: It ends with a convolution, its batch norm and ReLU.
        low: It ends with two convolutions, their batch norm and ReLU.
        mean: The mean of what the batch norm answers, (C,).
        covariance: Its covariance, (C, C).
    """
    conv, norm = full[-3], full[-2]  # type: ignore[index]
    ours, mix, last = low[-4], low[-3], low[-2]  # type: ignore[index]
    rank = ours.out_channels
    energy, axes = torch.linalg.eigh(covariance)
    kept = _alternating(rank) - rank
    axes, spread = axes[:, kept], energy[kept].clamp(min=1e-6 * float(energy[-1])).sqrt()
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - scale * norm.running_mean.double()
    weight = torch.einsum("cr,c,cihw->rihw", axes, scale, conv.weight.double())
    ours.weight.copy_(weight / spread[:, None, None, None])
    mix.weight.copy_((axes * spread)[:, :, None, None])
    last.bias.copy_(mean + axes @ (axes.T @ (shift - mean)))
    last.weight.fill_(1)
    last.running_mean.zero_()
    last.running_var.fill_(1 - last.eps)


def _alternating(rank: int) -> Tensor:
    """The places 0 to rank - 1, of rising energy: the last, the first, the last but one, and so on.

    For int8: processors without VNNI add up the products of two neighbouring channels in sixteen
    bits, where those of two strong ones would be cut off.
    """
    places = torch.arange(rank)
    return torch.stack([places.flip(0), places], 1).flatten()[:rank]


def _responses(
    network: CentreParser, names: list[str], looks: Iterable[Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """The mean and the covariance of what each batch norm answers, people counting most."""
    total: dict[str, list[Tensor]] = {}
    with _kept(network, names) as answers:
        for pixels in looks:
            person = ELSEWHERE + network(pixels)["person"].sigmoid()
            for name, answer in answers.items():
                flat = answer.movedim(1, 0).flatten(1).double()
                cells = F.interpolate(person, answer.shape[2:], mode="area").flatten().double()
                seen = [(flat * cells).sum(1), (flat * cells) @ flat.T, cells.sum()]
                before = total.get(name)
                total[name] = [a + b for a, b in zip(before, seen, strict=True)] if before else seen
    made = {}
    for name, (first, second, count) in total.items():
        mean = first / count
        made[name] = mean, second / count - mean[:, None] * mean
    return made


@contextmanager
def _kept(network: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Keep what the last batch norm of each named part answers, by the part's name."""
    answers: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, given, answer: answers.update({name: answer})

    hooks = [
        network.get_submodule(name)[-2].register_forward_hook(keep(name))  # type: ignore[index]
        for name in names
    ]
    try:
        yield answers
    finally:
        for hook in hooks:
            hook.remove()


def _share(ours: Tensor, theirs: Tensor) -> Tensor:
    """The share of the energy after ReLU by which the answers differ."""
    ours, theirs = ours.relu(), theirs.relu()
    return (ours - theirs).square().sum() / theirs.square().sum().clamp(min=1e-6)


def _looks(scenes: SceneMaker) -> Iterator[Tensor]:
    return (_pixels(scenes, [number], LOOK_PX) for number in range(LOOKS))


def _pixels(scenes: SceneMaker, numbers: range | list[int], size: int) -> Tensor:
    """float32 (N, 3, size, size) in [-1, 1]: these scenes, as the network takes them."""
    made = np.stack([scenes.make(number, size).pixels.transpose(2, 0, 1) for number in numbers])
    return torch.from_numpy(made.astype(np.float32) / 127.5 - 1)
