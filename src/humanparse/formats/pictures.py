"""Pictures as files: the maps as indexed pictures, and the encoding of any picture.

No file says anything about where its picture came from.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import partial

import numpy as np
from PIL import Image

from humanparse import render
from humanparse.arguments import number_between
from humanparse.errors import OptionError
from humanparse.labels import Colour
from humanparse.result import Parsing
from humanparse.system.cores import usable_cores
from humanparse.system.parallel import in_order

MAX_SIDES = {
    "png": 2**31 - 1,
    "jpeg": 65_500,
    "webp": 16_383,
}  # the longest side of each kind, in pixels

_PNG_FILTER = 2  # each row minus the one above
# Bytes of a band; bands are compressed separately, on as many threads as there are cores.
_PNG_BAND = 1 << 20
_PNG_SIGNATURE, _ADLER_PRIME = b"\x89PNG\r\n\x1a\n", 65521
_FLAT_MODES = ("P", "L", "1", "I;16")  # one value per pixel: small enough for Pillow


def labels_image(parsing: Parsing, palette: str = "clear") -> Image.Image:
    """Return the label map as an indexed picture (mode P).

    Each pixel's value is its class, which is shown in the palette's colour.
    """
    return _indexed(parsing.label_map, parsing.labels.palette(palette))


def people_image(parsing: Parsing) -> Image.Image:
    """Return the person map as a picture whose values are the people's numbers.

    Its mode is P, or I;16 if there are more than 255 people.
    """
    if len(parsing.people) > 255:
        return Image.fromarray(parsing.person_map.astype(np.uint16))
    return _indexed(parsing.person_map.astype(np.uint8), render.person_colours(len(parsing.people)))


def encode_picture(picture: Image.Image | np.ndarray, kind: str, quality: int = 90) -> bytes:
    """Encode a picture without any metadata: no EXIF, no colour profile, no text.

    The encoders are chosen for speed, not for the smallest file.

    Args:
        picture: The picture: a PIL image, or uint8 (H, W, 3) RGB.
        kind: "png", which keeps every pixel and the modes of `labels_image` and `people_image`;
            "jpeg", which shows transparent pixels in white; or "webp".
        quality: The quality of JPEG and WebP, from 1 to 100.

    Returns:
        The bytes of the file.

    Raises:
        OptionError: If the kind or the quality is unknown, or if the picture is too large for its
            kind.
    """
    if not (isinstance(picture, Image.Image) or _is_rgb(picture)):
        raise OptionError(
            f"picture is {type(picture).__name__}; give a PIL image, for example "
            "`result.overlay()`, or a uint8 array (H, W, 3)"
        )
    if kind not in list(MAX_SIDES):
        raise OptionError(
            f"there is no picture format {kind!r}; choose one of {', '.join(MAX_SIDES)}"
        )
    quality = round(number_between("quality", quality, 1, 100))
    width, height = picture.size if isinstance(picture, Image.Image) else picture.shape[1::-1]
    if max(width, height) > MAX_SIDES[kind]:
        raise OptionError(
            f"the picture is {width}x{height} but {kind} allows at most {MAX_SIDES[kind]} pixels "
            "per side; choose png"
        )
    if not isinstance(picture, Image.Image):
        if kind == "png":
            return _png(picture)
        return _lossy(Image.fromarray(np.ascontiguousarray(picture)), kind, quality)
    if kind == "png" and picture.mode in _FLAT_MODES and not picture.has_transparency_data:
        # Level 6 takes three times as long, for files that are a fifth smaller.
        return _encoded(picture.copy(), "PNG", compress_level=1)
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    if kind == "png":
        return _png(np.asarray(picture if picture.mode == mode else picture.convert(mode)))
    return _lossy(picture.convert(mode), kind, quality)  # always a copy


def _lossy(picture: Image.Image, kind: str, quality: int) -> bytes:
    """Encode as JPEG or WebP. Changes the picture, RGB or RGBA."""
    if kind == "webp":
        # Method 4 takes three times as long, for files that are a sixth smaller.
        return _encoded(picture, "WEBP", quality=quality, method=0)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert(
            "RGB"
        )
    return _encoded(picture, "JPEG", quality=quality)


def _is_rgb(picture: object) -> bool:
    return isinstance(picture, np.ndarray) and (
        picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[2] == 3
        and picture.size > 0
    )


def _png(pixels: np.ndarray) -> bytes:
    """Encode uint8 pixels (H, W, 3) RGB or (H, W, 4) RGBA.

    Bands of rows are compressed at the same time, in threads.
    """
    height, width, channels = pixels.shape
    flat = np.ascontiguousarray(pixels).reshape(height, width * channels)
    rows = max(1, _PNG_BAND // flat.shape[1])
    tops = range(0, height, rows)
    compress = partial(_png_band, flat, rows, *_compressors())
    if len(tops) == 1:
        bands = [compress(0)]
    else:
        with closing(in_order(compress, tops, min(len(tops), usable_cores()))) as ended:
            bands = [band.result() for _, band in ended]
    checksum = 1
    for _, adler, size in bands:
        checksum = _adler32_joined(checksum, adler, size)
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    # The two ends of the zlib stream that all bands form together.
    head, tail = b"\x78\x01", struct.pack(">I", checksum)
    begin = [_PNG_SIGNATURE, _png_chunk(b"IHDR", header), _png_chunk(b"IDAT", head)]
    return b"".join(
        [
            *begin,
            *(chunk for chunk, _, _ in bands),
            _png_chunk(b"IDAT", tail),
            _png_chunk(b"IEND", b""),
        ]
    )


def _png_band(
    flat: np.ndarray, rows: int, compressors: Callable, adler32: Callable, top: int
) -> tuple[bytes, int, int]:
    """Return the IDAT chunk of the rows from `top` on, and the Adler-32 and number of its bytes.

    flat: uint8 (H, bytes per row).
    """
    here = flat[top : top + rows]
    filtered = np.empty((len(here), flat.shape[1] + 1), np.uint8)
    filtered[:, 0] = _PNG_FILTER
    np.subtract(here[1:], here[:-1], out=filtered[1:, 1:])
    filtered[0, 1:] = here[0] - flat[top - 1] if top else here[0]
    compressor = compressors()
    data = compressor.compress(filtered) + compressor.flush(
        zlib.Z_FINISH if top + rows >= len(flat) else zlib.Z_SYNC_FLUSH
    )
    return _png_chunk(b"IDAT", data), adler32(filtered.data), filtered.size


def _compressors() -> tuple[Callable, Callable]:
    """Return a function that opens fast raw deflate streams, and one that makes Adler-32.

    They are ISA-L's where the processor supports it, which takes a quarter of zlib's time.
    """
    try:
        from isal import isal_zlib
    except ImportError:
        # Only runs of equal bytes: half the time of zlib's fastest level, and not larger after
        # _PNG_FILTER.
        rle = partial(zlib.compressobj, 1, zlib.DEFLATED, -zlib.MAX_WBITS, strategy=zlib.Z_RLE)
        return rle, zlib.adler32
    fast = partial(isal_zlib.compressobj, 1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return fast, isal_zlib.adler32


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
    )


def _adler32_joined(first: int, second: int, second_size: int) -> int:
    """Return the Adler-32 of two runs of bytes together, from that of each."""
    low, high = (
        (first & 0xFFFF) + (second & 0xFFFF) - 1,
        (first >> 16) + (second >> 16) + second_size * ((first & 0xFFFF) - 1),
    )
    return (high % _ADLER_PRIME) << 16 | low % _ADLER_PRIME


def _encoded(picture: Image.Image, kind: str, **settings: int) -> bytes:
    """Encode with Pillow.

    Changes the picture: Pillow would write what it carries besides its pixels, like a colour
    profile.
    """
    picture.info = {}
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def _indexed(values: np.ndarray, colours: tuple[Colour, ...]) -> Image.Image:
    """uint8 (H, W) → mode P.

    All 256 colours are given, so that the file keeps 8 bits per pixel, as simple readers expect.
    """
    picture = Image.fromarray(np.ascontiguousarray(values))
    picture.putpalette(
        [channel for colour in colours for channel in colour] + [0] * 3 * (256 - len(colours))
    )
    return picture
