"""The service with workers that sleep instead of parsing: its queue and HTTP, with no work.

    python benchmarks/sleepers.py [FLAGS OF Settings AS name=value …]

So its queue can be observed on a machine that is busy with other things. A worker sleeps for a time
drawn from a log-normal distribution with the mean MEAN_S and a standard deviation of SPREAD times
that.
"""

from __future__ import annotations

import math
import random
import sys
import time
import types
from dataclasses import fields

MEAN_S, SPREAD = 0.15, 0.35
MODEL = {
    "name": "sleeper",
    "label_set": "none",
    "classes": [],
    "palettes": {},
    "license": "Apache-2.0",
    "sha256": "0" * 64,
}
NOTED = {
    "media_type": "application/json",
    "people": 0,
    "width": 640,
    "height": 480,
    "megapixels": 0.3,
    "model": "sleeper",
    "model_sha256": MODEL["sha256"],
    "timings_ms": {},
}
WORKER = "--worker"


def main() -> int:
    """Run the service, or one of its workers."""
    if sys.argv[1:] == [WORKER]:
        return work()
    from humanparse.service.app import create_app
    from humanparse.service.server import run
    from humanparse.service.settings import Settings
    from humanparse.service.work.dispatcher import Dispatcher

    kinds = {one.name: type(one.default) for one in fields(Settings)}
    given = {name: kinds[name](value) for name, value in (text.split("=") for text in sys.argv[1:])}
    settings = Settings(port=0, cache_mb=0, **given)
    return run(
        create_app(
            settings, dispatcher=Dispatcher(settings, command=[sys.executable, __file__, WORKER])
        ),
        settings,
    )


def work() -> int:
    """Run the service's own worker, with nothing to load and nothing to do."""
    from humanparse.service.child import main

    sigma = math.sqrt(math.log(1 + SPREAD**2))
    draw = random.Random()

    def answer(models, head, picture):
        time.sleep(draw.lognormvariate(math.log(MEAN_S) - sigma**2 / 2, sigma))
        return dict(NOTED), b"{}"

    sleeping = types.ModuleType("answers")
    vars(sleeping).update(
        load=lambda *_: None, describe=lambda _: [MODEL], probe=lambda _: None, answer=answer
    )
    sys.modules["humanparse.service.child.answers"] = sleeping
    return main.main()


if __name__ == "__main__":
    sys.exit(main())
