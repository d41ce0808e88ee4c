"""Many seeds, each in a forked process of its own: everything is imported once, and no run sees another."""

from __future__ import annotations

import gc
import os
import resource
import selectors
import signal
from collections.abc import Generator, Sequence
from typing import Final

import msgspec

from .run import Outcome, simulate
from .scenario import Size

READ_OCTETS: Final = 1 << 16
GC_ALLOCATIONS: Final = 50_000
DELETED_CPU_S: Final = 120
"""A seed of an engine without one of its branches may take so long."""


def play_all(
    seeds: Sequence[int],
    size: Size,
    messages: int | None,
    jobs: int,
    faults: tuple[str, ...] = (),
    delete: str = "",
) -> Generator[Outcome]:
    """Outcomes as they come, `jobs` at a time. A child that dies without one is an outcome too. `faults` and
    `delete`: see `run.simulate`.
    """
    children: set[int] = set()
    try:
        yield from _play_all(seeds, size, messages, jobs, faults, delete, children)
    finally:
        # Nobody wants the rest.
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _play_all(
    seeds: Sequence[int],
    size: Size,
    messages: int | None,
    jobs: int,
    faults: tuple[str, ...],
    delete: str,
    children: set[int],
) -> Generator[Outcome]:
    waiting = list(seeds)[::-1]
    selector = selectors.DefaultSelector()
    received: dict[int, bytes] = {}
    while waiting or received:
        while waiting and len(received) < jobs:
            seed = waiting.pop()
            pipe, pid = _fork(seed, size, messages, faults, delete)
            children.add(pid)
            received[pipe] = b""
            selector.register(pipe, selectors.EVENT_READ, (seed, pid))
        for key, _ in selector.select():
            pipe = key.fd
            octets = os.read(pipe, READ_OCTETS)
            if octets:
                received[pipe] += octets
                continue
            seed, pid = key.data
            selector.unregister(pipe)
            os.close(pipe)
            _, status = os.waitpid(pid, 0)
            children.discard(pid)
            data = received.pop(pipe)
            yield msgspec.msgpack.decode(data, type=Outcome) if data else _died(seed, size, status)


def _fork(
    seed: int, size: Size, messages: int | None, faults: tuple[str, ...], delete: str
) -> tuple[int, int]:
    """(what to read the outcome from, process id)."""
    here, there = os.pipe()
    pid = os.fork()
    if pid:
        os.close(there)
        return here, pid
    status = 1
    try:
        os.close(here)
        # What is made in a run is mostly freed by its references.
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS, 20, 100)
        if delete:
            # Without one of its branches the engine may spin.
            resource.setrlimit(resource.RLIMIT_CPU, (DELETED_CPU_S, DELETED_CPU_S))
        outcome = simulate(seed, size, messages=messages, faults=faults, delete=delete)
        data = msgspec.msgpack.encode(outcome)
        while data:
            data = data[os.write(there, data) :]
        status = 0
    finally:
        os._exit(status)


def _died(seed: int, size: Size, status: int) -> Outcome:
    broken = [f"the process of this seed ended with wait status {status}"]
    return Outcome(
        seed=seed,
        size=size,
        messages=0,
        trace_hash="",
        trace_lines=0,
        broken=broken,
        states={},
        copies=0,
        doubled=0,
        deliverable=0,
        delivered=0,
        virtual_s=0.0,
        real_s=0.0,
        cpu_s=0.0,
        coverage={},
        last_lines=[],
    )
