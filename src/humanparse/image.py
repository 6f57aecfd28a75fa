"""From a path, bytes, an open file, a PIL image or an array to the pixels that a person sees.

They are RGB, upright, of 8 bits. A picture is recognised by its first bytes, never by its name, and
only the types in `ACCEPTED` are opened. Its size is read from the header and compared with the
limit before a pixel is decoded. Colour profiles (ICC) are ignored: a profile rarely moves a colour
far enough to matter for finding people, and most programs that read photos ignore it too.
"""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from humanparse.arguments import is_number
from humanparse.errors import (
    BrokenImage,
    HumanParseError,
    ImageError,
    ImageTooLarge,
    MissingExtra,
    NotAnImage,
    OptionError,
)

# 1 MP = 1 000 000 pixels; reading a photo at the limit needs about 300 MB
MAX_MEGAPIXELS = 40.0
ACCEPTED = "JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF, TIFF or PPM"

GIVE = "give a path, bytes, an open file, a PIL image or a NumPy array"

MAX_SCANS = 100  # of a JPEG; a progressive one from a camera or editor has about 10

# never inside coded data, where only the restarts d0 to d7 occur
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_LARGE_PIXELS = 1 << 20  # from here on the memory that NumPy takes has huge pages
# pixels converted in one step: few enough for the processor's caches, enough to outweigh the call
_STRIP_PIXELS = 1 << 17
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # from the file to what people see
    1: lambda pixels: pixels,
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_SIDEWAYS = (5, 6, 7, 8)  # rows of the file are columns of the photo
_LAST_FIRST = (3, 4, 6, 7)  # the first row of the file is the last row or column of the photo


@dataclass(frozen=True, eq=False)
class Picture:
    """A photo as a person sees it.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, C-contiguous, not shared with anything else.
        name: The name of its file without folder and ending; "image" if there is none.
        file_name: The name of its file without folder; "" if there is none.
    """

    pixels: np.ndarray
    name: str = "image"
    file_name: str = ""


def read_image(source: Any, *, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """Read a photo as a person sees it.

    EXIF orientation is applied. Of an animation the first frame is taken. 16-bit grey is scaled to
    8 bits. Transparent pixels become white, as on a page, instead of the colour hidden below them,
    which is often black or noise. Memory: at the peak the decoded picture (4 bytes a pixel) and the
    result (3 bytes a pixel); for WebP 16 bytes a pixel in all.

    Args:
        source: A path (str or os.PathLike); the file's bytes; an open binary file (read from its
            start if it can seek, and left open); a PIL image (its current frame); or a NumPy array,
            uint8 (H, W, 3) RGB, (H, W, 4) RGB and alpha or (H, W) grey, which is copied. OpenCV's
            arrays are BGR: pass `frame[:, :, ::-1]`.
        max_megapixels: The largest picture accepted, in millions of pixels.

    Raises:
        NotAnImage: For what is not a picture, a type that is not accepted, or a folder.
        BrokenImage: For a damaged file.
        ImageTooLarge: Above the limit.
        MissingExtra: For HEIC without pillow-heif.
        OptionError: For a limit that is not a positive number.
        OSError: For trouble with the file system, as it is (FileNotFoundError, PermissionError, …).
    """
    check_limit(max_megapixels)
    try:
        return _read(source, max_megapixels)
    except (HumanParseError, OSError, MemoryError):
        raise
    # a closed file, a NUL in a path: what callers pass can raise nearly anything
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise NotAnImage(
            f"image cannot be read from {_shown(source)} ({reason}); {GIVE}"
        ) from error


def check_limit(max_megapixels: float) -> None:
    """Raise OptionError unless the limit is a number above 0, which may be infinite."""
    # not `<= 0`, which would let NaN switch the limit off
    if not (is_number(max_megapixels) and max_megapixels > 0):
        raise OptionError(f"max_megapixels is {max_megapixels!r} but must be a positive number")


# Sources


def _read(source: Any, max_megapixels: float) -> Picture:
    if isinstance(source, np.ndarray):
        return Picture(_from_array(source, max_megapixels))
    if isinstance(source, Image.Image):
        return Picture(
            _guarded(
                lambda: _from_pil(source, "image", max_megapixels),
                "image",
                source.format,
                max_megapixels,
            )
        )
    if isinstance(source, bytes | bytearray | memoryview):
        return Picture(_from_file(io.BytesIO(bytes(source)), "image", max_megapixels))
    if isinstance(source, str | os.PathLike):
        return _from_path(Path(os.fsdecode(source)), max_megapixels)
    if iscoroutinefunction(getattr(source, "read", None)):
        kind = type(source).__name__
        raise NotAnImage(
            f"cannot wait for an asynchronous {kind}; give its bytes (`await it.read()`), "
            "or the file inside"
        )
    if hasattr(source, "read"):
        path = _path_of(source)
        what = path.name or "image"
        return Picture(_from_file(_rewindable(source, what), what, max_megapixels), *_names(path))
    kind = type(source).__name__
    raise NotAnImage(f"cannot read a picture from {kind}; {GIVE}")


def _shown(source: Any) -> str:
    """A path as it was given; of anything else only its type."""
    return (
        repr(source) if isinstance(source, str | os.PathLike) else f"this {type(source).__name__}"
    )


def _from_path(path: Path, limit_mp: float) -> Picture:
    if path.is_dir():
        raise NotAnImage(f"{path} is a folder; give the path of one picture in it")
    with open(path, "rb") as file:
        return Picture(_from_file(_rewindable(file, path.name), path.name, limit_mp), *_names(path))


def _path_of(file: Any) -> Path:
    """The path that an open file says it has; empty if it has none, or that of another file."""
    name = getattr(file, "name", None)
    inner = getattr(file, "raw", None)
    if name is not None and name == getattr(getattr(inner, "fileobj", None), "name", None):
        return Path()  # tarfile, before Python 3.13, gives a member the name of its archive
    if not isinstance(name, str) or name.startswith("<"):  # "<stdin>"
        return Path()
    return Path(name)


def _from_file(file: BinaryIO, what: str, limit_mp: float) -> np.ndarray:
    """The pixels of an encoded picture. what: its name in messages. The file can seek."""
    file.seek(0)
    start = file.read(64)
    if isinstance(start, str):
        raise _is_text(what)
    kind = _kind(start)
    if kind is None:
        raise NotAnImage(f"{what} {_described(start)}; expected a picture: {ACCEPTED}")
    open_kind = _opener(kind)

    def decode() -> np.ndarray:
        if kind == "JPEG":
            _refuse_endless_scans(file, what)
        file.seek(0)
        with open_kind(file) as image:
            return _from_pil(image, what, limit_mp, ours=kind == "JPEG")

    return _guarded(decode, what, kind, limit_mp, file)


def _from_array(array: np.ndarray, limit_mp: float) -> np.ndarray:
    """A copy as uint8 (H, W, 3)."""
    grey = array.ndim == 2
    if (
        array.dtype != np.uint8
        or not (grey or (array.ndim == 3 and array.shape[2] in (3, 4)))
        or array.size == 0
    ):
        raise NotAnImage(
            f"the array is {array.dtype} of shape {array.shape}; expected uint8 of shape "
            "(H, W, 3) RGB, (H, W, 4) RGB and alpha, or (H, W) grey, with values from 0 to 255"
        )
    height, width = array.shape[:2]
    _check_size(width, height, "image", limit_mp)
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in _strips(width, height):
        strip = array[top:bottom]
        pixels[top:bottom] = (
            strip[:, :, None] if grey else _on_white(strip) if array.shape[2] == 4 else strip
        )
    return pixels


def _rewindable(file: Any, what: str) -> BinaryIO:
    """The file itself if it can seek; otherwise (pipes, sockets) what it still holds, in memory."""
    if all(hasattr(file, method) for method in ("seek", "tell")) and (
        not hasattr(file, "seekable") or file.seekable()
    ):
        return file
    data = file.read()
    if isinstance(data, str):
        raise _is_text(what)
    return io.BytesIO(data)


def _is_text(what: str) -> NotAnImage:
    return NotAnImage(f"{what} is open as text; open it with mode 'rb'")


def _names(path: Path) -> tuple[str, str]:
    """The name of a file without and with its ending; "image" and "" if there is none.

    ".." (as in "a/..") is none: it would name files elsewhere.
    """
    stem = path.stem.strip(". ")
    return (stem, path.name) if stem else ("image", "")


# File types


_STARTS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
    "PPM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf"),
}
_OPENERS: dict[str, Callable[[BinaryIO], Image.Image]] = {
    # of MPO files from phones, which are several JPEGs in a row, it reads the first
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
# what Pillow may have been built without
_SUPPORTED = {"WebP": WebPImagePlugin.SUPPORTED, "AVIF": AvifImagePlugin.SUPPORTED}


def _kind(start: bytes) -> str | None:
    """The type of a file by its first 64 bytes; None for one that is not accepted."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":
        # the major brand, and those that it is compatible with
        brands = start[8 : min(int.from_bytes(start[:4], "big"), 64)]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        heic = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")
        return "HEIC" if any(brand in brands for brand in heic) else None
    return next((kind for kind, starts in _STARTS.items() if start.startswith(starts)), None)


def _opener(kind: str) -> Callable[[BinaryIO], Image.Image]:
    """What opens a file of that kind.

    The classes are called directly and not through Image.open, because that warns and raises
    according to Pillow's limit, one number for the whole process, before it tells the size.
    """
    if kind == "HEIC":
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            raise MissingExtra("HEIC photos need pillow-heif", "heif") from None
        return HeifImageFile
    if not _SUPPORTED.get(kind, True):
        raise NotAnImage(
            f"this Pillow was built without {kind}; save the picture as JPEG or PNG, "
            "or install another Pillow"
        )
    return _OPENERS[kind]


def _described(start: bytes) -> str:
    """The first bytes of something unknown, for a message."""
    if not start:
        return "is empty (0 bytes)"
    text = start[:16].decode("latin-1")
    if text.strip().isprintable() and text.isascii():
        return f"starts with {text!r}"
    return f"starts with the bytes {start[:8].hex(' ')}"


# Decoding


def _from_pil(image: Image.Image, what: str, limit_mp: float, ours: bool = False) -> np.ndarray:
    """Any PIL image → uint8 (H, W, 3) RGB, upright.

    It is converted strip by strip, so that no second copy of the whole is made. ours: nobody else
    has this JPEG, so it may be told where to decode.
    """
    _check_size(*image.size, what, limit_mp)
    frame = _frame(image) if ours and _is_plain(image) and _fills_frames() else None
    image.load()
    width, height = image.size  # as decoded: loading turns a TIFF upright
    orientation = _orientation(image)
    turned, sideways = _TURNS[orientation], orientation in _SIDEWAYS
    pixels = np.empty((width, height, 3) if sideways else (height, width, 3), np.uint8)
    to_rgb = _converter(image)
    for top, bottom in _strips(width, height):
        place = slice(top, bottom)
        rgb = (
            to_rgb(image.crop((0, top, width, bottom)))
            if frame is None
            else cv2.cvtColor(frame[place], cv2.COLOR_RGBA2RGB)
        )
        if orientation in _LAST_FIRST:
            place = slice(height - bottom, height - top)
        pixels[(slice(None), place) if sideways else place] = turned(rgb)
    return pixels


def _is_plain(image: Image.Image) -> bool:
    """Whether it is RGB, has something to decode, and is large enough for a frame to help."""
    large = image.width * image.height >= _LARGE_PIXELS
    return large and image.mode == "RGB" and bool(getattr(image, "tile", None))


def _frame(image: Image.Image) -> np.ndarray:
    """Memory into which an image of mode RGB will be decoded when it is loaded, (h, w, 4).

    Pillow's own has no huge pages, which takes half as long again as the decoding of a JPEG, and
    cannot be read without copies. Pillow stores RGB with a fourth byte.
    """
    # zeros: a damaged file may leave rows out
    frame = np.zeros((image.height, image.width, 4), np.uint8)
    image.im = Image.frombuffer("RGBX", image.size, frame, "raw", "RGBX", 0, 1).im
    return frame


@cache
def _fills_frames() -> bool:
    """Whether this Pillow decodes into a frame, which it does not promise."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(file, "JPEG")
    file.seek(0)
    try:
        with JpegImagePlugin.JpegImageFile(file) as image:
            frame = _frame(image)
            image.load()
            return bool(frame.all())
    except Exception:
        return False


def _refuse_endless_scans(file: BinaryIO, what: str) -> None:
    """Raise BrokenImage for a JPEG of too many scans.

    Each costs a pass over the picture, however few bytes it has: 50 kB could take minutes.
    """
    file.seek(0)
    data = file.read()
    place = num_scans = 0
    while (found := _MARKER.search(data, place)) and found[0] != _END_OF_IMAGE:
        place, is_scan = found.end(), found[0] == _START_OF_SCAN
        num_scans += is_scan
        if num_scans > MAX_SCANS:
            raise BrokenImage(
                f"{what} is a JPEG of more than {MAX_SCANS} scans; expected about 10; save it again"
            )
        if not is_scan and found[0] != _START_OF_IMAGE:
            # skip what the segment contains, such as a preview
            place += int.from_bytes(data[place : place + 2], "big")


def _check_size(width: int, height: int, what: str, limit_mp: float) -> None:
    megapixels = width * height / 1e6
    if megapixels > limit_mp:
        raise ImageTooLarge(
            f"{what} is {width}x{height} ({megapixels:.6g} MP) but the limit is {limit_mp:.6g} MP; "
            "resize it or set max_megapixels"
        )


def _strips(width: int, height: int) -> Iterator[tuple[int, int]]:
    """(top, bottom) of strips that cover the picture, each of about _STRIP_PIXELS."""
    rows = max(1, _STRIP_PIXELS // width)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8. Damaged EXIF counts as 1, since the picture itself is intact."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (Warning, MemoryError):
        raise
    except Exception:
        return 1
    return orientation if orientation in _TURNS else 1


def _converter(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    """A function from a strip of this image to uint8 (h, w, 3)."""
    if image.mode == "F" or image.mode.startswith("I"):
        black, white = _range(image)
        return lambda strip: _to_bytes(np.asarray(strip), black, white)
    may_be_clear = image.mode in ("1", "L", "P", "RGB") and image.has_transparency_data
    if may_be_clear or image.mode in ("LA", "PA", "RGBA"):
        return lambda strip: _on_white(np.asarray(strip.convert("RGBA")))
    if image.mode in ("La", "RGBa"):  # colours already multiplied by alpha
        return lambda strip: _on_white(
            np.asarray(strip.convert(image.mode.upper()).convert("RGBA"))
        )
    # convert would copy a strip that is RGB already
    return lambda strip: np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 4) over white → uint8 (h, w, 3)."""
    missing = (255 - rgba[:, :, :3]).astype(np.uint16)  # each channel's difference from white
    return 255 - ((missing * rgba[:, :, 3:] + 127) // 255).astype(np.uint8)


def _range(image: Image.Image) -> tuple[float, float]:
    """The values that mean black and white in an image of more than 8 bits.

    16-bit types define them. Wider ones do not: then 0 to 1 (for fractions), 255 or 65535 if that
    contains every value, otherwise the lowest value to the highest.
    """
    if image.mode.startswith("I;16"):
        return 0, 65535
    width, height = image.size
    low, high = np.inf, -np.inf
    for top, bottom in _strips(width, height):
        values = np.asarray(image.crop((0, top, width, bottom)))
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low >= 0:
        for white in (1, 255, 65535) if image.mode == "F" else (255, 65535):
            if high <= white:
                return 0, white
    return low, high


def _to_bytes(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """(h, w) of any number type → uint8 (h, w, 3); NaN becomes black."""
    with np.errstate(invalid="ignore"):  # if nothing is finite
        scaled = (values.astype(np.float64) - black) * 255 / ((white - black) or 1)
    grey = np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
    return cv2.merge((grey, grey, grey))


# Pillow's errors and warnings


_CALM = threading.Lock()


def _guarded(
    decode: Callable[[], np.ndarray],
    what: str,
    kind: str | None,
    limit_mp: float,
    file: BinaryIO | None = None,
) -> np.ndarray:
    """The pixels that `decode` returns; what Pillow raises on a damaged file becomes our error.

    Pillow's warnings are about its size limit or damaged metadata, and no reason to refuse a photo,
    even where the caller turns warnings into errors. GIF and TIFF files warn about sizes while they
    are opened, so they are read with warnings silenced. As that affects all threads of the process,
    other types are read so only after a warning was raised as an error.
    """
    try:
        if kind not in ("GIF", "TIFF"):
            try:
                return decode()
            except Warning:
                pass
        with _silence():
            return decode()
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        pillow_mp = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise ImageTooLarge(
            f"{what} has more than {pillow_mp:.6g} MP but the limit is "
            f"{min(limit_mp, pillow_mp):.6g} MP; resize it"
        ) from error
    except Exception as error:  # hostile files make Pillow raise nearly anything
        raise BrokenImage(_damage(what, kind, file, error)) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Ignore Pillow's warnings in the block.

    Only one thread may do so at once: two that overlap could leave the filter behind.
    """
    with _CALM, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|pillow_heif")
        yield


def _damage(what: str, kind: str | None, file: BinaryIO | None, error: Exception) -> str:
    """The message for a picture that cannot be decoded."""
    reason = str(error).strip() or type(error).__name__
    if file is None:
        return (
            f"the PIL image cannot be read ({reason}); open it again, and pass it before its file "
            "is closed"
        )
    file.seek(0, os.SEEK_END)
    length = file.tell()
    cut = any(words in reason.lower() for words in ("truncated", "no more images"))
    if cut or (kind == "WebP" and length < _riff_length(file)):
        return (
            f"{what} breaks off after {length} bytes; expected the rest of the {kind} file; "
            "get it again"
        )
    return (
        f"{what} starts like {kind} but is damaged inside ({reason}); get it again, "
        "or save it again from another program"
    )


def _riff_length(file: BinaryIO) -> int:
    """The length of a WebP file by its header, in bytes."""
    file.seek(4)
    return int.from_bytes(file.read(4), "little") + 8
