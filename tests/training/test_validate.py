"""Validation pictures are fixed, and the report has what was measured."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from humanparse import HumanParser
from humanparse.evaluation.datasets import open_dataset
from humanparse.labels import CIHP
from humanparse.training import validate as V
from humanparse.training.__main__ import main
from humanparse.training.photos import load_photos


def test_composites_are_the_same_every_time_and_have_two_to_four_people(data, monkeypatch):
    monkeypatch.setattr(V, "COMPOSITES", 3)
    photos = load_photos(data, validation=True)
    one, again = list(V.composites(photos)), list(V.composites(photos))
    assert [scene.pixels.shape for scene in one] == [(720, 960, 3)] * 3
    for a, b in zip(one, again, strict=True):
        assert (a.pixels == b.pixels).all() and 2 <= a.num_people <= 4
        assert len(np.unique(a.people)) - 1 <= a.num_people


def test_people_found_on_photos_without_people_are_counted(data):
    photos = load_photos(data, validation=True)
    assert len(photos.backgrounds) == 1 and 0 <= V.false_alarms(HumanParser(), photos) <= 1


def test_the_report_has_a_column_for_each_kind_and_a_row_for_each_class(data, monkeypatch):
    monkeypatch.setattr(V, "COMPOSITES", 1)
    text = V.report(V.validate(HumanParser(), load_photos(data, validation=True)), CIHP.names)
    assert text.splitlines()[0].split() == ["single", "composite"]
    assert "person PQ" in text and all(name in text for name in CIHP.names)


def test_the_pictures_can_be_written_as_data_sets(data, tmp_path, monkeypatch):
    monkeypatch.setattr(V, "COMPOSITES", 2)
    photos = load_photos(data, validation=True)
    assert V.write_pictures(photos, tmp_path) == {"single": 1, "composite": 2}
    for kind, scenes in (("single", V.singles(photos)), ("composite", V.composites(photos))):
        samples = open_dataset(tmp_path / kind).samples
        for sample, scene in zip(samples, scenes, strict=True):
            truth = sample.load()
            unknown = (truth.label_map == 255) & (truth.person_map == 0)
            assert (truth.label_map == scene.classes).all()
            assert (np.where(unknown, -1, truth.person_map.astype(int)) == scene.people).all()


def test_good_and_bad_cases_go_from_the_best_to_the_worst_of_each_kind(data, monkeypatch):
    monkeypatch.setattr(V, "COMPOSITES", 5)
    cases = V.good_and_bad(HumanParser(), load_photos(data, validation=True), 3)
    assert [case.name for case in cases["single"]] == ["1 of 1"]
    best, middle, worst = cases["composite"]
    assert [best.name, middle.name, worst.name] == ["1 of 5", "3 of 5", "5 of 5"]
    assert best.score >= middle.score >= worst.score
    assert best.ground_truth.person_map.shape == best.photo.shape[:2]


def test_the_sheet_is_written_without_the_photos_unless_they_are_asked_for(
    data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(V, "COMPOSITES", 1)
    for name, more in (("maps", []), ("all", ["--photos"])):
        main(["sheet", str(data), str(tmp_path / name), *more])
    assert "single.png: 1 pictures, from the best to the worst" in capsys.readouterr().out
    for kind in ("single.png", "composite.png"):
        with (
            Image.open(tmp_path / "maps" / kind) as maps,
            Image.open(tmp_path / "all" / kind) as everything,
        ):
            assert maps.width < everything.width and maps.height <= everything.height
