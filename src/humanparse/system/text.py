"""Text files that users write: lists of photos, names of classes, recipes.

They come from any editor and shell. UTF-8 is read with and without a byte order mark, which editors
on Windows put first, and so is UTF-16 with one, which `>` writes in Windows PowerShell. Other
encodings cannot be told apart, and are refused.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from humanparse.errors import OptionError

_MARKS = {  # longest first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CHUNK_BYTES = 1 << 16


def read_text(path: str | Path) -> str:
    """Return the whole text of a file.

    Args:
        path: The file.

    Raises:
        OptionError: If it is neither UTF-8 nor UTF-16 with its mark.
        OSError: If it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is {data[error.start]:#04x}"
        raise OptionError(f"{path} is not UTF-8 text ({wrong}); save it as UTF-8") from None
    return _without_zeros(text, path)


def lines_of(file: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of an open file as they are read, without their ends.

    Args:
        file: A file open in binary mode. It need not be able to seek.
        name: What to call it in messages.

    Yields:
        The lines. Bytes that are not UTF-8 become surrogates, as they do in names of files.

    Raises:
        OptionError: For UTF-16 without its mark.
    """
    chunk = file.read(len(codecs.BOM_UTF32_LE))
    decoder = codecs.getincrementaldecoder(_encoding(chunk))("surrogateescape")
    rest = ""
    while chunk:
        *whole, rest = _without_zeros(rest + decoder.decode(chunk), name).split("\n")
        yield from (line.removesuffix("\r") for line in whole)
        chunk = file.read(_CHUNK_BYTES)
    if last := rest + decoder.decode(b"", final=True):
        yield last.removesuffix("\r")


def _encoding(start: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), "utf-8")


def _without_zeros(text: str, name: str | Path) -> str:
    if "\0" in text:
        raise OptionError(
            f"{name} is not UTF-8 text with one entry on each line: it holds zero bytes, as UTF-16 "
            "and the output of find -print0 do; save it as UTF-8"
        )
    return text
