"""`humanparse graph`: the people of photos, what they wear and how they stand, as openCypher."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from humanparse.cli import errors, parse
from humanparse.cli.options import Engine, MaxMegapixels, MinScore, Model, Sources
from humanparse.cli.photos import find
from humanparse.errors import MissingExtra, OptionError
from humanparse.system.files import check_target, whole_file

if TYPE_CHECKING:
    from humanparse.graph import SceneGraph

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
    parser = parse.load_parser(
        model, engine=engine, min_score=min_score, max_megapixels=max_megapixels
    )
    failed = len(found.unreadable)
    for note in found.notes:
        typer.echo(errors.printable(note), err=True)
    for folder, folder_error in found.unreadable:
        errors.report(folder, folder_error)
    from humanparse.graph import scene_graph

    with _receiver(cypher, neo4j) as receive:
        for photo in found.photos:
            try:
                scene = scene_graph(parser.parse(photo.source, name=photo.name))
            except Exception as error:  # a bad photo does not stop the others
                errors.report(photo.shown, error)
                failed += 1
            else:
                receive(scene)
    if failed:
        raise typer.Exit(errors.SOME_FAILED)


@contextmanager
def _receiver(cypher: Path | None, neo4j: str | None) -> Iterator[Callable[[SceneGraph], None]]:
    """Yield a function that takes each graph as soon as it is there: to the file, to the server, or
    to stdout."""
    from humanparse.graph import cypher_text

    if neo4j:
        with _server(neo4j) as send:
            yield send
    elif cypher:
        with whole_file(cypher) as part, open(part, "x", encoding="utf-8") as file:
            yield lambda scene: print(cypher_text(scene), end="", file=file)
    else:
        yield lambda scene: typer.echo(cypher_text(scene), nl=False)


@contextmanager
def _server(url: str) -> Iterator[Callable[[SceneGraph], None]]:
    """Yield a function that sends a graph in one transaction, which is closed at the end.

    Raises:
        MissingExtra: The package neo4j is not installed.
        OptionError: The server cannot be reached, or refuses.
    """
    try:
        from neo4j import GraphDatabase
        from neo4j.exceptions import DriverError, Neo4jError
    except ImportError:
        raise MissingExtra("--neo4j needs neo4j: pip install neo4j") from None
    from humanparse.graph import to_cypher

    def run_all(transaction: Any, scene: SceneGraph) -> None:
        for statement, values in to_cypher(scene):
            transaction.run(statement, values)

    user, password = os.environ.get(NEO4J_USER, ""), os.environ.get(NEO4J_PASSWORD, "")
    try:
        with (
            GraphDatabase.driver(url, auth=(user, password) if user else None) as driver,
            driver.session() as session,
        ):
            driver.verify_connectivity()  # fails at once; a transaction is tried for half a minute
            yield lambda scene: session.execute_write(run_all, scene)
    except (DriverError, Neo4jError, ValueError) as error:
        what = " ".join(str(error).split())
        raise OptionError(
            f"{url} does not take the graph: {what}; check the address, and {NEO4J_USER} and "
            f"{NEO4J_PASSWORD} in the environment"
        ) from error
