"""Network outputs → one label map, one person map and the people in them.

centres.py reads the embedded model's maps, queries.py M2FP's instances (with linking.py),
semantic.py those of the single-person M2FP; all end in the same `Maps`, and assemble.py makes
people of those. Every full-size value is written
once: memory grows with the photo's pixels (three bytes each), never with photo times queries.
"""

from __future__ import annotations

from humanparse.postprocess.assemble import Maps, assemble
from humanparse.postprocess.centres import CentreSettings, parse_centres
from humanparse.postprocess.queries import QuerySettings, parse_queries
from humanparse.postprocess.semantic import SemanticSettings, parse_semantic

__all__ = [
    "CentreSettings",
    "Maps",
    "QuerySettings",
    "SemanticSettings",
    "assemble",
    "parse_centres",
    "parse_queries",
    "parse_semantic",
]
