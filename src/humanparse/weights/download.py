"""Download one file over HTTP: resumable, checked, whole or not at all.

A file grows as `<name>.<beginning of its sha256>.part` and gets its name only when its size and
sha256 are right. A part therefore belongs to one content. It is continued with Range, and with
If-Range where the server named a validator.

Whether a response continues the part is read from its Content-Range and never from its status:
ModelScope has been seen to send the requested range with the status 200 instead of 206, and other
servers ignore Range.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from humanparse import __version__
from humanparse.errors import DownloadFailed
from humanparse.system.files import sha256_of
from humanparse.weights.hub import RemoteFile

CHUNK = 1 << 18
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
Progress = Callable[[int], None]  # called with the bytes of the file that have arrived
Say = Callable[[str], None]  # called with a line for the user


@dataclass(frozen=True)
class DownloadLimits:
    """Every limit of a download; docs/models.md has a row for each."""

    # a response that brings less than min_bytes_per_s over this time is given up
    stall_s: float = 30
    min_bytes_per_s: float = 1000
    # failures in a row; a try that brought progress_bytes resets the count
    tries: int = 6
    progress_bytes: int = 1_000_000
    first_wait_s: float = 1  # before the second try; doubled each time
    longest_wait_s: float = 60  # also the longest Retry-After that is obeyed
    redirects: int = 5
    list_bytes: int = 4_000_000
    file_bytes: int = 4_000_000_000
    spare_bytes: int = 100_000_000  # left free on the disk
    lock_s: float = 3600  # wait for another process that pulls the same model


class _Retry(Exception):
    """A try failed in a way that may pass. after_s: how long the server asks us to wait."""

    def __init__(self, why: str, after_s: float = 0):
        super().__init__(why)
        self.after_s = after_s


class _NothingThere(_Retry):
    """The server has nothing after the bytes that have arrived."""


def fetch_text(url: str, limits: DownloadLimits, say: Say) -> bytes:
    """Download a small document into memory.

    Args:
        url: Its address.
        limits: The limits; `list_bytes` is the largest size.
        say: Called with a line for the user when a try has failed.

    Returns:
        Its bytes.

    Raises:
        DownloadFailed: If it cannot be had, or is too large.
    """
    tries = _Tries(url, limits, say)
    while True:
        try:
            with _open(url, {}, limits) as response:
                text = b"".join(_chunks(response, limits, limits.list_bytes + 1))
            if len(text) > limits.list_bytes:
                raise DownloadFailed(
                    f"{_host(url)} sent more than {limits.list_bytes} bytes where a list was "
                    "expected; check MODELSCOPE_ENDPOINT"
                )
            return text
        except _Retry as failure:
            tries.wait(failure)


def fetch_file(
    url: str, file: RemoteFile, target: Path, limits: DownloadLimits, progress: Progress, say: Say
) -> None:
    """Download a file, continuing what an earlier run left.

    Only one process may do so at the same time: see system/lock.py.

    Args:
        url: Its address.
        file: Its size and sha256, which are checked.
        target: Where it is to lie. Its folder must exist.
        limits: The limits.
        progress: Called with the bytes of the file that have arrived.
        say: Called with a line for the user when a try has failed.

    Raises:
        DownloadFailed: If it cannot be had; then `target` is untouched, and what arrived is kept if
            it can be continued.
    """
    part = part_of(target, file)
    _forget_other_parts(target, part)
    if file.size > limits.file_bytes:
        raise DownloadFailed(
            f"{file.path} should have {file.size} bytes, but the limit is {limits.file_bytes}"
        )
    tries, fresh = _Tries(url, limits, say), False
    while True:
        here = _size(part)
        if here < file.size:
            _check_space(target.parent, file, here, limits)
            try:
                _receive(url, file, part, limits, progress)
            except _Retry as failure:
                tries.wait(failure, brought=_size(part) - here)
                continue
        if _size(part) == file.size and sha256_of(part) == file.sha256:
            break
        _forget(part)
        if fresh or here == 0:
            raise DownloadFailed(
                f"{_host(url)} sent other bytes than its list promises for {file.path} (the sha256 "
                "differs); nothing was kept. Try again later, or choose another server with "
                "MODELSCOPE_ENDPOINT"
            )
        say(f"{file.path}: what an earlier try left does not fit; starting again")
        fresh = True
    os.replace(part, target)
    _forget(part)


def part_of(target: Path, file: RemoteFile) -> Path:
    """Return the path under which a file grows until it is whole."""
    return target.with_name(f"{target.name}.{file.sha256[:16]}.part")


def _receive(
    url: str, file: RemoteFile, part: Path, limits: DownloadLimits, progress: Progress
) -> None:
    """Add one response of the server to the part.

    Raises _Retry if it breaks off, DownloadFailed if it is wrong.
    """
    here = _size(part)
    validator = _read_validator(part) if here else None
    # Range only when there is something to continue: some companies' routers refuse requests with
    # it.
    headers = {"Range": f"bytes={here}-"} if here else {}
    if here and validator:
        headers["If-Range"] = validator
    try:
        opened = _open(url, headers, limits)
    except _NothingThere:
        _forget(part)  # longer than the file, so it cannot be right
        raise
    with opened as response:
        start, total = _place(response)
        if start not in (0, here):
            _forget(part)
            raise _Retry(f"asked for the bytes from {here} on, got those from {start} on")
        if total is not None and total != file.size:
            _forget(part)
            raise DownloadFailed(
                f"{_host(url)} sends {total} bytes as {file.path}, but its list promises "
                f"{file.size}; try again later"
            )
        with _open_part(part, start) as out:
            if start == 0:
                _write_validator(part, response)
            here = start
            for chunk in _chunks(response, limits, file.size - start + 1):
                _write(out, chunk, file)
                here += len(chunk)
                progress(min(here, file.size))
            _write(out, b"", file)
    if here > file.size:
        _forget(part)
        raise DownloadFailed(
            f"{_host(url)} sends more than the {file.size} bytes that its list promises for "
            f"{file.path}; try again later"
        )
    if here < file.size:
        raise _Retry(f"the connection broke off after {here} of {file.size} bytes")


# ---- the server ----------------------------------------------------------------------------------


def _open(url: str, headers: dict[str, str], limits: DownloadLimits) -> http.client.HTTPResponse:
    """The server's response, after redirects.

    Raises _Retry for a failure that may pass, DownloadFailed for one that will not.
    """
    # it also takes the proxies that http(s)_proxy and no_proxy name
    opener = urllib.request.build_opener(_Redirects(limits.redirects))
    fixed = {"User-Agent": f"humanparse/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=fixed | headers)
    try:
        response = opener.open(request, timeout=limits.stall_s)
    except urllib.error.HTTPError as error:
        with error:
            raise _http_failure(url, error) from None
    except http.client.InvalidURL as error:
        raise DownloadFailed(
            f"{_host(url)} cannot be reached: {error}; check MODELSCOPE_ENDPOINT"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise DownloadFailed(
                f"the certificate of {_host(url)} is not trusted ({cause.verify_message}); "
                "behind a company's proxy, name its certificate in SSL_CERT_FILE"
            ) from None
        raise _Retry(_what(cause)) from None
    except ValueError as error:  # an impossible address or header
        raise DownloadFailed(f"{_host(url)} cannot be reached: {error}") from None
    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        response.close()
        raise DownloadFailed(
            f"{_host(url)} sends the file encoded ({encoding!s:.40}), although it was asked for "
            "it as it is; choose another server with MODELSCOPE_ENDPOINT"
        )
    return response


def _http_failure(url: str, error: urllib.error.HTTPError) -> _Retry | DownloadFailed:
    """The error for a response with a status of 400 or more."""
    if error.code == 416:
        return _NothingThere("HTTP 416")
    if error.code in TRY_AGAIN:
        return _Retry(f"HTTP {error.code}", _seconds(error.headers.get("Retry-After")))
    if error.code in (401, 403, 404, 410):
        return DownloadFailed(
            f"{_host(url)} answered HTTP {error.code} for {url}: the file is no longer there, or "
            "not public; update humanparse, or check MODELSCOPE_ENDPOINT"
        )
    return DownloadFailed(f"{_host(url)} answered HTTP {error.code} {error.reason!s:.80} for {url}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a few redirects over HTTP(S).

    Never from https to http, where anybody on the way could answer.
    """

    def __init__(self, limit: int):
        # typeshed calls them class variables, but urllib reads them from the instance
        self.max_redirections = limit  # type: ignore[misc]
        self.max_repeats = limit  # type: ignore[misc]

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = req.full_url, newurl
        if not after.lower().startswith(("https://", "http://")):
            fp.close()
            raise DownloadFailed(
                f"{_host(before)} redirects to {after!s:.80}, which is not an HTTP address"
            )
        if before.lower().startswith("https://") and not after.lower().startswith("https://"):
            fp.close()
            raise DownloadFailed(
                f"{_host(before)} redirects from https to http ({_host(after)}), which is refused"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _chunks(
    response: http.client.HTTPResponse, limits: DownloadLimits, max_bytes: int
) -> Iterator[bytes]:
    """The bytes of a response as they arrive, at most `max_bytes`.

    Raises _Retry when they stop or only trickle.
    """
    period, came = time.monotonic(), 0
    while max_bytes > 0:
        try:
            # only what has arrived: waiting for a full chunk could take for ever
            chunk = response.read1(min(CHUNK, max_bytes))
        except (OSError, http.client.HTTPException) as error:
            raise _Retry(_what(error)) from None
        if not chunk:
            return
        yield chunk
        max_bytes -= len(chunk)
        came += len(chunk)
        now = time.monotonic()
        if now - period >= limits.stall_s:
            if came < limits.min_bytes_per_s * (now - period):
                raise _Retry(f"only {came} bytes arrived in {now - period:.0f} s")
            period, came = now, 0


def _place(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """(first byte, bytes of the whole file or None), from Content-Range, whatever the status."""
    found = re.fullmatch(
        r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*",
        response.headers.get("Content-Range", ""),
        re.I,
    )
    if found:
        return int(found[1]), None if found[3] == "*" else int(found[3])
    if response.status == 206:
        return -1, None  # a part, but which one is not said
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,18}", length) else None


class _Tries:
    """Count failures in a row, and wait between them."""

    def __init__(self, url: str, limits: DownloadLimits, say: Say):
        self.url, self.limits, self.say, self.failed = url, limits, say, 0

    def wait(self, failure: _Retry, brought: int = 0) -> None:
        """Sleep before the next try. brought: bytes that the failed one added.

        Raises DownloadFailed after the last.
        """
        self.failed = 1 if brought >= self.limits.progress_bytes else self.failed + 1
        if self.failed >= self.limits.tries:
            raise DownloadFailed(
                f"{_host(self.url)} failed {self.failed} times in a row, last: {failure}. Check "
                "the network, the proxy (https_proxy) and MODELSCOPE_ENDPOINT; the same command "
                "continues where this one stopped"
            )
        if failure.after_s > self.limits.longest_wait_s:
            raise DownloadFailed(
                f"{_host(self.url)} asks us to wait {failure.after_s:.0f} s ({failure}); the same "
                "command then continues where this one stopped"
            )
        wait_s = max(
            failure.after_s,
            min(self.limits.first_wait_s * 2 ** (self.failed - 1), self.limits.longest_wait_s),
        )
        self.say(f"{failure}; trying again in {wait_s:.0f} s")
        time.sleep(wait_s)


def _seconds(retry_after: str | None) -> float:
    """Seconds that a Retry-After header asks for; 0 without one, or for nonsense."""
    if not retry_after:
        return 0
    if re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return float(retry_after)
    from email.utils import parsedate_to_datetime

    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0


def _what(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no response in time"
    return (
        f"{type(error).__name__}: {error}"[:200]
        if isinstance(error, Exception) and str(error)
        else str(error)[:200]
    )


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2][:100]


# ---- the disk ------------------------------------------------------------------------------------


def _open_part(part: Path, start: int) -> BinaryIO:
    """Open the part to be continued at `start`. A link in its place is replaced, never followed."""
    if part.is_symlink() or (part.exists() and not part.is_file()):
        part.unlink()
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    out = os.fdopen(os.open(part, flags, 0o644), "wb")
    out.truncate(start)
    out.seek(start)
    return out


def _write(out: BinaryIO, chunk: bytes, file: RemoteFile) -> None:
    """Write a chunk; an empty one makes sure that all are on the disk.

    Raises DownloadFailed if the disk is full.
    """
    try:
        if chunk:
            out.write(chunk)
        else:
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG):
            raise DownloadFailed(
                f"the disk is full ({error.strerror}) while writing {file.path} of {file.size} "
                "bytes; make room, or set HUMANPARSE_HOME to a folder on another disk. The same "
                "command continues where this one stopped"
            ) from None
        raise


def _check_space(folder: Path, file: RemoteFile, here: int, limits: DownloadLimits) -> None:
    need, free = file.size - here + limits.spare_bytes, shutil.disk_usage(folder).free
    if need > free:
        raise DownloadFailed(
            f"{file.path} needs {need // 1_000_000} MB in {folder}, but the disk has "
            f"{free // 1_000_000} MB; make room, or set HUMANPARSE_HOME to a folder on another disk"
        )


def _size(part: Path) -> int:
    """Bytes of a part that can be continued."""
    return part.stat().st_size if part.is_file() and not part.is_symlink() else 0


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _write_validator(part: Path, response: http.client.HTTPResponse) -> None:
    """Remember what the server calls this content, so that it continues no other.

    That is a strong ETag, or the date.
    """
    etag = response.headers.get("ETag", "")
    name = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    file = _validator_file(part)
    file.unlink(missing_ok=True)
    if name and name.isprintable() and name.isascii():
        file.write_text(json.dumps({"if_range": name[:500]}), "utf-8")


def _read_validator(part: Path) -> str | None:
    try:
        name = json.loads(_validator_file(part).read_text("utf-8"))["if_range"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and name.isprintable() and name.isascii() else None


def _forget(part: Path) -> None:
    for file in (part, _validator_file(part)):
        file.unlink(missing_ok=True)


def _forget_other_parts(target: Path, part: Path) -> None:
    """Delete what is left of other versions of the file, which will never be continued."""
    for other in target.parent.glob(f"{target.name}.*.part"):
        if other != part:
            _forget(other)
