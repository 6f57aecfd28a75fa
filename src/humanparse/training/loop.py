"""The training loop: one recipe, one page, resumable after a kill at any moment.

Scene number i is a function of (seed, i), and a step is a run of scene numbers, so the step number is all that a
restart needs to go on with the very scenes that were next. The learning rate follows the share of steps done.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from humanparse.files import whole_file
from humanparse.model.bodypix import BodyPix, load_bodypix
from humanparse.model.centre_parser import STRIDE, CentreParser, centre_parser
from humanparse.training.losses import losses, total
from humanparse.training.photos import TEACHER_FILE, load_photos
from humanparse.training.scenes import SceneMaker
from humanparse.training.targets import targets


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    sizes: (side of the scenes in pixels, how many a step), taken in turn. Small scenes show many people a second; large
    ones show whole people as large as a photo does, without which large people are found in pieces.
    """

    steps: int = 3700
    sizes: tuple[tuple[int, int], ...] = ((320, 16), (448, 8), (640, 4))
    lr: float = 2e-3
    backbone_lr: float = 3e-4
    weight_decay: float = 0.01
    warmup_steps: int = 100
    ema: float = 0.998
    seed: int = 1
    workers: int = 2
    threads: int = 2
    save_every: int = 100


def train(root: Path, out: Path, recipe: Recipe, *, print=print) -> Path:
    """Train from the photos below `root`; go on from `out/last.pt` if it is there. Returns `out/last.pt`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(recipe.threads)
    cv2.setNumThreads(0)  # before the workers are forked: OpenCV's thread pool does not survive a fork
    torch.manual_seed(recipe.seed)
    photos = load_photos(root, validation=False, cache=out / "teacher.npz")
    teacher = load_bodypix(root / TEACHER_FILE, centred=True).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    model = start_from(teacher, centre_parser()).to(memory_format=torch.channels_last)
    average = Average(model, recipe.ema)
    optimiser = torch.optim.AdamW(_groups(model, recipe), betas=(0.9, 0.99))
    last = out / "last.pt"
    done = _resume(last, model, average, optimiser) if last.exists() else 0

    scenes = DataLoader(
        SceneTargets(SceneMaker(photos, recipe.seed)),
        batch_sampler=Steps(recipe, first=done), num_workers=recipe.workers,
        prefetch_factor=4 if recipe.workers else None,
    )
    log, began, photos_seen = defaultdict(float), time.monotonic(), 0
    model.train()
    for step, batch in enumerate(scenes, start=done + 1):
        photos_seen += len(batch["pixels"])
        _set_rate(optimiser, recipe, step)
        parts = _step(model, teacher, optimiser, batch)
        average.update(model, step)
        for name, value in parts.items():
            log[name] += value / 20
        if step % 20 == 0:
            speed = photos_seen / (time.monotonic() - began)
            told = " ".join(f"{name} {value:.3f}" for name, value in log.items())
            print(f"step {step}/{recipe.steps} {speed:.1f} photos/s loss {sum(log.values()):.3f} {told}")
            log, began, photos_seen = defaultdict(float), time.monotonic(), 0
        if step % recipe.save_every == 0 or step == recipe.steps:
            _save(last, step, model, average, optimiser)
    return last


def start_from(teacher: BodyPix, model: CentreParser) -> CentreParser:
    """Give the model BodyPix's backbone and heads."""
    model.backbone.load_state_dict(teacher.backbone.state_dict())
    model.teacher_heads.load_state_dict(teacher.heads.state_dict())
    return model


def trained_model(checkpoint: Path) -> CentreParser:
    """The averaged model of a checkpoint that `train` wrote, ready for inference."""
    model = centre_parser()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return model.eval()


class SceneTargets(Dataset):
    """(scene number, size) → tensors of one scene and its targets."""

    def __init__(self, maker: SceneMaker):
        self.maker = maker

    def __getitem__(self, key: tuple[int, int]) -> dict[str, np.ndarray]:
        index, size = key
        scene = self.maker.make(index, size)
        wanted = targets(scene, STRIDE, phase=1 + index % 2)
        pixels = (scene.pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
        return {"pixels": pixels, "teacher_trust": np.float32(scene.teacher_trust)} | wanted


class Steps:
    """The scene numbers and size of each step from `first` to the recipe's end."""

    def __init__(self, recipe: Recipe, first: int):
        self.recipe, self.first = recipe, first

    def __iter__(self):
        sizes = self.recipe.sizes
        most = max(batch for _, batch in sizes)
        for step in range(self.first, self.recipe.steps):
            size, batch = sizes[step % len(sizes)]
            yield [(step * most + slot, size) for slot in range(batch)]

    def __len__(self) -> int:
        return self.recipe.steps - self.first


class Average:
    """Exponential moving average of the weights: what is evaluated and shipped."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, step / (step + 10))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def _step(model: CentreParser, teacher: BodyPix, optimiser, batch: dict[str, Tensor]) -> dict[str, float]:
    pixels = batch["pixels"].to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            known = teacher(pixels)
        outputs = model(pixels)
        student = model.teacher_maps(outputs.pop("features16"))
    parts = losses(outputs, batch, known, student)
    loss = total(parts)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    if torch.isfinite(loss):  # one bad scene must not end a night's work
        optimiser.step()
    return {name: value.item() for name, value in parts.items()}


def _groups(model: CentreParser, recipe: Recipe) -> list[dict]:
    """Parameter groups: the pretrained parts learn slowly and without decay (their folded scales are large)."""
    old = [*model.backbone.parameters(), *model.teacher_heads.parameters()]
    known = {id(p) for p in old}
    new = [p for p in model.parameters() if id(p) not in known]
    return [
        {"params": old, "peak": recipe.backbone_lr, "weight_decay": 0.0},
        {"params": [p for p in new if p.ndim > 1], "peak": recipe.lr, "weight_decay": recipe.weight_decay},
        {"params": [p for p in new if p.ndim <= 1], "peak": recipe.lr, "weight_decay": 0.0},
    ]


def _set_rate(optimiser, recipe: Recipe, step: int) -> None:
    """Linear warm-up, then cosine to zero at the last step."""
    rate = min(1.0, step / recipe.warmup_steps) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * rate


def _save(path: Path, step: int, model: nn.Module, average: Average, optimiser) -> None:
    """A kill in the middle leaves the old checkpoint whole."""
    state = {"step": step, "model": model.state_dict(), "average": average.state, "optimiser": optimiser.state_dict()}
    with whole_file(path) as part:
        torch.save(state, part)


def _resume(path: Path, model: nn.Module, average: Average, optimiser) -> int:
    saved = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    average.state = saved["average"]
    optimiser.load_state_dict(saved["optimiser"])
    return saved["step"]
