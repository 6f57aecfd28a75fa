"""The models on this machine: pulled, checked, found and removed. Each has one folder:

    <home>/models/m2fp-r101-cihp/
        pytorch_model.pt, configuration.json     as they came from the hub
        m2fp-r101-cihp.onnx                      made from them; what HumanParser opens
        record.json                              sizes and sha256, for `verify` without the network
        license.txt                              the terms that were accepted
    <home>/locks/m2fp-r101-cihp.lock             held by the process that changes the folder

<home> is HUMANPARSE_HOME, or the system's folder for caches. HUMANPARSE_OFFLINE=1 forbids the
network.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from humanparse.errors import BrokenModel, DownloadFailed, OfflineError, OptionError
from humanparse.system.files import remove_leftovers, scratch_folder, sha256_of, whole_file
from humanparse.system.home import home, home_if_any
from humanparse.system.lock import lock_file
from humanparse.weights.hub import CHECKPOINT, HubModel, RemoteFile, file_url, list_url, read_list

if TYPE_CHECKING:
    from humanparse.weights.download import DownloadLimits, Progress, Say

RECORD, LICENSE = "record.json", "license.txt"
LOCK_S = 3600.0  # how long `adopt` and `remove` wait for another process


@dataclass(frozen=True)
class Record:
    """What is known of a pulled model's files.

    Attributes:
        repo: The repository on ModelScope.
        revision: Its tag or branch.
        files: The files that were downloaded.
        converted: The .onnx file made from the checkpoint; None if it has yet to be made.
        made_from: The sha256 of the checkpoint that `converted` was made from.
    """

    repo: str
    revision: str
    files: tuple[RemoteFile, ...]
    converted: RemoteFile | None = None
    made_from: str = ""

    def sha256(self, path: str) -> str:
        """Return the sha256 of one of the files, or "" if there is none of that name."""
        return next((file.sha256 for file in self.files if file.path == path), "")

    def to_json(self) -> str:
        """Return the text of record.json."""
        return json.dumps({"schema": 1, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote.

        Raises:
            ValueError: For anything that `to_json` would not have written.
        """
        try:
            data = json.loads(text)
            converted = data["converted"]
            return cls(
                data["repo"],
                data["revision"],
                tuple(RemoteFile(**file) for file in data["files"]),
                converted and RemoteFile(**converted),
                data["made_from"],
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a record: {error!r}") from error


@dataclass(frozen=True)
class Check:
    """One file of a model after `verify`.

    Attributes:
        path: The file.
        size: How many bytes it should have.
        state: "intact", "missing" or "damaged".
    """

    path: Path
    size: int
    state: str


def offline() -> bool:
    """Return whether HUMANPARSE_OFFLINE forbids the network."""
    return _switched_on("HUMANPARSE_OFFLINE")


def licences_accepted() -> bool:
    """Return whether HUMANPARSE_ACCEPT_LICENCE accepts the licences of all models beforehand."""
    return _switched_on("HUMANPARSE_ACCEPT_LICENCE")


def folder(model: HubModel) -> Path:
    """Return the folder of a model's files; it may not exist."""
    return home() / "models" / model.name


def record(model: HubModel) -> Record | None:
    """Return what is known of a model's files, or None if it was never pulled whole."""
    try:
        found = Record.from_json((folder(model) / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if {file.path for file in found.files} == set(model.files) else None


def checkpoint(model: HubModel) -> Path | None:
    """Return the pulled checkpoint, or None. Only sizes are compared: see `verify`."""
    known = record(model)
    whole = (
        known
        and known.revision == model.revision
        and all(_there(model, file) for file in known.files)
    )
    return folder(model) / CHECKPOINT if whole else None


def converted(model: HubModel) -> Path | None:
    """Return the .onnx file made from the pulled checkpoint, or None.

    It suffices: the checkpoint itself may have been deleted.
    """
    known = record(model)
    if (
        known
        and known.converted
        and known.made_from == known.sha256(CHECKPOINT)
        and _there(model, known.converted)
    ):
        return folder(model) / known.converted.path
    return None


def accepted(model: HubModel) -> bool:
    """Return whether the model's licence was accepted on this machine before."""
    return home_if_any() is not None and (folder(model) / LICENSE).is_file()


def pull(
    model: HubModel,
    *,
    accept_licence: bool = False,
    limits: DownloadLimits | None = None,
    progress: Callable[[str, int, int], None] = lambda name, here, size: None,
    say: Say = lambda text: None,
) -> Path:
    """Download what is missing of a model. Costs nothing if all is here.

    Safe in several processes: one downloads, the others wait.

    Args:
        model: The model.
        accept_licence: Whether its licence is accepted; needed only the first time.
        limits: The limits of the download; None for the usual ones.
        progress: Called with (file, bytes that have arrived, bytes in all).
        say: Called with a line for the user when something takes longer.

    Returns:
        The checkpoint.

    Raises:
        OfflineError: If something is missing and HUMANPARSE_OFFLINE forbids the network.
        OptionError: If the licence was accepted neither before nor now.
        DownloadFailed: If it cannot be downloaded or written.
    """
    from humanparse.weights import download

    limits = limits or download.DownloadLimits()
    if found := checkpoint(model):
        return found
    if offline():
        raise OfflineError(
            f"{model.name} is not here and HUMANPARSE_OFFLINE forbids downloading it: unset that, "
            f"or copy the folder {folder(model)} from a machine that has it"
        )
    if not (accept_licence or accepted(model)):
        raise OptionError(
            f"the licence of {model.name} ({model.license}: no commercial use) must be accepted: "
            "--accept-licence, or accept_licence=True"
        )
    with _changing(model, limits.lock_s, say):
        if not checkpoint(model):  # the process that we waited for may have downloaded it
            _download(model, limits, progress, say)
    return folder(model) / CHECKPOINT


def _download(
    model: HubModel,
    limits: DownloadLimits,
    progress: Callable[[str, int, int], None],
    say: Say,
) -> None:
    from humanparse.weights import download

    _write(folder(model) / LICENSE, model.terms + "\n")
    files = read_list(download.fetch_text(list_url(model), limits, say), model)
    for file in files:
        target = folder(model) / file.path
        if not (_there(model, file) and sha256_of(target) == file.sha256):
            url, show = file_url(model, file.path), _progress_of(file, progress)
            download.fetch_file(url, file, target, limits, show, say)
    made = Record(model.repo, model.revision, tuple(files))
    if before := record(model):
        made = replace(made, converted=before.converted, made_from=before.made_from)
    _write(folder(model) / RECORD, made.to_json())


def _progress_of(file: RemoteFile, progress: Callable[[str, int, int], None]) -> Progress:
    return lambda here: progress(file.path, here, file.size)


def adopt(
    model: HubModel,
    make: Callable[[Path, Path], object],
    say: Say = lambda text: None,
) -> Path:
    """Make a model's .onnx file, whole or not at all, unless it is here.

    Args:
        model: The model.
        make: Called with (checkpoint, out), to convert the one into the other.
        say: Called with a line for the user if another process has to be waited for.

    Returns:
        The .onnx file.

    Raises:
        BrokenModel: If there is no checkpoint to make it from, or `make` did not give one file.
        DownloadFailed: If it cannot be written.
    """
    with _changing(model, LOCK_S, say):
        if found := converted(model):
            return found
        source, known = checkpoint(model), record(model)
        if not (source and known):
            raise BrokenModel(
                f"{model.name} is not complete here; get it: humanparse models pull {model.name}"
            )
        target = folder(model) / f"{model.name}.onnx"
        remove_leftovers(folder(model), older_than_s=0)  # we hold the lock: nobody is writing
        with scratch_folder(folder(model)) as work:
            made = work / target.name
            make(source, made)
            if [file.name for file in work.iterdir()] != [target.name]:
                raise BrokenModel(
                    f"converting {source} did not give one .onnx file; nothing was kept"
                )
            file = RemoteFile(target.name, made.stat().st_size, sha256_of(made))
            os.replace(made, target)
        known = replace(known, converted=file, made_from=known.sha256(CHECKPOINT))
        _write(folder(model) / RECORD, known.to_json())
    return target


def verify(model: HubModel) -> list[Check]:
    """Read every file of a model and compare it with the record.

    Returns:
        A row for each file. Empty if the model was never pulled whole.
    """
    known = record(model)
    if known is None:
        return []
    files = (*known.files, known.converted) if known.converted else known.files
    return [Check(folder(model) / file.path, file.size, _state(model, file)) for file in files]


def _state(model: HubModel, file: RemoteFile) -> str:
    path = folder(model) / file.path
    if not path.is_file():
        return "missing"
    return "intact" if _there(model, file) and sha256_of(path) == file.sha256 else "damaged"


def remove(model: HubModel, say: Say = lambda text: None) -> int:
    """Delete a model's folder, with parts of interrupted downloads.

    If the folder is a link, the link is deleted and what it leads to stays.

    Args:
        model: The model.
        say: Called with a line for the user if another process has to be waited for.

    Returns:
        The bytes set free; 0 if nothing was here.

    Raises:
        DownloadFailed: If something cannot be deleted.
    """
    place = folder(model)
    if not place.is_symlink() and not place.exists():
        return 0
    with _changing(model, LOCK_S, say, make_folder=False):
        if place.is_symlink():
            place.unlink()
            return 0
        freed = size(model)
        shutil.rmtree(place)
    return freed


def size(model: HubModel) -> int:
    """Return the bytes that a model takes on the disk, with parts of interrupted downloads."""
    if home_if_any() is None:
        return 0
    place = folder(model)
    return (
        sum(path.lstat().st_size for path in place.rglob("*") if path.is_file())
        if place.is_dir()
        else 0
    )


def _switched_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "no", "false", "off")


def _there(model: HubModel, file: RemoteFile) -> bool:
    path = folder(model) / file.path
    return path.is_file() and path.stat().st_size == file.size


@contextmanager
def _changing(
    model: HubModel, timeout_s: float, say: Say, make_folder: bool = True
) -> Iterator[None]:
    """Hold the model's lock, with its folder made.

    Errors of the disk are raised as DownloadFailed.
    """

    def waiting() -> None:
        say(f"another process is at work on {model.name}; waiting for it")

    try:
        (home() / "locks").mkdir(parents=True, exist_ok=True)
        with lock_file(home() / "locks" / f"{model.name}.lock", timeout_s, waiting):
            if make_folder:
                folder(model).mkdir(parents=True, exist_ok=True)
            yield
    except TimeoutError as error:
        raise DownloadFailed(f"{error}; end it, or try again later") from error
    except OSError as error:
        raise DownloadFailed(
            f"{error.filename or home()}: {error.strerror or error}; make the folder writable, "
            "or set HUMANPARSE_HOME to another"
        ) from error


def _write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, "utf-8")
