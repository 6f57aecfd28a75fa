"""Small pictures of every accepted type and mode, good and hostile ones, generated on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image, PngImagePlugin

# written into the metadata of `with_secrets`; must never appear anywhere
GPS = "Springfield-47.1234"
OWNER = "Secret Owner 0815"


def painted(width: int = 24, height: int = 16, mode: str = "RGB") -> Image.Image:
    """A picture whose corners are all different."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack(
        [columns * 255 // width, rows * 255 // height, (rows + columns) % 2 * 255], axis=2
    ).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@cache
def pictures() -> dict[str, bytes]:
    """By name, at least one of every accepted type (HEIC if pillow-heif is installed)."""
    frames = [painted(), painted(mode="L").convert("RGB")]
    made = {
        "jpeg": encoded(painted(), "JPEG"),
        "jpeg-progressive": encoded(painted(), "JPEG", progressive=True),
        "jpeg-cmyk": encoded(painted(mode="CMYK"), "JPEG"),
        "jpeg-grey": encoded(painted(mode="L"), "JPEG"),
        "png": encoded(painted(), "PNG"),
        "png-rgba": encoded(painted(mode="RGBA"), "PNG"),
        "png-palette": encoded(painted(mode="P"), "PNG"),
        "png-16": encoded(Image.new("I;16", (9, 7), 40_000), "PNG"),
        "png-1": encoded(painted(mode="1"), "PNG"),
        "apng": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "webp": encoded(painted(), "WebP"),
        "webp-lossless": encoded(painted(mode="RGBA"), "WebP", lossless=True),
        "bmp": encoded(painted(), "BMP"),
        "bmp-palette": encoded(painted(mode="P"), "BMP"),
        "ppm": encoded(painted(), "PPM"),
        "pgm": encoded(painted(mode="L"), "PPM"),
        "pbm-plain": b"P1\n4 2\n0 1 0 1\n1 0 1 0\n",
        "tiff": encoded(painted(), "TIFF"),
        "tiff-lzw": encoded(painted(), "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": encoded(painted(32, 32), "TIFF", compression="jpeg"),
        "tiff-float": encoded(
            Image.fromarray(np.linspace(0, 1, 63, dtype=np.float32).reshape(7, 9)), "TIFF"
        ),
        "tiff-pages": encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
    }
    made["mpo"] = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    for name, kind in (("avif", "AVIF"), ("heic", "HEIF")):
        try:
            if kind == "HEIF":
                from pillow_heif import register_heif_opener

                register_heif_opener()
            made[name] = encoded(painted(64, 64), kind)
        except (ImportError, KeyError, OSError):
            continue
    return made


# How to turn a stored picture upright, by its EXIF orientation, in Pillow's terms.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def rotated() -> dict[int, bytes]:
    """A PNG for each EXIF orientation, 1 to 8."""
    return {
        orientation: encoded(painted(), "PNG", exif=exif(orientation))
        for orientation in range(1, 9)
    }


def exif(orientation: int = 1) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def with_secrets(image: Image.Image, kind: str = "JPEG") -> bytes:
    """The picture with a place, an owner, a comment and a text in its metadata."""
    secret = exif(6)
    secret[0x9C9D] = OWNER.encode("utf-16-le")
    secret[0x010F] = secret[0x8298] = OWNER
    secret.get_ifd(0x8825).update(
        {1: "N", 2: (47.0, 12.0, 34.0), 3: "E", 4: (8.0, 30.0, 0.0), 29: GPS}
    )
    options = {"exif": secret}
    if kind == "JPEG":
        options["comment"] = OWNER.encode()
        options["xmp"] = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{GPS}</x:xmpmeta>".encode()
    elif kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Author", OWNER)
        options["pnginfo"].add_itxt("Comment", GPS)
    return encoded(image, kind, **options)


@cache
def hostile() -> dict[str, bytes]:
    """Pictures made to do harm, by name.

    Each must be answered, with success or a 4xx, and cost no more than it may.
    """
    good = pictures()
    made = {
        "bomb-png": _flat_png(30_000, 30_000),
        "just-below-the-limit": _flat_png(6_300, 6_300),
        "one-row": _flat_png(1_000_000, 1),
        "one-column": _flat_png(1, 1_000_000),
        "size-0": _png_head(0, 0),
        "size-max": _png_head(2**31 - 1, 2**31 - 1),
        "text-bomb-png": _png_with_text(b"\0" * 50_000_000),
        "profile-bomb-png": _png_with_profile(b"\0" * 50_000_000),
        "gif-huge-canvas": b"GIF89a\xff\xff\xff\xff\x80\0\0"
        + b"\0\0\0\xff\xff\xff"
        + good["gif"][13:],
        "tiff-self-loop": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "tiff-many-tags": b"II*\0\x08\0\0\0\xff\xff" + b"\x01" * 9000,
        "tiff-huge-strip": _tiff(strip_bytes=2**32 - 1),
        "bmp-huge": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
        "bmp-rle-long": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 1078, 0, 1078, 40, 4000, 4000, 1, 8, 1, 0, 0, 0, 256, 0)
        + bytes(1024)
        + b"\xff\1" * 5000,
        "ppm-long-number": b"P6\n" + b"9" * 5000 + b" 1\n255\n",
        "ppm-comments": b"P6\n" + b"#\n" * 50_000,
        "jpeg-scans": _many_scans(),
        "webp-lying": good["webp"][:4] + b"\xff\xff\xff\x7f" + good["webp"][8:],
        "html": b"<!DOCTYPE html><script>alert(1)</script>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9'/>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run",
        "pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
        "ftyp": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"\xff" * 200,
        "exif-loop": _jpeg_with_exif_loop(),
        "empty-jpeg": b"\xff\xd8\xff\xd9",
        "polyglot": good["jpeg"] + b"PK\3\4<script>",
    }
    for name, data in good.items():
        made[f"{name}-half"] = data[: len(data) // 2]
        made[f"{name}-holes"] = bytes(
            0 if place % 7 == 3 and place > 20 else byte for place, byte in enumerate(data)
        )
    return made


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_head(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    )


def _flat_png(width: int, height: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    rows = b"".join(packer.compress(row) for _ in range(height)) if width * height < 50e6 else b""
    return _png_head(width, height) + _chunk(b"IDAT", rows + packer.flush()) + _chunk(b"IEND", b"")


def _png_with_text(text: bytes) -> bytes:
    start = _png_head(4, 4)
    return start + _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text, 9)) + pictures()["png"][33:]


def _png_with_profile(profile: bytes) -> bytes:
    return (
        _png_head(4, 4)
        + _chunk(b"iCCP", b"p\0\0" + zlib.compress(profile, 9))
        + pictures()["png"][33:]
    )


def _tiff(strip_bytes: int) -> bytes:
    tags = [
        (256, 4, 1, 1000),
        (257, 4, 1, 1000),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, 1000),
        (279, 4, 1, strip_bytes),
    ]
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        + b"\0\0\0\0"
        + bytes(5000)
    )


def _many_scans() -> bytes:
    """A progressive JPEG that repeats its last scan: each costs the decoder a full pass."""
    data = encoded(painted(2000, 2000), "JPEG", progressive=True, quality=5)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 2000 + data[-2:]


def _jpeg_with_exif_loop() -> bytes:
    """EXIF with a sub-directory that is itself."""
    body = (
        b"Exif\0\0II*\0\x08\0\0\0\1\0"
        + struct.pack("<HHII", 0x8769, 4, 1, 8)
        + struct.pack("<I", 8)
    )
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + pictures()["jpeg"][2:]
