"""HumanParser: from any photo to people and parts.

The quick tests use a fake engine, the others the model in the package.
"""

import copy
import io
import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import humanparse.cli
import humanparse.parser
from humanparse import HumanParser, ParseFailure, errors
from humanparse.card import METADATA_KEY, ModelCard
from humanparse.engines import FakeEngine
from humanparse.labels import CIHP
from humanparse.preprocess import Preprocess
from humanparse.system import parallel
from humanparse.weights.catalog import DEFAULT_MODEL, model_file

DEMO = Path(humanparse.cli.__file__).parent / "demo"
PREPROCESS = Preprocess((127.5,) * 3, (127.5,) * 3, area_px=160 * 240, multiple=16)
CARD = ModelCard("made-up", CIHP, "centres", PREPROCESS, "Apache-2.0")


def bright_person(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """A stand-in for a network: bright pixels are one person's clothes."""
    _, _, height, width = pixels.shape
    bright = pixels[:, :1, 2::4, 2::4] > 0
    classes = np.full((1, 20, height // 4, width // 4), -8, np.float32)
    classes[:, 0], classes[:, 5] = np.where(bright[:, 0], -8, 8), np.where(bright[:, 0], 8, -8)
    ys, xs = np.mgrid[: height // 4, : width // 4]
    y, x = (int(v[bright[0, 0]].mean()) if bright.any() else 0 for v in (ys, xs))
    centre = np.full_like(classes[:, :1], -8)
    centre[0, 0, y, x] = 8 if bright.any() else -8
    offset = np.stack([(x - xs) * 4, (y - ys) * 4])[None].astype(np.float32)
    return {
        "classes": classes,
        "person": np.where(bright, 8, -8).astype(np.float32),
        "centre": centre,
        "offset": offset,
    }


def fake_parser(card: ModelCard = CARD, answer=bright_person, **options) -> HumanParser:
    return HumanParser(engine=FakeEngine(answer, {METADATA_KEY: card.to_json()}), **options)


def photo(height: int = 160, width: int = 240) -> np.ndarray:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 : width // 2] = 255
    return pixels


def test_a_person_is_found_where_they_are():
    result = fake_parser().parse(photo())
    (person,) = result.people
    assert person.box_xyxy == pytest.approx((60, 40, 120, 120), abs=3)
    assert person.parts["UpperClothes"].area == (result.label_map == 5).sum() > 4000
    assert result.label_map.dtype == np.uint8 and result.person_map.dtype == np.uint16
    assert result.size_hw == (160, 240) and result.model == "made-up"
    assert set(result.timings_ms) == {"read", "preprocess", "network", "postprocess"}


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 3000), (3000, 2), (37, 41), (1500, 2000)]
)
def test_maps_always_have_the_photos_size(height, width):
    result = fake_parser().parse(photo(height, width))
    assert result.label_map.shape == result.person_map.shape == (height, width)


def test_an_image_without_people_gives_an_empty_result():
    result = fake_parser().parse(np.zeros((50, 60, 3), np.uint8))
    assert (
        result.people == ()
        and not result.label_map.any()
        and json.loads(result.to_json())["people"] == []
    )


def test_every_kind_of_input_gives_the_same_result(tmp_path):
    file = tmp_path / "street.png"
    Image.fromarray(photo()).save(file)
    wanted = fake_parser().parse(photo())
    for source in (
        file,
        str(file),
        file.read_bytes(),
        io.BytesIO(file.read_bytes()),
        Image.open(file),
    ):
        assert (fake_parser().parse(source).person_map == wanted.person_map).all()
    assert fake_parser().parse(file).name == "street"
    assert fake_parser().parse(photo(), name="mine").name == "mine"


def test_sizes_are_those_that_a_person_sees():
    data = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo()).save(data, "JPEG", exif=exif)
    assert fake_parser().parse(data.getvalue()).size_hw == (240, 160)


def test_a_smaller_input_still_gives_maps_of_the_photos_size():
    parser = fake_parser(short_side=80)
    result = parser.parse(photo(800, 1200))
    assert parser.engine.seen[0].shape == (1, 3, 80, 128)
    assert result.size_hw == (800, 1200) and len(result.people) == 1


def test_people_below_the_score_are_left_out():
    assert len(fake_parser(min_score=0.9).parse(photo()).people) == 1
    assert len(fake_parser(min_score=1.0).parse(photo()).people) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"min_score": 1.5},
        {"min_score": -0.1},
        {"min_score": "0.5"},
        {"min_score": None},
        {"min_score": float("nan")},
        {"threads": 0},
        {"threads": "2"},
        {"threads": 1.5},
        {"max_megapixels": "10"},
        {"max_megapixels": 0},
        {"short_side": "128"},
        {"max_side": 640.5},
        {"max_side": 3},
        {"flip": "no"},
        {"scales": 1.5},
        {"scales": None},
        {"scales": ("1",)},
        {"scales": "1"},
    ],
)
def test_impossible_options_are_refused(options):
    (name,) = options
    with pytest.raises(errors.OptionError, match=name if name != "scales" else "scales are"):
        fake_parser(**options)


def test_numbers_of_numpy_are_numbers():
    parser = fake_parser(
        min_score=np.float32(0.5),
        threads=np.int64(1),
        max_side=np.int32(640),
        max_megapixels=np.float64(2),
    )
    assert (parser.min_score, parser.max_megapixels) == (0.5, 2)


@pytest.mark.parametrize("engine", [None, 5, object])
def test_what_is_not_an_engine_is_refused(engine):
    with pytest.raises(errors.OptionError, match="engine is"):
        HumanParser(engine=engine)


@pytest.mark.parametrize("images", ["street.jpg", b"bytes", Path("street.jpg"), 5, None])
def test_parse_many_wants_several_photos(images):
    with pytest.raises(errors.OptionError, match="give a list of photos"):
        fake_parser().parse_many(images)


@pytest.mark.parametrize("jobs", [0, "2", 1.5])
def test_impossible_jobs_are_refused(jobs):
    with pytest.raises(errors.OptionError, match="jobs is"):
        fake_parser().parse_many([], jobs=jobs)


def test_a_name_that_is_not_text_is_refused():
    with pytest.raises(errors.OptionError, match="name is 5"):
        fake_parser().parse(photo(), name=5)


def test_outputs_and_sizes_of_another_model_are_refused():
    parser = fake_parser()
    with pytest.raises(errors.BrokenModel, match="no output"):
        parser.pipeline.finish({}, (40, 60))
    for photo_hw in (5, (5,), (0, 4), ("40", "60")):
        with pytest.raises(errors.OptionError):
            parser.pipeline.finish({}, photo_hw)


def test_what_cannot_be_read_at_all_does_not_end_the_loop():
    closed = io.BytesIO(b"x")
    closed.close()
    results = list(
        fake_parser().parse_many([photo(), "a\0b.jpg", closed, 5, photo()], on_error="return")
    )
    assert [type(one).__name__ for one in results] == ["Parsing", *["ParseFailure"] * 3, "Parsing"]
    assert all(isinstance(one.error, errors.NotAnImage) for one in results[1:4])


# In other processes


@pytest.mark.parametrize(
    "way", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_parser_survives_pickle_and_copy_as_what_it_was_made_with(way):
    parser = HumanParser(min_score=0.4, max_side=320, threads=1, flip=True, max_megapixels=3)
    parser.min_score = 0.6  # as it is now
    other = way(parser)
    assert other.engine is not parser.engine
    assert (other.name, other.min_score, other.max_megapixels) == (parser.name, 0.6, 3)
    assert other.preprocess == parser.preprocess
    pixels = photo()
    assert (other.parse(pixels).label_map == parser.parse(pixels).label_map).all()


def test_a_parser_of_a_file_finds_it_from_any_folder(tmp_path, monkeypatch):
    shutil.copy(model_file(None), tmp_path / "own.onnx")
    monkeypatch.chdir(tmp_path)
    packed = pickle.dumps(HumanParser("own.onnx", threads=1))
    monkeypatch.chdir("/")
    assert pickle.loads(packed).name == DEFAULT_MODEL


def test_a_shallow_copy_shares_the_model():
    parser = fake_parser()
    other = copy.copy(parser)
    other.min_score = 0.9
    assert other.engine is parser.engine and parser.min_score != 0.9
    assert other.parse(photo()).people


def test_a_model_that_lacks_an_output_is_refused():
    with pytest.raises(errors.BrokenModel, match="no output centre, offset"):
        fake_parser(answer=lambda pixels: {"classes": 0, "person": 0}).parse(photo())


def test_a_model_with_unknown_settings_is_refused():
    with pytest.raises(errors.BrokenModel, match="update humanparse"):
        fake_parser(ModelCard("made-up", CIHP, "centres", PREPROCESS, "MIT", {"aura": 1.0}))


def test_the_pixel_limit_is_the_callers():
    with pytest.raises(errors.ImageTooLarge):
        fake_parser(max_megapixels=0.01).parse(photo())


def test_many_photos_come_in_their_order():
    photos = [photo(width=width) for width in range(100, 180, 10)]
    results = list(fake_parser().parse_many(iter(photos), jobs=3))
    assert [result.size_hw for result in results] == [pixels.shape[:2] for pixels in photos]


def test_of_many_photos_a_bad_one_raises_in_its_place():
    results = fake_parser().parse_many([photo(), b"no picture", photo()], jobs=2)
    assert len(next(results).people) == 1
    with pytest.raises(errors.NotAnImage):
        next(results)


def test_of_many_photos_a_bad_one_can_be_returned(tmp_path):
    missing = tmp_path / "missing.jpg"
    one, bad, lost, two = fake_parser().parse_many(
        [photo(), b"no picture", missing, photo()], on_error="return"
    )
    assert len(one.people) == len(two.people) == 1
    assert (
        isinstance(bad, ParseFailure)
        and bad.image == b"no picture"
        and isinstance(bad.error, errors.NotAnImage)
    )
    assert lost.image == missing and isinstance(lost.error, FileNotFoundError)


def test_an_error_that_is_not_the_photos_is_always_raised():
    parser = fake_parser(answer=lambda pixels: {})
    with pytest.raises(errors.BrokenModel):
        list(parser.parse_many([photo()], on_error="return"))


@pytest.mark.parametrize("options", [{"jobs": 0}, {"on_error": "ignore"}])
def test_impossible_options_of_many_are_refused_at_once(options):
    with pytest.raises(errors.OptionError):
        fake_parser().parse_many([], **options)


# With the model inside the package.


@pytest.fixture(scope="module")
def parser() -> HumanParser:
    return HumanParser()


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_a_portrait_is_one_person_with_face_hair_and_clothes(parser, name):
    result = parser.parse(DEMO / f"{name}.jpg")
    assert len(result.people) == 1
    person = result.people[0]
    assert {"Face", "Hair"} & set(person.parts) and person.area > 0.2 * result.label_map.size
    assert person.score > 0.5


def test_parts_lie_inside_their_person_and_no_pixel_has_two(parser):
    result = parser.parse(DEMO / "astronaut.jpg")
    covered = np.zeros(result.size_hw, np.uint8)
    for person in result.people:
        inside = person.mask.to_dense()
        assert (inside == (result.person_map == person.id)).all()
        for part in person.parts.values():
            dense = part.mask.to_dense()
            assert not (dense & ~inside).any()
            assert (result.label_map[dense] == part.class_id).all()
            covered += dense
    assert covered.max() == 1


def test_a_mirrored_photo_gives_mirrored_people_with_sides_exchanged(parser):
    pixels = np.asarray(Image.open(DEMO / "astronaut.jpg").convert("RGB"))
    straight, mirrored = parser.parse(pixels), parser.parse(pixels[:, ::-1].copy())
    agree = (straight.person_map > 0) == (mirrored.person_map > 0)[:, ::-1]
    assert agree.mean() > 0.95
    for left, right in CIHP.left_right_pairs[:1]:
        a, b = straight.label_map == left, mirrored.label_map[:, ::-1] == right
        if a.sum() > 2000:
            assert (a & b).sum() / (a | b).sum() > 0.5


@pytest.fixture(scope="module")
def alone(parser):
    """What is found in the photos of the demo, one after the other, by name."""
    return {name: parser.parse(DEMO / f"{name}.jpg") for name in ("astronaut", "hopper")}


def test_the_same_photo_gives_the_same_result_in_any_number_of_threads(parser, alone):
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(parser.parse, [DEMO / "hopper.jpg"] * 4):
            assert (result.label_map == alone["hopper"].label_map).all()


def test_pictures_of_nothing_hold_nobody(parser):
    sky = np.linspace(90, 220, 200)[:, None, None] * np.array([0.6, 0.8, 1.0]) + np.zeros(
        (200, 300, 3)
    )
    for pixels in (np.zeros((200, 300, 3)), np.full((200, 300, 3), 255), sky):
        assert parser.parse(pixels.astype(np.uint8)).people == ()


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_many_photos_are_parsed_like_one(alone, monkeypatch, cores):
    for module in (parallel, humanparse.parser):
        monkeypatch.setattr(module, "usable_cores", lambda: cores)
    names = ["astronaut", "hopper", "astronaut"]
    for name, result in zip(
        names, HumanParser().parse_many(DEMO / f"{name}.jpg" for name in names), strict=True
    ):
        assert result.name == name
        assert (result.label_map == alone[name].label_map).mean() > 0.999
