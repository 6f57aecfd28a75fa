"""graph.py: the scene as a graph, written twice into an embedded openCypher engine and asked."""

from __future__ import annotations

import re

import numpy as np
import pytest
from made_up import empty_parsing, made_up_parsing, parsing_from_maps

from humanparse.graph import COLOURS, colour_name, cypher_text, scene_graph, to_cypher
from humanparse.labels import CIHP
from humanparse.masks import Mask

SCHEMA = (
    "CREATE NODE TABLE Photo(key STRING PRIMARY KEY, name STRING, width INT64, height INT64, "
    "model STRING)",
    "CREATE NODE TABLE Person(key STRING PRIMARY KEY, number INT64, score DOUBLE, area INT64, "
    "x0 INT64, y0 INT64, x1 INT64, y1 INT64)",
    *(
        f"CREATE NODE TABLE {kind}(key STRING PRIMARY KEY, label STRING, score DOUBLE, area INT64, "
        "x0 INT64, y0 INT64, x1 INT64, y1 INT64, colour STRING)"
        for kind in ("Garment", "Part")
    ),
    "CREATE REL TABLE SHOWN_IN(FROM Person TO Photo)",
    "CREATE REL TABLE WEARS(FROM Person TO Garment)",
    "CREATE REL TABLE HAS(FROM Person TO Part)",
    *(
        f"CREATE REL TABLE {kind}(FROM Person TO Person)"
        for kind in ("LEFT_OF", "IN_FRONT_OF", "OVERLAPS")
    ),
)


def two_people(name: str = "street"):
    """Person 1 in a red coat stands in front of person 2 in blue."""
    labels, people = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint16)
    image = np.full((100, 100, 3), 200, np.uint8)
    for number, left, right, colour in ((2, 10, 70, (40, 80, 190)), (1, 30, 50, (200, 25, 30))):
        body, face = np.s_[20:90, left:right], np.s_[10:20, left + 2 : left + 12]
        labels[body], labels[face] = CIHP.index("Coat"), CIHP.index("Face")
        people[body] = people[face] = number
        image[body] = colour
    return parsing_from_maps(labels, people, image=image, name=name)


def test_who_wears_what_in_which_colour_and_who_stands_in_front():
    graph = scene_graph(two_people())
    worn = {node.key: node.values["colour"] for node in graph.nodes if node.kind == "Garment"}
    assert worn == {"street#1/Coat": "red", "street#2/Coat": "blue"}
    edges = {(edge.start, edge.kind, edge.end) for edge in graph.edges}
    assert ("street#1", "WEARS", "street#1/Coat") in edges
    assert ("street#1", "HAS", "street#1/Face") in edges
    assert ("street#1", "IN_FRONT_OF", "street#2") in edges
    assert ("street#2", "IN_FRONT_OF", "street#1") not in edges
    assert ("street#1", "OVERLAPS", "street#2") in edges
    assert not any(kind == "LEFT_OF" for _, kind, _ in edges)
    apart = {(e.start, e.kind, e.end) for e in scene_graph(made_up_parsing()).edges}
    assert ("made-up#1", "LEFT_OF", "made-up#2") in apart


def test_colours_by_name():
    everywhere = Mask.from_dense(np.ones((4, 4), bool))
    for name, examples in COLOURS.items():
        for one in examples:
            assert colour_name(np.full((4, 4, 3), one, np.uint8), everywhere) == name
    assert colour_name(np.full((4, 4, 3), (20, 30, 90), np.uint8), everywhere) == "blue"
    assert colour_name(np.zeros((4, 4, 3), np.uint8), Mask.from_dense(np.zeros((4, 4), bool))) == ""


def test_values_are_parameters_and_the_text_is_escaped():
    evil = two_people('$key"}) DETACH DELETE n //')
    for statement, values in to_cypher(scene_graph(evil)):
        assert "DELETE" not in statement
        assert set(re.findall(r"\$(\w+)", statement)) == set(values)
    text = cypher_text(scene_graph(evil))
    assert text.count(";\n") == len(to_cypher(scene_graph(evil)))
    assert r"$key\"}) DETACH" in text and '"$key"}' not in text


def test_a_photo_without_people_is_a_node():
    graph = scene_graph(empty_parsing())
    assert [node.kind for node in graph.nodes] == ["Photo"] and not graph.edges


@pytest.mark.parametrize("as_text", [False, True])
def test_an_embedded_engine_takes_it_twice_and_answers(as_text):
    ladybug = pytest.importorskip("ladybug")
    run = ladybug.Connection(ladybug.Database(":memory:")).execute
    for line in SCHEMA:
        run(line)
    for _ in range(2):
        for name in ("a", "b"):
            graph = scene_graph(two_people(name))
            if as_text:
                for line in cypher_text(graph).split(";\n")[:-1]:
                    run(line)
            else:
                for statement, values in to_cypher(graph):
                    run(statement, values)
    asked = run(
        "MATCH (p:Person)-[:WEARS]->(g:Garment {label: 'Coat', colour: 'red'}) "
        "RETURN p.key ORDER BY p.key"
    )
    assert asked.get_all() == [["a#1"], ["b#1"]]
    assert run("MATCH (p:Person)-[r:SHOWN_IN]->(f:Photo) RETURN count(r)").get_all() == [[4]]
