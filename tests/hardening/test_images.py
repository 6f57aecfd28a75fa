"""Whatever arrives as a picture is parsed or refused with a reason: mutated, hostile, fuzzed.

fuzz.py is the long search; what it finds is kept in crashes/ and read here for ever.
"""

import io
import json
import struct
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from served import serve

from hardening import samples
from hardening.conftest import PHOTO
from hardening.looking import ask
from humanparse.errors import BrokenImage, ImageError, MissingExtra
from humanparse.image import MAX_SCANS, read_image
from humanparse.service.child import archive
from humanparse.service.problems import Problem

CRASHES = sorted(Path(__file__).with_name("crashes").iterdir())
MEGAPIXELS = 1.0
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 1 << 30),
        st.sampled_from(["flip", "set", "cut", "repeat", "number"]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=12,
)


def mutated(data: bytes, mutations) -> bytes:
    """Bytes changed, cut out or repeated, and numbers in headers made extreme."""
    out = bytearray(data)
    for where, what, value in mutations:
        # half of them in the head
        place = where % max(1, len(out)) if value % 2 else where % max(1, min(len(out), 64))
        match what:
            case "flip" if out:
                out[place] ^= 1 << value % 8
            case "set" if out:
                out[place] = value
            case "cut":
                del out[place : place + value]
            case "repeat":
                out[place:place] = out[place : place + value]
            case "number":
                out[place : place + 4] = (0, 1, 2**31 - 1, 2**32 - 1)[value % 4].to_bytes(4, "big")
    if data.startswith(b"\x89PNG") and mutations[0][0] % 2:
        return with_right_sums(bytes(out))
    return bytes(out)


def with_right_sums(data: bytes) -> bytes:
    """A PNG with corrected checksums, so that readers look at what they cover."""
    out, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        length = min(int.from_bytes(data[place : place + 4], "big"), len(data) - place - 12)
        body = data[place + 4 : place + 8 + length]
        out += data[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(out) + data[place:]


@pytest.mark.parametrize("name", samples.pictures())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations=MUTATIONS)
def test_a_mutated_picture_of_every_kind_is_read_or_refused(name, mutations):
    read_or_refused(mutated(samples.pictures()[name], mutations))


def read_or_refused(data: bytes) -> None:
    try:
        pixels = read_image(data, max_megapixels=MEGAPIXELS).pixels
    except (ImageError, MissingExtra) as error:
        assert len(str(error)) < 1000, "an error that quotes the picture"
    else:
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and pixels.size <= 3e6 * MEGAPIXELS


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.name)
def test_what_fuzzing_has_found_stays_fixed(path):
    if path.suffix == ".zip":
        with tempfile.TemporaryDirectory() as folder, suppress(Problem):
            archive.unzip(
                {"path": str(path), "to": folder, "max_images": 8, "max_image_mb": 1, "max_mb": 1}
            )
    else:
        read_or_refused(path.read_bytes())


def test_a_jpeg_of_endless_scans_is_refused_before_it_costs_minutes():
    with pytest.raises(BrokenImage, match=f"more than {MAX_SCANS} scans"):
        read_image(samples.hostile()["jpeg-scans"])
    photo = samples.encoded(samples.painted(800, 600), "JPEG", progressive=True)
    assert read_image(photo).pixels.shape == (600, 800, 3)
    preview = (
        photo[:2] + b"\xff\xe1" + struct.pack(">H", 40_002) + (b"\xff\xda\0\2" * 10_000) + photo[2:]
    )
    assert read_image(preview).pixels.shape == (600, 800, 3), (
        "what a preview holds are no scans of this picture"
    )


# Through the whole service


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve(
        tmp_path_factory.mktemp("images"),
        "--workers",
        "1",
        "--max-megapixels",
        "1",
        "--cache-mb",
        "0",
    ) as served:
        yield served


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(sorted(samples.pictures())), mutations=MUTATIONS)
def test_the_service_answers_200_or_a_clear_4xx_whatever_arrives(served, name, mutations):
    data = mutated(samples.pictures()[name], mutations)
    status, headers, body = ask(served, body=data)
    if status != 200:
        problem = json.loads(body)
        assert (status, headers["content-type"]) == (problem["status"], "application/problem+json")
        assert problem["code"] in ("not_an_image", "broken_image", "image_too_large") or not data, (
            problem
        )
        assert problem["detail"]


def test_orientation_is_right_for_all_eight_values_in_every_output(served):
    photo = Image.open(PHOTO).convert("RGB").resize((256, 192))
    upright = np.asarray(labels(served, photo, 1))
    assert len(np.unique(upright)) > 3, "there is somebody in it"
    for orientation in range(2, 9):
        stored = photo.transpose(INVERSE[orientation])
        found = np.asarray(labels(served, stored, orientation))
        assert np.array_equal(found, upright), f"EXIF orientation {orientation}"


INVERSE = samples.UPRIGHT | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def labels(served, photo: Image.Image, orientation: int) -> Image.Image:
    data = samples.encoded(photo, "PNG", exif=samples.exif(orientation))
    status, _, body = ask(served, path="/parse?format=labels", body=data)
    assert status == 200
    return Image.open(io.BytesIO(body))
