"""What other processes are and do, read from Linux's /proc, for tests."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path

from waiting import running as runs

__all__ = [
    "children",
    "command_line",
    "descendants",
    "environment",
    "listening",
    "name",
    "parent",
    "raylets",
    "replicas",
    "runs",
    "seconds_worked",
]


def command_line(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def environment(pid: int) -> bytes:
    """As the process was started with."""
    return _read(pid, "environ")


def name(pid: int) -> str:
    return _read(pid, "comm").decode().strip()


def parent(pid: int) -> int:
    return int(_stat(pid)[1]) if _stat(pid) else 0


def children(pid: int) -> list[int]:
    return [other for other in _all() if parent(other) == pid]


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def seconds_worked(pids: list[int]) -> float:
    """Processor time of these processes together."""
    return sum(int(stat[11]) + int(stat[12]) for pid in pids if (stat := _stat(pid))) / os.sysconf(
        "SC_CLK_TCK"
    )


def listening(pid: int) -> set[str]:
    """Addresses at which the process accepts TCP connections."""
    folder = Path(f"/proc/{pid}/fd")
    try:
        mine = {os.readlink(one) for one in folder.iterdir()}
    except OSError:
        return set()
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in mine:
                found.add(_address(words[1].split(":")[0]))
    return found


def raylets(folder: str) -> list[int]:
    """Ray's nodes whose files lie below that folder."""
    return [pid for pid in _all() if name(pid) == "raylet" and f"={folder}" in command_line(pid)]


def replicas(folder: str) -> list[int]:
    """Ray Serve's replicas of our parser on those nodes."""
    nodes = set(raylets(folder))
    title = re.compile(r"ray::ServeReplica:humanparse\w*:Parser")
    return [pid for pid in _all() if parent(pid) in nodes and title.match(command_line(pid))]


def _all() -> list[int]:
    return [int(one) for one in os.listdir("/proc") if one.isdigit()]


def _read(pid: int, what: str) -> bytes:
    """b"" if the process is gone."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> list[str]:
    """From the third field on, which is the state."""
    return _read(pid, "stat").decode().rpartition(")")[2].split()


def _address(text: str) -> str:
    """An address as the kernel writes it: words of four bytes, each with its last byte first."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)
