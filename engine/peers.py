"""Who this process is to others that share an account, and whether another is known to be dead.

A lease ends by itself, but whoever finds that its holder has died on this very machine need not wait for
that. Nothing is guessed: of a process on another machine, or in another container, only its lease tells.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Protocol

_PROC: Final = Path("/proc")


class Peers(Protocol):
    """What a lease needs to know of processes; a simulation has its own."""

    me: str
    """What other processes know this one by: no two that ever lived have the same."""

    def is_gone(self, identity: str) -> bool:
        """Whether that process is certainly dead."""
        ...


class MachinePeers:
    """Processes by machine, pid namespace, pid and start time, as Linux tells them."""

    def __init__(self, salt: str = "") -> None:
        """`salt` tells several engines of one process apart."""
        self._place = _place()
        pid = os.getpid()
        self.me = f"{self._place} {pid} {_started(pid)} {salt}".rstrip()

    def is_gone(self, identity: str) -> bool:
        """See Peers; False for whatever cannot be known."""
        words = identity.split(" ")
        if len(words) < 3 or not self._place or words[0] != self._place or not words[1].isdecimal():
            return False
        return _started(int(words[1])) != words[2]


def _place() -> str:
    """The boot of this machine and the pid namespace; empty where that cannot be told."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """The start time of a living process in the kernel's ticks; empty if there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    # The name may hold blanks and brackets: what follows the last bracket is counted. Fields 3 and 22.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
