"""The store restarts, dies, hangs, is slow, refuses writes or cannot be reached: nothing is lost, and as long
as the engine lives and its binds stand, no copy is excused."""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest
from todoke.codecs.constants import DELIVER_SM_RESP, ESME_RX_T_APPN
from todoke.engine.client import ClientError, SyncClient
from todoke_tests_lab import LEASE_S, WINDOW, Lab, Node, Server, seconds
from todoke_tests_proxy import Direction
from todoke_tests_site import message, until

BOTH = pytest.mark.parametrize("kind", ["redis", "valkey"])
STALL_S = 1.5
LATENCY_S = 0.15


def in_flight(lab: Lab) -> Node:
    """A node in the middle of sending."""
    node = lab.start_sending()
    lab.in_flight(node)
    return node


def silent(lab: Lab) -> int:
    """A lease's time later nothing is sent any more; what was."""
    time.sleep(LEASE_S)
    before = lab.parts()
    time.sleep(0.5)
    assert lab.parts() == before, "it sends without a lease"
    return before


@BOTH
@pytest.mark.fault(43)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["restart", "kill"])
def test_fault_43_the_store_ends_and_comes_back(lab: Lab, number: signal.Signals) -> None:
    node = in_flight(lab)
    lab.server.kill(number)
    until(lambda: "the message store is away" in node.site.errors(), node.site.errors)
    lab.server.start()
    lab.end(node)


@pytest.mark.fault(43)
def test_fault_43_the_store_is_away_longer_than_a_lease(lab: Lab) -> None:
    """Nothing is sent while the right to send cannot be renewed; answers of before are written down after."""
    node = in_flight(lab)
    lab.server.kill()
    silent(lab)
    lab.server.start()
    lab.end(node)


@pytest.mark.fault(45)
@pytest.mark.parametrize("kind", ["valkey"])
def test_fault_45_the_store_stalls(lab: Lab) -> None:
    node = in_flight(lab)
    lab.server.freeze()
    time.sleep(STALL_S)
    assert node.process is not None
    assert node.process.poll() is None
    lab.server.thaw()
    lab.end(node)


@pytest.mark.fault(45)
def test_fault_45_the_store_is_slow(lab: Lab) -> None:
    """Every answer comes 150 ms late, as from a disk that is busy: slower, and nothing else."""
    lab.smsc()
    node = lab.node()
    node.door.delay_s = LATENCY_S
    sender = lab.send(node)
    lab.in_flight(node)
    node.door.delay_s = 0.0
    lab.end(node)
    assert not sender.codes, sender.codes


class Refusal(NamedTuple):
    """How a server is made to refuse writes, and how it takes them again."""

    code: str
    begin: Callable[[Server], object]
    end: Callable[[Server], object]


def cannot_save(server: Server) -> None:
    """MISCONF: a snapshot that cannot be written, for a directory lies where it belongs."""
    (server.directory / "dump.rdb").mkdir()
    server.client.config_set("save", "3600 1000000")
    server.client.bgsave()
    until(lambda: server.client.info("persistence")["rdb_last_bgsave_status"] == "err", lambda: "no error")


def can_save(server: Server) -> None:
    (server.directory / "dump.rdb").rmdir()
    server.client.config_set("save", "")


def busy(server: Server) -> None:
    """A script of somebody else's that does not end."""
    server.client.config_set("busy-reply-threshold", 10)
    server.send_unanswered("EVAL", "while true do end", "0")
    until(lambda: not server.answers(), lambda: "it answers")


def no_replica(server: Server) -> None:
    server.client.execute_command("REPLICAOF", "NO", "ONE")


REFUSALS = {
    "oom": Refusal(
        "OOM",
        lambda server: server.client.config_set("maxmemory", 1),
        lambda server: server.client.config_set("maxmemory", 0),
    ),
    "readonly": Refusal(
        "READONLY", lambda server: server.client.execute_command("REPLICAOF", "127.0.0.1", "1"), no_replica
    ),
    "misconf": Refusal("MISCONF", cannot_save, can_save),
    "busy": Refusal("BUSY", busy, lambda server: server.client.script_kill()),
}


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    ("name", "kind"), [*zip(REFUSALS, itertools.cycle(["redis", "valkey"]), strict=False)]
)
def test_fault_47_the_store_refuses_writes(lab: Lab, name: str) -> None:
    refusal = REFUSALS[name]
    node = in_flight(lab)
    refusal.begin(lab.server)
    with SyncClient(node.site.socket, answer_timeout_s=10) as client:
        answered = refused_as(client)
        until(lambda: answered() == "unavailable", answered)
    refusal.end(lab.server)
    lab.end(node)
    assert refusal.code in node.site.errors()


def refused_as(client: SyncClient) -> Callable[[], str]:
    """What becomes of one message more: the code of its refusal."""

    def ask() -> str:
        try:
            answer = client.submit([message(900_000, ref=None)])
        except (ClientError, TimeoutError) as error:
            return getattr(error, "code", type(error).__name__)
        return answer.refused[0].code if answer.refused else "accepted"

    return ask


@pytest.mark.fault(34)
def test_fault_34_receipts_while_the_store_is_away(lab: Lab) -> None:
    """They are refused for now, and offered again: none is lost, each is applied once."""
    lab.smsc(hold_receipts=1_000, receipt_retry_s=0.3)
    statuses: Counter[int] = Counter()

    def listen(direction: Direction, command_id: int, frame: bytes) -> None:
        if direction == "up" and command_id == DELIVER_SM_RESP:
            statuses[int.from_bytes(frame[8:12], "big")] += 1

    lab.line.on_pdu = listen
    node = lab.node()
    sender = lab.send(node, 200)
    until(lambda: lab.parts() == sender.messages, node.site.errors)
    until(lambda: node.site.carrier()["outstanding"] == 0, node.site.errors)
    lab.server.kill()
    lab.release_receipts()
    until(lambda: statuses[ESME_RX_T_APPN], lambda: statuses)
    assert not statuses[0], "a receipt was taken and is written nowhere"
    lab.server.start()
    verdict = lab.end(node)
    assert verdict.states == {"delivered": 200}
    assert set(statuses) == {0, ESME_RX_T_APPN}


@pytest.mark.fault(46)
def test_fault_46_cut_off_from_the_store(lab: Lab) -> None:
    """Nobody answers, nobody is told: the engine goes silent before its lease ends."""
    node = in_flight(lab)
    node.door.partition()
    before = silent(lab)
    node.door.heal()
    seconds(15, lambda: lab.parts() > before, node.site.errors)
    lab.end(node)


@pytest.mark.fault(45)
def test_fault_45_a_stall_longer_than_the_lease(lab: Lab) -> None:
    node = in_flight(lab)
    lab.server.freeze()
    time.sleep(LEASE_S + 0.5)
    lab.server.thaw()
    verdict = lab.end(node)
    assert verdict.doubled <= 2 * WINDOW
