"""Where models that do not come with the package are found: repositories on ModelScope.

Sizes and checksums are not written down here. They are read from the hub's file list when a model
is pulled, and recorded beside the files (store.py), so that these can be checked later without the
network.

Source: the responses to `GET /api/v1/models/{repo}/repo/files`, {"Code": 200, "Data": {"Files":
[{"Path", "Type", "Size", "Sha256", ...}]}}, and to `GET
/api/v1/models/{repo}/repo?Revision=&FilePath=`, as documented by clients of the hub.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from humanparse.errors import DownloadFailed, OptionError

ENDPOINT = "https://www.modelscope.cn"
CHECKPOINT, CONFIGURATION = "pytorch_model.pt", "configuration.json"


@dataclass(frozen=True)
class HubModel:
    """A model on ModelScope, and what users have to know before it is downloaded.

    Attributes:
        name: What users call it.
        repo: Its repository on ModelScope.
        revision: The tag or branch of the repository.
        people: How many people a photo may show, in words.
        classes: Its classes, in words.
        license: The name of its licence.
        license_url: Where the whole text of the licence is.
        files: The files that are downloaded, in that order.
    """

    name: str
    repo: str
    revision: str
    people: str
    classes: str
    license: str = "CC BY-NC 4.0"
    license_url: str = "https://creativecommons.org/licenses/by-nc/4.0/"
    # the small one first: a wrong address is noticed at once
    files: tuple[str, ...] = (CONFIGURATION, CHECKPOINT)

    @property
    def terms(self) -> str:
        """The text that is shown before the first download."""
        return (
            f"{self.name} is M2FP (Yang et al., 2023), published by Alibaba as {self.repo} on "
            "ModelScope.\n"
            f"Its licence is {self.license}: use and change it freely with credit to its authors, "
            "but NOT commercially.\n"
            f"The whole text: {self.license_url}"
        )


HUB = {
    model.name: model
    for model in (
        HubModel(
            "m2fp-r101-cihp",
            "iic/cv_resnet101_image-multiple-human-parsing",
            "v1.0.1",
            "any number",
            "CIHP's 20",
        ),
        # We know of no tag for this one. What is downloaded is still checked against the list of
        # the same revision.
        HubModel(
            "m2fp-r101-lip",
            "iic/cv_resnet101_image-single-human-parsing",
            "master",
            "one",
            "LIP's 20",
        ),
    )
}


@dataclass(frozen=True)
class RemoteFile:
    """One file as its server describes it.

    Attributes:
        path: A plain file name.
        size: In bytes.
        sha256: 64 lower-case hexadecimal digits.

    Raises:
        ValueError: For a path that is more than a plain name, or numbers that make no sense.
    """

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", str(self.path)):
            raise ValueError(f"{self.path!r} is not a plain file name")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size <= 0:
            raise ValueError(f"{self.path} has the size {self.size!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", str(self.sha256)):
            raise ValueError(f"{self.path} has the sha256 {self.sha256!r}")


def endpoint() -> str:
    """Return the hub's address: MODELSCOPE_ENDPOINT if set, with or without https://.

    Raises:
        OptionError: For another scheme than http and https.
    """
    chosen = os.environ.get("MODELSCOPE_ENDPOINT", "").strip() or ENDPOINT
    if "://" not in chosen:
        chosen = f"https://{chosen}"
    if not re.match(r"https?://[^/]", chosen):
        raise OptionError(
            f"MODELSCOPE_ENDPOINT is {chosen!r}; expected an address such as {ENDPOINT}"
        )
    return chosen.rstrip("/")


def list_url(model: HubModel) -> str:
    """Return the address of the list of a model's files."""
    query = urlencode({"Revision": model.revision, "Recursive": "True"})
    return f"{endpoint()}/api/v1/models/{model.repo}/repo/files?{query}"


def file_url(model: HubModel, path: str) -> str:
    """Return the address of one of a model's files."""
    query = urlencode({"Revision": model.revision, "FilePath": path})
    return f"{endpoint()}/api/v1/models/{model.repo}/repo?{query}"


def read_list(text: bytes, model: HubModel) -> list[RemoteFile]:
    """Read from the hub's list what a model's files should be.

    Args:
        text: The response to `list_url`.
        model: The model.

    Returns:
        The files of `model.files`, in that order.

    Raises:
        DownloadFailed: If this is no such list, a file is missing, or one could not be checked.
    """
    where = f"the file list of {model.repo} ({model.revision})"
    try:
        found = json.loads(text)["Data"]["Files"]
        by_path = {file["Path"]: file for file in found if file.get("Type", "blob") != "tree"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = _message(text)
        raise DownloadFailed(
            f"{where} cannot be read: the server sent {said!r}; check MODELSCOPE_ENDPOINT"
        ) from error
    if missing := [path for path in model.files if path not in by_path]:
        raise DownloadFailed(
            f"{where} has no {', '.join(missing)}; has the model moved? Update humanparse"
        )
    try:
        return [
            RemoteFile(path, by_path[path].get("Size"), str(by_path[path].get("Sha256")).lower())
            for path in model.files
        ]
    except ValueError as error:
        raise DownloadFailed(
            f"{where} cannot be trusted: {error}; what cannot be checked is not used. "
            "Check MODELSCOPE_ENDPOINT"
        ) from error


def _message(text: bytes) -> str:
    """What a server sent instead of a list: its message, or the beginning of whatever it sent."""
    try:
        said = json.loads(text)["Message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        said = text.decode("utf-8", "replace")
    return str(said)[:100]
