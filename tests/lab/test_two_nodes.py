"""Two engine processes, one account: who is killed, stopped or cut off is replaced in time, and fenced."""

from __future__ import annotations

import signal
import time

import pytest
from todoke.bench.smsc_log import AcceptedPart, LogEvent, read_log
from todoke_tests_lab import LEASE_S, WINDOW, Lab, Node, seconds
from todoke_tests_site import until

BOTH = pytest.mark.parametrize("kind", ["redis", "valkey"])
TAKEOVER_S = LEASE_S + 1.0
"""From the last sign of life of one process to the first part of the other."""
LONG_LEASE_S = 12.0
SECOND_S = 1.0


def sessions(lab: Lab) -> list[list[float]]:
    """When the SMSC took each part, by session, in the order in which they were bound."""
    found: list[list[float]] = []
    of_bind: dict[int, list[float]] = {}
    for record in read_log(lab.directory / "smsc.log"):
        if isinstance(record, AcceptedPart):
            of_bind[record.bind].append(record.time)
        elif isinstance(record, LogEvent) and record.word == "bound":
            found.append([])
            of_bind[record.number] = found[-1]
    return found


def taken_over(lab: Lab) -> bool:
    """A second session sends."""
    return len(found := sessions(lab)) > 1 and bool(found[1])


def two(lab: Lab) -> tuple[Node, Node]:
    """The one that holds the only slot, and the one that stands by."""
    lab.smsc()
    first, second = lab.node("a"), lab.node("b")
    assert (first.bound(), second.bound()) == (1, 0)
    return first, second


@BOTH
@pytest.mark.fault(39)
def test_fault_39_stopped_longer_than_its_lease(lab: Lab) -> None:
    stopped, other = two(lab)
    lab.send(stopped)
    lab.in_flight(stopped)
    stopped.freeze()
    at = time.monotonic()
    seconds(TAKEOVER_S + SECOND_S, lambda: taken_over(lab), other.site.errors)
    assert sessions(lab)[1][0] - at <= TAKEOVER_S, "another process sends within lease + 1 s"
    until(lambda: other.bound(), other.site.errors)
    stopped.thaw()
    until(lambda: "another process's now" in stopped.site.errors(), stopped.site.errors)
    lab.end(other, stopped, doubt=2 * WINDOW)
    assert sessions(lab)[0][-1] < at + SECOND_S, "it sends on after it has lost its slot"


@pytest.mark.fault(37)
@pytest.mark.parametrize("kind", ["valkey"])
def test_fault_37_kill_9_of_one_of_two(lab: Lab) -> None:
    """On one machine nobody waits for the lease of the dead."""
    lab.carrier["lease_s"] = LONG_LEASE_S
    killed, other = two(lab)
    lab.send(other)
    lab.in_flight(killed)
    killed.kill()
    at = time.monotonic()
    killed.killed()
    seconds(LONG_LEASE_S, lambda: taken_over(lab), other.site.errors)
    assert sessions(lab)[1][0] - at < LONG_LEASE_S / 2, "it waits for the lease"
    lab.end(other, doubt=2 * WINDOW)


@pytest.mark.fault(46)
def test_fault_46_one_of_two_is_cut_off_from_the_store(lab: Lab) -> None:
    """It goes silent by its own clock before the other begins."""
    alone, other = two(lab)
    lab.send(alone, 200)
    lab.send(other, 1_500)
    lab.in_flight(alone)
    alone.door.partition()
    at = time.monotonic()
    seconds(TAKEOVER_S + SECOND_S, lambda: taken_over(lab), other.site.errors)
    old, new = sessions(lab)
    assert new[0] - at <= TAKEOVER_S
    assert old[-1] < new[0], "both send under one slot"
    alone.door.heal()
    until(lambda: "another process's now" in alone.site.errors(), alone.site.errors)
    lab.end(other, alone, doubt=2 * WINDOW)
    assert len(sessions(lab)) == 2


@pytest.mark.fault(40)
def test_fault_40_a_stall_shorter_than_the_lease_costs_nothing(lab: Lab) -> None:
    stalled, other = two(lab)
    lab.send(stalled)
    lab.in_flight(stalled)
    stalled.freeze()
    time.sleep(LEASE_S / 4)
    stalled.thaw()
    lab.settle(stalled)
    assert other.bound() == 0
    lab.end(stalled, other)
    assert len(sessions(lab)) == 1


@pytest.mark.fault(29, 41)
def test_fault_29_two_nodes_share_the_slots_and_the_contract(lab: Lab) -> None:
    """Binds and rate hold over both, while one joins and one leaves; the SMSC grants no more than the
    contract.
    """
    rate, binds = 120, 2
    lab.smsc(binds_max=binds, response_delay_s=0.01)
    first = lab.node("a", rate=rate, binds=binds)
    lab.send(first, 300)
    lab.reports.wait(first.site, lambda: len(lab.reports.told) >= 50)
    second = lab.node("b", rate=rate, binds=binds)
    lab.send(second, 300)
    until(lambda: (first.bound(), second.bound()) == (1, 1), second.site.errors)
    lab.settle(second)
    assert len(lab.server.client.hgetall("{c:docomo}:members")) == 2
    first.stop()
    lab.send(second, 100)
    until(lambda: second.bound() == binds, second.site.errors)
    # The contract holds where the octets are written; a stall of the SMSC may show two moments as one.
    verdict = lab.end(second, rate=rate + rate // 4)
    assert verdict.doubled == 0
    assert peak_binds(lab) <= binds


def peak_binds(lab: Lab) -> int:
    """Most sessions bound at one time, as the SMSC saw it."""
    open_now = peak = 0
    for word, change in ((event.word, CHANGES.get(event.word, 0)) for event in lab.events()):
        assert word != "refused"
        open_now += change
        peak = max(peak, open_now)
    return peak


CHANGES = {"bound": 1, "lost": -1}


@pytest.mark.fault(38)
def test_fault_38_a_clean_stop_hands_over_at_once(lab: Lab) -> None:
    """SIGTERM of the holder in full flight: no copy, and the other need not wait for a lease."""
    lab.carrier["lease_s"] = LONG_LEASE_S
    holder, other = two(lab)
    lab.send(other)
    lab.in_flight(holder)
    assert holder.process is not None
    holder.process.send_signal(signal.SIGTERM)
    seconds(LONG_LEASE_S / 2, other.bound, other.site.errors)
    assert holder.process.wait(15) == 0, holder.site.errors()
    assert lab.end(other).doubled == 0
