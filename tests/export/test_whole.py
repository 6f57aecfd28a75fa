"""The single graph finds what HumanParser finds: mostly the same pixels, always the same people."""

import json

import cv2
import numpy as np
import onnxruntime
import pytest

from humanparse import HumanParser
from humanparse.errors import BrokenModel, ModelError, OptionError
from humanparse.export.single_graph import whole
from humanparse.export.single_graph.builder import Builder, Value
from humanparse.export.single_graph.people import rectangles
from humanparse.export.single_graph.whole import write_single_graph
from humanparse.weights.catalog import model_file

onnx = pytest.importorskip("onnx", reason="exporting needs the package onnx")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "photo-to-maps.onnx"
    write_single_graph(model_file(None), out)
    return out


@pytest.fixture(scope="module")
def run(file):
    return whole.runner(file)


@pytest.fixture(scope="module")
def parser():
    return HumanParser(engine="onnxruntime")


def agreement(parser, run, pixels):
    """Shares of equal labels and people; the same people must be found with the same scores."""
    wanted, (labels, people, scores) = parser.parse(pixels), run(pixels)
    assert (
        labels.shape == people.shape == pixels.shape[:2]
        and labels.dtype == people.dtype == np.uint8
    )
    assert scores == pytest.approx([person.score for person in wanted.people], abs=0.01)
    return (wanted.label_map == labels).mean(), (wanted.person_map == people).mean()


@pytest.mark.parametrize(
    "size_wh", [(512, 600), (97, 130), (1024, 1200), (400, 600), (899, 401)], ids=str
)
def test_one_person_at_any_size(parser, run, hopper, size_wh):
    labels, people = agreement(
        parser, run, cv2.resize(hopper, size_wh, interpolation=cv2.INTER_AREA)
    )
    assert labels > 0.95 and people > 0.97


def test_people_side_by_side_stay_apart(parser, run, crowd):
    labels, people = agreement(parser, run, crowd)
    assert labels > 0.95 and people > 0.98
    assert len(np.unique(run(crowd)[1])) > 3


@pytest.mark.parametrize("size_hw", [(64, 64), (3, 900), (1, 1)], ids=str)
def test_a_photo_without_people_gives_empty_maps(run, size_hw):
    pixels = np.full((*size_hw, 3), 128, np.uint8)
    labels, people, scores = run(pixels)
    assert (
        labels.shape == pixels.shape[:2]
        and not labels.any()
        and not people.any()
        and len(scores) == 0
    )


@pytest.mark.parametrize("size_wh", [(1501, 1103), (97, 130), (300, 600), (40, 7)], ids=str)
def test_the_resized_photo_is_the_one_that_opencv_makes(parser, astronaut, size_wh):
    """When a photo shrinks, as most do, the area filter is exact up to rounding.

    When it grows, the graph calculates as OpenCV does.
    """
    photo = cv2.resize(astronaut, size_wh, interpolation=cv2.INTER_AREA)
    op = Builder("test")
    _, pixels = whole._prepare(
        op, op.cut(op.Shape(Value(op, "photo")), [1], [3], [0]), parser.preprocess
    )
    graph = onnx.helper.make_graph(
        op.nodes,
        "test",
        [onnx.helper.make_tensor_value_info("photo", onnx.TensorProto.UINT8, (1, None, None, 3))],
        [onnx.helper.make_tensor_value_info(pixels.name, onnx.TensorProto.FLOAT, None)],
        [one for _, one in op.constants.values()],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found, wanted = session.run(None, {"photo": photo[None]})[0], parser.preprocess(photo)[0]
    assert found.shape == wanted.shape
    steps = np.abs(found - wanted) * 127.5  # in units of a pixel's value
    assert steps.max() < 1.01 and (steps > 0.01).mean() < 0.001


@pytest.mark.parametrize("radius", range(1, 9))
def test_rectangles_together_are_the_disc(radius):
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(
        bool
    )
    covered = np.zeros_like(disc)
    for down, across in rectangles(radius):
        covered[radius - down : radius + down + 1, radius - across : radius + across + 1] = True
    assert (covered == disc).all()


def test_the_file_names_its_classes_but_is_no_model_of_humanparse(file):
    facts = {one.key: one.value for one in onnx.load(file).metadata_props}
    assert json.loads(facts["humanparse_whole"])["classes"][13] == "Face"
    with pytest.raises(BrokenModel, match="metadata"):
        HumanParser(file)


def test_another_head_is_refused_with_what_to_do(m2fp, tmp_path):
    with pytest.raises(OptionError, match="--to triton"):
        write_single_graph(m2fp, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disagrees_is_not_kept(tmp_path, monkeypatch, hopper):
    cv2.imwrite(str(tmp_path / "photo.png"), hopper[..., ::-1])
    monkeypatch.setattr(whole, "MIN_AGREEMENT", 1.1)
    with pytest.raises(ModelError, match="nothing was written"):
        write_single_graph(model_file(None), tmp_path / "out.onnx", [tmp_path / "photo.png"])
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_openvino_reads_it_too(file, run, crowd):
    engines = pytest.importorskip("humanparse.engines.openvino")
    # By default, processors with bfloat16 would round to it, and then not even the photo's pixels
    # would be counted correctly.
    compiled = engines.core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([crowd[None]])
    labels, people, scores = run(crowd)
    assert found["scores"] == pytest.approx(scores, abs=0.01)
    assert (found["labels"][0] == labels).mean() > 0.98 and (
        found["people"][0] == people
    ).mean() > 0.98
