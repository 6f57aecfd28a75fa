"""A whole run on made-up photos: train, be killed, continue, measure, export, parse."""

import copy
import json
import platform
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stick_people import write_folder  # noqa: E402

from humanparse import HumanParser  # noqa: E402
from humanparse.errors import OptionError  # noqa: E402
from humanparse.labels import CIHP  # noqa: E402
from humanparse.model.bodypix import load_bodypix  # noqa: E402
from humanparse.model.centre_parser import centre_parser  # noqa: E402
from humanparse.training import checkpoint as checkpoints  # noqa: E402
from humanparse.training import loop, output  # noqa: E402
from humanparse.training.checkpoint import Average  # noqa: E402
from humanparse.training.data import open_data  # noqa: E402
from humanparse.training.embedded import EmbeddedTask, init_from_bodypix, spare_bf16  # noqa: E402
from humanparse.training.export import trained_model  # noqa: E402
from humanparse.training.init import exported_tensors  # noqa: E402
from humanparse.training.log import read_log  # noqa: E402
from humanparse.training.loop import (  # noqa: E402
    Steps,
    choose_device,
    has_bf16,
    learn,
    make_task,
    set_rates,
    stage_of,
    train,
)
from humanparse.training.losses import CLASS_WEIGHTS  # noqa: E402
from humanparse.training.photos import TEACHER_FILE  # noqa: E402
from humanparse.training.recipe import Recipe, Stage  # noqa: E402
from humanparse.weights.catalog import model_file  # noqa: E402

SMALL = Recipe(
    stages=(
        Stage(3, ((32, 2), (64, 1)), warmup_steps=1, backbone_lr=1e-4),
        Stage(3, ((64, 2),), warmup_steps=1, lr=1e-4),
    ),
    device="cpu",
    bf16=False,
    workers=0,
    threads=1,
    log_every=1,
    save_every=2,
    validate_every=3,
    validate_pictures=1,
)
# For what does not depend on the size of the scenes.
SMALLEST = replace(
    SMALL,
    stages=(Stage(3, ((32, 2),), warmup_steps=1), Stage(3, ((32, 2),))),
    validate_every=0,
    save_every=6,
)
# Trains, and kills itself (SIGKILL) while it writes the checkpoint of the given step.
KILLED = """
import os, signal, sys
from pathlib import Path
from humanparse.training import checkpoint, loop
from humanparse.training.recipe import recipe_from_json

write = checkpoint.torch.save
def write_half(state, part):
    write(state, part)
    if state["step"] == int(sys.argv[4]):
        os.truncate(part, os.path.getsize(part) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.torch.save = write_half
loop.learn(recipe_from_json(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def straight(data, teacher_masks, tmp_path_factory):
    """The folder of a run without interruptions, with its model."""
    out = tmp_path_factory.mktemp("straight")
    shutil.copy(teacher_masks, out)
    train(SMALL, data, out, log=quiet)
    return out


def test_a_run_that_was_killed_goes_on_to_the_very_same_weights(data, straight, out):
    arguments = [SMALL.to_json(), str(data), str(out), "4"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], stdout=subprocess.DEVNULL, timeout=240
    )
    assert done.returncode == -signal.SIGKILL
    assert checkpoints.read(out / "last.pt").state["step"] == 3

    lines = []
    learn(SMALL, data, out, resume=True, log=lines.append)
    assert lines[0] == "continues after step 3 of 6"
    one, other = (checkpoints.read(folder / "last.pt").state for folder in (straight, out))
    for part in ("model", "average"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    assert one["optimiser"]["state"].keys() == other["optimiser"]["state"].keys()
    assert _without_speed(straight) == _without_speed(out)


def test_the_run_leaves_a_log_curves_and_a_model_that_parses(straight):
    entries = read_log(straight / "log.jsonl")
    assert [entry["step"] for entry in entries if "losses" in entry] == [1, 2, 3, 4, 5, 6]
    assert [entry["stage"] for entry in entries if "losses" in entry] == [1, 1, 1, 2, 2, 2]
    measured = [entry for entry in entries if "validation" in entry]
    assert [entry["step"] for entry in measured] == [3, 6] and measured[0]["best"]
    assert all(set(entry["validation"]) == {"mIoU", "person PQ"} for entry in measured)
    assert (straight / "curves.png").read_bytes()[:4] == b"\x89PNG"
    parser = HumanParser(straight / "model.onnx")
    assert parser.name == "my-model" and parser.card.license == "unknown"
    assert parser.parse(np.zeros((48, 64, 3), np.uint8)).label_map.shape == (48, 64)


def test_the_best_weights_are_kept_and_exported(straight):
    best = checkpoints.read(straight / "best.pt")
    measured = {
        entry["step"]: entry for entry in read_log(straight / "log.jsonl") if "validation" in entry
    }
    assert best.state["figures"] == pytest.approx(
        measured[best.state["step"]]["validation"], abs=1e-4
    )
    assert [step for step, entry in measured.items() if entry["best"]][-1] == best.state["step"]


def test_training_changes_every_part_of_the_network(data, straight):
    teacher = load_bodypix(data / TEACHER_FILE, centred=True)
    before = init_from_bodypix(teacher, centre_parser()).state_dict()
    after = trained_model(straight / "last.pt").state_dict()
    for part in (
        "backbone.body.0.weight",
        "class_head.weight",
        "centre_head.weight",
        "context.reduce.0.weight",
    ):
        assert not torch.equal(before[part], after[part])


def test_a_folder_with_a_run_is_not_touched_unless_it_goes_on_with_the_same_recipe(data, straight):
    with pytest.raises(OptionError, match="add --resume"):
        learn(SMALL, data, straight, log=quiet)
    with pytest.raises(OptionError, match=r"another recipe \(ema, seed differ\)"):
        learn(replace(SMALL, seed=5, ema=0.9), data, straight, resume=True, log=quiet)


def test_a_folder_that_another_training_writes_to_is_left_to_it(data, out, monkeypatch):
    monkeypatch.setattr(output, "LOCK_S", 0.0)
    first, second = [], []

    def log(line):
        first.append(line)
        if len(first) == 1:
            with pytest.raises(
                OptionError, match=r"another training writes to .* now; wait for its end"
            ):
                learn(SMALL, data, out, log=second.append)

    learn(replace(SMALL, validate_every=0, stages=(Stage(1, ((32, 2),)),)), data, out, log=log)
    assert first and "waiting for its end" in second[0]


def test_a_folder_that_cannot_be_one_is_refused_at_once(data, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(
        OptionError, match=r"cannot write to the folder .*run: File exists; choose another --out"
    ):
        learn(SMALL, data, tmp_path / "run", log=quiet)


def test_a_finished_run_that_is_resumed_stays_as_it_is(data, straight):
    before = (straight / "last.pt").read_bytes()
    learn(replace(SMALL, log_every=2), data, straight, resume=True, log=quiet)
    assert (straight / "last.pt").read_bytes() == before


def test_workers_make_the_same_scenes(data, out, straight):
    learn(replace(SMALL, workers=2, validate_every=0), data, out, log=quiet)
    one, other = (checkpoints.read(folder / "last.pt").state["model"] for folder in (straight, out))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_can_start_from_the_bundled_model_and_says_what_it_took(data, out):
    lines = []
    recipe = replace(
        SMALL,
        init="humanparse-small",
        validate_every=0,
        stages=(Stage(1, ((32, 2),), lr=0, backbone_lr=0),),
    )
    learn(recipe, data, out, log=lines.append)
    assert lines[0].startswith(
        "starts from humanparse-small: 234 tensors taken over; not in the file"
    )
    assert json.loads((out / "log.jsonl").read_text().splitlines()[0])["note"] == lines[0]


def test_a_training_that_only_harms_gives_what_it_began_with(data, out, monkeypatch):
    figures = iter((0.5, 0.4))
    monkeypatch.setattr(loop, "measure_network", lambda *_: {"mIoU": next(figures)})
    monkeypatch.setattr(loop, "export_checkpoint", lambda weights, model: None)
    recipe = replace(
        SMALL, init="humanparse-small", validate_every=1, stages=(Stage(1, ((32, 2),)),)
    )
    lines = []
    done = train(recipe, data, out, log=lines.append)
    measured = [entry for entry in read_log(out / "log.jsonl") if "validation" in entry]
    assert [(entry["step"], entry["best"]) for entry in measured] == [(0, True), (1, False)]
    assert "did better" in lines[-1] and done.weights == out / "best.pt"
    average = checkpoints.read(done.weights).average
    shipped, _ = exported_tensors(model_file(None))
    assert all(torch.equal(average[name], tensor) for name, tensor in shipped.items())


def test_a_run_that_must_ask_the_teacher_says_so_first(data, tmp_path):
    recipe = replace(SMALL, validate_every=0, stages=(Stage(1, ((32, 2),)),))
    lines = []
    learn(recipe, data, tmp_path, log=lines.append)
    assert lines[0].startswith(f"the teacher looks at each photo of {data} once") and lines[
        1
    ].startswith("step 1/1")
    again = []
    learn(recipe, data, tmp_path, resume=True, log=again.append)
    assert again == ["continues after step 1 of 1"]


def test_no_two_steps_share_a_scene_and_sizes_take_turns():
    steps = list(Steps(SMALL, 0))
    numbers = [number for step in steps for number, _ in step]
    assert len(set(numbers)) == len(numbers) == 2 + 1 + 2 + 2 + 2 + 2
    assert [step[0][1] for step in steps] == [32, 64, 32, 64, 64, 64]
    assert list(Steps(SMALL, 4)) == steps[4:] and len(Steps(SMALL, 4)) == 2


def test_each_stage_warms_up_and_ends_at_zero():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([{"params": [parameter], "part": "backbone"}], lr=1)
    stage = Stage(100, ((64, 1),), lr=1.0, backbone_lr=0.1, warmup_steps=10)
    assert set_rates(optimiser, stage, 1) == pytest.approx(0.1, rel=0.01)
    assert set_rates(optimiser, stage, 50) == pytest.approx(0.5) and optimiser.param_groups[0][
        "lr"
    ] == pytest.approx(0.05)
    assert set_rates(optimiser, stage, 100) == pytest.approx(0, abs=1e-12)
    assert stage_of(SMALL, 3) == (SMALL.stages[0], 3) and stage_of(SMALL, 4) == (SMALL.stages[1], 1)


def test_layers_that_start_anew_learn_at_their_own_rate():
    stage = Stage(10, ((64, 1),), lr=0.1, backbone_lr=0.01, warmup_steps=0, fresh_lr_factor=5)
    task, fresh = (
        EmbeddedTask(SMALL, CIHP, CLASS_WEIGHTS, None),
        ("class_head.bias", "class_head.weight"),
    )
    optimiser = torch.optim.AdamW(task.groups(0.01, fresh), lr=0.0)
    share = set_rates(optimiser, stage, 1) / stage.lr
    names = {id(one): name for name, one in task.network.named_parameters()}
    rates = {
        names[id(one)]: group["lr"] / share
        for group in optimiser.param_groups
        for one in group["params"]
    }
    assert len(rates) == len(names)
    assert {name for name, rate in rates.items() if rate == pytest.approx(0.5)} == set(fresh)
    slow = {name for name, rate in rates.items() if rate == pytest.approx(0.01)}
    assert slow == {name for name in rates if name.startswith(("backbone.", "teacher_heads."))}


def test_a_run_that_goes_on_knows_which_layers_started_anew(tmp_path):
    folder, out = write_folder(tmp_path / "photos", 2), tmp_path / "run"
    stages = (Stage(2, ((64, 2),), fresh_lr_factor=5.0),)
    recipe = replace(SMALLEST, init="humanparse-small", save_every=1, stages=stages)
    learn(recipe, folder, out, log=quiet)
    saved = checkpoints.read(out / "last.pt").state
    fresh = saved["fresh"]
    assert {name.rsplit(".", 1)[0] for name in fresh} == {"class_head", "wears_head.3"}
    torch.save(saved | {"step": 1}, out / "last.pt")  # as if stopped before the last step
    learn(recipe, folder, out, resume=True, log=quiet)
    again = checkpoints.read(out / "last.pt").state
    assert again["step"] == 2 and again["fresh"] == fresh
    assert again["optimiser"]["param_groups"] == saved["optimiser"]["param_groups"]


def test_where_nothing_is_held_out_the_ways_to_go_on_are_named(tmp_path):
    folder = write_folder(tmp_path / "photos", 2)
    with pytest.raises(OptionError, match="set holdout to no more than the number of photos, or"):
        learn(SMALL, folder, tmp_path / "run", log=quiet)


def test_a_gpu_that_is_not_there_is_refused():
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="finds no GPU"):
            choose_device("cuda")


def test_one_bad_step_does_not_spoil_the_weights(data, out, monkeypatch):
    from humanparse.training.embedded import EmbeddedTask

    losses = EmbeddedTask.losses

    def spoilt(self, batch, step, autocast):
        parts = losses(self, batch, step, autocast)
        return parts | {"classes": parts["classes"] * float("nan")} if step == 2 else parts

    monkeypatch.setattr(EmbeddedTask, "losses", spoilt)
    lines = []
    learn(replace(SMALLEST, log_every=3), data, out, log=lines.append)
    assert all(
        torch.isfinite(value).all() for value in checkpoints.read(out / "last.pt").average.values()
    )
    assert (
        lines[1] == "steps whose loss was not finite, and which left the weights as they were: 1"
        and len(lines) == 3
    )
    # The means are those of the steps whose loss was finite.
    assert "nan" not in lines[0] and "NaN" not in (out / "log.jsonl").read_text()


def test_nor_does_one_whose_picture_is_not_finite(data, out, monkeypatch):
    from humanparse.training.embedded import EmbeddedTask

    losses = EmbeddedTask.losses

    def spoilt(self, batch, step, autocast):
        return losses(
            self,
            batch | {"pixels": batch["pixels"] * float("nan")} if step == 2 else batch,
            step,
            autocast,
        )

    monkeypatch.setattr(EmbeddedTask, "losses", spoilt)
    learn(replace(SMALLEST, teacher_every=3), data, out, log=quiet)
    assert all(
        torch.isfinite(value).all() for value in checkpoints.read(out / "last.pt").average.values()
    )


def test_the_teacher_and_the_mirrored_scenes_are_asked_as_often_as_the_recipe_says(data, out):
    learn(replace(SMALLEST, teacher_every=4, mirror_every=3), data, out, log=quiet)
    losses = [entry["losses"] for entry in read_log(out / "log.jsonl") if "losses" in entry]
    assert ["teacher" in one for one in losses] == [False, False, False, True, False, False]
    assert ["mirror" in one for one in losses] == [False, False, True, False, False, True]


def test_the_averaged_weights_say_of_mirrored_scenes_what_lies_back_over_the_scenes(data):
    task = make_task(replace(SMALL, mirror_every=1), open_data(SMALL, data, data))
    average = Average(task.network, 0.5)
    task.follow(average.state)
    pixels = torch.randn(1, 3, 64, 64)
    alone = task.average(pixels)["classes"]
    back = task.mirrored({"pixels": pixels.flip(3)})["classes"].flip(3)
    assert torch.equal(back, alone[:, task.sides]) and not torch.equal(back, alone)
    with torch.no_grad():
        task.network.class_head.bias += 1000.0
    average.update(task.network, 10)
    assert (task.average(pixels)["classes"] - alone).mean() > 100, (
        "the averaged weights were not followed"
    )


@pytest.fixture
def runs(teacher_masks, tmp_path):
    """`runs("one")` is a folder to train into, which has the teacher's masks already."""

    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        shutil.copy(teacher_masks, tmp_path / name)
        return tmp_path / name

    return folder


def test_frozen_convolutions_stay_as_they_are_and_thaw_in_the_next_stage(data, runs):
    teacher = load_bodypix(data / TEACHER_FILE, centred=True)
    frozen, thawed = Stage(2, ((32, 2),), frozen=7), Stage(2, ((32, 2),))
    for name, stages in {"one": (frozen,), "two": (frozen, thawed)}.items():
        out = runs(name)
        learn(replace(SMALL, stages=stages, validate_every=0), data, out, log=quiet)
        learnt = checkpoints.read(out / "last.pt").state["model"]
        same = [
            torch.equal(learnt[f"backbone.body.{n}.weight"], conv.weight)
            for n, conv in enumerate(teacher.backbone.body)
        ]
        assert not any(same[7:]) and all(same[:7]) == (name == "one")


def test_a_stage_can_begin_between_what_was_learnt_and_bodypix(data, runs):
    teacher = load_bodypix(data / TEACHER_FILE, centred=True)
    kept = Stage(1, ((32, 2),), warmup_steps=0, lr=0.0, backbone_lr=0.0, backbone_share=0.25)
    recipe = replace(SMALL, validate_every=0, ema=0.0)
    first, second = runs("learnt"), runs("blended")
    learn(replace(recipe, stages=(Stage(2, ((32, 2),), backbone_lr=1e-2),)), data, first, log=quiet)
    init = str(first / "last.pt")
    learn(replace(recipe, stages=(kept,), init=init), data, second, log=quiet)
    learnt, blended = (checkpoints.read(out / "last.pt").average for out in (first, second))
    for part, own in {"backbone": teacher.backbone, "teacher_heads": teacher.heads}.items():
        for name, theirs in own.state_dict().items():
            wanted = 0.25 * learnt[f"{part}.{name}"] + 0.75 * theirs
            assert torch.allclose(blended[f"{part}.{name}"], wanted, atol=1e-6)
    assert not torch.equal(learnt["backbone.body.26.weight"], teacher.backbone.body[26].weight)
    assert torch.equal(blended["class_head.weight"], learnt["class_head.weight"])


def test_the_average_forgets_weights_that_a_stage_has_replaced(data, out):
    teacher = load_bodypix(data / TEACHER_FILE, centred=True)
    stages = (
        Stage(2, ((32, 2),), backbone_lr=1e-2),
        Stage(1, ((32, 2),), frozen=27, backbone_share=0.0),
    )
    learn(replace(SMALL, stages=stages, validate_every=0, ema=0.9), data, out, log=quiet)
    average = checkpoints.read(out / "last.pt").average
    for name, value in teacher.backbone.state_dict().items():
        assert torch.allclose(average[f"backbone.{name}"], value, atol=1e-6)


def test_without_bodypix_a_stage_cannot_ask_for_its_weights():
    with pytest.raises(OptionError, match="stage 1 begins with BodyPix's weights"):
        EmbeddedTask(
            replace(SMALL, stages=(Stage(1, ((64, 2),), backbone_share=0.5),)),
            CIHP,
            CLASS_WEIGHTS,
            None,
        )


def _without_speed(folder) -> list[dict]:
    return [
        {key: value for key, value in entry.items() if key != "photos_per_s"}
        for entry in read_log(folder / "log.jsonl")
    ]


def test_the_person_map_starts_as_the_teachers(data):
    teacher = load_bodypix(data / TEACHER_FILE, centred=True).eval()
    model = init_from_bodypix(teacher, centre_parser()).eval()
    pixels = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        wanted = torch.nn.functional.interpolate(
            teacher(pixels)["segments"], scale_factor=4.0, mode="bilinear"
        )
        assert torch.allclose(model(pixels)["person"], wanted, atol=1e-4)


def test_the_deep_stage_begins_by_adding_nothing_and_can_learn():
    model = centre_parser().eval()
    pixels = torch.rand(1, 3, 64, 96) * 2 - 1
    before = model(pixels)["classes"]
    before.square().mean().backward()
    assert model.context.deep.out.weight.grad.abs().sum() > 0
    torch.nn.init.normal_(model.context.deep.blocks[0][0].weight)
    assert torch.equal(model(pixels)["classes"], before)


def test_convolutions_kept_in_fp32_under_autocast_give_the_same():
    torch.manual_seed(0)
    plain = centre_parser().eval()
    spared = copy.deepcopy(plain)
    spare_bf16(spared)
    pixels = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(plain(pixels)["person"], spared(pixels)["person"])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            one, other = plain(pixels)["features16"], spared(pixels)["features16"]
    assert one.dtype == other.dtype == torch.bfloat16 and torch.allclose(one, other, atol=0.05)
    assert plain.state_dict().keys() == spared.state_dict().keys()


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="only Linux lists instructions")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flag is of x86")
def test_a_processor_has_bf16_if_it_lists_the_instructions():
    listed = "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()
    assert has_bf16(torch.device("cpu")) == listed


@pytest.mark.parametrize("there", [True, False])
def test_networks_compute_in_bf16_only_where_the_processor_has_it(data, out, monkeypatch, there):
    monkeypatch.setattr(loop, "has_bf16", lambda device: there)
    seen, task_losses = set(), EmbeddedTask.losses

    def spy(task, batch, step, autocast):
        with autocast():
            seen.add(torch.is_autocast_enabled("cpu"))
        return task_losses(task, batch, step, autocast)

    monkeypatch.setattr(EmbeddedTask, "losses", spy)
    lines = []
    recipe = replace(SMALLEST, bf16=True, stages=(Stage(1, ((32, 2),)),))
    learn(recipe, data, out, log=lines.append)
    assert seen == {there}
    assert any("no instructions for bf16" in line for line in lines) != there


def test_a_cell_looks_at_the_middle_of_its_square():
    """With centred padding, moving the picture by one cell moves every feature by one cell.

    Nothing drifts sideways.
    """
    from humanparse.model.bodypix import MobileNetV1

    torch.manual_seed(0)
    backbone = MobileNetV1(centred=True)
    dot = torch.zeros(1, 3, 640, 640, requires_grad=True)
    for stride, cell in ((4, 80), (8, 40), (16, 20)):
        dot.grad = None
        features = backbone(dot)[stride]
        features[0, :, cell, cell].sum().backward()
        rows = torch.nonzero(dot.grad.abs().sum((0, 1, 3)))
        middle = (rows.min() + rows.max() + 1) / 2
        assert abs(middle - (cell + 0.5) * stride) <= 2.5 * stride / 16 + 1.5
