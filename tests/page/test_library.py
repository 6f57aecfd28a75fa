"""humanparse.js in a real browser finds what HumanParser finds."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from static_site import static_site

from humanparse import HumanParser
from humanparse.card import METADATA_KEY
from humanparse.engines import open_engine
from humanparse.export.web import HEADERS
from humanparse.export.web_model import web_model
from humanparse.formats import from_dict
from humanparse.image import read_image
from humanparse.weights.catalog import model_file

DOCS = Path(__file__).parents[2] / "docs/web-library.md"
WAIT_MS = 120_000  # the model takes longer where other tests use the cores
OPEN = """
async (options) => {
    const { HumanParser, HumanParseError } = await import('./humanparse.js');
    globalThis.HumanParser = HumanParser;
    globalThis.failure = (promise) => promise.then(() => 'none',
        (error) => error instanceof HumanParseError ? error.code : `${error}`);
    const progress = [];
    globalThis.parser = await HumanParser.load({ ...options, onProgress: (p) => progress.push(p) });
    return progress.at(-1);
}
"""
# Classes and people are below 128, so that each is a letter.
PARSE = """
async (photo) => {
    const parsing = await parser.parse(await (await fetch(photo)).blob());
    const text = (map) => new TextDecoder().decode(Uint8Array.from(map));
    const { width, height, original } = parsing;
    const { labelMap, personMap } = parsing;
    return { width, height, original, labels: text(labelMap), people: text(personMap),
        parts: parsing.parts.length, json: JSON.parse(JSON.stringify(parsing)) };
}
"""


@pytest.fixture(scope="module")
def library(site_folder, tmp_path_factory):
    """The exported site, with humanparse-small in a folder of its own, and photos."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(site_folder, folder, dirs_exist_ok=True)
    (folder / "small").mkdir()
    model = model_file("humanparse-small")
    (folder / "small/model.onnx.gz").write_bytes(model.read_bytes())  # some hosts unpack it
    described = web_model(model) | {"bytes": {"model": model.stat().st_size, "runtime": 1}}
    (folder / "small/model.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="module")
def open_page(chromium, library):
    """Opens an empty page beside the library: `open_page(headers)`."""
    sites = []

    def opened(headers=None):
        sites.append(static_site(library, headers))
        page = chromium.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(sites[-1].__enter__().url + "model.json")
        return page

    yield opened
    for one in sites:
        one.__exit__(None, None, None)


@pytest.fixture(scope="module")
def page(open_page):
    """A page that is not isolated, with humanparse-small."""
    page = open_page()
    page.evaluate(OPEN, {"base": "small"})
    return page


@pytest.fixture(scope="module")
def small():
    return HumanParser("humanparse-small", engine="onnxruntime")


def found_in(page, file: Path) -> dict:
    """What the browser finds in a photo that lies beside the library, with arrays as maps."""
    found = page.evaluate(PARSE, file.name)
    for name in ("labels", "people"):
        values = np.frombuffer(found[name].encode(), np.uint8)
        found[name] = values.reshape(found["height"], found["width"])
    return found


def agreement(found: dict, wanted) -> tuple[float, float]:
    """Shares of equal labels and people; the same people must be found with the same scores."""
    assert [one["score"] for one in found["json"]["people"]] == pytest.approx(
        [one.score for one in wanted.people], abs=0.025
    )
    same_labels = found["labels"] == wanted.label_map
    return same_labels.mean(), (found["people"] == wanted.person_map).mean()


def made(name: str, folder: Path, astronaut: Path) -> Path:
    """A photo of one, many or no people: enlarged, shrunk, stretched or partly transparent."""
    one = read_image(astronaut).pixels
    other = read_image(astronaut.with_name("hopper.jpg")).pixels
    if name == "small":
        pixels = cv2.resize(other, (97, 130), interpolation=cv2.INTER_AREA)
    elif name == "wide":
        pixels = cv2.resize(other, (899, 401))
    elif name == "large":
        pixels = cv2.resize(one, (1501, 1400), interpolation=cv2.INTER_CUBIC)
    elif name == "row":
        four = (one, other, one[:, ::-1], other[:, ::-1])
        pixels = np.concatenate([cv2.resize(each, (300, 400)) for each in four], axis=1)
    elif name == "clear":  # transparent black, which is seen as white
        pixels = np.dstack([other, np.full(other.shape[:2], 255, np.uint8)])
        pixels[:, :60] = 0
    else:
        pixels = np.full((3, 900, 3), 128, np.uint8)
    file = folder / f"{name}.png"
    Image.fromarray(pixels).save(file)
    return file


@pytest.mark.parametrize("name", ["small", "wide", "large", "clear", "nobody"])
def test_the_browser_finds_what_python_finds(page, library, small, astronaut, name):
    file = made(name, library, astronaut)
    labels, people = agreement(found_in(page, file), small.parse(file))
    assert labels > 0.985 and people > 0.995


def test_the_json_is_the_servers_and_holds_the_same_pixels_as_the_maps(
    page, library, small, astronaut
):
    file = made("row", library, astronaut)
    found, parsed = found_in(page, file), small.parse(file)
    labels, people = agreement(found, parsed)
    assert labels > 0.985 and people > 0.995
    read = from_dict(found["json"])
    assert (read.label_map == found["labels"]).all() and (read.person_map == found["people"]).all()
    wanted = json.loads(parsed.to_json())
    assert wanted.keys() == found["json"].keys() and wanted["labels"] == found["json"]["labels"]
    first, same = found["json"]["people"][0], wanted["people"][0]
    assert first.keys() == same.keys() and first["parts"][0].keys() == same["parts"][0].keys()
    assert found["parts"] == sum(len(one["parts"]) for one in found["json"]["people"])
    for person in found["json"]["people"]:
        mask = read.people[person["id"] - 1].mask
        assert (list(mask.box_xyxy), mask.area) == (person["box"], person["area"])


@pytest.fixture(scope="module")
def int8():
    """The model that the site has."""
    return HumanParser("humanparse-int8", engine="onnxruntime")


@pytest.fixture(scope="module")
def opened(open_page):
    """A page that is isolated, and how far the loading was in the end, with humanparse-int8."""
    page = open_page(HEADERS)
    assert page.evaluate("crossOriginIsolated")
    return page, page.evaluate(OPEN, {"threads": 2})


def test_the_sites_own_model_finds_the_same_people_in_the_same_order(
    opened, library, int8, astronaut, couple
):
    # Eight bits are rounded a little differently in browsers, which moves edges, and scores by
    # up to 0.02. In "row" everybody is there twice, so that an order by scores might be another.
    files = [made(name, library, astronaut) for name in ("row", "small", "wide", "large", "clear")]
    photos = (astronaut, astronaut.with_name("hopper.jpg"), couple)
    files += [Path(shutil.copy(one, library)) for one in photos]
    shares = [agreement(found_in(opened[0], file), int8.parse(file)) for file in files]
    labels, people = np.mean(shares, axis=0)
    assert labels > 0.985 and people > 0.995, shares


def test_turned_photos_are_read_and_how_far_the_loading_is_was_told(
    opened, library, site_folder, int8, astronaut
):
    page, progress = opened
    packed = [
        site_folder / name for name in ("model.onnx.gz", "ort/ort-wasm-simd-threaded.wasm.gz")
    ]
    total = sum(path.stat().st_size for path in packed)
    assert progress == {"loaded": total, "total": total, "what": "model"}
    turned, exif = library / "turned.jpg", Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the left
    with Image.open(astronaut.with_name("hopper.jpg")) as photo:
        photo.transpose(Image.Transpose.ROTATE_90).save(turned, quality=95, exif=exif)
    wanted = int8.parse(turned)
    assert wanted.size_hw == (600, 512)
    labels, people = agreement(found_in(page, turned), wanted)
    assert labels > 0.97 and people > 0.99


def test_the_card_in_the_models_file_is_read(page):
    read = """async () => {
        const { cardOf } = await import('./card.js');
        const model = await (await fetch('small/model.onnx.gz')).arrayBuffer();
        return [cardOf(new Uint8Array(model)), cardOf(new Uint8Array(0))];
    }"""
    metadata = open_engine("onnxruntime", model_file("humanparse-small")).metadata
    assert page.evaluate(read) == [json.loads(metadata[METADATA_KEY]), None]


def test_errors_have_the_codes_of_the_service(page):
    fails = "async (source) => failure(parser.parse(source()))"

    def code(source: str) -> str:
        return page.evaluate(fails.replace("source()", source).replace("(source)", "()"))

    assert code("new Blob(['no picture'])") == "not_an_image"
    assert code("new Blob([])") == "not_an_image"
    assert code("'street.jpg'") == "not_an_image"
    assert code("new Blob([Uint8Array.of(0xff, 0xd8, 0xff, 0, 1, 2)])") == "broken_image"
    loads = "(options) => failure(HumanParser.load(options))"
    assert page.evaluate(loads, {"threads": 0}) == "bad_option"
    assert page.evaluate(loads, {"base": "nowhere"}) == "download_failed"
    says = "(base) => HumanParser.load({ base }).catch((error) => error.message)"
    said = {page.evaluate(says, base) for base in ("nowhere", "nowhere/")}
    assert len(said) == 1 and "/nowhere/model.json cannot be loaded" in said.pop()
    assert page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(8, 8);
            canvas.getContext('2d');
            const parsing = parser.parse(canvas.transferToImageBitmap());
            const late = failure(parser.parse(new ImageData(9, 9)));
            const nobody = (await parsing).people.length;
            parser.close();
            return [nobody, await late, await failure(parser.parse(new Blob([])))];
        }"""
    ) == [0, "closed", "closed"]


def test_the_example_of_the_manual_runs(open_page, astronaut):
    example = re.search(r"```html\n(.*?)```", DOCS.read_text("utf-8"), re.S)[1]
    page = open_page()
    page.route(
        "**/example.html", lambda route: route.fulfill(body=example, content_type="text/html")
    )
    page.goto(page.url.replace("model.json", "example.html"))
    page.wait_for_function("() => document.querySelector('#photo').onchange !== null")
    with page.expect_console_message(lambda message: message.type == "log") as said:
        page.set_input_files("#photo", astronaut)
    assert said.value.text.startswith("1 0.") and "Face" in said.value.text
