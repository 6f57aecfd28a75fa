"""Triton's Python backend: the network's outputs → people.

`humanparse export` copies this file into a model repository.
"""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.pipeline import Pipeline


class TritonPythonModel:
    """Turns the network's outputs into maps and JSON.

    It takes photo_hw, INT32 (2,), and the network's outputs. It returns labels, UINT8 (1, H, W),
    and people, UINT16 (1, H, W), in the photo's size, and result, BYTES (1,): people with their
    parts, boxes, scores and masks as JSON (docs/json.md).
    """

    def initialize(self, args):
        card = Path(args["model_repository"], args["model_version"], "card.json")
        metadata = {METADATA_KEY: card.read_text("utf-8")}
        self.pipeline = Pipeline(ModelCard.from_metadata(metadata, str(card)))

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        head = self.pipeline.head
        names = ("photo_hw", *head.outputs, *head.optional)
        given = {name: pb_utils.get_input_tensor_by_name(request, name) for name in names}
        outputs = {name: tensor.as_numpy() for name, tensor in given.items() if tensor is not None}
        height, width = (int(side) for side in outputs.pop("photo_hw"))
        parsing = self.pipeline.finish(outputs, (height, width))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("labels", parsing.label_map[None]),
                pb_utils.Tensor("people", parsing.person_map[None]),
                pb_utils.Tensor("result", np.array([parsing.to_json().encode()], np.object_)),
            ]
        )
