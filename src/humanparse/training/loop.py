"""The training loop: one recipe, and a run that can continue after it was killed at any moment.

Scene number i is a function of (seed, i), and a step is a range of scene numbers, so the step
number is all that a restart needs to continue with exactly the scenes that were next. The learning
rate depends on the share of the stage's steps that are done.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from humanparse.card import ModelCard
from humanparse.errors import OptionError
from humanparse.labels import LabelSet, difference
from humanparse.training import checkpoint as checkpoints
from humanparse.training.checkpoint import Average
from humanparse.training.data import Data, classes_of, look_at_data, open_data, word_before
from humanparse.training.embedded import AutoCast, EmbeddedTask
from humanparse.training.export import export_checkpoint, network_of
from humanparse.training.init import load_init
from humanparse.training.log import TrainingLog
from humanparse.training.m2fp.task import M2FPTask
from humanparse.training.memory import kept_memory
from humanparse.training.output import check_room, run_folder
from humanparse.training.quick_eval import measure_network
from humanparse.training.recipe import Recipe, Stage, differences
from humanparse.training.scenes import Scene
from humanparse.training.workers import Encoded, batches, worker_death_as_error

LAST, BEST, MODEL = "last.pt", "best.pt", "model.onnx"
X86 = ("x86_64", "amd64")


class Task(Protocol):
    """A kind of network, as the loop sees it."""

    @property
    def card(self) -> ModelCard:
        """What the finished file says about itself."""

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""

    def encode(self, scene: Scene, index: int) -> Encoded:
        """Return what the network sees of a scene, and its targets."""

    def losses(self, batch: dict[str, Tensor], step: int, autocast: AutoCast) -> dict[str, Tensor]:
        """Return each loss of a batch by name, weighted."""

    def groups(self, weight_decay: float, fresh: Collection[str] = ()) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups.

        Their "part" is "backbone"; "fresh" for the parameters of these names; or "rest".
        """

    def train_mode(self) -> None:
        """Put the network into training mode."""

    def enter(self, stage: Stage, anew: bool) -> bool:
        """Prepare for a stage; return whether weights were changed."""

    def follow(self, average: dict[str, Tensor]) -> None:
        """Use the averaged weights, which the loop updates in place."""

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the networks to a device."""


@dataclass(frozen=True)
class Trained:
    """The files of a finished run.

    Attributes:
        last: The last checkpoint.
        weights: The checkpoint that `model` was exported from: the best one if the recipe measures,
            else the last.
        model: The .onnx file.
    """

    last: Path
    weights: Path
    model: Path


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> Trained:
    """Train by a recipe and export the result to `out/model.onnx`.

    Args:
        recipe: The recipe.
        data: The data folder.
        out: The run's folder.
        resume: Whether to continue from `out/last.pt` if it exists, see `learn`.
        log: Called with each line for the user.

    Raises:
        ModelError: If the exported file does not agree with PyTorch.
        HumanParseError: As `learn` raises it.
    """
    with run_folder(out, log):
        last = _learn(recipe, data, out, resume, log)
        weights = out / BEST if (out / BEST).is_file() and recipe.validate_every else last
        if weights.name == BEST and not checkpoints.read(weights).state["step"]:
            log(
                f"no step did better on the held-out photos than the start, so {MODEL} is the start"
            )
        export_checkpoint(weights, out / MODEL)
    return Trained(last, weights, out / MODEL)


def learn(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> Path:
    """Take all steps of the recipe, or those that are left, and return `out/last.pt`.

    Args:
        recipe: The recipe.
        data: The data folder.
        out: The run's folder.
        resume: Whether to continue from `out/last.pt` if it exists; without it, a folder that holds
            a run is an error.
        log: Called with each line for the user.

    Raises:
        OptionError: For data, a folder or a recipe that does not fit, and for a folder that another
            training writes to.
        BrokenModel: For weights to start from that do not fit.
        HumanParseError: If the disk is full, or a process that makes scenes dies.
    """
    with run_folder(out, log):
        return _learn(recipe, data, out, resume, log)


def _learn(recipe: Recipe, data: Path, out: Path, resume: bool, log: Callable[[str], None]) -> Path:
    last = out / LAST
    saved = _saved(last, recipe, resume)
    device = choose_device(recipe.device)
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    with _threads(recipe.threads), kept_memory():
        torch.manual_seed(recipe.seed)
        if saved:
            _check_classes(saved.labels, classes_of(recipe, data), out)
        look_at_data(recipe, data, log)
        if word := word_before(data, out):
            log(word)
        opened = open_data(recipe, data, out)
        if recipe.validate_every and next(opened.held_out(), None) is None:
            raise OptionError(
                f"{data} has nothing held out to measure on; "
                "add a validation split, set holdout to no more than the number of photos, "
                "or set validate_every to 0"
            )
        task = make_task(recipe, opened)
        check_room(out, task.network)
        started = (
            load_init(recipe.init, task.network, opened.labels)
            if recipe.init and not saved
            else None
        )
        task.to(device, memory_format)
        task.train_mode()
        fresh = saved.state.get("fresh", ()) if saved else started.fresh if started else ()
        run = _Run(recipe, task, opened, device, out, fresh)
        done = run.restore(saved) if saved else 0
        with TrainingLog(out, done, log) as training_log:
            if started:
                training_log.note(0, f"starts from {recipe.init}: {started}")
            elif saved:
                training_log.log(f"continues after step {done} of {recipe.steps}")
            if recipe.bf16 and not has_bf16(device):
                training_log.log("this machine has no instructions for bf16: computing in fp32")
            if recipe.validate_every and started and not started.fresh:
                run.measure(0, training_log)
            with worker_death_as_error():
                run.go(done, training_log)
            training_log.draw()
    return last


def make_task(recipe: Recipe, data: Data) -> Task:
    """Return the recipe's network, untrained, as a task of the loop."""
    if recipe.model == "centre-parser":
        return EmbeddedTask(recipe, data.labels, data.class_weights, data.teacher)
    return M2FPTask(recipe, data.labels)


def choose_device(name: str) -> torch.device:
    """Return the device to train on.

    Args:
        name: "cpu", "cuda", or "auto" for the first GPU if there is one.

    Raises:
        OptionError: For a GPU that is not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            'device is cuda, but this PyTorch finds no GPU; set device = "cpu", '
            "or install a build for your GPU"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Return whether the device has instructions for bf16.

    Where it has none, PyTorch imitates them, which takes many times as long as fp32
    (docs/lab-book.md).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine().lower() in X86:  # oneDNN would claim bf16 for any AVX-512
        return torch.cpu._is_avx512_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _Run:
    """A run in progress: the network, its average and its optimiser.

    `fresh` names the parameters that started from random values.
    """

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        data: Data,
        device: torch.device,
        out: Path,
        fresh: Collection[str],
    ):
        self.recipe, self.task, self.data, self.device, self.out = recipe, task, data, device, out
        self.fresh = list(fresh)
        self._reset_average()
        self.optimiser = torch.optim.AdamW(
            task.groups(recipe.weight_decay, fresh), lr=0.0, betas=(0.9, 0.99)
        )
        self.autocast = partial(
            torch.autocast,
            device.type,
            dtype=torch.bfloat16,
            enabled=recipe.bf16 and has_bf16(device),
        )
        self.best = -1.0
        self.skipped = 0  # steps since the last line of the log whose loss was not finite

    def restore(self, saved: checkpoints.Saved) -> int:
        """Restore the state of a checkpoint, and return the number of steps done."""
        state = saved.state
        self.task.network.load_state_dict(state["model"])
        for name, value in state["average"].items():
            self.average.state[name].copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.best = state["best"]
        return state["step"]

    def go(self, done: int, training_log: TrainingLog) -> None:
        """Take the steps that are left."""
        with closing(self._batches(done, training_log.log)) as left:
            self._go(done, left, training_log)

    def _go(self, done: int, left: Iterator[dict[str, Tensor]], training_log: TrainingLog) -> None:
        recipe = self.recipe
        costs: dict[str, list[float]] = {}
        began, photos = time.monotonic(), 0
        for step, batch in enumerate(left, start=done + 1):
            photos += len(batch["pixels"])
            stage, within = stage_of(recipe, step)
            entered = within == 1 or step == done + 1
            if entered and self.task.enter(stage, anew=within == 1):
                self._reset_average()
            rate = set_rates(self.optimiser, stage, within)
            for name, value in self._step(batch, step).items():
                costs.setdefault(name, []).append(value)
            if step % recipe.log_every == 0 or step == recipe.steps:
                means = {name: _finite_mean(values) for name, values in costs.items()}
                speed = photos / (time.monotonic() - began)
                number = recipe.stages.index(stage) + 1
                training_log.trained(
                    step,
                    recipe.steps,
                    means,
                    stage=number,
                    lr=float(f"{rate:.4g}"),
                    photos_per_s=round(speed, 2),
                )
                if self.skipped:
                    training_log.note(
                        step,
                        "steps whose loss was not finite, and which left the weights as they were: "
                        f"{self.skipped}",
                    )
                costs, began, photos, self.skipped = {}, time.monotonic(), 0, 0
            measured = recipe.validate_every and (
                step % recipe.validate_every == 0 or step == recipe.steps
            )
            if measured:
                self.measure(step, training_log)
                began = time.monotonic()
            if measured or step % recipe.save_every == 0 or step == recipe.steps:
                self._save(LAST, step)
                training_log.draw()

    def _reset_average(self) -> None:
        self.average = Average(self.task.network, self.recipe.ema)
        self.task.follow(self.average.state)

    def _batches(
        self, done: int, log: Callable[[str], None]
    ) -> Generator[dict[str, Tensor], None, None]:
        largest = max(
            chain.from_iterable(stage.sizes for stage in self.recipe.stages),
            key=lambda size: size[0] ** 2 * size[1],
        )
        return batches(
            self._scene,
            Steps(self.recipe, done),
            largest,
            self.recipe.workers,
            self.device.type == "cuda",
            log,
        )

    def _scene(self, index: int, size: int) -> Encoded:
        """What the network sees of a scene, and its targets. Runs in the worker processes."""
        return self.task.encode(self.data.maker.make(index, size), index)

    def _step(self, batch: dict[str, Tensor], step: int) -> dict[str, float]:
        buffers = [buffer.clone() for buffer in self.task.network.buffers()]
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        if self.recipe.channels_last:
            batch["pixels"] = batch["pixels"].to(memory_format=torch.channels_last)
        parts = self.task.losses(batch, step, self.autocast)
        loss = torch.stack(list(parts.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.task.network.parameters(), self.recipe.clip_norm)
        if torch.isfinite(loss) and torch.isfinite(norm):
            self.optimiser.step()
            self.average.update(self.task.network, step)
        else:  # one bad scene must not end a long run, nor stay in BatchNorm's running statistics
            for buffer, before in zip(self.task.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
            self.skipped += 1
        return {name: value.item() for name, value in parts.items()}

    def measure(self, step: int, training_log: TrainingLog) -> None:
        """Measure the averaged weights on the held-out scenes, and save them if they are best."""
        network = network_of(self.recipe, self.task.card.labels)
        network.load_state_dict(self.average.state)
        figures = measure_network(
            network.to(self.device).eval(), self.task.card, self.device, self.data.held_out()
        )
        mean = float(np.mean(list(figures.values())))
        best = mean > self.best
        if best:
            self.best = mean
            self._save(BEST, step, figures=figures)
        training_log.validated(step, figures, best)

    def _save(self, name: str, step: int, **more: Any) -> None:
        state = {"step": step, "average": self.average.state, "best": self.best}
        if name == LAST:
            state |= {
                "model": self.task.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "fresh": self.fresh,
            }
        checkpoints.save(self.out / name, self.recipe, self.task.card.labels, **state, **more)


class Steps:
    """The scene numbers and sizes of each step from `first` to the recipe's end.

    No two steps share a scene number.
    """

    def __init__(self, recipe: Recipe, first: int):
        self.recipe, self.first = recipe, first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = scene = 0
        for stage in self.recipe.stages:
            for within in range(stage.steps):
                size, batch = stage.sizes[within % len(stage.sizes)]
                if step >= self.first:
                    yield [
                        (scene + within * stage.max_scenes + slot, size) for slot in range(batch)
                    ]
                step += 1
            scene += stage.steps * stage.max_scenes

    def __len__(self) -> int:
        return self.recipe.steps - self.first


def stage_of(recipe: Recipe, step: int) -> tuple[Stage, int]:
    """Return the stage of a step, counted from 1, and the number of the step within it."""
    for stage in recipe.stages:
        if step <= stage.steps:
            return stage, step
        step -= stage.steps
    raise ValueError(f"the recipe ends before step {step}")


def set_rates(optimiser: torch.optim.Optimizer, stage: Stage, step: int) -> float:
    """Set the learning rates: linear warm-up, then a cosine to zero at the stage's last step.

    Args:
        optimiser: The optimiser, with the groups of a task.
        stage: The stage.
        step: The number of the step within the stage, from 1.

    Returns:
        The rate of what is neither the backbone nor fresh.
    """
    rate = (
        min(1.0, step / max(stage.warmup_steps, 1))
        * 0.5
        * (1 + math.cos(math.pi * step / stage.steps))
    )
    highest = {
        "backbone": stage.backbone_lr,
        "fresh": stage.lr * stage.fresh_lr_factor,
        "rest": stage.lr,
    }
    for group in optimiser.param_groups:
        group["lr"] = rate * highest[group["part"]]
    return rate * stage.lr


def _finite_mean(values: list[float]) -> float:
    """The mean of the finite values; NaN if there are none."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _saved(last: Path, recipe: Recipe, resume: bool) -> checkpoints.Saved | None:
    """The checkpoint to continue from, if any.

    Raises OptionError if there is one but `resume` is false, or if it is of another recipe.
    """
    if not last.is_file():
        return None
    if not resume:
        raise OptionError(
            f"{last.parent} holds a run; add --resume to continue it, or choose another --out"
        )
    saved = checkpoints.read(last)
    if changed := differences(recipe, saved.recipe):
        raise OptionError(
            f"{last.parent} holds a run of another recipe ({', '.join(changed)} differ); "
            "choose another --out, or the same recipe"
        )
    return saved


def _check_classes(before: LabelSet, now: LabelSet, out: Path) -> None:
    """Raise OptionError if the data's classes are not those that the run began with."""
    if what := difference(before, now, "the data's"):
        raise OptionError(
            f"{out} holds a run with other classes: it has {what}; "
            "choose another --out, or the data that it began with"
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let PyTorch use `count` threads, and OpenCV none: its pool does not survive a fork."""
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)
