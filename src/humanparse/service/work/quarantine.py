"""Pictures that stopped a worker twice are refused for an hour.

Otherwise one picture could stop every worker.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from humanparse.service.problems import Problem

REFUSED_S = 3600
MAX_SUSPECTS = 1000

Clock = Callable[[], float]  # seconds; never jumps


@dataclass
class Quarantine:
    """Pictures, by their digest, that stopped a worker twice without a success in between.

    A picture that was parsed successfully is innocent: something else stopped its worker, such as
    another process that used up the memory.

    Attributes:
        clock: Seconds that never jump.
    """

    clock: Clock = time.monotonic
    # times, the latest digest last
    _strikes: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)

    def strike(self, digest: str) -> None:
        """Record that this picture stopped a worker."""
        if not digest:
            return
        times = self._strikes.pop(digest, [])
        self._strikes[digest] = [*times[-1:], self.clock()]
        if len(self._strikes) > MAX_SUSPECTS:
            self._strikes.popitem(last=False)

    def clear(self, digest: str) -> None:
        """Record that this picture was parsed."""
        self._strikes.pop(digest, None)

    def refused(self, digest: str) -> bool:
        """Whether this picture has two strikes."""
        times = self._strikes.get(digest, [])
        if times and self.clock() - times[-1] > REFUSED_S:
            del self._strikes[digest]
            return False
        return len(times) == 2

    def check(self, digest: str) -> None:
        """Raise Problem refused_image for a picture with two strikes."""
        if self.refused(digest):
            raise Problem(
                "refused_image",
                "this picture stopped the parser twice; convert it, or send another one",
            )
