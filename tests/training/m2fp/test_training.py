"""A small M2FP learns a composite by heart, and its exported file parses it correctly."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from official import official_state, tiny_network  # noqa: E402
from stick_people import NAMES, stick_scene, write_folder  # noqa: E402

from humanparse import HumanParser  # noqa: E402
from humanparse.evaluation.mean_iou import MeanIoU  # noqa: E402
from humanparse.labels import LabelSet  # noqa: E402
from humanparse.model.m2fp import m2fp_tiny  # noqa: E402
from humanparse.training import checkpoint as checkpoints  # noqa: E402
from humanparse.training.checkpoint import Average  # noqa: E402
from humanparse.training.export import export_checkpoint  # noqa: E402
from humanparse.training.log import read_log  # noqa: E402
from humanparse.training.loop import learn  # noqa: E402
from humanparse.training.m2fp.task import M2FPTask  # noqa: E402
from humanparse.training.recipe import Recipe, Stage  # noqa: E402
from humanparse.training.validate import Score  # noqa: E402

OWN = LabelSet("own", NAMES)
RECIPE = Recipe(
    model="m2fp-tiny",
    name="tiny",
    stages=(Stage(1, ((96, 2),), lr=3e-3, backbone_lr=3e-3),),
    points=400,
    bf16=False,
    device="cpu",
    workers=0,
    threads=1,
    log_every=1,
)


def test_outputs_before_each_layer_come_in_training_only():
    network, pixels = m2fp_tiny(6), torch.rand(1, 3, 64, 64)
    outputs = network(pixels)
    assert len(outputs["earlier"]) == len(network.transformer_decoder.layers)
    assert all(one["pred_masks"].shape == outputs["pred_masks"].shape for one in outputs["earlier"])
    assert set(network.eval()(pixels)) == {"pred_logits", "pred_masks"}


def test_a_small_m2fp_learns_a_composite_by_heart_and_its_file_parses_it(tmp_path):
    torch.manual_seed(0)
    scene, steps = stick_scene(0), 70
    task = M2FPTask(replace(RECIPE, points=250), OWN)
    task.train_mode()
    batch = {name: torch.from_numpy(one[None]) for name, one in task.encode(scene, 0).items()}
    optimiser, average = torch.optim.AdamW(task.groups(0.0), lr=4e-3), Average(task.network, 0.8)
    costs = []
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * min(1, step / 10) * (1 + np.cos(np.pi * step / steps)) / 2
        loss = sum(task.losses(batch, step, lambda: torch.autocast("cpu", enabled=False)).values())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.network.parameters(), 1.0)
        optimiser.step()
        average.update(task.network, step)
        costs.append(loss.item())
    assert np.mean(costs[-5:]) < 0.15 * np.mean(costs[:5])

    checkpoints.save(tmp_path / "last.pt", RECIPE, OWN, step=steps, average=average.state, best=0.0)
    export_checkpoint(tmp_path / "last.pt", tmp_path / "model.onnx")
    parser, score = HumanParser(tmp_path / "model.onnx"), Score(MeanIoU(len(OWN)))
    score.add(parser, scene)
    assert parser.labels.names == NAMES and parser.card.head == "queries"
    assert score.classes.mean > 0.9 and score.people.pq > 0.85 and score.people.found == 2


@pytest.mark.parametrize("people", ["apart", "one"])
def test_the_loop_trains_m2fp_on_a_folder_with_its_own_classes(tmp_path, people):
    folder = write_folder(tmp_path / "photos", 3, persons=people == "apart")
    source = tmp_path / "pytorch_model.pt"
    torch.save({"model": official_state(tiny_network())}, source)
    lines = []
    recipe = replace(
        RECIPE,
        people=people,
        init=str(source),
        freeze_norm=True,
        bf16=True,
        points=200,
        holdout=3,
        validate_every=2,
        stages=(Stage(2, ((64, 2),), lr=1e-4, backbone_lr=1e-5, warmup_steps=1),),
    )
    last = learn(recipe, folder, tmp_path / "run", log=lines.append)
    assert (
        "these start from random values: "
        "transformer_decoder.class_embed.bias, transformer_decoder.class_embed.weight" in lines[0]
    )
    entries = read_log(tmp_path / "run/log.jsonl")
    assert [set(entry["losses"]) for entry in entries if "losses" in entry] == [
        {"class", "mask", "dice"}
    ] * 2
    figures = {"mIoU"} if people == "one" else {"mIoU", "person PQ"}
    assert [set(entry["validation"]) for entry in entries if "validation" in entry] == [figures]
    trained, began = checkpoints.read(last).state["model"], tiny_network().state_dict()
    norm, weight = "backbone.res5.0.conv1.norm.running_mean", "backbone.res5.0.conv1.weight"
    assert torch.equal(trained[norm], began[norm]) and not torch.equal(
        trained[weight], began[weight]
    )
    # the whole person where people are lines apart, and "no object"
    rows = len(NAMES) + (people == "apart") + 1
    assert len(trained["transformer_decoder.class_embed.weight"]) == rows


def test_norms_biases_and_embeddings_do_not_decay():
    task = M2FPTask(RECIPE, OWN)
    groups = task.groups(0.05)
    assert sum(len(group["params"]) for group in groups) == len(list(task.network.parameters()))
    decayed = {
        id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]
    }
    names = [
        name for name, parameter in task.network.named_parameters() if id(parameter) in decayed
    ]
    assert (
        "transformer_decoder.layers.0.linear1.weight" in names
        and "backbone.res2.0.conv1.weight" in names
    )
    assert not [
        name
        for name in names
        if "norm" in name or "bias" in name or "embed.weight" in name.replace("class_embed", "")
    ]
