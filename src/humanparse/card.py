"""ModelCard: all that must be known to use a model file.

It travels inside the file, as JSON under the key "humanparse".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from humanparse.errors import BrokenModel
from humanparse.labels import LabelSet, label_set
from humanparse.preprocess import Preprocess
from humanparse.vocabulary import HEADS, PALETTES

METADATA_KEY = "humanparse"


@dataclass(frozen=True)
class ModelCard:
    """What a model file says about itself.

    Attributes:
        name: What the model is called.
        labels: Its classes.
        head: The post-processing that its outputs need, one of `vocabulary.HEADS`.
        preprocess: How it needs its input.
        license: The name of its licence.
        settings: Those settings of the post-processing that differ from its defaults, by name.
        source_sha256: Of the checkpoint that the file was converted from; "" if it was not.
    """

    name: str
    labels: LabelSet
    head: str
    preprocess: Preprocess
    license: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    source_sha256: str = ""

    def to_json(self) -> str:
        """Return the text that goes into the model file."""
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

    def summary(self) -> dict[str, Any]:
        """Return what users of the model may know, in plain JSON values: an entry of /models."""
        return {
            "name": self.name,
            "label_set": self.labels.name,
            "classes": list(self.labels.names),
            "palettes": {
                name: [list(colour) for colour in self.labels.palette(name)] for name in PALETTES
            },
            "license": self.license,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> ModelCard:
        """Read the card inside a model file.

        Args:
            metadata: The texts in the file, by key.
            where: What to call the file in errors.

        Raises:
            BrokenModel: If the card is missing or wrong.
        """
        if METADATA_KEY not in metadata:
            raise BrokenModel(
                f"{where} carries no {METADATA_KEY!r} metadata: it was not made by humanparse; "
                "give a model file of humanparse"
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
                f"{where} needs the head {card.head!r}, but this version knows {known}; "
                "update humanparse"
            )
        return card


def _preprocess(data: Mapping[str, Any]) -> Preprocess:
    known = {one.name for one in fields(Preprocess)}
    if unknown := set(data) - known:
        raise ValueError(f"unknown preprocessing {sorted(unknown)}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
    }
    return Preprocess(**values)


def _known(name: str) -> LabelSet | None:
    try:
        return label_set(name)
    except ValueError:
        return None
