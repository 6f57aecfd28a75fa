"""Triton's Python backend: the bytes of a photo → the network's input.

`humanparse export` copies this file into a model repository.
"""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from humanparse.card import METADATA_KEY, ModelCard
from humanparse.errors import HumanParseError
from humanparse.image import read_image


class TritonPythonModel:
    """Decodes and resizes a photo.

    It takes image, BYTES (1,): a JPEG, PNG or other picture file. It returns pixels, FP32 (1, 3, H,
    W), and photo_hw, INT32 (2,), the photo's size.
    """

    def initialize(self, args):
        card = Path(args["model_repository"], args["model_version"], "card.json")
        self.card = ModelCard.from_metadata({METADATA_KEY: card.read_text("utf-8")}, str(card))

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        try:
            photo = read_image(bytes(image.reshape(-1)[0])).pixels
        except HumanParseError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        pixels, geometry = self.card.preprocess(photo)
        photo_hw = np.array(geometry.photo_hw, np.int32)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("pixels", pixels), pb_utils.Tensor("photo_hw", photo_hw)]
        )
