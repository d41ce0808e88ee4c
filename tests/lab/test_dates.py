"""The date of an engine's machine steps, or days have passed when it starts again."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from todoke.codecs.constants import SUBMIT_SM_RESP
from todoke_tests_lab import WINDOW, Lab, Lose
from todoke_tests_site import number_of, until

HOUR_S = 3_600
DAY_S = 24 * HOUR_S
LOST = 10


def in_s(seconds: float) -> str:
    """RFC 3339 of a moment from now."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()


@pytest.mark.fault(42)
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S], ids=["forwards", "backwards"])
def test_fault_42_the_date_steps_while_it_sends(lab: Lab, step_s: int) -> None:
    """Nothing expires in a mass, no hold ends early, no receipt is given up, no lease is lost."""
    lost = lab.watch(Lose(SUBMIT_SM_RESP, *range(60, 60 + LOST)))
    lab.carrier |= {"response_timeout_s": 1.0, "hold_s": 3, "receipt_timeout_s": HOUR_S / 2}
    lab.smsc()
    node = lab.node(dated=True)
    lab.send(node, expires=in_s(HOUR_S / 2))
    lab.in_flight(node, 20)
    until(lambda: lost.seen >= 60 + LOST, lambda: lost.seen)
    node.date(step_s)
    lab.send(node)
    until(lambda: "the date stepped" in node.site.errors(), node.site.errors)
    lab.settle(node)
    node.date(0)
    verdict = lab.end(node, doubt=LOST)
    assert verdict.states == {"delivered": sum(sender.messages for sender in lab.senders)}
    assert verdict.doubled <= 1, "receipts came within hold_s"
    assert lab.line.connections == 1


@pytest.mark.fault(54)
def test_fault_54_a_backlog_revived_after_three_days(lab: Lab) -> None:
    """Killed in full flight, started three days later: what expired meanwhile is told and never sent; the
    rest goes, at the pace of the contract.
    """
    rate = 150
    lab.smsc()
    node = lab.node(dated=True, rate=rate, receipt_timeout_s=10 * DAY_S)
    senders = [
        lab.send(node, 200),
        lab.send(node, 200, expires=in_s(DAY_S)),
        lab.send(node, 50, at=in_s(DAY_S)),
        lab.send(node, 50, at=in_s(DAY_S), expires=in_s(2 * DAY_S)),
        lab.send(node, 50, expires=in_s(10 * DAY_S)),
    ]
    for sender in senders:
        sender.all_accepted()
    node.kill()
    node.killed()
    until(lambda: lab.lost_binds() == 1, lambda: lab.events())
    before = lab.smsc_site.parts()
    assert sum(before.values()) < 450, "nothing is left to revive"
    node.date(3 * DAY_S)
    node.start()
    verdict = lab.end(node, doubt=2 * WINDOW, rate=rate + rate // 4)
    for sender in (senders[1], senders[3]):
        for number in sender.numbers:
            to, message_id = number_of(number), sender.ids[f"r{number}"]
            told = {state for told, _, state in lab.reports.told if told == message_id}
            if not before[to]:
                assert told == {"expired"}
            assert lab.smsc_site.parts()[to] == before[to], "sent after it expired"
    assert verdict.states["expired"] >= 50
    assert verdict.states["expired"] + verdict.states["delivered"] == 550
