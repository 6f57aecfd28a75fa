"""The address that the service listens at, and what the process needs before it does.

Nothing here is slow to import: what cannot be listened at is said before anything is loaded.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from humanparse.errors import OptionError
from humanparse.service import logs
from humanparse.service.settings import Settings

# connections beyond the limit that get a response; further ones are just cut off
POLITE_REFUSALS = 100
SPARE_FILES = 256  # open files beside client connections: workers, databases, the cache


@contextmanager
def prepared(settings: Settings) -> Iterator[socket.socket]:
    """Set up the log, the limit of open files and the socket, for as long as the service runs.

    Args:
        settings: The service's settings.

    Yields:
        The socket, as `bind` returns it.

    Raises:
        OptionError: If the address cannot be used.
    """
    log = logs.configure(settings)
    _allow_open_files(settings.max_connections + POLITE_REFUSALS + SPARE_FILES)
    try:
        with bind(settings) as listener:
            yield listener
    finally:
        log.flush()


def bind(settings: Settings) -> socket.socket:
    """Return a socket at the address that does not listen yet.

    Until the service is ready, clients are refused.

    Raises:
        OptionError: If the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(
            settings.host.strip("[]"),
            settings.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        family, kind, number, _, address = found[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise cannot_listen(settings, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise cannot_listen(settings, error) from None
    return listener


def cannot_listen(settings: Settings, error: OSError) -> OptionError:
    """Return the error for an address that cannot be used.

    Args:
        settings: The service's settings.
        error: What the system said.
    """
    where = f"cannot listen on {url_of(settings.host, settings.port).removeprefix('http://')}"
    if error.errno == errno.EADDRINUSE:
        return OptionError(f"{where}: the port is in use; choose another, or 0 for a free one")
    if error.errno == errno.EACCES:
        return OptionError(f"{where}: ports below 1024 need administrator rights; choose another")
    return OptionError(f"{where}: {error.strerror or error}")


def url_of(host: str, port: int) -> str:
    """Return the service's URL at this host and port."""
    host = host.strip("[]")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_open_files(num_files: int) -> None:
    """Raise this process's limit of open files, so that max_connections is what limits."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = num_files if hard == resource.RLIM_INFINITY else min(num_files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
