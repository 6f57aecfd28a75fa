"""Where the files of a batch run lie: on this machine, or wherever fsspec reads ("s3://…")."""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from http.client import responses as HTTP_REASONS
from typing import TYPE_CHECKING, BinaryIO

from humanparse.errors import ImageTooLarge, MissingExtra, OptionError
from humanparse.search import is_special
from humanparse.system.text import lines_of
from humanparse.vocabulary import PICTURE_ENDINGS

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

TARS = (".tar", ".tar.gz", ".tgz")
PARQUET = (".parquet", ".pq")
LISTS = (".txt", ".lst", ".list")
HTTP = ("http://", "https://")
MAX_BYTES = 100_000_000  # of the file of one picture


def text(name: str) -> str:
    """Return a name that may be stored: bytes that are not UTF-8 are written as \\xff."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def ends(url: str, endings: tuple[str, ...]) -> bool:
    """Return whether a name has one of these endings, in capitals or not."""
    return url.lower().endswith(endings)


def is_remote(name: str) -> bool:
    """Return whether fsspec reads this name."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name) is not None


def absolute(name: str) -> str:
    """Return the one spelling of a file or folder that a run uses."""
    if not is_remote(name):
        return os.path.abspath(name)
    if name.startswith(HTTP) or "::" in name:  # "::" chains several of fsspec's file systems
        return name
    system, path = _file_system(name)
    return system.unstrip_protocol(path)


def exists(url: str) -> bool:
    """Return whether there is such a file or folder."""
    if not is_remote(url):
        return os.path.exists(url)
    if url.startswith(HTTP):
        return True  # many servers answer only GET, so that asking would mean a download
    system, path = _file_system(url)
    return system.exists(path)


def is_folder(url: str) -> bool:
    """Return whether this is a folder."""
    if not is_remote(url):
        return os.path.isdir(url)
    if ends(url, (*PICTURE_ENDINGS, *TARS, *PARQUET, *LISTS)) or url.startswith(HTTP):
        return False
    system, path = _file_system(url)
    return system.isdir(path)


def folder_of(url: str) -> str:
    """Return the folder of a file, without a slash at its end; "" if it has none."""
    return url[: url.rfind("/")] if "/" in url else ""


def join(folder: str, name: str) -> str:
    """Return the file of this name in a folder, here or elsewhere."""
    if is_remote(folder):
        return f"{folder.rstrip('/')}/{name}"
    return posixpath.normpath(posixpath.join(folder, name))


def opened(url: str) -> BinaryIO:
    """Open a file for reading.

    Raises:
        OSError: The file cannot be opened, or is a pipe, socket or device.
        MissingExtra: fsspec is not installed.
        OptionError: fsspec lacks the package for such URLs.
    """
    if not is_remote(url):
        if is_special(url):  # reading it might never end
            what = "this is not an ordinary file but a pipe, socket or device"
            raise OSError(errno.EINVAL, what, url)
        return open(url, "rb")
    system, path = _file_system(url)
    return system.open(path, "rb")


def read_picture(url: str) -> bytes:
    """Return the bytes of a picture's file.

    Raises:
        OSError: The file cannot be read.
        ImageTooLarge: The file has more than MAX_BYTES.
    """
    with opened(url) as file:
        return limited(file.read(MAX_BYTES + 1))


def limited(data: bytes) -> bytes:
    """Return the bytes of a picture unchanged, or raise ImageTooLarge for more than MAX_BYTES."""
    if len(data) > MAX_BYTES:
        raise too_large()
    return data


def too_large() -> ImageTooLarge:
    """Return the error for a picture whose file has more than MAX_BYTES."""
    return ImageTooLarge(
        f"image has more than {MAX_BYTES // 1_000_000} MB, the limit for the file of one picture"
    )


def why(error: OSError) -> str:
    """Return in words why a file cannot be read.

    fsspec's errors carry only the URL; the reason is in the error that caused them.
    """
    if error.errno and error.strerror:
        return error.strerror
    cause = error.__cause__
    if status := getattr(cause, "status", None):  # of HTTP
        return f"{HTTP_REASONS.get(status, 'the server refuses')} ({status})"
    cause = getattr(cause, "os_error", cause)  # the system's error is plainer than aiohttp's
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)
    if isinstance(cause or error, TimeoutError):
        return "no answer in time"
    if cause is None and isinstance(error, FileNotFoundError):
        return os.strerror(errno.ENOENT)
    return getattr(cause, "strerror", None) or str(cause or error) or type(error).__name__


def remote_files_below(folder: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yield the URLs of the files below a remote folder, without hidden files and folders.

    Args:
        folder: URL of the folder.
        wanted: Tells by the name of a file whether it is looked for.
    """
    system, path = _file_system(folder)
    for here, _, files in system.walk(path):
        if not any(part.startswith(".") for part in here[len(path) :].split("/")):
            names = (one for one in sorted(files) if wanted(one) and not one.startswith("."))
            yield from (system.unstrip_protocol(join(here, one)) for one in names)


def remote_matches(pattern: str) -> Iterator[str]:
    """Yield the URLs that match a remote pattern, in order.

    Raises:
        OptionError: fsspec does not understand the pattern.
    """
    system, path = _file_system(pattern)
    try:
        found = sorted(system.glob(path))
    except ValueError as error:
        raise OptionError(f"{pattern!r} is not a pattern: {error}") from None
    yield from (system.unstrip_protocol(one) for one in found)


def listed_files(url: str) -> Iterator[str]:
    """Yield the files that a text file lists, one on each line, relative to its own folder.

    Raises:
        OptionError: The list cannot be read, or is not text.
    """
    try:
        with opened(url) as file:
            for line in filter(None, lines_of(file, url)):
                yield line if is_remote(line) else join(folder_of(url), line)
    except OSError as error:
        raise OptionError(f"the list {url} cannot be read: {why(error)}") from error


def _file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """Return fsspec's file system for a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        if "fsspec" in str(error):
            raise MissingExtra(f"reading {url} needs fsspec", "batch") from None
        raise OptionError(f"reading {url} needs a package that is not installed: {error}") from None
    except ValueError as error:
        raise OptionError(f"{url} cannot be read: {error}") from None
