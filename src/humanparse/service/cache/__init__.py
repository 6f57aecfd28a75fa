"""Cached responses: in memory, then on disk, then in a Redis that several servers share.

entry.py    an entry as bytes, with its checksum
memory.py, disk.py, redis.py    the three tiers
tiers.py    one after another
"""

from humanparse.service.cache.entry import Cached, cache_key
from humanparse.service.cache.tiers import Cache

__all__ = ["Cache", "Cached", "cache_key"]
