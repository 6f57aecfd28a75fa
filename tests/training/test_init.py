"""What a run starts from: loaded exactly, or refused with a reason."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from official import official_state, tiny_network  # noqa: E402

from humanparse.engines.onnxruntime import OnnxRuntimeEngine  # noqa: E402
from humanparse.errors import BrokenModel, UnknownModel  # noqa: E402
from humanparse.labels import CIHP, LabelSet  # noqa: E402
from humanparse.model.centre_parser import centre_parser  # noqa: E402
from humanparse.model.m2fp import m2fp_tiny  # noqa: E402
from humanparse.training import checkpoint as checkpoints  # noqa: E402
from humanparse.training.init import exported_tensors, load_exported, load_init  # noqa: E402
from humanparse.training.recipe import Recipe, Stage  # noqa: E402
from humanparse.weights.catalog import model_file  # noqa: E402

OWN = LabelSet("own", ("Background", "Hat", "Rest"))
TINY = Recipe(model="m2fp-tiny", name="tiny", stages=(Stage(1, ((64, 1),)),))


def test_the_bundled_model_comes_back_as_it_was_exported():
    network = centre_parser().eval()
    taken = load_exported(model_file(None), network)
    state = network.state_dict()
    tensors, labels = exported_tensors(model_file(None))
    assert len(taken.taken) == 234 and labels == CIHP and taken.fresh == ()
    assert all(torch.equal(state[name], tensors[name]) for name in taken.taken)
    assert all(name.startswith("teacher_heads.") for name in taken.kept)

    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted = OnnxRuntimeEngine(model_file(None)).run(pixels.numpy())
    with torch.inference_mode():
        got = network(pixels)
    for name, value in wanted.items():
        scale = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(got[name].numpy() / scale, value / scale, atol=1e-4)


def test_weights_in_fp16_and_weights_that_are_stored_once_come_back_as_well(tmp_path):
    model = onnx.load(model_file(None))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    half = stored["network.class_head.weight"]
    values = onnx.numpy_helper.to_array(half).astype(np.float16)
    half.CopyFrom(onnx.numpy_helper.from_array(values, "network.class_head.weight_fp16"))
    shared = stored["network.pyramid.smooth4.2.bias"]
    wanted = onnx.numpy_helper.to_array(stored["network.pyramid.smooth4.2.weight"])
    model.graph.initializer.remove(shared)
    model.graph.node.insert(
        0,
        onnx.helper.make_node(
            "Identity",
            ["network.pyramid.smooth4.2.weight"],
            ["network.pyramid.smooth4.2.bias"],
        ),
    )
    onnx.save(model, tmp_path / "fp16.onnx")
    network = centre_parser()
    load_exported(tmp_path / "fp16.onnx", network)
    assert (network.class_head.weight.detach().numpy() == values.astype(np.float32)).all()
    assert (network.pyramid.smooth4[2].bias.detach().numpy() == wanted).all()


def test_for_other_classes_the_class_layer_is_not_loaded_and_this_is_reported():
    network = centre_parser(3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    taken = load_init("humanparse-small", network, OWN)
    assert taken.fresh == (
        "class_head.bias",
        "class_head.weight",
        "wears_head.3.bias",
        "wears_head.3.weight",
    )
    assert "class_head.weight" in str(taken)
    assert torch.equal(network.state_dict()["class_head.weight"], before["class_head.weight"])
    assert not torch.equal(
        network.state_dict()["class_features.0.weight"], before["class_features.0.weight"]
    )

    as_many = LabelSet("as-many", tuple(f"class-{number}" for number in range(20)))
    assert load_init("humanparse-small", centre_parser(20), as_many).fresh == taken.fresh


def test_a_checkpoint_of_ours_gives_its_averaged_weights(tmp_path):
    torch.manual_seed(0)
    network, file = m2fp_tiny(4), tmp_path / "last.pt"
    checkpoints.save(file, TINY, OWN, step=1, average=network.state_dict(), best=0.0)
    other = m2fp_tiny(4)
    assert load_init(str(file), other, OWN).fresh == ()
    assert torch.equal(
        other.transformer_decoder.class_embed.weight, network.transformer_decoder.class_embed.weight
    )


def test_an_official_checkpoint_with_another_list_of_classes(tmp_path):
    network, file = tiny_network(), tmp_path / "pytorch_model.pt"
    torch.save({"model": official_state(network)}, file)
    other = m2fp_tiny(4)
    taken = load_init(str(file), other, OWN)
    assert taken.fresh == (
        "transformer_decoder.class_embed.bias",
        "transformer_decoder.class_embed.weight",
    )
    assert torch.equal(
        other.state_dict()["backbone.res5.0.conv1.weight"],
        network.state_dict()["backbone.res5.0.conv1.weight"],
    )
    same = m2fp_tiny(21)
    assert load_init(str(file), same, CIHP).fresh == ()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder / "none.pt", UnknownModel, "there is no file"),
        (lambda folder: "no-such-model", UnknownModel, "there is no model 'no-such-model'"),
        (
            lambda folder: _file(folder, "junk.pt", b"junk"),
            BrokenModel,
            "is not a PyTorch checkpoint",
        ),
        (lambda folder: model_file(None), BrokenModel, "M2FP cannot start from an .onnx file"),
        (
            lambda folder: _checkpoint(folder, m2fp_tiny(4)),
            BrokenModel,
            "does not fit this network: 1 of another shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_the_network_stays_as_it_was(
    tmp_path, make, error, message
):
    network = m2fp_tiny(4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(error, match=message):
        load_init(str(make(tmp_path)), network, OWN)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_file_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(BrokenModel, match=r"is not an ONNX file|holds no weights"):
        load_exported(_file(tmp_path, "junk.onnx", b"junk"), centre_parser())


def test_an_int8_file_is_refused(tmp_path):
    model = onnx.load(model_file(None))
    model.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["a", "b"], ["c"]))
    onnx.save(model, tmp_path / "int8.onnx")
    with pytest.raises(BrokenModel, match="is int8; training starts from the fp32 file"):
        load_exported(tmp_path / "int8.onnx", centre_parser())


def _checkpoint(folder, network):
    """A checkpoint of `humanparse train` in which one tensor has another shape."""
    state = network.state_dict()
    state["backbone.stem.conv1.weight"] = torch.zeros(9, 3, 3, 3)
    checkpoints.save(folder / "other.pt", TINY, OWN, step=1, average=state, best=0.0)
    return folder / "other.pt"


def _file(folder, name: str, content: bytes):
    (folder / name).write_bytes(content)
    return folder / name
