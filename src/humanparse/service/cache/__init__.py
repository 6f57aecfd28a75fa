"""Finished answers that are kept: in memory, then on disk, then in a Redis that several servers
share.

    entry.py   what an entry is as bytes, and its checksum
    memory.py, disk.py, shared.py   the three places
    cache.py   one after the other
"""

from humanparse.service.cache.entry import Cached, cache_key
from humanparse.service.cache.tiers import Cache

__all__ = ["Cache", "Cached", "cache_key"]
