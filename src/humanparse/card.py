"""ModelCard: all that must be known to use a model file. It travels inside the file, as JSON under
the key "humanparse"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from humanparse.errors import BrokenModel
from humanparse.labels import LabelSet, label_set
from humanparse.preprocess import Preprocess
from humanparse.vocabulary import HEADS

METADATA_KEY = "humanparse"


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself.

    head: which post-processing its outputs want, one of HEADS.
    settings: thresholds of that post-processing that differ from its defaults, by name.
    source_sha256: of the checkpoint that the file was converted from; empty if it was not.
    """

    name: str
    labels: LabelSet
    head: str
    preprocess: Preprocess
    license: str
    settings: Mapping[str, float] = field(default_factory=dict)
    source_sha256: str = ""

    def to_json(self) -> str:
        """The text that goes into the model file."""
        own = self.labels if self.labels != _known(self.labels.name) else None
        return json.dumps(
            {
                "schema": 1,
                "name": self.name,
                "labels": self.labels.name,
                "names": own and list(own.names),
                "head": self.head,
                "preprocess": asdict(self.preprocess),
                "license": self.license,
                "settings": dict(self.settings),
                "source_sha256": self.source_sha256,
            }
        )

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> ModelCard:
        """The card inside a model file. `where` names the file in errors. Raises BrokenModel if it
        is missing or wrong."""
        if METADATA_KEY not in metadata:
            raise BrokenModel(
                f"{where} carries no {METADATA_KEY!r} metadata: it was not made by humanparse"
            )
        try:
            data = json.loads(metadata[METADATA_KEY])
            labels = (
                LabelSet(data["labels"], tuple(data["names"]))
                if data.get("names")
                else label_set(data["labels"])
            )
            card = cls(
                data["name"],
                labels,
                data["head"],
                _preprocess(data["preprocess"]),
                data["license"],
                data["settings"],
                data.get("source_sha256", ""),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise BrokenModel(
                f"{where} carries metadata that cannot be read ({error!r}); convert the model again"
            ) from error
        if card.head not in HEADS:
            known = ", ".join(HEADS)
            raise BrokenModel(
                f"{where} wants the head {card.head!r}, but this version knows {known}; update humanparse"
            )
        return card


def _preprocess(data: Mapping) -> Preprocess:
    known = {one.name for one in fields(Preprocess)}
    if unknown := set(data) - known:
        raise ValueError(f"unknown preprocessing {sorted(unknown)}")
    return Preprocess(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    )


def _known(name: str) -> LabelSet | None:
    try:
        return label_set(name)
    except ValueError:
        return None
