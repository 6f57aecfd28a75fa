"""Does the converted M2FP agree with ModelScope's own code? The network of full size, step by step.

    python benchmarks/agreement.py --reference DIR [--photo PHOTO]

DIR holds a `reference.py` whose `build(seed)` returns ModelScope's M2FP with the CIHP settings and
random weights, and `CLASSES`, its class names; the Python that runs this needs both that and
humanparse[torch,openvino]. The weights go through `convert_checkpoint` as they would from
ModelScope, and then these are compared:

    network         raw outputs of PyTorch, ONNX Runtime and OpenVINO, at sizes that were not traced
    preprocessing   the network's input, for photos of several sizes
    postprocessing  instances, scores, masks and label maps, from the same raw outputs
    end to end      the same, from photo to label map, with each engine
    single person   input and label map of the single-person model, from the same made-up outputs

With random weights no score passes a threshold. So a scene of PEOPLE and parts is added to the raw
outputs, the same on both sides, before post-processing: several people and many classes are found.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from humanparse.engines import open_engine
from humanparse.export.checkpoint import load_network, read_checkpoint
from humanparse.export.m2fp import MEAN, MULTI_PERSON, STD, convert_checkpoint
from humanparse.labels import CIHP
from humanparse.postprocess.instances import find_instances
from humanparse.postprocess.queries import QuerySettings, parse_queries
from humanparse.postprocess.resample import Sampler
from humanparse.postprocess.semantic import SemanticSettings, parse_semantic
from humanparse.preprocess import Preprocess

SIZES_HW = ((320, 320), (256, 416), (416, 224), (640, 864))
PHOTOS_WH = ((640, 480), (333, 500), (1600, 1067))
FIT_HW = (473, 473)
SINGLE_PERSON = Preprocess(MEAN, STD, fit_hw=FIT_HW, filter="pil-bilinear")
HUMAN = 20
PEOPLE, INSTANCES = 5, 45
MASK_GAIN = 10
NAMES = ("pred_logits", "pred_masks")


def main() -> None:
    options = _options()
    sys.path.insert(0, str(options.reference))
    import reference

    net = reference.build(seed=0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, file = Path(folder, "pytorch_model.pt"), Path(folder, "m2fp.onnx")
        torch.save(
            {"model": net.state_dict(), "optimizer": {"state": {0: torch.zeros(3)}}}, checkpoint
        )
        checkpoint.with_name("configuration.json").write_text(
            json.dumps({"model": {"classes": reference.CLASSES}})
        )
        start = time.perf_counter()
        made = convert_checkpoint(checkpoint, file)
        seconds = time.perf_counter() - start
        print(f"converted {made.card.name} in {seconds:.0f} s, difference {made.difference:.1e}")
        ours = load_network(read_checkpoint(checkpoint))
        engines = {name: open_engine(name, file) for name in ("onnxruntime", "openvino")}
        compare_network(net, ours, engines)
        photo = Image.open(options.photo).convert("RGB")
        for size in PHOTOS_WH:
            compare_photo(net, engines, photo.resize(size, Image.Resampling.LANCZOS))
        for size in (*PHOTOS_WH, (200, 300), (900, 473)):
            compare_single(net, photo.resize(size, Image.Resampling.LANCZOS))


def staged(outputs: dict) -> dict:
    """Return the same outputs with a scene added: people and parts as ellipses.

    The network's own masks make the edges uneven.
    """
    logits, masks = (np.array(outputs[name]) for name in NAMES)
    rng = np.random.default_rng(0)
    rows, columns = (np.linspace(0, 1, side, dtype=np.float32) for side in masks.shape[2:])
    logits[0, :, -1] += 8
    masks *= MASK_GAIN
    for query in range(INSTANCES):
        person = query < PEOPLE
        logits[0, query, HUMAN if person else rng.integers(0, HUMAN)] += rng.uniform(8.5, 14)
        y, x, tall, wide = (
            *rng.uniform(0.1, 0.9, 2),
            *rng.uniform(0.04, 0.15, 2) * (3 if person else 1),
        )
        masks[0, query] += 6 - 6 * np.hypot((rows[:, None] - y) / tall, (columns - x) / wide)
    return {"pred_logits": logits, "pred_masks": masks}


def reference_raw(net: torch.nn.Module, image: torch.Tensor, photo_hw: tuple[int, int]) -> dict:
    with torch.no_grad():
        return net.forward(
            {"batched_inputs": [{"image": image, "height": photo_hw[0], "width": photo_hw[1]}]}
        )


def compare_network(net, ours, engines) -> None:
    """Run random pictures through the reference, our network and the engines."""
    mean, std = (
        torch.tensor(value).view(3, 1, 1) for value in (MULTI_PERSON.mean, MULTI_PERSON.std)
    )
    for size in SIZES_HW:
        image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1)) * 255
        wanted = {name: reference_raw(net, image, size)["outputs"][name].numpy() for name in NAMES}
        pixels = ((image - mean) / std)[None]
        with torch.inference_mode():
            found = {"torch": {name: value.numpy() for name, value in ours(pixels).items()}}
        found |= {name: engine.run(pixels.numpy()) for name, engine in engines.items()}
        for who, outputs in found.items():
            parts = ", ".join(f"{name} {_worst(outputs[name], wanted[name])}" for name in NAMES)
            print(f"network {size[0]}x{size[1]} {who:12} {parts}")


def compare_photo(net, engines, photo: Image.Image) -> None:
    """Compare one photo: its input, its post-processing alone, and everything from end to end."""
    pixels, geometry = MULTI_PERSON(np.asarray(photo))
    resized = geometry.resized_hw
    image = (
        torch.from_numpy(np.array(photo.resize(resized[::-1], Image.Resampling.BILINEAR)))
        .permute(2, 0, 1)
        .float()
    )
    raw = reference_raw(net, image, geometry.photo_hw)
    difference = np.abs(raw["images"].tensor.numpy() - pixels).max()
    print(
        f"photo {photo.width}x{photo.height} → {resized[1]}x{resized[0]}: "
        f"input differs by {difference:.1e}"
    )
    outputs = staged(raw["outputs"])
    raw["outputs"] = {name: torch.from_numpy(value) for name, value in outputs.items()}
    start = time.perf_counter()
    wanted = net.postprocess(raw)["eval_result"][0]["parsing"]
    theirs_ms = (time.perf_counter() - start) * 1000
    _compare_results("postprocessing", outputs, geometry, wanted, theirs_ms)
    for who, engine in engines.items():
        _compare_results(who, staged(engine.run(pixels)), geometry, wanted, theirs_ms)


def compare_single(net, photo: Image.Image) -> None:
    """Compare one photo fitted into FIT_HW, and label maps from the same blurred noise."""
    from modelscope.models.cv.image_human_parsing.parsing_utils import center_to_target_size_test

    pixels, geometry = SINGLE_PERSON(np.asarray(photo))
    fitted, box = center_to_target_size_test(np.asarray(photo), FIT_HW[::-1])
    normalised = (
        torch.from_numpy(np.array(fitted)).permute(2, 0, 1) - net.pixel_mean
    ) / net.pixel_std
    height, width = normalised.shape[1:]
    difference = np.abs(normalised.numpy() - pixels[0, :, :height, :width]).max()

    rng = np.random.default_rng(0)
    cells = geometry.input_hw[0] // 4, geometry.input_hw[1] // 4
    logits = rng.normal(0, 4, (1, 100, 21)).astype(np.float32)
    masks = np.stack(
        [
            cv2.GaussianBlur(rng.normal(0, 80, cells).astype(np.float32), (0, 0), 8)
            for _ in range(100)
        ]
    )[None]
    larger = torch.nn.functional.interpolate(
        torch.from_numpy(masks), scale_factor=4.0, mode="bilinear"
    )[0]
    votes = net.semantic_inference(torch.from_numpy(logits[0]), larger)
    votes = net.single_human_sem_seg_postprocess(
        votes, (height, width), box, photo.height, photo.width
    )
    wanted = votes.argmax(0).numpy()
    found = parse_semantic(
        {"pred_logits": logits, "pred_masks": masks}, geometry, SemanticSettings(), CIHP
    ).label_map
    print(
        f"single person {photo.width}x{photo.height}: input differs by {difference:.1e}; "
        f"label map equal on {(found == wanted).mean():.4%} ({len(np.unique(wanted))} classes)"
    )


def _compare_results(who: str, outputs, geometry, wanted: dict, theirs_ms: float) -> None:
    start = time.perf_counter()
    maps = parse_queries(outputs, geometry, QuerySettings(), CIHP)
    ours_ms = (time.perf_counter() - start) * 1000
    label_map = wanted["semantic_outputs"].argmax(0).numpy()
    instances = find_instances(outputs, geometry, min_score=0.1)
    theirs = sorted(
        wanted["part_outputs"] + wanted["human_outputs"],
        key=lambda one: (one["category_id"], -one["score"]),
    )
    order = [
        index
        for index in np.lexsort((-instances.scores, instances.classes))
        if instances.classes[index] > 0
    ]
    same = [instances.classes[index] for index in order] == [one["category_id"] for one in theirs]
    equal, foreground = (maps.label_map == label_map).mean(), (label_map > 0).mean()
    line = f"  {who:14} label map equal on {equal:.4%} "
    line += f"({foreground:.0%} foreground, {len(np.unique(label_map)) - 1} classes); "
    line += f"{len(order)} instances, {sum(instances.classes == HUMAN)} people, "
    line += f"same classes: {same}"
    if same and theirs:
        height, width = geometry.photo_hw
        sampler = Sampler.of(geometry, 4, outputs["pred_masks"].shape[2:])
        at_photo = sampler.within((0, 0, width, height))
        scores = max(
            abs(instances.scores[index] - one["score"])
            for index, one in zip(order, theirs, strict=True)
        )
        masks = [
            _iou(
                at_photo(instances.logits[index]) > 0,
                one["mask"].numpy() > 0,
            )
            for index, one in zip(order, theirs, strict=True)
        ]
        line += f"; scores differ by {scores:.1e}, least mask IoU {min(masks):.5f}"
    print(f"{line}; {ours_ms:.0f} ms (reference {theirs_ms:.0f} ms)")


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def _worst(found: np.ndarray, wanted: np.ndarray) -> str:
    return f"{np.abs(found - wanted).max():.1e} (of {np.abs(wanted).max():.1f})"


def _options() -> argparse.Namespace:
    import humanparse

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--reference", type=Path, required=True, help="the folder with reference.py"
    )
    parser.add_argument(
        "--photo", type=Path, default=Path(humanparse.__file__).parent / "cli/demo/astronaut.jpg"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
