"""Where the models that do not come with the package are to be had: ModelScope's repositories and
its file list.

Sizes and checksums are not written down here. They are read from the file list when a model is
pulled, and recorded beside the files (store.py), so that these can be checked later without the
network.

Source: the answers of `GET /api/v1/models/{repo}/repo/files`, {"Code": 200, "Data": {"Files":
[{"Path", "Type", "Size", "Sha256", ...}]}}, and of `GET
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
    """A model on ModelScope, and what its user has to know before it is fetched."""

    name: str
    repo: str
    revision: str
    people: str
    classes: str
    license: str = "CC BY-NC 4.0"
    license_url: str = "https://creativecommons.org/licenses/by-nc/4.0/"
    # the small one first: a wrong address shows at once
    files: tuple[str, ...] = (CONFIGURATION, CHECKPOINT)

    @property
    def terms(self) -> str:
        """What is shown before the first download."""
        return (
            f"{self.name} is M2FP (Yang et al., 2023), published by Alibaba as {self.repo} on ModelScope.\n"
            f"Its licence is {self.license}: use and change it freely with credit to its authors, but NOT commercially.\n"
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
        # No tag of this one is known to us; what is fetched is checked against the list of the same
        # revision all the same.
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
    """One file as its server describes it. Size in bytes; sha256 in 64 small hexadecimal digits.

    Raises ValueError for a path that is more than a plain name, or numbers that make no sense.
    """

    path: str
    size: int
    sha256: str

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", str(self.path)):
            raise ValueError(f"{self.path!r} is not a plain file name")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size <= 0:
            raise ValueError(f"{self.path} has the size {self.size!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", str(self.sha256)):
            raise ValueError(f"{self.path} has the sha256 {self.sha256!r}")


def endpoint() -> str:
    """The hub's address: MODELSCOPE_ENDPOINT if set, with or without https://. Raises OptionError
    for another scheme."""
    chosen = os.environ.get("MODELSCOPE_ENDPOINT", "").strip() or ENDPOINT
    if "://" not in chosen:
        chosen = f"https://{chosen}"
    if not re.match(r"https?://[^/]", chosen):
        raise OptionError(
            f"MODELSCOPE_ENDPOINT is {chosen!r}; expected an address such as {ENDPOINT}"
        )
    return chosen.rstrip("/")


def list_url(model: HubModel) -> str:
    """Address of the list of the model's files."""
    return f"{endpoint()}/api/v1/models/{model.repo}/repo/files?{urlencode({'Revision': model.revision, 'Recursive': 'True'})}"


def file_url(model: HubModel, path: str) -> str:
    """Address of one of the model's files."""
    return f"{endpoint()}/api/v1/models/{model.repo}/repo?{urlencode({'Revision': model.revision, 'FilePath': path})}"


def read_list(text: bytes, model: HubModel) -> list[RemoteFile]:
    """The model's files as the hub's list describes them.

    text: the answer to list_url. Raises DownloadFailed if it is no such list, a file is missing, or
    one cannot be checked.
    """
    where = f"the file list of {model.repo} ({model.revision})"
    try:
        answer = json.loads(text)
        found = answer["Data"]["Files"]
        by_path = {file["Path"]: file for file in found if file.get("Type", "blob") != "tree"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = _message(text)
        raise DownloadFailed(
            f"{where} cannot be read: the server answered {said!r}; check MODELSCOPE_ENDPOINT"
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
        raise DownloadFailed(f"{where} says {error}: what cannot be checked is not used") from error


def _message(text: bytes) -> str:
    """What a server said instead of a list: its own message, or the beginning of whatever came."""
    try:
        said = json.loads(text)["Message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        said = text.decode("utf-8", "replace")
    return str(said)[:100]
