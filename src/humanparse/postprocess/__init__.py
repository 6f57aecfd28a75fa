"""From the outputs of a network to one label map, one person map and the people in them.

centres.py reads the maps of the embedded model, queries.py the instances of M2FP (with linking.py),
and semantic.py those of the single-person M2FP. All of them return the same `Maps`, of which
assemble.py makes people. Every full-size value is written once: memory grows with the photo's
pixels (three bytes each), never with the photo times the queries.
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
