"""What a model's name stands for: a file inside the package, one that was pulled, or any other."""

from __future__ import annotations

from pathlib import Path

from humanparse.errors import UnknownModel
from humanparse.system.packaged import packaged
from humanparse.weights import store
from humanparse.weights.hub import HUB

DEFAULT_MODEL = "humanparse-small"


def bundled_models() -> dict[str, Path]:
    """Return the files of the models inside the package, by name, the default first."""
    files = packaged("weights/bundled").glob("*.onnx")
    return {
        path.stem: path
        for path in sorted(files, key=lambda path: (path.stem != DEFAULT_MODEL, path.stem))
    }


def is_name(model: str | Path | None) -> bool:
    """Return whether that names a model of the catalogue, and not a file or folder.

    None is the default model, which is in the catalogue.
    """
    return model is None or str(model) in bundled_models() or str(model) in HUB


def model_file(model: str | Path | None) -> Path:
    """Return the file of a model. Nothing is downloaded.

    Args:
        model: A name of the catalogue, an .onnx file, a folder with one, or None for the default
            model. A name of the catalogue wins over a file of that name (`./name` means the file).

    Raises:
        UnknownModel: If there is no such name and no such file, or if the model has yet to be
            pulled.
    """
    name, bundled = str(model or DEFAULT_MODEL), bundled_models()
    if name in bundled:
        return bundled[name]
    if name in HUB:
        if file := store.converted(HUB[name]):
            return file
        raise UnknownModel(
            f"{name} is not on this machine yet; download and convert it once with "
            f"HumanParser.pull({name!r}, accept_licence=True), or: humanparse models pull {name}"
        )
    if Path(name).is_dir():
        return _only_model_in(Path(name))
    if Path(name).is_file():
        return Path(name)
    known = ", ".join([*bundled, *HUB])
    raise UnknownModel(
        f"there is no model {name!r}: give the path of an .onnx file, a folder with one, "
        f"or one of {known}"
    )


def _only_model_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UnknownModel(
            f"the folder {str(folder)!r} must hold one .onnx file, but it holds {names}; "
            "give the file itself"
        )
    return found[0]
