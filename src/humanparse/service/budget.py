"""How many bytes of clients' pictures the server holds, up to queue_max_mb."""

from __future__ import annotations


class ByteBudget:
    """A number of bytes that may grow up to a limit; one for all requests.

    A request's bytes are counted from when they arrive until it is answered (limits.py), which is
    as long as its pictures wait or are in work. Those that a worker still has when nobody waits for
    them any longer, and those of jobs, which lie on disk before, are counted by dispatch.py.
    """

    def __init__(self, limit_bytes: float = float("inf")):
        self.limit_bytes = limit_bytes
        self.num_bytes = 0

    def has_room(self, num_bytes: int) -> bool:
        return self.num_bytes + num_bytes <= self.limit_bytes
