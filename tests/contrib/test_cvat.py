"""contrib/cvat.py: as CVAT calls it, with its SDK where that is installed."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from made_up import made_up_parsing, parsing_from_maps
from PIL import Image
from stand_in import StandIn

from humanparse.errors import OptionError
from humanparse.labels import CIHP
from humanparse.masks import Mask

PICTURE = Image.fromarray(made_up_parsing().image)


def asked(conf_threshold=None, conv_mask_to_poly=False):
    return SimpleNamespace(
        frame_name="street.png", conf_threshold=conf_threshold, conv_mask_to_poly=conv_mask_to_poly
    )


def stand_in_sdk() -> ModuleType:
    """What of `cvat_sdk.auto_annotation` is used."""
    module = ModuleType("cvat_sdk.auto_annotation")
    module.DetectionFunctionContext = object
    module.DetectionFunctionSpec = SimpleNamespace
    module.label_spec = lambda name, id, **more: SimpleNamespace(name=name, id=id, **more)

    def shape(kind):
        return lambda label_id, points, **more: SimpleNamespace(
            type=SimpleNamespace(value=kind), label_id=label_id, frame=0, points=points, **more
        )

    module.mask, module.polygon = shape("mask"), shape("polygon")
    return module


@pytest.fixture(params=["SDK", "stand-in"])
def cvat(request, monkeypatch):
    if request.param == "SDK":
        pytest.importorskip("cvat_sdk")
    else:
        package, module = ModuleType("cvat_sdk"), stand_in_sdk()
        package.auto_annotation = module
        monkeypatch.setitem(sys.modules, "cvat_sdk", package)
        monkeypatch.setitem(sys.modules, "cvat_sdk.auto_annotation", module)
    monkeypatch.delitem(sys.modules, "humanparse.contrib.cvat", raising=False)
    module = importlib.import_module("humanparse.contrib.cvat")
    yield module
    sys.modules.pop("humanparse.contrib.cvat", None)


def decoded(points, size_hw) -> np.ndarray:
    """As `cvat_sdk.masks.decode_mask` has it."""
    *runs, x0, y0, x1, y1 = map(int, points)
    dense = np.zeros(size_hw, bool)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    dense[y0 : y1 + 1, x0 : x1 + 1] = flat.reshape(y1 + 1 - y0, x1 + 1 - x0)
    return dense


def test_people_and_parts_become_masks_in_groups(cvat):
    function = cvat.Function(StandIn())
    labels = {label.id: label.name for label in function.spec.labels}
    assert labels[CIHP.index("Face")] == "Face" and labels[20] == "person" and len(labels) == 20
    shapes = function.detect(asked(), PICTURE)
    assert len(shapes) == 14 and {str(one.type.value) for one in shapes} == {"mask"}
    assert {one.frame for one in shapes} == {0} and {one.group for one in shapes} == {1, 2}
    for person in made_up_parsing().people:
        mine = {labels[one.label_id]: one for one in shapes if one.group == person.id}
        assert (mine["person"].z_order, mine["Face"].z_order) == (0, 1)
        for name, region in [("person", person), *person.parts.items()]:
            dense = decoded(mine[name].points, (120, 160))
            assert np.array_equal(dense, region.mask.to_dense())


def test_polygons_thresholds_and_people_alone(cvat):
    shapes = cvat.Function(StandIn(), "people").detect(asked(0.85, True), PICTURE)
    assert [(one.type.value, one.label_id, one.group) for one in shapes] == [("polygon", 20, 1)]
    assert Mask.from_dense(decoded(cvat.cvat_mask(made_up_parsing().people[0].mask), (120, 160)))
    assert {one.label_id for one in cvat.Function(StandIn(), "parts").detect(asked(), PICTURE)} < {
        *range(20)
    }
    with pytest.raises(OptionError, match="what is 'all'"):
        cvat.Function(StandIn(), "all")


def test_parts_of_nobody_have_no_group(cvat):
    labels = np.zeros((120, 160), np.uint8)
    labels[10:20, 10:20] = CIHP.index("Hat")
    loose = parsing_from_maps(labels, np.zeros((120, 160), np.uint16))
    parser = SimpleNamespace(labels=CIHP, parse=lambda image: loose)
    (shape,) = cvat.Function(parser).detect(asked(), PICTURE)
    assert (shape.group, shape.points) == (0, [0, 100, 10, 10, 19, 19])


def test_the_module_itself_is_a_function_with_the_model_in_the_package(cvat):
    assert "person" in [label.name for label in cvat.spec.labels]
    assert cvat.detect(asked(), Image.new("RGB", (64, 64))) == []
    with pytest.raises(AttributeError):
        _ = cvat.nothing


def test_masks_are_as_the_sdk_writes_and_reads_them(cvat):
    masks = pytest.importorskip("cvat_sdk.masks")
    for seed in range(20):
        dense = np.random.default_rng(seed).random((9, 7)) < seed / 20 + 0.01
        dense[3, 4] = True
        points = cvat.cvat_mask(Mask.from_dense(dense))
        assert points == masks.encode_mask(dense)
        read = masks.decode_mask(points, image_width=7, image_height=9)
        assert np.array_equal(read, dense)
