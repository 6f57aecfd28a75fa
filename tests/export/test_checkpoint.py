"""Checkpoints from elsewhere are read completely or refused, and nothing in them is ever run."""

import json
import os

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import safetensors.torch
import torch
from official import official_state, tiny_network

from humanparse.errors import BrokenModel, OptionError
from humanparse.export.checkpoint import load_network, read_checkpoint, save_safetensors
from humanparse.export.m2fp import choose_labels
from humanparse.labels import CIHP, LIP, PASCAL_PERSON_PART


@pytest.fixture
def saved(tmp_path):
    """`saved(content)` writes a PyTorch file and returns its path."""

    def save(content, name="pytorch_model.pt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


def same_outputs(a, b) -> bool:
    pixels = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        return torch.equal(a(pixels)["pred_masks"], b(pixels)["pred_masks"])


def test_modelscopes_format_is_read_without_the_optimiser(saved):
    network = tiny_network()
    file = saved(
        {"model": official_state(network), "optimizer": {"state": {0: {"step": 7}}}, "iteration": 3}
    )
    assert same_outputs(load_network(read_checkpoint(file)), network)


def test_a_plain_state_dict_of_several_gpus_is_read(saved):
    network = tiny_network()
    state = {
        f"module.{name}": value
        for name, value in official_state(network).items()
        if "num_batches" not in name
    }
    state |= {"module.criterion.empty_weight": torch.ones(22)}
    assert same_outputs(load_network(read_checkpoint(saved(state))), network)


def test_safetensors_are_read(tmp_path):
    network = tiny_network()
    safetensors.torch.save_file(official_state(network), tmp_path / "m2fp.safetensors")
    assert same_outputs(load_network(read_checkpoint(tmp_path / "m2fp.safetensors")), network)


def test_safetensors_are_written_with_official_names_and_read_back(saved, tmp_path):
    from safetensors import safe_open

    source = saved(
        {"model": official_state(tiny_network()), "optimizer": {"state": {0: torch.zeros(3)}}}
    )
    out = save_safetensors(source, tmp_path / "model.safetensors", "CC-BY-NC-4.0")
    again = read_checkpoint(out)
    for name, tensor in read_checkpoint(source).tensors.items():
        assert torch.equal(tensor, again.tensors[name])
    with safe_open(out, "pt") as file:
        assert file.metadata()["license"] == "CC-BY-NC-4.0"
        assert any(name.startswith("sem_seg_head.predictor.") for name in file.keys())  # noqa: SIM118
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_missing_unexpected_and_misshaped_tensors_are_listed(saved):
    state = official_state(tiny_network())
    del state["sem_seg_head.pixel_decoder.layer_1.weight"]
    state["sem_seg_head.extra"] = torch.zeros(1)
    state["sem_seg_head.predictor.query_feat.weight"] = torch.zeros(7, 32)
    state["backbone.res2.0.conv1.weight"][0] = float("nan")
    with pytest.raises(BrokenModel) as caught:
        load_network(read_checkpoint(saved({"model": state})))
    report = str(caught.value)
    assert (
        "1 missing: pixel_decoder.smooth.weight" in report
        and "1 unexpected: sem_seg_head.extra" in report
    )
    assert (
        "query_feat.weight (7, 32) instead of (20, 32)" in report
        and "1 not finite: backbone.res2.0.conv1.weight" in report
    )


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


@pytest.mark.parametrize(
    "hide", [lambda evil: evil, lambda evil: {"model": {"a": torch.zeros(1)}, "optimizer": evil}]
)
def test_a_pickle_that_runs_code_is_refused_unrun(saved, tmp_path, monkeypatch, hide):
    monkeypatch.chdir(tmp_path)
    file = saved(hide(Hostile()))
    with pytest.raises(BrokenModel, match="nothing in it was run"):
        read_checkpoint(file)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_an_incomplete_file_is_refused(saved, keep):
    file = saved({"model": official_state(tiny_network())})
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(BrokenModel, match="get it again"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"model": {}}, {"model": {"a": 1}}, {"model": {"a": torch.zeros(1)}}]
)
def test_files_that_are_something_else_are_refused(saved, content):
    file = saved(content)
    with pytest.raises(BrokenModel, match=r"pytorch_model\.pt"):
        load_network(read_checkpoint(file))


@pytest.mark.parametrize("content", [b"", b"not a model", np.random.default_rng(0).bytes(999)])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    file = tmp_path / "m2fp.safetensors"
    file.write_bytes(content)
    with pytest.raises(BrokenModel, match="not a safetensors file"):
        read_checkpoint(file)


def test_classes_come_from_the_configuration_next_to_it(saved):
    file = saved({"model": official_state(tiny_network(num_classes=4))})
    names = ["Background", "Left-ear", "Right-ear", "Pet"]
    file.with_name("configuration.json").write_text(
        json.dumps({"model": {"type": "M2FP", "classes": names}})
    )
    assert choose_labels(read_checkpoint(file), None).names == (
        "Background",
        "Left-ear",
        "Right-ear",
    )


def test_the_official_spelling_is_the_official_label_set(saved):
    file = saved({"model": official_state(tiny_network())})
    names = [name.replace("Glove", "Gloves") for name in CIHP.names]
    file.with_name("configuration.json").write_text(
        json.dumps({"model": {"classes": [*names, "Human"]}})
    )
    assert choose_labels(read_checkpoint(file), None) is CIHP


def test_without_a_configuration_the_number_of_classes_decides(saved):
    checkpoint = read_checkpoint(saved({"model": official_state(tiny_network(num_classes=8))}))
    assert choose_labels(checkpoint, None) is PASCAL_PERSON_PART
    assert PASCAL_PERSON_PART.names[1:3] == ("Lower-arm", "Head")  # as M2FP registers the data set
    with pytest.raises(OptionError, match=r"cihp has 20 classes.*has 7"):
        choose_labels(checkpoint, "cihp")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model": {"classes": "all"}}', '{"model": {"classes": ["one"]}}']
)
def test_a_configuration_that_makes_no_sense_is_refused(saved, text):
    file = saved({"model": official_state(tiny_network())})
    file.with_name("configuration.json").write_text(text)
    with pytest.raises(BrokenModel, match=r"configuration\.json"):
        choose_labels(read_checkpoint(file), None)


def test_single_person_models_have_the_size_that_photos_are_fitted_into(saved):
    file = saved({"model": official_state(tiny_network(num_classes=20))})
    with pytest.raises(BrokenModel, match=r"LIP's 20 classes.*configuration\.json"):
        choose_labels(read_checkpoint(file), None)
    model = {"single_human": True, "input_single_human": {"sizes": [[473, 512]]}}
    file.with_name("configuration.json").write_text(json.dumps({"model": model}))
    checkpoint = read_checkpoint(file)
    assert checkpoint.single_hw == (512, 473)
    assert choose_labels(checkpoint, None) is LIP
