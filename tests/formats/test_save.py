"""`save`, its table of formats, and NPZ."""

import io
import json

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps
from PIL import Image

from humanparse import formats, render
from humanparse.errors import OptionError
from humanparse.labels import CIHP, LabelSet
from humanparse.tryon import agnostic_mask
from humanparse.vocabulary import FORMAT_SUFFIXES


def test_npz_holds_both_maps_and_the_people(tmp_path):
    parsing = made_up_parsing()
    [path] = formats.save(parsing, tmp_path, ["npz"])
    with np.load(path, allow_pickle=False) as data:
        assert np.array_equal(data["label_map"], parsing.label_map)
        assert np.array_equal(data["person_map"], parsing.person_map)
        assert data["label_names"].tolist() == list(CIHP.names)
        assert data["person_ids"].tolist() == [1, 2]
        assert data["person_scores"].tolist() == pytest.approx([0.9, 0.8])
        assert data["person_boxes_xyxy"].tolist() == [[40, 20, 80, 100], [80, 20, 120, 100]]


def test_masks_for_try_on_are_those_of_tryon(tmp_path):
    parsing, names = made_up_parsing(), {"upper": "", "lower": "-lower", "dress": "-dress"}
    for garment, suffix in names.items():
        [path] = formats.save(parsing, tmp_path, f"agnostic{suffix}")
        with Image.open(path) as picture:
            assert picture.mode == "L"
            painted = agnostic_mask(parsing, garment).to_dense()
            assert painted.any() and np.array_equal(np.asarray(picture), painted * 255)
    [path] = formats.save(empty_parsing(), tmp_path, "agnostic")
    with Image.open(path) as picture:
        assert not np.asarray(picture).any()


def test_a_model_without_garments_gives_no_mask_for_try_on(tmp_path):
    labels = LabelSet("hands", ("Background", "Hand"))
    one = np.ones((4, 4), np.uint8)
    with pytest.raises(OptionError, match="hold no garments"):
        formats.save(parsing_from_maps(one, one.astype(np.uint16), labels), tmp_path, "agnostic")
    assert not list(tmp_path.iterdir())


# save


def test_save_makes_the_folder_and_names_files_after_the_photo(tmp_path):
    folder = tmp_path / "a" / "b"
    saved = formats.save(made_up_parsing(name="street"), folder, formats.FORMATS)
    assert [path.name for path in saved] == [
        "street.overlay.png",
        "street.outlines.png",
        "street.colormap.png",
        "street.labels.png",
        "street.people.png",
        "street.cutout.png",
        "street.agnostic.png",
        "street.agnostic-lower.png",
        "street.agnostic-dress.png",
        "street.masks.zip",
        "street.json",
        "street.coco.json",
        "street.labelme.json",
        "street.cvat.xml",
        "street.label-studio.json",
        "street.txt",
        "street.svg",
        "street.npz",
    ]
    assert (
        sorted(folder.iterdir())
        == sorted(saved)
        == sorted(formats.paths("street", folder, formats.FORMATS))
    )
    assert (
        formats.from_json((folder / "street.json").read_text()).people[0].area
        == made_up_parsing().people[0].area
    )


def test_every_format_works_without_people_and_on_tiny_and_narrow_photos(tmp_path):
    for size_hw in ((1, 1), (3, 2000), (2000, 3)):
        full = np.ones(size_hw, np.uint8)
        formats.save(empty_parsing(size_hw), tmp_path, formats.FORMATS)
        formats.save(parsing_from_maps(full, full.astype(np.uint16)), tmp_path, formats.FORMATS)


def test_saving_again_replaces_the_file(tmp_path):
    formats.save(made_up_parsing(name="x"), tmp_path, "json")
    formats.save(empty_parsing(name="x"), tmp_path, "json")
    assert json.loads((tmp_path / "x.json").read_text())["people"] == []


def test_a_failing_writer_leaves_no_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    def fail(parsing, file, palette):
        file.write(b"half of i")
        raise OSError("the disk is full")

    failing = formats.FORMATS["json"]._replace(write=fail)
    monkeypatch.setitem(formats.FORMATS, "json", failing)
    (tmp_path / "x.json").write_text("old")
    with pytest.raises(OSError, match="full"):
        formats.save(made_up_parsing(name="x"), tmp_path, "json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "old"


def test_an_unknown_format_is_named_with_the_known_ones_before_anything_is_written(tmp_path):
    with pytest.raises(OptionError, match=r"'gif'.*overlay, outlines, .*, json, coco, .*, npz"):
        formats.save(made_up_parsing(), tmp_path / "new", ["json", "gif"])
    with pytest.raises(OptionError, match="palette 'pale'"):
        formats.save(made_up_parsing(), tmp_path / "new", ["json"], palette="pale")
    assert not (tmp_path / "new").exists()


def test_a_format_given_twice_is_written_once(tmp_path):
    assert formats.save(made_up_parsing(), tmp_path, ["json", "json"]) == [
        tmp_path / "made-up.json"
    ]


def test_a_file_where_the_folder_should_be_is_an_error_that_says_so(tmp_path):
    (tmp_path / "out").write_text("")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OptionError, match="a file has that name"):
            formats.save(made_up_parsing(), folder, "json")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", "a\0b"])
def test_a_name_that_would_leave_the_folder_is_refused(name, tmp_path):
    with pytest.raises(OptionError, match="cannot be the name of a file"):
        formats.paths(name, tmp_path, "json")


def test_saved_files_have_the_permissions_of_ordinary_files(tmp_path):
    (tmp_path / "plain").write_text("")
    [path] = formats.save(made_up_parsing(), tmp_path, "json")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_pictures_in_files_are_those_of_render(tmp_path):
    parsing = made_up_parsing()
    drawn = {
        "overlay": render.overlay(parsing),
        "outlines": render.outlines(parsing),
        "colormap": render.colormap(parsing),
        "cutout": render.cutout(parsing),
    }
    for name, path in zip(drawn, formats.save(parsing, tmp_path, drawn), strict=True):
        picture = Image.open(io.BytesIO(path.read_bytes()))
        assert picture.mode == drawn[name].mode and picture.tobytes() == drawn[name].tobytes()


def test_the_formats_that_users_can_name_are_those_that_can_be_written():
    assert list(formats.FORMATS) == list(FORMAT_SUFFIXES)


def test_every_format_has_its_media_type():
    for one in formats.FORMATS.values():
        ending = one.suffix.rpartition(".")[2]
        assert one.content_type in (
            f"image/{ending}",
            f"application/{ending}",
            "application/octet-stream",
            {"txt": "text/plain", "svg": "image/svg+xml"}.get(ending),
        )
