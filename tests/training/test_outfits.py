"""The outfit reader learns from lists and labels what each person wears."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from humanparse import HumanParser
from humanparse.labels import CIHP
from humanparse.postprocess.outfit import PER_CLASS, OutfitReader
from humanparse.system.packaged import packaged
from humanparse.training import outfits
from humanparse.training.__main__ import main
from humanparse.training.outfits import Examples, fit
from humanparse.training.photos import is_learnt_everyday

COAT, HAT, LEFT_ARM, RIGHT_ARM = map(CIHP.index, ("Coat", "Hat", "Left-arm", "Right-arm"))


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(outfits, "STEPS", 300)
    monkeypatch.setattr(outfits, "BATCH", 64)


def test_the_layers_learn_what_the_summaries_tell_and_nothing_of_what_is_unknown():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(400, PER_CLASS * 20)).astype(np.float32)
    known = np.full((400, 20), -1, np.float32)
    known[:, COAT] = seen[:, 3] > 0
    known[:, LEFT_ARM] = 1  # no garment: the layers say nothing about it
    odds = fit(Examples(seen, known))(seen)
    assert ((odds[:, COAT] > 0) == (seen[:, 3] > 0)).mean() > 0.95
    assert not odds[:, LEFT_ARM].any() and not odds[:, 0].any()


def test_a_model_is_taught_and_written_again(data, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(data, root)
    (root / "coco/photos").mkdir(parents=True)
    name = next(f"{n:012}" for n in range(99) if is_learnt_everyday(f"{n:012}"))
    photo = packaged("cli/demo") / "astronaut.jpg"
    shutil.copy(photo, root / f"coco/photos/{name}.jpg")
    parser = HumanParser(engine="onnxruntime", threads=1)
    (person,) = parser.parse(photo).people
    x0, y0, x1, y1 = person.box_xyxy
    described = {"kind": "person", "wears": ["Coat", "Left-arm"], "unsure": ["Hat"]}
    outline = {"polygons": [[x0, y0, x1, y0, x1, y1, x0, y1]], "crowd": 0, "described": described}
    entry = {"width": 512, "height": 512, "people": [outline]}
    (root / "coco/people.json").write_text(json.dumps({name: entry}))

    out = tmp_path / "taught.onnx"
    main(["outfits", str(root), str(out), "--views", "3"])
    assert "has learnt from" in capsys.readouterr().out
    rows = [np.load(tmp_path / f"taught-examples/{name}-{view}.npy") for view in range(3)]
    known = rows[0][0, -20:]
    assert (known[COAT], known[LEFT_ARM], known[RIGHT_ARM], known[HAT]) == (1, 1, 0, -1)
    mirrored = rows[1][0, -20:]
    assert (mirrored[LEFT_ARM], mirrored[RIGHT_ARM]) == (0, 1)

    taught = HumanParser(out, engine="onnxruntime", threads=1)
    text = taught.pipeline.settings.outfit_reader
    assert text != parser.pipeline.settings.outfit_reader
    assert OutfitReader.from_text(text, 20).first[0].shape == (140, 192)
    assert len(taught.parse(photo).people) == 1


def test_another_head_is_refused(data, tmp_path, monkeypatch):
    other = SimpleNamespace(name="m2fp", card=SimpleNamespace(head="queries"))
    monkeypatch.setattr(outfits, "HumanParser", lambda model: other)
    with pytest.raises(SystemExit, match="head centres"):
        main(["outfits", str(data), str(tmp_path / "out.onnx")])
