"""Teach a model's outfit reader (postprocess/outfit.py) from lists of what people wear.

The network stays as it is: it looks at each photo with a list or with labels in several views, its
post-processing finds the people, and what it sums up about those who are known becomes an example.
The layers learn from these examples in a minute.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from humanparse.errors import OptionError
from humanparse.evaluation.outfits import FOUND_SHARE
from humanparse.export.graph import read_model, set_card
from humanparse.labels import CIHP
from humanparse.parser import HumanParser
from humanparse.postprocess.centres import people_summaries
from humanparse.postprocess.outfit import REACH, OutfitReader
from humanparse.system.files import whole_file
from humanparse.training.photos import Photo, Photos, load_known
from humanparse.training.picture import random_colours, through_camera
from humanparse.weights.catalog import model_file

VIEWS = 4  # of each photo: as it is, mirrored, and others at random
FOUND_IOU = 0.5  # with the known outline, from which a person that is found is the known one
LEAST_VISIBLE = 0.96  # of a person, in a view that cuts some of them off; else the list is not true
LEAST_SHARE = 0.003  # of a person's pixels, from which a class without a FOUND_SHARE is worn
GARMENTS = [CIHP.index(name) for name in FOUND_SHARE]  # what the layers speak about
MEMBERS, HIDDEN = 3, 64  # layers that learn separately and are averaged; the width of each
STEPS, BATCH, RATE, DECAY = 4000, 256, 2e-3, 0.3
DROPPED = (0.1, 0.3)  # the share of the summary's and of the hidden numbers that are left out


def teach(
    root: Path,
    out: Path,
    model: str | None = None,
    *,
    cache: Path,
    views: int = VIEWS,
    log: Callable[[str], None] = print,
) -> int:
    """Write a model again with an outfit reader that has learnt from the data.

    Args:
        root: The embedded model's data folder.
        out: The .onnx file to write; it appears whole or not at all.
        model: A model's name or .onnx file with the centre head; None takes the one inside the
            package. If it has an outfit reader, that is replaced.
        cache: A folder that keeps what was seen in each view of each photo. It belongs to one
            model.
        views: How often each photo is looked at.
        log: Called with the progress now and then.

    Returns:
        The number of examples.

    Raises:
        OptionError: If the model has another head, or no map of what people wear.
    """
    parser = HumanParser(model)
    if parser.card.head != "centres":
        raise OptionError(
            f"the model {parser.name!r} has the head {parser.card.head!r}; "
            "give one with the head centres"
        )
    seen = examples(parser, load_known(root), cache, views, log)
    content, card = read_model(model_file(model))
    settings = {**card.settings, "outfit_reader": fit(seen).to_text()}
    set_card(content, replace(card, settings=settings))
    with whole_file(out) as part:
        part.write_bytes(content.SerializeToString())
    return len(seen.known)


@dataclass(frozen=True)
class Examples:
    """What is known about people, as N examples.

    Attributes:
        summaries: float32 (N, F), see outfit.py.
        known: float32 (N, C), 1 for a class that is worn, 0 for one that is not, -1 unknown.
    """

    summaries: np.ndarray
    known: np.ndarray


def examples(
    parser: HumanParser,
    photos: Photos,
    cache: Path,
    views: int = VIEWS,
    log: Callable[[str], None] = print,
) -> Examples:
    """Look at the photos and return what is seen of the people who are known.

    Args:
        parser: The model.
        photos: The training split, without guesses.
        cache: A folder that keeps the examples of each view of each photo, so that the work goes on
            where it was broken off.
        views: How often each photo is looked at.
        log: Called with the progress now and then.
    """
    cache.mkdir(parents=True, exist_ok=True)
    known = [*photos.labelled, *photos.tagged, *photos.everyday]
    rows = []
    for view in range(views):
        for number, photo in enumerate(known, start=1):
            file = cache / f"{photo.name}-{view}.npy"
            if not file.exists():
                with whole_file(file) as part, part.open("wb") as out:
                    np.save(out, _examples_of(parser, photo, view, photos.backgrounds))
            rows.append(np.load(file))
            if number % 500 == 0:
                log(f"view {view + 1} of {views}: {number} of {len(known)} photos")
    table = np.concatenate(rows)
    return Examples(table[:, : -len(CIHP)], table[:, -len(CIHP) :])


def fit(seen: Examples, seed: int = 0) -> OutfitReader:
    """Return layers that have learnt from examples.

    Several small pairs of layers learn separately; side by side they are one wider pair whose
    result is their mean.

    Args:
        seen: The examples.
        seed: Of the random numbers.
    """
    middle = seen.summaries.mean(0)
    scale = 1 / (seen.summaries.std(0) + 1e-3)
    inputs = torch.from_numpy(((seen.summaries - middle) * scale).clip(-REACH, REACH)).float()
    known = torch.from_numpy(seen.known).float()
    members = [_member(inputs, known, seed * MEMBERS + number) for number in range(MEMBERS)]
    first = np.concatenate([first for first, *_ in members], 1)
    bias = np.concatenate([bias for _, bias, *_ in members])
    second = np.concatenate([second for *_, second, _ in members]) / MEMBERS
    last = np.mean([last for *_, last in members], 0)
    return OutfitReader(middle, scale, (first, bias), (second, last))


def _member(inputs: Tensor, known: Tensor, seed: int) -> tuple[np.ndarray, ...]:
    """Weights and biases of both layers, after learning."""
    torch.manual_seed(seed)
    first, second = nn.Linear(inputs.shape[1], HIDDEN), nn.Linear(HIDDEN, known.shape[1])
    layers = nn.Sequential(nn.Dropout(DROPPED[0]), first, nn.ReLU(), nn.Dropout(DROPPED[1]), second)
    optimizer = torch.optim.AdamW(layers.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    asked = torch.isin(torch.arange(known.shape[1]), torch.tensor(GARMENTS))
    for _ in range(STEPS):
        chosen = torch.randint(len(known), (BATCH,))
        truth = known[chosen]
        weight = ((truth >= 0) & asked).float()
        cost = F.binary_cross_entropy_with_logits(
            layers(inputs[chosen]), truth.clamp(min=0), weight, reduction="sum"
        )
        optimizer.zero_grad()
        (cost / weight.sum()).backward()
        optimizer.step()
        schedule.step()
    tensors = (first.weight.T, first.bias, second.weight.T * asked, second.bias * asked)
    return tuple(one.detach().numpy() for one in tensors)


def _examples_of(
    parser: HumanParser, photo: Photo, view: int, backgrounds: list[Photo]
) -> np.ndarray:
    """float32 (people, F + C): the summaries of the known people who are found, and `known`."""
    seed = zlib.crc32(f"{photo.name}-{view}".encode())
    rng = np.random.default_rng(seed)
    pixels, people = _view(rng, photo.pixels, list(_known_people(photo)), view, backgrounds)
    outputs, geometry = parser.look(pixels)
    owner, seen = people_summaries(outputs, geometry, parser.pipeline.settings)
    rows = [np.zeros((0, seen.shape[1] + len(CIHP)), np.float32)]
    for body, known in people:
        found = _found(owner, len(seen), body)
        if found is not None:
            rows.append(np.concatenate([seen[found], known])[None].astype(np.float32))
    return np.concatenate(rows)


Known = tuple[np.ndarray | None, np.ndarray]  # the outline, None for the largest person; `known`


def _known_people(photo: Photo) -> Iterator[Known]:
    """The outline and the classes of each person of whom something is known."""
    if photo.labels is None:  # tagged: one person, without an outline
        for one in filter(None, photo.lists):
            yield None, _known(one.wears, one.unsure)
        return
    labels, people = photo.maps
    for number, listed in enumerate(photo.lists, start=1):
        body = people == number
        if listed:
            yield body, _known(listed.wears, listed.unsure)
        elif photo.lists == (None,):  # labelled
            yield body, _labelled(labels[body], photo.possible[0])


def _known(worn: Iterable[int], unsure: Iterable[int]) -> np.ndarray:
    known = np.zeros(len(CIHP), np.float32)
    known[list(worn)] = 1
    known[[0, *unsure]] = -1
    return known


def _labelled(labels: np.ndarray, possible: int) -> np.ndarray:
    """`known` of a labelled person; classes of which there is little count neither way."""
    share = np.bincount(labels, minlength=256)[: len(CIHP)] / max(len(labels), 1)
    least = np.array([FOUND_SHARE.get(name, LEAST_SHARE) for name in CIHP.names])
    maybe = (share > 0) | (possible >> np.arange(len(CIHP)) & 1 > 0)
    known = np.where(share >= least, 1, np.where(maybe, -1, 0)).astype(np.float32)
    known[0] = -1
    return known


def _found(owner: np.ndarray, count: int, body: np.ndarray | None) -> int | None:
    """The index of the person who is found at an outline; of the largest one without an outline."""
    cells = np.bincount(owner[owner >= 0], minlength=count)
    if body is None:
        return int(cells.argmax()) if count else None
    small = cv2.resize(body.astype(np.float32), owner.shape[::-1], interpolation=cv2.INTER_AREA)
    mine = small > 0.5
    shared = np.bincount(owner[mine & (owner >= 0)], minlength=count)
    overlap = shared / np.maximum(cells + mine.sum() - shared, 1)
    return int(overlap.argmax()) if count and overlap.max() > FOUND_IOU else None


def _view(
    rng: np.random.Generator,
    pixels: np.ndarray,
    people: list[Known],
    view: int,
    backgrounds: list[Photo],
) -> tuple[np.ndarray, list[Known]]:
    """View 0 is the photo, 1 its mirror image; others have other colours, and are cropped to some
    of the people or lie on a background.
    """
    if view > 1:
        pixels = through_camera(rng, random_colours(rng)(pixels))
        if people and people[0][0] is not None and rng.random() < 0.5:
            pixels, people = _cropped(rng, pixels, people)
        else:
            pixels, people = _on_background(rng, pixels, people, backgrounds)
    if view == 1 or (view > 1 and rng.random() < 0.5):
        pixels = np.ascontiguousarray(pixels[:, ::-1])
        people = [
            (None if body is None else body[:, ::-1], known[list(CIHP.mirrored)])
            for body, known in people
        ]
    return pixels, people


def _cropped(
    rng: np.random.Generator, pixels: np.ndarray, people: list[Known]
) -> tuple[np.ndarray, list[Known]]:
    body = people[rng.integers(len(people))][0]
    assert body is not None
    height, width = body.shape
    x, y, w, h = cv2.boundingRect(body.view(np.uint8))
    left, top = int(rng.uniform(0, x + 1)), int(rng.uniform(0, y + 1))
    right = int(width - rng.uniform(0, width - x - w + 1e-3))
    bottom = int(height - rng.uniform(0, height - y - h + 1e-3))
    window = np.s_[top:bottom, left:right]
    kept: list[Known] = [
        (one[window], known)
        for one, known in people
        if one is not None and one[window].sum() >= LEAST_VISIBLE * one.sum()
    ]
    return np.ascontiguousarray(pixels[window]), kept


def _on_background(
    rng: np.random.Generator, pixels: np.ndarray, people: list[Known], backgrounds: list[Photo]
) -> tuple[np.ndarray, list[Known]]:
    height, width = pixels.shape[:2]
    large = tuple(int(side * rng.uniform(1.0, 1.9)) for side in (width, height))
    canvas = cv2.resize(backgrounds[rng.integers(len(backgrounds))].pixels, large)
    left, top = (
        int(rng.uniform(0, a - b + 1)) for a, b in zip(large, (width, height), strict=True)
    )
    window = np.s_[top : top + height, left : left + width]
    canvas[window] = pixels

    def placed(body: np.ndarray | None) -> np.ndarray | None:
        if body is None:
            return None
        made = np.zeros(canvas.shape[:2], bool)
        made[window] = body
        return made

    return canvas, [(placed(body), known) for body, known in people]
