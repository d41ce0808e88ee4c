"""What a process runs out of: descriptors, room for its log, somebody who reads it."""

from __future__ import annotations

import fcntl
import os
import resource
from contextlib import suppress
from pathlib import Path

import pytest
from todoke.engine.client import ClientError, SyncClient
from todoke_tests_lab import WINDOW, Lab, Node
from todoke_tests_site import until

PIPE_OCTETS = 4_096
LOG_OCTETS = 200
"""What still fits when a disk is said to be full."""


def limit(node: Node, what: int, soft: int | None) -> None:
    """Set a limit of a running process; None: as much as is allowed."""
    assert node.process is not None
    hard = resource.prlimit(node.process.pid, what)[1]
    resource.prlimit(node.process.pid, what, (hard if soft is None else soft, hard))


def descriptors(node: Node) -> int:
    assert node.process is not None
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def log_of(node: Node) -> Path:
    return max(node.site.directory.glob("serve.*.err"))


@pytest.mark.fault(57)
def test_fault_57_no_descriptors_are_left(lab: Lab) -> None:
    """Callers, binds and the way to the store fail for want of them, and go on when there are some."""
    node = lab.start_sending()
    lab.in_flight(node, 20)
    limit(node, resource.RLIMIT_NOFILE, descriptors(node))
    before = lab.parts()
    with suppress(ClientError, TimeoutError), SyncClient(node.site.socket, answer_timeout_s=0.5) as client:
        client.status()
        client.status()
    until(lambda: lab.parts() > before, node.site.errors)
    lab.line.cut()
    until(lambda: "no more connections now" in node.site.errors(), node.site.errors)
    until(lambda: "Too many open files" in node.site.errors(), node.site.errors)
    node.door.cut()
    until(lambda: "the message store is away" in node.site.errors(), node.site.errors)
    limit(node, resource.RLIMIT_NOFILE, None)
    lab.end(node, doubt=WINDOW)


@pytest.mark.fault(57)
def test_fault_57_no_room_for_the_log(lab: Lab) -> None:
    """It sends on, and the log says what is missing in it."""
    lab.smsc()
    node = lab.node()
    limit(node, resource.RLIMIT_FSIZE, log_of(node).stat().st_size + LOG_OCTETS)
    lab.send(node)
    lab.in_flight(node, 20)
    for connections in (2, 3):
        lab.line.cut()
        until(lambda connections=connections: lab.line.connections == connections, node.site.errors)
    lab.settle(node)
    assert "could not be written" not in node.site.errors()
    limit(node, resource.RLIMIT_FSIZE, None)
    lab.line.cut()
    until(lambda: "lines of this log could not be written" in node.site.errors(), node.site.errors)
    lab.end(node, doubt=3 * WINDOW)
    assert "nothing in doubt" in node.site.errors()


@pytest.mark.fault(57)
def test_fault_57_nobody_reads_the_log(lab: Lab) -> None:
    """The pipe is full before the first line, and stays so to the end: nothing waits for it."""
    reader, sink = os.pipe()
    lab.stack.callback(os.close, reader)
    lab.stack.callback(os.close, sink)
    fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_OCTETS)
    os.set_blocking(sink, False)
    with suppress(BlockingIOError):
        while True:
            os.write(sink, b".")
    os.set_blocking(sink, True)
    lab.smsc()
    node = lab.node(log_to=sink)
    lab.send(node)
    lab.in_flight(node)
    lab.line.cut()
    assert lab.end(node, doubt=WINDOW).states == {"delivered": 300}
    os.set_blocking(reader, False)
    assert set(os.read(reader, PIPE_OCTETS)) == {ord(".")}
