"""The models on this machine: pulled, checked, found and removed. Everything lies in one folder a
model:

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
from dataclasses import asdict, dataclass
from pathlib import Path

from humanparse.errors import BrokenModel, DownloadFailed, OfflineError, OptionError
from humanparse.system.files import remove_leftovers, scratch_folder, sha256_of, whole_file
from humanparse.system.home import home, home_if_any
from humanparse.system.lock import lock_file
from humanparse.weights.hub import CHECKPOINT, HubModel, RemoteFile, file_url, list_url, read_list

RECORD, LICENSE = "record.json", "license.txt"
LOCK_S = 3600.0  # how long `adopt` and `remove` wait for another process


@dataclass(frozen=True)
class Record:
    """What is known of a pulled model's files. `converted` is the .onnx, made from the checkpoint
    `made_from` (sha256)."""

    repo: str
    revision: str
    files: tuple[RemoteFile, ...]
    converted: RemoteFile | None = None
    made_from: str = ""

    def sha256(self, path: str) -> str:
        """The sha256 of one of the files, or "" if there is none of that name."""
        return next((file.sha256 for file in self.files if file.path == path), "")

    def to_json(self) -> str:
        return json.dumps({"schema": 1, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Raises ValueError for anything that `to_json` would not have written."""
        try:
            data = json.loads(text)
            files, converted = (
                tuple(RemoteFile(**file) for file in data["files"]),
                data["converted"],
            )
            return cls(
                data["repo"],
                data["revision"],
                files,
                converted and RemoteFile(**converted),
                data["made_from"],
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a record: {error!r}") from error


@dataclass(frozen=True)
class Check:
    """One file of a model after `verify`. state: "intact", "missing" or "damaged"."""

    path: Path
    size: int
    state: str


def offline() -> bool:
    """Whether HUMANPARSE_OFFLINE forbids the network."""
    return _switched_on("HUMANPARSE_OFFLINE")


def licences_accepted() -> bool:
    """Whether HUMANPARSE_ACCEPT_LICENCE accepts the licences of all models beforehand."""
    return _switched_on("HUMANPARSE_ACCEPT_LICENCE")


def folder(model: HubModel) -> Path:
    """Where the model's files lie, or would."""
    return home() / "models" / model.name


def record(model: HubModel) -> Record | None:
    """What is known of the model's files, or None if it was never pulled whole."""
    try:
        found = Record.from_json((folder(model) / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if {file.path for file in found.files} == set(model.files) else None


def checkpoint(model: HubModel) -> Path | None:
    """The pulled checkpoint, or None. Sizes are looked at, bytes are not: see `verify`."""
    known = record(model)
    whole = (
        known
        and known.revision == model.revision
        and all(_there(model, file) for file in known.files)
    )
    return folder(model) / CHECKPOINT if whole else None


def converted(model: HubModel) -> Path | None:
    """The .onnx file made from the pulled checkpoint, or None. It is enough: the checkpoint itself
    may be gone."""
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
    """Whether somebody has accepted the model's licence on this machine."""
    return home_if_any() is not None and (folder(model) / LICENSE).is_file()


def pull(
    model: HubModel,
    *,
    accept_licence: bool = False,
    limits=None,
    progress: Callable[[str, int, int], None] = lambda name, here, size: None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Fetch what is missing of the model, and return its checkpoint. Costs nothing if all is here.

    limits: a download.Limits; None for the usual ones. progress: called with (file, bytes here,
    bytes in all).
    say: called with a line for the user when something takes longer. Safe in several processes: one
    fetches, the others wait. Raises OfflineError, DownloadFailed, or OptionError if the licence was
    neither accepted before nor now.
    """
    from humanparse.weights import download

    limits = limits or download.Limits()
    if found := checkpoint(model):
        return found
    if offline():
        raise OfflineError(
            f"{model.name} is not here and HUMANPARSE_OFFLINE forbids fetching it: unset that, or copy the folder "
            f"{folder(model)} from a machine that has it"
        )
    if not (accept_licence or accepted(model)):
        raise OptionError(
            f"the licence of {model.name} ({model.license}: not commercially) must be accepted: --accept-licence, "
            "or accept_licence=True"
        )
    with _changing(model, limits.lock_s, say):
        if found := checkpoint(model):  # the process that we waited for has fetched it
            return found
        _write(folder(model) / LICENSE, model.terms + "\n")
        files = read_list(download.fetch_text(list_url(model), limits, say), model)
        for file in files:
            target = folder(model) / file.path
            if not (_there(model, file) and sha256_of(target) == file.sha256):
                show = lambda here, file=file: progress(file.path, here, file.size)  # noqa: E731
                download.fetch_file(file_url(model, file.path), file, target, limits, show, say)
        before = record(model)
        made = {"converted": before.converted, "made_from": before.made_from} if before else {}
        _write(
            folder(model) / RECORD,
            Record(model.repo, model.revision, tuple(files), **made).to_json(),
        )
    return folder(model) / CHECKPOINT


def adopt(
    model: HubModel,
    make: Callable[[Path, Path], object],
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Make the model's .onnx with `make(checkpoint, out)`, unless it is here. Whole or not at all.
    Returns its path.

    Raises BrokenModel if there is no checkpoint to make it from, or nothing was made.
    """
    with _changing(model, LOCK_S, say):
        if found := converted(model):
            return found
        if not (source := checkpoint(model)):
            raise BrokenModel(
                f"{model.name} is not whole here: humanparse models pull {model.name}"
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
            file, known = (
                RemoteFile(target.name, made.stat().st_size, sha256_of(made)),
                record(model),
            )
            os.replace(made, target)
        made_from = known.sha256(CHECKPOINT)
        _write(
            folder(model) / RECORD,
            Record(known.repo, known.revision, known.files, file, made_from).to_json(),
        )
    return target


def verify(model: HubModel) -> list[Check]:
    """Read every file of the model and compare it with the record. Empty if the model was never
    pulled whole."""
    known, checks = record(model), []
    for file in (*known.files, *([known.converted] if known.converted else ())) if known else ():
        path = folder(model) / file.path
        if not path.is_file():
            state = "missing"
        else:
            state = (
                "intact" if _there(model, file) and sha256_of(path) == file.sha256 else "damaged"
            )
        checks.append(Check(path, file.size, state))
    return checks


def remove(model: HubModel, say: Callable[[str], None] = lambda text: None) -> int:
    """Delete the model's folder, with parts of broken-off downloads. Returns the bytes set free; 0
    if nothing was here.

    If the folder is a link, the link goes and what it leads to stays.
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
    """Bytes that the model takes on the disk, parts of broken-off downloads included."""
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
    model: HubModel, timeout_s: float, say: Callable[[str], None], make_folder: bool = True
) -> Iterator[None]:
    """Hold the model's lock, with its folder made; errors of the disk come out as
    DownloadFailed."""
    try:
        (home() / "locks").mkdir(parents=True, exist_ok=True)
        waiting = lambda: say(f"another process is at work on {model.name}; waiting for it")  # noqa: E731
        with lock_file(home() / "locks" / f"{model.name}.lock", timeout_s, waiting):
            if make_folder:
                folder(model).mkdir(parents=True, exist_ok=True)
            yield
    except TimeoutError as error:
        raise DownloadFailed(f"{error}; end it, or try again later") from error
    except OSError as error:
        raise DownloadFailed(
            f"{error.filename or home()}: {error.strerror or error}; make the folder writable, or set HUMANPARSE_HOME to another"
        ) from error


def _write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, "utf-8")
