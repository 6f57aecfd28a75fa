"""How many bytes of clients' pictures the server holds, at most queue_max_mb."""

from __future__ import annotations


class ByteBudget:
    """A count of bytes with a limit, shared by all requests.

    A request's bytes count from their arrival until it is answered (http/limits.py), that is, while
    its pictures are waiting or in work. The dispatcher counts two more kinds: pictures that a
    worker still has after their client has gone, and those of jobs, which come from disk.

    Attributes:
        limit_bytes: The limit.
        num_bytes: How many bytes are held now.
    """

    def __init__(self, limit_bytes: float = float("inf")):
        self.limit_bytes = limit_bytes
        self.num_bytes = 0

    def has_room(self, num_bytes: int) -> bool:
        """Whether that many more bytes are within the limit."""
        return self.num_bytes + num_bytes <= self.limit_bytes
