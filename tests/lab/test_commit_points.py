"""Every commit of the ledger, struck just before it reaches the store and just after it was done there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pytest
from todoke.codecs.constants import SUBMIT_SM, SUBMIT_SM_RESP
from todoke_tests_lab import WINDOW, Lab, Node
from todoke_tests_proxy import Direction
from todoke_tests_site import until

When = Literal["before", "after"]
WHEN: tuple[When, When] = ("before", "after")
Commands = list[list[Any]]

BUSY_NUMBERS = [{"suffix": "7", "first": 1, "command_status": "ESME_RSYSERR"}]
"""Every tenth number is refused at first: its message waits in `due` and is released from there."""


class Point(NamedTuple):
    """A commit: its stage, what its transaction holds and what it does not."""

    stage: str
    holds: frozenset[str]
    holds_not: frozenset[str] = frozenset()

    def matches(self, commands: Commands) -> bool:
        names = {one[0].decode().upper() for one in commands}
        return names >= self.holds and not names & self.holds_not


def point(stage: str, holds: str, holds_not: str = "") -> Point:
    return Point(stage, frozenset(holds.split()), frozenset(holds_not.split()))


POINTS = {
    "accept": point("accept", "XADD RPUSH"),
    "take": point("take-docomo", "XREADGROUP"),
    "facts": point("record-docomo", "RPUSHX", "XACK SET"),
    "block-done": point("record-docomo", "RPUSHX XACK XDEL"),
    "wait-in-due": point("record-docomo", "SET RPUSH ZADD"),
    "release-from-due": point("due-docomo", "ZREM XADD RPUSHX"),
    "finish": point("due-docomo", "UNLINK ZREM"),
    "receipts": point("rx-docomo", "HSET XADD"),
    "orphans": point("rx-docomo", "HMGET HSET"),
    "acknowledgement": point("ack-default", "XTRIM"),
    "renewal": point("slots-docomo", "PTTL SET HSET"),
}


def busy_smsc(lab: Lab, name: str) -> None:
    """One at which this commit happens."""
    if name in ("wait-in-due", "release-from-due"):
        lab.smsc(rules=BUSY_NUMBERS)
    else:
        lab.smsc(early_receipts=0.3 if name == "orphans" else 0.0)


def strike(lab: Lab, node: Node, name: str, when: When, action: Callable[[], None]) -> None:
    """At the next commit of this kind. A take counts only when there is something to be taken."""
    one = POINTS[name]

    def waiting(commands: Commands) -> bool:
        return one.matches(commands) and (name != "take" or lab.server.waiting() > 0)

    node.door.strike_at(one.stage, when, action, waiting)


@pytest.mark.fault(37)
@pytest.mark.parametrize(("name", "kind"), [*zip(POINTS, itertools.cycle(["redis", "valkey"]), strict=False)])
def test_fault_37_killed_at_a_commit(lab: Lab, name: str) -> None:
    """Before it, and in its next life after it."""
    busy_smsc(lab, name)
    node = lab.node()
    if name != "take":
        lab.send(node)
        lab.in_flight(node, 20)
    for when in WHEN:
        strike(lab, node, name, when, node.kill)
        lab.send(node, 100)
        lab.reports.wait(node.site, node.door.hit.is_set)
        node.killed()
        node.start()
    lab.end(node, doubt=4 * WINDOW)


@pytest.mark.fault(37)
@pytest.mark.parametrize("command_id", [SUBMIT_SM, SUBMIT_SM_RESP], ids=["submit_sm", "submit_sm_resp"])
def test_fault_37_killed_at_the_wire(lab: Lab, command_id: int) -> None:
    """After the write and before the answer; after the answer and before anything is known of it."""
    lab.smsc()
    node = lab.node()
    seen = 0

    def kill_at(direction: Direction, which: int, frame: bytes) -> bytes | None:
        nonlocal seen
        if which == command_id:
            seen += 1
            if seen == 100:
                node.kill()
        return None

    lab.line.on_pdu = kill_at
    lab.send(node)
    until(lambda: seen >= 100, node.site.errors)
    node.killed()
    node.start()
    lab.end(node, doubt=2 * WINDOW)


@pytest.mark.fault(43, 46)
@pytest.mark.parametrize(("when", "kind"), [*zip(WHEN, ["redis", "valkey"], strict=True)])
def test_fault_43_the_connection_falls_at_a_commit(lab: Lab, when: When) -> None:
    """The engine lives on: it has to find out whether the commit was done, and no copy is excused."""
    lab.smsc(rules=BUSY_NUMBERS, early_receipts=0.3)
    node = lab.node()
    strike(lab, node, "take", when, lambda: None)
    lab.send(node)
    lab.reports.wait(node.site, node.door.hit.is_set)
    for name in POINTS:
        if name == "take":
            continue
        strike(lab, node, name, when, lambda: None)
        lab.send(node, 40)
        lab.reports.wait(node.site, node.door.hit.is_set)
    assert lab.end(node).doubled == 0
