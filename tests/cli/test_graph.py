"""`humanparse graph`."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

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


class Graphs:
    """A stand-in of neo4j's driver, session and transaction: keeps what it is sent, and whether it
    was closed."""

    def __init__(self, refuse=False):
        self.refuse, self.sent, self.open, self.closed = refuse, [], [], 0

    def driver(self, url, auth):
        self.open.append((url, auth))
        return self

    def session(self):
        return self

    def verify_connectivity(self):
        self.open.append("verified")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed += 1

    def execute_write(self, work, *arguments):
        if self.refuse:
            raise Neo4jError("no such user")
        work(self, *arguments)

    def run(self, statement, values):
        self.sent.append((statement, values))


class Neo4jError(Exception):
    """neo4j's own."""


@pytest.fixture
def server(monkeypatch):
    """Graphs in neo4j's place."""
    graphs = Graphs()
    exceptions = SimpleNamespace(Neo4jError=Neo4jError, DriverError=Neo4jError)
    monkeypatch.setitem(sys.modules, "neo4j", SimpleNamespace(GraphDatabase=graphs))
    monkeypatch.setitem(sys.modules, "neo4j.exceptions", exceptions)
    monkeypatch.setenv("NEO4J_USERNAME", "me")
    monkeypatch.setenv("NEO4J_PASSWORD", "secret")
    return graphs


def test_statements_are_sent_with_their_values_and_the_session_is_closed(
    run, parser, street, server
):
    assert run("graph", "street.png", "--neo4j", "bolt://here:7687").exit_code == 0
    assert (
        server.open == [("bolt://here:7687", ("me", "secret")), "verified"] and server.closed == 2
    )
    statement, values = server.sent[0]
    assert statement.startswith("MERGE (n:Photo {key: $key})") and values["key"] == "street"


def test_a_server_that_refuses_is_named_with_what_to_check(run, parser, street, server):
    server.refuse = True
    result = run("graph", "street.png", "--neo4j", "bolt://here")
    assert result.exit_code == BAD_USAGE and server.closed == 2
    assert "bolt://here does not take the graph: no such user" in result.stderr
    assert "secret" not in result.stderr and "NEO4J_PASSWORD" in result.stderr


def test_what_the_search_left_out_or_could_not_read_is_said(run, parser, street, here, monkeypatch):
    (here / "elsewhere").mkdir()
    (here / "link").symlink_to(here / "elsewhere", target_is_directory=True)
    closed, scandir = here / "closed", os.scandir
    closed.mkdir()

    def refused(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    result = run("graph", ".")
    assert result.exit_code == SOME_FAILED and "street" in result.stdout
    assert "left out: 1 linked folder" in result.stderr
    assert "closed: Permission denied" in result.stderr
