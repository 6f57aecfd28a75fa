"""Triton's Python backend: the network's outputs → people. Copied into a model repository by `humanparse export`."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from humanparse.parser import MORE_OUTPUTS, OUTPUTS, HumanParser
from humanparse.weights.catalog import METADATA_KEY


class Elsewhere:
    """Stands where HumanParser has its engine: the network has run in Triton."""

    def __init__(self, card):
        self.metadata = {METADATA_KEY: card}

    def run(self, pixels):
        raise NotImplementedError("the network runs in Triton")


class TritonPythonModel:
    """photo_hw: INT32 (2,), and the network's outputs → labels: UINT8 (1, H, W), people: UINT16 (1, H, W), in the photo's
    size; result: BYTES (1,), people with their parts, boxes, scores and masks as JSON (docs/json.md)."""

    def initialize(self, args):
        card = Path(args["model_repository"], args["model_version"], "card.json")
        self.parser = HumanParser(engine=Elsewhere(card.read_text("utf-8")))

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        head = self.parser.card.head
        names = ("photo_hw", *OUTPUTS[head], *MORE_OUTPUTS[head])
        given = {name: pb_utils.get_input_tensor_by_name(request, name) for name in names}
        outputs = {name: tensor.as_numpy() for name, tensor in given.items() if tensor is not None}
        height, width = (int(side) for side in outputs.pop("photo_hw"))
        parsing = self.parser.finish(outputs, (height, width))
        return pb_utils.InferenceResponse([
            pb_utils.Tensor("labels", parsing.label_map[None]),
            pb_utils.Tensor("people", parsing.person_map[None]),
            pb_utils.Tensor("result", np.array([parsing.to_json().encode()], np.object_)),
        ])
