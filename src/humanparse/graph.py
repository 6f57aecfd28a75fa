"""A graph of the scene: the photo, its people, their parts and garments with colours by name, and
how they stand.

    (:Person)-[:SHOWN_IN]->(:Photo)
    (:Person)-[:WEARS]->(:Garment), (:Person)-[:HAS]->(:Part)
    (:Person)-[:LEFT_OF | IN_FRONT_OF | OVERLAPS]->(:Person)

Written as openCypher whose values are parameters, so that names of files cannot become commands,
and which may be run again without anything twice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import cv2
import numpy as np

from humanparse.masks import Mask, box_iou
from humanparse.regions import ACCESSORIES, LOWER, SHOES, UPPER, WHOLE, kind_of
from humanparse.result import Parsing, Person

_WORN = UPPER | LOWER | WHOLE | ACCESSORIES | SHOES | {"socks"}
IN_FRONT = 0.03  # share of a person's hull from which whoever covers it stands in front
OVERLAP_IOU = 0.05  # of two people's boxes
# Basic colour terms (Berlin and Kay) by examples in RGB; a colour has the name of the nearest, in
# CIELAB.
COLOURS = {
    "black": ((10, 10, 10), (35, 35, 38)),
    "white": ((250, 250, 250), (225, 225, 222)),
    "grey": ((128, 128, 128), (80, 80, 82), (175, 175, 175)),
    "red": ((200, 25, 30), (130, 15, 20)),
    "orange": ((240, 130, 30), (225, 95, 40)),
    "yellow": ((240, 220, 50), (200, 170, 40)),
    "green": ((40, 140, 60), (25, 75, 40), (150, 180, 90)),
    "blue": ((40, 80, 190), (25, 35, 80), (120, 170, 220)),
    "purple": ((110, 50, 140), (70, 35, 90)),
    "pink": ((240, 150, 180), (220, 80, 140)),
    "brown": ((110, 70, 40), (150, 105, 65), (70, 45, 30)),
}


@dataclass(frozen=True)
class Node:
    """kind: Photo, Person, Garment or Part. key: unique among all photos. values: what is known of
    it."""

    kind: str
    key: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Edge:
    """start, end: keys of nodes."""

    start: str
    kind: str
    end: str


@dataclass(frozen=True)
class SceneGraph:
    """The nodes and edges of one photo."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def scene_graph(parsing: Parsing) -> SceneGraph:
    """Return the graph of one photo. Parts that belong to nobody are left out."""
    photo = parsing.file_name or parsing.name
    height, width = parsing.size_hw
    nodes = [
        Node(
            "Photo",
            photo,
            {"name": photo, "width": int(width), "height": int(height), "model": parsing.model},
        )
    ]
    edges = []
    for person in parsing.people:
        me = f"{photo}#{person.id}"
        nodes.append(Node("Person", me, {"number": person.id, **_values(person)}))
        edges.append(Edge(me, "SHOWN_IN", photo))
        for part in person.parts.values():
            worn = kind_of(part.label) in _WORN
            key = f"{me}/{part.label}"
            values = {
                "label": part.label,
                **_values(part),
                "colour": colour_name(parsing.image, part.mask),
            }
            nodes.append(Node("Garment" if worn else "Part", key, values))
            edges.append(Edge(me, "WEARS" if worn else "HAS", key))
    return SceneGraph(tuple(nodes), (*edges, *_relations(parsing, photo)))


def to_cypher(graph: SceneGraph) -> list[tuple[str, dict[str, Any]]]:
    """Return openCypher statements with their parameters, to be run in order, as often as one
    likes."""
    statements: list[tuple[str, dict[str, Any]]] = [
        (
            f"MERGE (n:{node.kind} {{key: $key}}) SET "
            + ", ".join(f"n.{name} = ${name}" for name in node.values),
            {"key": node.key, **node.values},
        )
        for node in graph.nodes
    ]
    kinds = {node.key: node.kind for node in graph.nodes}
    statements += [
        (
            f"MATCH (a:{kinds[edge.start]} {{key: $from_key}}), "
            f"(b:{kinds[edge.end]} {{key: $to_key}}) MERGE (a)-[:{edge.kind}]->(b)",
            {"from_key": edge.start, "to_key": edge.end},
        )
        for edge in graph.edges
    ]
    return statements


def cypher_text(graph: SceneGraph) -> str:
    """Return the statements as text with the values in it, for a file and `cypher-shell`."""
    return "".join(
        re.sub(r"\$(\w+)", lambda name: _literal(values[name[1]]), statement) + ";\n"  # noqa: B023
        for statement, values in to_cypher(graph)
    )


def colour_name(image: np.ndarray, mask: Mask) -> str:
    """Return the name of a region's colour, "" for an empty one: that of its median in CIELAB."""
    if not mask.area:
        return ""
    x0, y0, x1, y1 = mask.box_xyxy
    lab = _lab(image[y0:y1, x0:x1])[mask.crop]
    median = np.median(lab, axis=0)
    distances = {
        name: min(
            float(np.linalg.norm(median - _lab(np.array([[one]], np.uint8))[0, 0]))
            for one in examples
        )
        for name, examples in COLOURS.items()
    }
    return min(distances, key=lambda name: distances[name])


def _lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _values(region: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = map(int, region.box_xyxy)
    return {
        "score": round(float(region.score), 4),
        "area": int(region.area),
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
    }


def _relations(parsing: Parsing, photo: str) -> list[Edge]:
    hulls = {person.id: _hull(person) for person in parsing.people}
    edges = []
    for one, other in permutations(parsing.people, 2):
        a, b = f"{photo}#{one.id}", f"{photo}#{other.id}"
        if one.box_xyxy[2] <= other.box_xyxy[0]:
            edges.append(Edge(a, "LEFT_OF", b))
        if box_iou(one.box_xyxy, other.box_xyxy) > OVERLAP_IOU and one.id < other.id:
            edges.append(Edge(a, "OVERLAPS", b))
        covers, covered = (_covered(one, other, hulls), _covered(other, one, hulls))
        if covers > IN_FRONT and covers > covered:
            edges.append(Edge(a, "IN_FRONT_OF", b))
    return edges


def _hull(person: Person) -> Mask:
    """The convex hull of a person: what would be seen of them if nobody stood in front, about."""
    filled = np.zeros(person.mask.crop.shape, np.uint8)
    points = cv2.findNonZero(person.mask.crop.view(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return Mask(person.mask.size_hw, person.mask.box_xyxy, filled.view(bool))


def _covered(one: Person, other: Person, hulls: dict[int, Mask]) -> float:
    """The share of the other's hull that one's pixels take."""
    hull = hulls[other.id]
    return one.mask.intersection(hull) / max(1, hull.area)


def _literal(value: Any) -> str:
    """A value as openCypher writes it; its strings are escaped as JSON's are."""
    return json.dumps(value, ensure_ascii=False)
