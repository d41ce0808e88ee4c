"""Between the engine and its SMSC: what networks and peers do to octets, put at a PDU."""

from __future__ import annotations

import struct
import time

import pytest
from todoke.codecs.constants import (
    DELIVER_SM_RESP,
    ENQUIRE_LINK,
    ENQUIRE_LINK_RESP,
    ESME_RINVCMDLEN,
    GENERIC_NACK,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
)
from todoke_tests_lab import MESSAGES, WINDOW, At, Lab, Lose, Node
from todoke_tests_proxy import Cut, Direction
from todoke_tests_site import until

EVERY = 100
"""A fault strikes at every so manieth PDU of its kind."""
DEAD_SESSIONS = {"inactivity_s": 2.0}
"""The SMSC has to find out too: until then it offers receipts where nobody hears them."""
TIMERS = {"response_timeout_s": 1.5, "enquire_link_s": 1.0}


def sending(lab: Lab, smsc: dict[str, float], **carrier: float) -> Node:
    """A node in full flight."""
    lab.carrier |= carrier
    lab.smsc(**smsc)
    node = lab.node()
    lab.send(node)
    lab.in_flight(node, 20)
    return node


class CutInside(At):
    def does(self, frame: bytes) -> Cut:
        return Cut(frame[: len(frame) // 2])


@pytest.mark.fault(1)
@pytest.mark.parametrize("command_id", [SUBMIT_SM, SUBMIT_SM_RESP, DELIVER_SM_RESP], ids=hex)
def test_fault_01_reset_in_the_middle_of_a_pdu(lab: Lab, command_id: int) -> None:
    cuts = lab.watch(CutInside(command_id, 60, 200))
    node = lab.start_sending()
    lab.end(node, doubt=2 * WINDOW)
    assert cuts.seen > 200
    assert lab.line.connections == 3


@pytest.mark.fault(1, 2, 3)
@pytest.mark.parametrize("mode", ["reset", "close", "unbind"])
def test_fault_02_the_smsc_closes_in_full_flight(lab: Lab, mode: str) -> None:
    """The answers it owes are never written."""
    lab.smsc(cut_after_submits=150, cut_mode=mode)
    node = lab.start_sending(smsc=False)
    verdict = lab.end(node, doubt=4 * WINDOW)
    assert lab.line.connections >= 3
    assert verdict.states == {"delivered": MESSAGES}


@pytest.mark.fault(4)
def test_fault_04_a_half_open_connection(lab: Lab) -> None:
    """No octet passes and nobody is told: the timers find out, and the messages go over the next one."""
    node = sending(lab, DEAD_SESSIONS, **TIMERS)
    lab.line.swallow()
    at = time.monotonic()
    until(lambda: lab.line.connections == 2, node.site.errors)
    assert time.monotonic() - at < 2 * (TIMERS["response_timeout_s"] + TIMERS["enquire_link_s"]) + 2
    lab.end(node, doubt=WINDOW)


@pytest.mark.fault(5)
def test_fault_05_enquire_link_is_not_answered_but_submits_are(lab: Lab) -> None:
    lab.watch(Lose(ENQUIRE_LINK_RESP, *range(1, 100)))
    lab.carrier |= {"enquire_link_s": 0.2}
    node = lab.start_sending(response_delay_s=0.1)
    lab.settle(node)
    connections = lab.line.connections
    lab.end(node)
    assert connections == 1, "answers to submits prove that the peer lives"


class Late:
    """Holds some answers back, and passes them on long after the response timer."""

    def __init__(self, *numbers: int, by_s: float) -> None:
        self._numbers = numbers
        self._by_s = by_s
        self._held: list[tuple[float, bytes]] = []
        self.seen = self.passed = 0

    def __call__(self, direction: Direction, command_id: int, frame: bytes) -> bytes | None:
        if direction == "up":
            return None
        now, due = time.monotonic(), b""
        while self._held and self._held[0][0] <= now:
            due += self._held.pop(0)[1]
            self.passed += 1
        if command_id == SUBMIT_SM_RESP:
            self.seen += 1
            if self.seen in self._numbers:
                self._held.append((now + self._by_s, frame))
                return due
        return due + frame


@pytest.mark.fault(7)
def test_fault_07_answers_after_the_response_timer(lab: Lab) -> None:
    """They come while the copy is held back: it is not sent."""
    late = lab.watch(Late(*range(40, 50), by_s=TIMERS["response_timeout_s"] + 0.7))
    lab.carrier |= TIMERS | {"hold_s": 4}
    node = lab.start_sending()
    lab.settle(node)
    until(lambda: late.passed == 10, lambda: late.passed)
    assert lab.end(node).doubled == 0


@pytest.mark.fault(8)
def test_fault_08_answers_that_are_lost(lab: Lab) -> None:
    """The receipt of the first copy tells that it was taken."""
    lost = lab.watch(Lose(SUBMIT_SM_RESP, *range(40, 50)))
    lab.carrier |= TIMERS | {"hold_s": 3}
    node = lab.start_sending()
    verdict = lab.end(node, doubt=10)
    assert lost.seen >= MESSAGES - 10
    assert verdict.doubled <= 1, "receipts came within hold_s"


class Reversed:
    """Answers go on in groups, the last first; a PDU of another kind ends a group."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[bytes] = []
        self.groups = 0

    def __call__(self, direction: Direction, command_id: int, frame: bytes) -> bytes | None:
        if direction == "up":
            return None
        if command_id == SUBMIT_SM_RESP:
            self._held.append(frame)
            if len(self._held) < self._size:
                return b""
            frame = b""
        held, self._held = self._held, []
        self.groups += len(held) > 1
        return b"".join(reversed(held)) + frame


@pytest.mark.fault(9, 30)
def test_fault_09_answers_in_another_order(lab: Lab) -> None:
    order = lab.watch(Reversed(WINDOW - 5))
    lab.carrier |= {"enquire_link_s": 0.5}
    node = lab.start_sending(early_receipts=0.5)
    lab.end(node)
    assert order.groups > 5


class Twice(At):
    def does(self, frame: bytes) -> bytes:
        stray = struct.pack(">4I", 16, SUBMIT_SM_RESP, 0, 0x7FFF_FFF0)
        return frame + frame + stray


@pytest.mark.fault(10)
def test_fault_10_answers_twice_and_to_nobody(lab: Lab) -> None:
    lab.watch(Twice(SUBMIT_SM_RESP, *range(1, MESSAGES, 3)))
    node = lab.start_sending()
    lab.settle(node)
    connections = lab.line.connections
    lab.end(node)
    assert connections == 1


class Garbage(At):
    """A length no PDU can have, in the place of an answer."""

    def __init__(self, length: int, *numbers: int) -> None:
        super().__init__(SUBMIT_SM_RESP, *numbers)
        self._length = length

    def does(self, frame: bytes) -> bytes:
        return self._length.to_bytes(4, "big") + frame[4:]


@pytest.mark.fault(14)
@pytest.mark.parametrize("length", [0, 3, 15, 70_001, 0xFFFF_FFFF])
def test_fault_14_an_impossible_length(lab: Lab, length: int) -> None:
    """It is answered and the connection closed; the next one goes on."""
    nacks: list[int] = []
    garbage = Garbage(length, EVERY)

    def on_pdu(direction: Direction, command_id: int, frame: bytes) -> bytes | Cut | None:
        if direction == "up" and command_id == GENERIC_NACK:
            nacks.append(int.from_bytes(frame[8:12], "big"))
        return garbage(direction, command_id, frame)

    lab.watch(on_pdu)
    node = lab.start_sending()
    lab.end(node, doubt=WINDOW)
    assert nacks == [ESME_RINVCMDLEN]
    assert lab.line.connections == 2


@pytest.mark.fault(15)
def test_fault_15_a_pdu_that_never_ends(lab: Lab) -> None:
    """Half a PDU, then silence on an open connection."""

    class HalfThenSilence(At):
        def does(self, frame: bytes) -> bytes:
            lab.line.swallow_here()
            return frame[:9]

    lab.carrier |= TIMERS
    lab.watch(HalfThenSilence(SUBMIT_SM_RESP, EVERY))
    node = lab.start_sending(**DEAD_SESSIONS)
    until(lambda: lab.line.connections == 2, node.site.errors)
    lab.end(node, doubt=WINDOW)


@pytest.mark.fault(16)
def test_fault_16_octet_by_octet(lab: Lab) -> None:
    lab.smsc()
    lab.line.dribbling = True
    node = lab.start_sending(smsc=False, messages=100)
    lab.settle(node)
    assert lab.line.connections == 1
    lab.end(node)


@pytest.mark.fault(6)
def test_fault_06_an_enquire_link_answered_with_an_error(lab: Lab) -> None:
    class Refused(At):
        def does(self, frame: bytes) -> bytes:
            return frame[:8] + b"\x00\x00\x00\x08" + frame[12:]

    refused = lab.watch(Refused(ENQUIRE_LINK_RESP, *range(1, 100)))
    lab.carrier |= {"enquire_link_s": 0.2}
    node = lab.start_sending()
    until(lambda: refused.seen > 3, lambda: refused.seen)
    connections = lab.line.connections
    lab.end(node)
    assert connections == 1


@pytest.mark.fault(27)
def test_fault_27_the_smsc_stands_still(lab: Lab) -> None:
    """Shorter than the response timer: nothing is in doubt, nothing is sent twice."""
    node = sending(lab, {}, response_timeout_s=8)
    lab.freeze_smsc()
    time.sleep(1.5)
    lab.thaw_smsc()
    assert lab.end(node).doubled == 0
    assert lab.line.connections == 1


@pytest.mark.fault(28)
def test_fault_28_the_smsc_stops_reading(lab: Lab) -> None:
    """What is written stays with us; the timers close the connection, and another one goes on."""
    node = sending(lab, DEAD_SESSIONS, **TIMERS)
    lab.line.stall("up")
    until(lambda: lab.line.connections == 2, node.site.errors)
    lab.line.cut()
    lab.line.go_on()
    lab.end(node, doubt=2 * WINDOW)


@pytest.mark.fault(12)
def test_fault_12_a_peer_numbers_as_it_likes(lab: Lab) -> None:
    """Sequence numbers beyond the specification are echoed; the SMSC's own requests are answered."""

    class Beyond(At):
        def does(self, frame: bytes) -> bytes:
            return frame + struct.pack(">4I", 16, ENQUIRE_LINK, 0, 0xFFFF_FFFE)

    echoed: list[int] = []
    beyond = Beyond(SUBMIT_SM_RESP, *range(10, 20))

    def on_pdu(direction: Direction, command_id: int, frame: bytes) -> bytes | Cut | None:
        if direction == "up" and command_id == ENQUIRE_LINK_RESP:
            echoed.append(int.from_bytes(frame[12:16], "big"))
            return b""
        return beyond(direction, command_id, frame)

    lab.watch(on_pdu)
    node = lab.start_sending()
    lab.end(node)
    assert echoed.count(0xFFFF_FFFE) == 10
