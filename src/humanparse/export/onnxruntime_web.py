"""onnxruntime-web, which runs models in browsers: fetched by npm, pinned by version and checksum.

It is no dependency of humanparse: nothing of it is installed, and three of its files go into the
exported site.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

from humanparse.errors import DownloadFailed, MissingExtra

PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = (  # as npm writes it: the SHA-512 of the archive in base64
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
# What a page needs of the archive: the build for processors, with SIMD and threads, and without the
# 26 MB that WebGPU takes.
BINARY = "ort-wasm-simd-threaded.wasm"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", BINARY)
MAX_FETCH_S = 600  # seconds in which npm must have fetched the archive's 33 MB


def fetch_runtime(folder: Path) -> Path:
    """Fetch the archive into a folder with npm, and return its path.

    npm takes it from its own cache if it was fetched before.

    Raises:
        MissingExtra: Without npm.
        DownloadFailed: If npm fails, or brings another archive than the one that is pinned.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingExtra(
            f"a site needs {PACKAGE}, and npm is not here to fetch it; install Node.js, which npm "
            f"comes with, or run `npm pack {PACKAGE}` on another machine and give the file that "
            "it writes with --runtime"
        )
    command = [npm, "pack", PACKAGE, "--prefer-offline"]  # into the folder where it runs
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=MAX_FETCH_S
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadFailed(
            f"npm has not fetched {PACKAGE} within {MAX_FETCH_S} s; try again on a faster line"
        ) from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise DownloadFailed(
            f"npm could not fetch {PACKAGE} ({said[0] if said else f'exit {done.returncode}'}); "
            f"see what `npm pack {PACKAGE}` says"
        )
    return archives[0]


def integrity_of(archive: Path) -> str:
    """Return the checksum of an archive as npm writes it."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def runtime_files(archive: Path) -> dict[str, bytes]:
    """Return the content of FILES, by name.

    Args:
        archive: The .tgz file that `npm pack` writes.

    Raises:
        DownloadFailed: If it is not the archive that is pinned.
    """
    integrity = integrity_of(archive)
    if integrity != INTEGRITY:
        raise DownloadFailed(
            f"{archive} is not {PACKAGE}: its checksum is {integrity[:20]}…, not "
            f"{INTEGRITY[:20]}…; fetch it again with `npm pack {PACKAGE}`"
        )
    found = {}
    with tarfile.open(archive) as files:
        for name in FILES:
            member = files.extractfile(f"package/dist/{name}")
            assert member is not None  # the checksum says that it is there, and a file
            found[name] = member.read()
    return found
