"""What a worker does with its models."""

from dataclasses import replace

import pytest

from humanparse import HumanParser
from humanparse.service.child import answers


class Watched:
    """An engine that remembers the sizes of its inputs."""

    def __init__(self, engine):
        self.metadata, self.sizes, self._engine = engine.metadata, [], engine

    def run(self, pixels):
        self.sizes.append(pixels.shape[2:])
        return self._engine.run(pixels)


@pytest.mark.parametrize("fit_hw", [None, (96, 128)])
def test_a_probe_is_tiny_for_the_network_too_unless_its_input_has_one_size(models, fit_hw):
    [loaded] = models.values()
    parser = HumanParser(engine=Watched(loaded.parser.engine))
    if fit_hw:
        parser.pipeline.preprocess = replace(
            parser.preprocess, fit_hw=fit_hw, short_side=None, area_px=None
        )
    answers.probe({"model": answers.Loaded(parser, "")})
    assert parser.engine.sizes == [fit_hw or (64, 64)]
