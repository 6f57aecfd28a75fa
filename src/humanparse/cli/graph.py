"""`humanparse graph`: the people of photos, what they wear and how they stand, as openCypher."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from humanparse.cli import errors, parse
from humanparse.cli.options import Engine, MaxMegapixels, MinScore, Model, Sources
from humanparse.cli.photos import find
from humanparse.errors import MissingExtra, OptionError
from humanparse.system.files import check_target, whole_file

NEO4J_USER, NEO4J_PASSWORD = "NEO4J_USERNAME", "NEO4J_PASSWORD"  # of the environment


def graph(
    sources: Sources = None,
    cypher: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write openCypher statements to this file.",
            show_default="stdout",
        ),
    ] = None,
    neo4j: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send the statements to a server that speaks Bolt, such as bolt://localhost:7687.",
        ),
    ] = None,
    model: Model = None,
    engine: Engine = "auto",
    min_score: MinScore = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it exists.")
    ] = False,
    max_megapixels: MaxMegapixels = 40.0,
) -> None:
    """Write photos as a graph: people, parts, garments with their colours, and who stands where.

    The statements may be run again: nothing is then created twice. With --neo4j, the user and the
    password are those of the environment variables NEO4J_USERNAME and NEO4J_PASSWORD.

    \b
    Examples:
      humanparse graph street.jpg
      humanparse graph photos/ --cypher people.cypher
      humanparse graph photos/ --neo4j bolt://localhost:7687
    """
    if cypher and neo4j:
        raise OptionError("--cypher and --neo4j exclude each other; write a file, or send it")
    found = find(sources or [], None)
    if cypher:
        photos = [photo.source for photo in found.photos if isinstance(photo.source, Path)]
        check_target(cypher, photos, overwrite=overwrite)
    from humanparse.graph import cypher_text, scene_graph, to_cypher

    session = _session(neo4j) if neo4j else None
    parser = parse.load_parser(
        model, engine=engine, min_score=min_score, max_megapixels=max_megapixels
    )
    texts, failed = [], 0
    for photo in found.photos:
        try:
            scene = scene_graph(parser.parse(photo.source, name=photo.name))
        except Exception as error:  # a bad photo does not stop the others
            errors.report(photo.shown, error)
            failed += 1
            continue
        if session:
            for statement, values in to_cypher(scene):
                session.run(statement, values)
        elif cypher:
            texts.append(cypher_text(scene))
        else:
            typer.echo(cypher_text(scene), nl=False)
    if cypher:
        with whole_file(cypher) as part:
            part.write_text("".join(texts), encoding="utf-8")
    if failed:
        raise typer.Exit(errors.SOME_FAILED)


def _session(url: str) -> Any:
    try:
        from neo4j import GraphDatabase
    except ImportError:
        raise MissingExtra("--neo4j needs neo4j: pip install neo4j") from None
    user, password = os.environ.get(NEO4J_USER, ""), os.environ.get(NEO4J_PASSWORD, "")
    return GraphDatabase.driver(url, auth=(user, password) if user else None).session()
