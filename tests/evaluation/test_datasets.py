"""Every published layout, written out small; each gives the same samples."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from humanparse.errors import OptionError
from humanparse.evaluation.datasets import check_labels, open_dataset
from humanparse.labels import CIHP, LIP, MHP_V2, PASCAL_PERSON_PART, LabelSet
from humanparse.vocabulary import PICTURE_ENDINGS

CLASSES = np.array([[0, 2, 2, 5], [0, 2, 5, 5]], np.uint8)
PEOPLE = np.array([[0, 1, 2, 2], [0, 1, 2, 2]], np.uint8)


@pytest.fixture
def put(tmp_path):
    """`put("a/b.png", values)` writes a picture below the test's folder, `put("a/b.txt", text)` a
    text."""

    def write(path: str, content=None):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.write_text(content)
        else:
            Image.fromarray(np.zeros((2, 4, 3), np.uint8) if content is None else content).save(
                target
            )
        return target

    return write


def put_cihp(put, root: str, name: str, parts: bool = True) -> None:
    put(f"{root}/Images/{name}.jpg")
    put(f"{root}/Category_ids/{name}.png", CLASSES)
    put(f"{root}/Human_ids/{name}.png", PEOPLE)
    if parts:
        put(f"{root}/Instance_ids/{name}.png", np.array([[0, 1, 2, 3], [0, 1, 3, 3]], np.uint8))
        put(f"{root}/Instance_ids/{name}.txt", "1 2 1\n2 2 2\n3 5 2\n")


def test_cihp(put, tmp_path):
    put_cihp(put, "Validation", "0000006")
    put_cihp(put, "Validation", "0000002", parts=False)
    dataset = open_dataset(tmp_path / "Validation")
    assert (dataset.format, dataset.labels, [one.name for one in dataset.samples]) == (
        "cihp",
        CIHP,
        ["0000002", "0000006"],
    )
    assert dataset.samples[1].image == tmp_path / "Validation/Images/0000006.jpg"
    truth = dataset.samples[1].load()
    assert (truth.label_map == CLASSES).all() and (truth.person_map == PEOPLE).all()
    assert truth.part_classes == {1: 2, 2: 2, 3: 5} and truth.part_map[0, 3] == 3
    assert dataset.samples[0].load().part_map is None


def test_the_validation_split_is_taken_from_the_folder_above(put, tmp_path):
    put_cihp(put, "CIHP/Training", "1")
    put_cihp(put, "CIHP/Validation", "2")
    dataset = open_dataset(tmp_path / "CIHP")
    assert dataset.folder == tmp_path / "CIHP/Validation" and dataset.name == "CIHP/Validation"
    assert open_dataset(tmp_path / "CIHP/Training").name == "Training"


def test_pascal_is_told_by_its_photos_names_names(put, tmp_path):
    put_cihp(put, "Testing", "2008_000008")
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.labels) == ("pascal", PASCAL_PERSON_PART)
    truth = dataset.samples[0].load()
    assert (truth.label_map == CLASSES).all()
    assert {PASCAL_PERSON_PART.names[one] for one in np.unique(CLASSES)} == {
        "Background",
        "Head",
        "Lower-leg",
    }
    assert {PASCAL_PERSON_PART.names[one] for one in truth.part_classes.values()} == {
        "Head",
        "Lower-leg",
    }


def test_lip_as_its_archives_unpack_and_as_m2fp_keeps_it(put, tmp_path):
    put("a/TrainVal_images/val_images/1.jpg")
    put(
        "a/TrainVal_parsing_annotations/TrainVal_parsing_annotations/val_segmentations/1.png",
        CLASSES,
    )
    put("b/Images/1.jpg")
    put("b/Category_ids/1.png", CLASSES)
    for root in ("a", "b"):
        dataset = open_dataset(tmp_path / root)
        assert (dataset.format, dataset.labels) == ("lip", LIP)
        truth = dataset.samples[0].load()
        assert (truth.label_map == CLASSES).all() and truth.person_map is None


def test_mhp_has_a_file_for_every_person(put, tmp_path):
    put("val/images/96.jpg")
    for person in (1, 2):
        values = CLASSES * (person == PEOPLE)
        # three equal channels, as published
        put(f"val/parsing_annos/96_02_0{person}.png", np.stack([values] * 3, axis=2))
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.labels) == ("mhp", MHP_V2)
    truth = dataset.samples[0].load()
    assert (truth.label_map == CLASSES).all() and (truth.person_map == PEOPLE).all()


def test_a_plain_folder_with_and_without_people_and_names(put, tmp_path):
    put("mine/images/a.png")
    indexed = Image.fromarray(CLASSES)
    # as humanparse's own .labels.png: the colours do not matter
    indexed.putpalette([200, 100, 50] * 256)
    (tmp_path / "mine/labels").mkdir()
    indexed.save(tmp_path / "mine/labels/a.png")
    dataset = open_dataset(tmp_path / "mine")
    truth = dataset.samples[0].load()
    assert (dataset.format, dataset.labels, truth.person_map) == ("plain", None, None)
    assert (truth.label_map == CLASSES).all()
    put("mine/persons/a.png", PEOPLE.astype(np.uint16) * 300)
    put("mine/labels.txt", "Background\nHat\nHair\nCoat\nSocks\nShoe\n")
    dataset = open_dataset(tmp_path / "mine")
    assert dataset.labels == LabelSet(
        "mine", ("Background", "Hat", "Hair", "Coat", "Socks", "Shoe")
    )
    assert set(np.unique(dataset.samples[0].load().person_map)) == {0, 300, 600}


@pytest.mark.parametrize("folder", ["labels", "persons"])
def test_colours_are_not_taken_for_numbers_of_classes_or_people(put, tmp_path, folder):
    put("images/a.png")
    put("labels/a.png", CLASSES)
    put("persons/a.png", PEOPLE)
    put(f"{folder}/a.png", np.stack([CLASSES * 0, CLASSES * 50, CLASSES * 0], axis=2))
    (sample,) = open_dataset(tmp_path).samples
    with pytest.raises(
        OptionError, match=rf"{folder}.a\.png is in colour, for example \(0, 100, 0\)"
    ):
        sample.load()


def test_a_plain_folder_whose_names_are_a_known_set_is_that_set(put, tmp_path):
    put("images/a.png")
    put("labels/a.png", CLASSES)
    put("labels.txt", "\n".join(CIHP.names))
    assert open_dataset(tmp_path).labels is CIHP


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_class_names_that_windows_wrote_are_the_same(put, tmp_path, encoding):
    put("images/a.png")
    put("labels/a.png", CLASSES)
    (tmp_path / "labels.txt").write_bytes("\r\n".join(CIHP.names).encode(encoding))
    assert open_dataset(tmp_path).labels is CIHP


def test_class_names_in_another_encoding_are_refused(put, tmp_path):
    put("images/a.png")
    put("labels/a.png", CLASSES)
    (tmp_path / "labels.txt").write_bytes("Hintergrund\nKörper\n".encode("cp1252"))
    with pytest.raises(OptionError, match=r"labels.txt is not UTF-8 text .*save it as UTF-8"):
        open_dataset(tmp_path)


def test_class_names_are_checked_when_they_are_read(put, tmp_path):
    put("images/a.png")
    put("labels/a.png", CLASSES)
    put("labels.txt", "Background\nbody\nbody\n")
    with pytest.raises(
        OptionError,
        match=r"labels\.txt: classes 1 and 2 are both called 'body'; give each class a different",
    ):
        open_dataset(tmp_path)


def test_sides_that_are_not_written_as_a_pair_are_noted(put, tmp_path):
    put("images/a.png")
    put("labels/a.png", CLASSES)
    put("labels.txt", "Background\nleft_arm\nright_arm\nleftovers\nd\ne\n")
    (note,) = open_dataset(tmp_path).notes
    assert (
        "'left_arm' and its right side are not treated as a pair" in note
        and "write pairs as Left-arm and Right-arm" in note
    )
    put("labels.txt", "Background\nLeft-arm\nRight-arm\nleftovers\nd\ne\n")
    assert open_dataset(tmp_path).notes == ()


def test_nothing_is_read_before_a_sample_is_loaded(put, tmp_path):
    put_cihp(put, "Validation", "1")
    (tmp_path / "Validation/Category_ids/1.png").write_bytes(b"not a PNG")
    (sample,) = open_dataset(tmp_path).samples
    with pytest.raises(OptionError, match=r"1\.png is not a PNG"):
        sample.load()


def break_size(root: Path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(root / "Human_ids/1.png")


def break_class(root: Path):
    Image.fromarray(CLASSES + 30).save(root / "Category_ids/1.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / "Human_ids/1.png").unlink(),
            r"there is no file .*1\.png; the data set is incomplete",
        ),
        (break_size, r"Human_ids.1\.png is 9x9 but the other labels of that photo are 4x2"),
        (break_class, r"has the value 35; expected classes 0 to 19, or 255"),
        (
            lambda root: (root / "Instance_ids/1.txt").write_text("1 2 1\nhello\n"),
            r"1\.txt, line 2 is 'hello'; expected the numbers",
        ),
    ],
)
def test_damaged_labels_are_named_when_they_are_loaded(put, tmp_path, damage, message):
    put_cihp(put, "val", "1")
    damage(tmp_path / "val")
    (sample,) = open_dataset(tmp_path / "val").samples
    with pytest.raises(OptionError, match=message):
        sample.load()


def test_missing_things_are_named_at_once(put, tmp_path):
    with pytest.raises(OptionError, match="there is no folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(OptionError, match="does not look like a data set: expected Images/"):
        open_dataset(tmp_path)
    with pytest.raises(OptionError, match="no data set format 'coco'; choose one of cihp"):
        open_dataset(tmp_path, "coco")
    put("images/a.png")
    put("labels/b.png", CLASSES)
    with pytest.raises(OptionError, match=r"labels has no a\.png: every photo needs labels"):
        open_dataset(tmp_path)
    with pytest.raises(
        OptionError, match="does not look like the mhp layout: expected images/ and parsing_annos/"
    ):
        open_dataset(tmp_path, "mhp")
    put("labels/a.png", CLASSES)
    put("images/a.jpg")
    with pytest.raises(OptionError, match="have the same name"):
        open_dataset(tmp_path)
    for photo in (tmp_path / "images").iterdir():
        photo.unlink()
    with pytest.raises(OptionError, match="there are no photos in"):
        open_dataset(tmp_path)


def test_photos_of_every_kind_that_parse_reads_are_samples(put, tmp_path):
    for ending in PICTURE_ENDINGS:
        put(f"labels/{ending[1:]}.png", CLASSES)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / f"images/{ending[1:]}{ending.upper()}").touch()
    dataset = open_dataset(tmp_path)
    assert len(dataset.samples) == len(PICTURE_ENDINGS) and dataset.notes == ()


def test_what_is_left_out_is_counted_and_named(put, tmp_path):
    put("images/a.png")
    put("images/notes.txt", "not a photo")
    put("images/b.jxl", "of a kind that is not read")
    put("images/sub/c.png")
    put("images/.hidden", "never told of")
    for name in "abc":
        put(f"labels/{name}.png", CLASSES)
    dataset = open_dataset(tmp_path)
    assert [one.name for one in dataset.samples] == ["a"]
    images, labels = tmp_path / "images", tmp_path / "labels"
    assert dataset.notes == (
        f"left out of {images}: 2 files (such as b.jxl) with an ending that is not supported",
        f"left out of {images}: 1 sub-folder (sub), since all photos must be in one folder",
        f"left out of {labels}: 2 labels (such as b) without a photo of that name",
    )


def test_of_mhp_too_labels_without_a_photo_are_counted(put, tmp_path):
    put("images/1.jpg")
    for name in ("1_01_01", "2_02_01", "2_02_02"):
        put(f"parsing_annos/{name}.png", CLASSES)
    (note,) = open_dataset(tmp_path).notes
    assert note.endswith("1 label (2) without a photo of that name")


def test_labels_in_another_kind_of_file_are_named_where_the_png_is_missing(put, tmp_path):
    put("images/a.png")
    put("labels/a.jpg", CLASSES)
    with pytest.raises(
        OptionError, match=r"labels has no a\.png but a\.jpg: every photo needs labels"
    ):
        open_dataset(tmp_path)


def test_a_folder_without_photos_says_what_is_there_instead(put, tmp_path):
    put("images/sub/a.png")
    (tmp_path / "labels").mkdir()
    with pytest.raises(OptionError, match=r"no photos in .*images but 1 sub-folder \(sub\)"):
        open_dataset(tmp_path)


def test_the_models_classes_must_be_those_of_the_data_set(put, tmp_path):
    put_cihp(put, "val", "1")
    dataset = open_dataset(tmp_path)
    assert check_labels(dataset, CIHP, "model") is CIHP
    with pytest.raises(
        OptionError,
        match=r"class 10 'Torso-skin' and the model's is 'Jumpsuits', so m2fp-r101-lip cannot",
    ):
        check_labels(dataset, LIP, "m2fp-r101-lip")
    with pytest.raises(OptionError, match=r"20 classes and the model's 59"):
        check_labels(dataset, MHP_V2, "model")
