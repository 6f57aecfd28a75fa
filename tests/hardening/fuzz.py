"""Coverage-guided fuzzing with atheris: what strangers send, against the code that reads it.

    pip install atheris
    python tests/hardening/fuzz.py decode --minutes 25
        a picture's bytes → pixels or one of our errors
    python tests/hardening/fuzz.py cache --minutes 5
        a cache file's bytes → the entry with that key, or Damaged
    python tests/hardening/fuzz.py archive --minutes 5
        a zip of a job → entries within the limits, or a Problem
    python tests/hardening/fuzz.py form --minutes 5
        a job's upload → files within its folder, or a Problem

Anything else is a finding, and so are a hang of ten seconds and 1.5 GB of memory: the input is kept
as crash-*, timeout-* or oom-* in the folder `--finds`. Real ones are in tests/hardening/crashes,
and test_images.py reads all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["PIL", "humanparse.image", "humanparse.service", "python_multipart", "zipfile"]
):
    import zipfile

    import samples

    from humanparse.errors import ImageError, MissingExtra
    from humanparse.image import read_image
    from humanparse.service.api.forms import FILE_FIELDS, _Form
    from humanparse.service.cache import entry
    from humanparse.service.child import archive
    from humanparse.service.jobs.files import JobFiles
    from humanparse.service.jobs.quota import Quota
    from humanparse.service.jobs.upload import ARCHIVE_FIELD, _Folder
    from humanparse.service.problems import Problem
    from humanparse.service.settings import Settings

MAX_MEGAPIXELS = 1.0
HANG_S, MEMORY_MB = 10, 1500
BOUNDARY = b"seam"
SETTINGS = Settings(job_max_mb=0.2, max_body_mb=0.1, job_max_images=8)


def decode(data: bytes) -> None:
    """A picture within the limit, or an error that says why not."""
    try:
        picture = read_image(data, max_megapixels=MAX_MEGAPIXELS)
    except (ImageError, MissingExtra) as error:
        assert len(str(error)) < 1000, "an error that quotes the picture"
        return
    height, width, channels = picture.pixels.shape
    assert (
        channels == 3 and picture.pixels.dtype == "uint8" and height * width <= MAX_MEGAPIXELS * 1e6
    )


def cache(data: bytes) -> None:
    """The bytes as they are, and with a correct checksum, to reach what comes after the check."""
    key = "ab" * 32
    rest = bytes.fromhex(key) + data[1:]
    for candidate in (data, entry.MAGIC + hashlib.sha256(rest).digest() + rest):
        entry.created_of(candidate)
        try:
            cached, created = entry.decode(key, candidate)
        except entry.Damaged:
            continue
        assert (
            isinstance(cached.head, dict)
            and created == created
            and len(cached.body) < len(candidate)
        )


def unpack(data: bytes) -> None:
    """Entries within the limits, or a Problem, and not a byte outside the folder."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path, to = Path(folder, "a.zip"), Path(folder, "to")
        path.write_bytes(data)
        to.mkdir()
        with suppress(Problem):
            archive.unzip(
                {
                    "path": str(path),
                    "to": str(to),
                    "max_images": 8,
                    "max_image_mb": 0.1,
                    "max_mb": 0.2,
                }
            )
        assert {one.name for one in Path(folder).iterdir()} == {"a.zip", "to"}
        assert sum(one.stat().st_size for one in to.glob("*.bin")) <= 400_000


def form(data: bytes) -> None:
    """Files in the job's folder and nowhere else, or a Problem."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        files = JobFiles(Path(folder), "0" * 32)
        files.create()
        folder_of_job = _Folder(files, SETTINGS, Quota(150_000))
        names = (*FILE_FIELDS, ARCHIVE_FIELD)
        reader = _Form(BOUNDARY, folder_of_job.open_file, SETTINGS.max_fields, "send a form", names)
        try:
            for start in range(0, len(data), 997):
                reader.feed(data[start : start + 997])
            reader.finished()
        except Problem:
            pass
        finally:
            reader.close()
        assert {one.name for one in Path(folder).iterdir()} <= {"0" * 32}


def seeds(target: str) -> list[bytes]:
    """The inputs that a fuzzer starts from."""
    if target == "decode":
        return [*samples.pictures().values(), *samples.rotated().values()]
    if target == "cache":
        made = [
            entry.encode("ab" * 32, entry.Cached({"people": 1}, body), 1.0)
            for body in (b"", b"{}", b"x" * 200)
        ]
        return (
            made
            + [b"\0" + one[40 + 32 :] for one in made]
            + [b"\0" + struct.pack(">dIQ", 1, 2, 0) + b"{}"]
        )
    if target == "archive":
        return [
            _zip({"a.png": b"a" * 50}),
            _zip({"../b": b"b", "c/": b"", "d": bytes(9000)}),
            _zip({}),
        ]
    part = b'--seam\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
    return [
        part % (b"image", b"a.jpg", b"abc") + b"--seam--\r\n",
        part % (b"archive", b"../a", b"PK") * 2,
        part.replace(b'; filename="%s"', b"") % (b"include", b"none")
        + part % (b"image", b"", b"x")
        + b"--seam--\r\n",
    ]


def _zip(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return file.getvalue()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "decode": decode,
    "cache": cache,
    "archive": unpack,
    "form": form,
}
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument(
        "--finds",
        type=Path,
        default=Path(tempfile.gettempdir(), "fuzz-finds"),
        help="folder for inputs that break something",
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    chosen.finds.mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{chosen.target}-"))
    for number, data in enumerate(seeds(chosen.target)):
        (corpus / f"seed-{number}").write_bytes(data)
    flags = [
        f"-max_total_time={round(chosen.minutes * 60)}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={chosen.finds.resolve()}/",
        f"-seed={chosen.seed}",
        "-max_len=20000",
        "-print_final_stats=1",
    ]
    begun = time.monotonic()
    atheris.Setup([sys.argv[0], *flags, str(corpus)], TARGETS[chosen.target])
    try:
        atheris.Fuzz()  # ends the process by itself
    finally:
        print(
            json.dumps(
                {
                    "target": chosen.target,
                    "seconds": round(time.monotonic() - begun),
                    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
                }
            ),
            flush=True,
        )
        shutil.rmtree(corpus, ignore_errors=True)


if __name__ == "__main__":
    main()
