"""`humanparse graph`."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from humanparse.cli.errors import BAD_USAGE, SOME_FAILED


@pytest.fixture
def street(here):
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(here / "street.png")


def test_statements_go_to_stdout_or_to_a_file(run, parser, street, here):
    shown = run("graph", "street.png")
    assert shown.exit_code == 0 and shown.stdout.startswith('MERGE (n:Photo {key: "street"')
    assert run("graph", "street.png", "--cypher", "out.cypher").exit_code == 0
    assert (here / "out.cypher").read_text() == shown.stdout
    refused = run("graph", "street.png", "--cypher", "out.cypher")
    assert refused.exit_code == BAD_USAGE and "already exists" in refused.stderr
    refused = run("graph", "street.png", "--cypher", "street.png", "--overwrite")
    assert refused.exit_code == BAD_USAGE and "is read by this command" in refused.stderr


def test_a_bad_photo_does_not_stop_the_others(run, parser, street, here):
    (here / "bad.jpg").write_bytes(b"no picture")
    result = run("graph", ".")
    assert result.exit_code == SOME_FAILED
    assert "bad.jpg" in result.stderr and "street" in result.stdout


def test_servers_need_their_package(run, parser, street, monkeypatch):
    monkeypatch.setitem(sys.modules, "neo4j", None)
    result = run("graph", "street.png", "--neo4j", "bolt://localhost")
    assert result.exit_code == 3 and "pip install neo4j" in result.stderr
    both = run("graph", "street.png", "--neo4j", "bolt://x", "--cypher", "y")
    assert both.exit_code == BAD_USAGE and "exclude each other" in both.stderr
