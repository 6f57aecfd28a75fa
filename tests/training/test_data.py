"""Your own photos: scenes whose labels move with the pixels, splits, classes, pseudo-labels."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from stick_people import NAMES, PARTS, stick_scene, write_folder

from humanparse.errors import OptionError
from humanparse.evaluation.datasets import open_dataset
from humanparse.labels import CIHP, LabelSet
from humanparse.training import pseudo
from humanparse.training.data import _learnt, class_weights, open_data
from humanparse.training.folder import FolderScenes, people_of
from humanparse.training.recipe import Recipe
from humanparse.training.scenes import SceneMaker
from humanparse.training.wears import ANYTHING, IGNORE, LISTED, bits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("own"), 10)


def maker(folder, compose=0.0) -> FolderScenes:
    dataset = open_dataset(folder)
    return FolderScenes(dataset.samples, dataset.labels, seed=1, compose=compose)


def test_every_tenth_photo_of_a_plain_folder_is_held_out(folder):
    data = open_data(Recipe(), folder, folder)
    assert data.labels.names == NAMES and len(data.maker.samples) == 9 and data.teacher is None
    (held,) = data.held_out()
    assert (held.classes == stick_scene(9).classes).all() and held.num_people == 2
    assert len(list(data.held_out())) == 1  # as often as it is asked


def test_splits_are_learnt_and_held_out_as_they_are_named(tmp_path):
    write_folder(tmp_path / "Training", 3)
    write_folder(tmp_path / "Validation", 2)
    data = open_data(Recipe(), tmp_path, tmp_path)
    assert len(data.maker.samples) == 3 and len(list(data.held_out())) == 2


def test_the_embedded_models_folder_is_known_by_its_photos(data, out):
    opened = open_data(Recipe(validate_pictures=1), data, out)
    assert (
        isinstance(opened.maker, SceneMaker) and opened.labels == CIHP and opened.teacher.is_file()
    )
    assert len(list(opened.held_out())) == 1


def test_a_scene_is_the_same_every_time_and_its_colours_say_the_class(folder):
    scenes, again = maker(folder), maker(folder)
    seen = set()
    for index in range(20):
        one, other = scenes.make(index, 96), again.make(index, 96)
        assert (one.pixels == other.pixels).all() and (one.classes == other.classes).all()
        clothes = one.pixels[(one.classes == 2) & (one.people == 1)].reshape(-1, 3).mean(0)
        # red, unless the colours were washed out
        assert np.isnan(clothes).any() or clothes.argmax() == 0 or np.ptp(clothes) < 25
        seen |= set(np.unique(one.classes))
    assert seen == {*range(5), 255}


def test_left_and_right_change_places_in_a_mirrored_scene(folder):
    """A person who faces the camera has the left leg on the right, in the scene and in its mirror
    image.
    """
    scenes = maker(folder)
    for index in range(30):
        scene = scenes.make(index, 96)
        for person in range(1, scene.num_people + 1):
            left, right = (
                np.nonzero((scene.classes == label) & (scene.people == person)) for label in (3, 4)
            )
            if min(len(left[0]), len(right[0])) > 150:
                assert left[1].mean() > right[1].mean()


def test_people_of_other_photos_are_pasted_in_with_their_labels(folder):
    plain, composed = maker(folder), maker(folder, compose=1.0)
    counts = [
        composed.make(index, 96).num_people - plain.make(index, 96).num_people
        for index in range(20)
    ]
    assert min(counts) >= 0 and max(counts) >= 2
    scene = next(
        scene
        for scene in (composed.make(i, 96) for i in range(20))
        if (scene.people == 3).sum() > 300
    )
    assert set(np.unique(scene.classes[scene.people == 3])) <= {*PARTS, 255}
    assert (scene.person[scene.people == 3] == 1).all()


def test_beyond_the_edge_nothing_is_known(folder):
    scene = next(
        scene
        for scene in (maker(folder).make(i, 96) for i in range(50))
        if (scene.classes == 255).any()
    )
    beyond = (scene.classes == 255) & (scene.people <= 0)
    assert (scene.people[beyond] == -1).all() and (scene.person[beyond] == 0.5).all()


def test_labels_that_tell_nobody_apart_are_one_persons(tmp_path):
    sample = open_dataset(write_folder(tmp_path, 1, persons=False)).samples[0]
    people = people_of(sample.load())
    assert (people == (stick_scene(0).people > 0)).all()


def test_wrong_labels_are_refused_with_the_photos_name(tmp_path):
    folder = write_folder(tmp_path, 1)
    (folder / "labels.txt").unlink()
    labels = cv2.imread(str(folder / "labels/00.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "labels/00.png"), labels * 10)
    with pytest.raises(
        OptionError, match=r"00\.png has labels of class 40, but there are 20 classes"
    ):
        FolderScenes(open_dataset(folder).samples, CIHP, 1, 0).make(0, 64)
    cv2.imwrite(str(folder / "images/00.png"), np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(OptionError, match="is 20x10 but its labels are 96x96"):
        FolderScenes(open_dataset(folder).samples, CIHP, 1, 0).make(0, 64)


def test_a_list_teaches_where_the_label_map_knows_nothing(tmp_path):
    write_folder(tmp_path, 2)
    for file in (tmp_path / "labels").glob("*.png"):
        labels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        labels[labels > 1] = IGNORE
        cv2.imwrite(str(file), labels)
    persons = cv2.imread(str(tmp_path / "persons/00.png"), cv2.IMREAD_GRAYSCALE)
    # numbers may have gaps
    cv2.imwrite(str(tmp_path / "persons/00.png"), np.where(persons == 2, 7, persons))
    (tmp_path / "wears.json").write_text(
        json.dumps({"00": {"7": {"wears": ["Clothes"], "unsure": ["Left-leg"]}}})
    )
    opened = open_data(Recipe(holdout=0, compose=0.0), tmp_path, tmp_path)
    _, classes, people, possible = opened.maker.read(opened.maker.samples[0])
    assert possible == [ANYTHING, bits({2, 3})]
    assert (classes[(people == 2) & (classes != 1)] == LISTED).all() and (
        classes[people == 1] != LISTED
    ).all()
    mirrored = {tuple(opened.maker.make(index, 96).possible) for index in range(20)}
    assert {(ANYTHING, bits({2, 3})), (ANYTHING, bits({2, 4}))} <= mirrored


def test_a_list_for_a_person_who_is_not_there_is_refused(folder, tmp_path):
    write_folder(tmp_path, 1)
    (tmp_path / "wears.json").write_text(json.dumps({"00": {"3": {"wears": ["Clothes"]}}}))
    with pytest.raises(OptionError, match=r"person 3 of '00' wears, but its people are \[1, 2\]"):
        open_data(Recipe(holdout=0), tmp_path, tmp_path).maker.make(0, 64)


def test_people_whose_labels_are_known_teach_what_they_do_not_wear(folder):
    _, _, _, possible = maker(folder).read(maker(folder).samples[0])
    assert possible == [bits({1, 2, 3, 4})] * 2


def test_rare_classes_weigh_more(folder):
    weights = class_weights(open_dataset(folder).samples, len(NAMES))
    assert weights[0] == min(weights) and all(0.4 <= weight <= 2.5 for weight in weights)
    assert weights[3] > weights[2]


def test_a_second_folder_gives_its_share_of_the_scenes(folder, tmp_path):
    also = write_folder(tmp_path / "also", 2)
    data = open_data(Recipe(also=str(also), also_share=0.5), folder, tmp_path)
    chosen = [
        data.maker.make(index, 64).pixels.mean() == data.maker.other.make(index, 64).pixels.mean()
        for index in range(20)
    ]
    assert 4 <= sum(chosen) <= 16
    write_folder(tmp_path / "wrong", 1, names=("Background", "a", "b", "c", "d"))
    with pytest.raises(OptionError, match="other classes"):
        open_data(Recipe(also=str(tmp_path / "wrong")), folder, tmp_path)


def test_neighbours_of_held_out_photos_do_not_teach(folder, tmp_path):
    also, unlabelled = write_folder(tmp_path / "also", 2), tmp_path / "data/ccp/unlabelled"
    for kind, ending in (("images", "png"), ("labels", "png"), ("persons", "png")):
        # of every 250 numbers the last 25 are held out
        for name, number in (("00", "1230"), ("01", "1205")):
            (also / kind / f"{name}.{ending}").rename(also / kind / f"{number}.{ending}")
    unlabelled.mkdir(parents=True)
    samples = open_dataset(also).samples
    assert [one.name for one in _learnt(samples, tmp_path / "data")] == ["1205", "1230"]
    for one in samples:
        (unlabelled / f"{one.name}.jpg").touch()
    assert [one.name for one in _learnt(samples, tmp_path / "data")] == ["1205"]
    with pytest.raises(OptionError, match="all 1 photos of `also` are held out"):
        _learnt(samples[1:], tmp_path / "data")
    for file in unlabelled.iterdir():
        file.unlink()
    (tmp_path / "data/ccp/train/photos").mkdir(parents=True)
    (tmp_path / "data/ccp/train/photos/1230.jpg").touch()
    assert [one.name for one in _learnt(samples, tmp_path / "data")] == ["1205"]


class Agreeing:
    """A parser that finds the stick people by their colours; `blind` misses the second one."""

    labels = LabelSet("own", NAMES)

    def __init__(self, blind: bool = False):
        self.blind = blind

    def parse(self, pixels):
        from made_up import parsing_from_maps

        scene = stick_scene(0)
        mirrored = not (pixels == scene.pixels).all()
        classes, people = scene.classes.copy(), scene.people.astype(np.uint16)
        if self.blind:
            classes[people == 2], people[people == 2] = 0, 0
        if mirrored:
            table = np.array([0, 1, 2, 4, 3], np.uint8)
            classes, people = table[classes[:, ::-1]], people[:, ::-1]
        return parsing_from_maps(
            np.ascontiguousarray(classes), np.ascontiguousarray(people), labels=self.labels
        )


def test_pseudo_labels_are_kept_where_the_model_agrees_with_itself():
    scene = stick_scene(0)
    classes, people = pseudo.sure_labels(Agreeing(), Agreeing(), scene.pixels)
    assert (classes == scene.classes).all() and (people == scene.people).all()
    classes, people = pseudo.sure_labels(Agreeing(blind=True), Agreeing(), scene.pixels)
    assert (classes[scene.people == 2] == 255).all() and (people[scene.people == 2] == 0).all()
    assert (classes[scene.people != 2] == scene.classes[scene.people != 2]).all()


def test_pseudo_labels_are_a_folder_to_train_with(tmp_path, monkeypatch):
    photos = write_folder(tmp_path / "photos", 1) / "images"
    (photos / "broken.jpg").write_bytes(b"no photo")
    monkeypatch.setattr(pseudo, "HumanParser", lambda *arguments, **options: Agreeing())
    lines = []
    assert pseudo.pseudo_label(photos, tmp_path / "out", log=lines.append) == 1
    assert lines[0].startswith("broken.jpg: left out")
    sample = open_dataset(tmp_path / "out").samples[0]
    assert (sample.load().label_map == stick_scene(0).classes).all()
    assert open_dataset(tmp_path / "out").labels.names == NAMES
    with pytest.raises(OptionError, match="there are no photos"):
        pseudo.pseudo_label(tmp_path / "out", tmp_path / "again")
