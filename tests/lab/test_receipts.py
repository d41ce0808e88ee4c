"""What an SMSC does with receipts: a flood of them, none, none for a few, and PDUs that nobody can read."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from todoke.codecs import pdu
from todoke.codecs.constants import DELIVER_SM, DELIVER_SM_RESP, SUBMIT_SM
from todoke_tests_lab import MESSAGES, WINDOW, Lab, Node
from todoke_tests_proxy import Direction
from todoke_tests_site import number_of, until

RECEIPT_TIMEOUT_S = 4.0
FLOOD = 3_000
PEAK_OCTETS_MAX = 48 * 1_048_576
"""By how much a node may grow under a flood: far less than the flood a second time."""


def peak_octets(node: Node) -> int:
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1_024


class Flood:
    """Counts what passes, and how long each deliver_sm waits for its answer."""

    def __init__(self) -> None:
        self.began_at = self.ended_at = 0.0
        self.delivers = self.submits = self.submits_meanwhile = 0
        self.longest_s = 0.0
        self._open: dict[bytes, float] = {}

    def __call__(self, direction: Direction, command_id: int, frame: bytes) -> None:
        now = time.monotonic()
        if command_id == DELIVER_SM:
            self.began_at = self.began_at or now
            self.delivers += 1
            self._open[frame[12:16]] = now
        elif command_id == DELIVER_SM_RESP:
            self.longest_s = max(self.longest_s, now - self._open.pop(frame[12:16], now))
            self.ended_at = now
        elif command_id == SUBMIT_SM:
            self.submits += 1
            self.submits_meanwhile += FLOOD // 10 < self.delivers < FLOOD


@pytest.mark.fault(33)
def test_fault_33_receipts_pour_in_after_an_outage(lab: Lab) -> None:
    """All that were held come at once while others are sent: those go on, each receipt is answered in time,
    and the node does not grow.
    """
    flood = lab.watch(Flood())
    lab.smsc(response_delay_s=0.002, hold_receipts=10 * FLOOD, receipt_timeout_s=5.0)
    node = lab.node()
    lab.send(node, FLOOD)
    until(lambda: lab.parts() == FLOOD, node.site.errors)
    until(lambda: node.counts()["sent"] == FLOOD, node.site.errors)
    assert flood.delivers == 0
    before = peak_octets(node)
    lab.send(node, 3_000)
    until(lambda: flood.submits > FLOOD + 100, node.site.errors)
    lab.release_receipts()
    until(lambda: flood.delivers >= FLOOD, lambda: flood.delivers)
    assert flood.submits_meanwhile >= 2 * WINDOW, "submits have their share of the flood's time"
    until(lambda: flood.submits >= FLOOD + 3_000, lambda: flood.submits)
    assert flood.longest_s < 2.5, "half of what the SMSC waits for an answer"
    assert peak_octets(node) - before < PEAK_OCTETS_MAX
    lab.release_receipts()
    verdict = lab.end(node)
    assert verdict.states == {"delivered": FLOOD + 3_000}
    assert flood.delivers == FLOOD + 3_000, "none was offered again"


@pytest.mark.fault(33)
def test_fault_33_a_flood_against_a_store_that_stands_still(lab: Lab) -> None:
    """Nothing is answered that is not written; what is not answered is bounded and offered again."""
    flood = lab.watch(Flood())
    lab.smsc(response_delay_s=0.002, hold_receipts=10 * FLOOD, receipt_retry_s=0.3, receipt_window_max=200)
    node = lab.node(lease_s=10)
    lab.send(node, 1_000)
    until(lambda: node.counts().get("sent") == 1_000, node.site.errors)
    lab.server.freeze()
    lab.release_receipts()
    until(lambda: flood.delivers >= 200, lambda: flood.delivers)
    time.sleep(0.5)
    assert flood.delivers == 200
    assert flood.ended_at == 0.0, "a receipt was answered that is written nowhere"
    lab.server.thaw()
    assert lab.end(node).states == {"delivered": 1_000}


@pytest.mark.fault(35)
def test_fault_35_no_receipt_ever_comes(lab: Lab) -> None:
    """Each message is told `unknown` at its time, the account is not left alone for it, and sends go on."""
    lab.smsc(no_receipts=1.0)
    node = lab.node(receipt_timeout_s=RECEIPT_TIMEOUT_S)
    at = time.monotonic()
    lab.send(node)
    until(lambda: lab.parts() == MESSAGES, node.site.errors)
    lab.send(node, 100)
    until(lambda: lab.parts() == MESSAGES + 100, node.site.errors)
    lab.reports.wait(node.site, lambda: bool(lab.reports.told))
    assert time.monotonic() - at >= RECEIPT_TIMEOUT_S - 2
    lab.send(node, 100)
    until(lambda: lab.parts() == MESSAGES + 200, node.site.errors)
    lab.settle(node)
    carrier = node.site.carrier()
    assert carrier["counts"]["unanswered"] == MESSAGES + 200
    assert carrier["no_receipt_share"] == 1.0
    assert carrier["health"]["breaker"]["state"] == "closed"
    assert lab.end(node).states == {"unknown": MESSAGES + 200}


@pytest.mark.fault(60)
def test_fault_60_a_few_parts_are_taken_and_never_told_of(lab: Lab) -> None:
    """Three of three hundred: seen by number, told as unknown, said in the log and by status."""
    lab.smsc(rules=[{"suffix": "77", "no_receipt": True}])
    node = lab.node(receipt_timeout_s=RECEIPT_TIMEOUT_S)
    sender = lab.send(node)
    lab.settle(node)
    lost = {sender.ids[f"r{number}"] for number in sender.numbers if number_of(number).endswith("77")}
    assert len(lost) == 3
    assert {message_id for message_id, _, state in lab.reports.told if state == "unknown"} == lost
    carrier = node.site.carrier()
    assert carrier["counts"]["unanswered"] == 3
    assert carrier["no_receipt_share"] == pytest.approx(0.01)
    assert carrier["health"]["breaker"]["state"] == "closed", "few are no reason to leave it alone"
    assert "parts were taken and never told of" in node.site.errors()
    assert lab.end(node).states == {"delivered": MESSAGES - 3, "unknown": 3}


@pytest.mark.fault(58)
def test_fault_58_a_deliver_sm_that_nobody_can_read(lab: Lab) -> None:
    """Put between receipts, again and again: answered, kept and counted, and the receipts behind it flow."""
    lab.carrier |= {"enquire_link_s": 5}
    whole = pdu.encode(pdu.DeliverSm(source_addr=b"819000000000", short_message=b"x" * 20), 1)
    poison = (len(whole) - 12).to_bytes(4, "big") + whole[4:12]
    seen = answered = 0

    def on_pdu(direction: Direction, command_id: int, frame: bytes) -> bytes | None:
        nonlocal seen, answered
        if command_id == DELIVER_SM_RESP and frame[12:16] >= b"\x70\0\0\0":
            answered += 1
            assert frame[8:12] == bytes(4), "it would be offered for ever"
            return b""
        if command_id == DELIVER_SM:
            seen += 1
            if seen % 10 == 0:
                return poison + (0x7000_0000 + seen).to_bytes(4, "big") + whole[16:-12] + frame
        return None

    lab.watch(on_pdu)
    node = lab.start_sending()
    lab.settle(node)
    until(lambda: answered == MESSAGES // 10, lambda: answered)
    assert node.counts()["unreadable"] == MESSAGES // 10
    assert lab.server.client.xlen("{c:docomo}:unreadable") == MESSAGES // 10
    lab.server.client.delete("{c:docomo}:unreadable")  # somebody has looked at them
    connections = lab.line.connections
    assert lab.end(node, doubt=WINDOW).states == {"delivered": MESSAGES}
    assert connections == 1
