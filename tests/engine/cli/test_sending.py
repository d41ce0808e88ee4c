"""Submitting a list to a node that is away, full, or loses an answer; and whose events are acknowledged."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from todoke.engine.campaign.recipients import read_recipients
from todoke.engine.cli import sending
from todoke.engine.cli.errors import CliError
from todoke.engine.cli.sending import Sent, submit_rows, wait_for_reports
from todoke.engine.client import NodeAway, SyncClient, SyncSubscription
from todoke.engine.messages import Accepted, Event, Received, Refusal, Report, SubmitAnswer, SubmitMessage

LIST = b"to,text\n" + b"".join(b"090-1234-%04d,x\n" % n for n in range(250))


class FakeNode:
    """Takes every message once; `answers` may change what happens at a submit, by its number."""

    def __init__(
        self, answers: dict[int, Callable[[list[SubmitMessage]], SubmitAnswer]] | None = None
    ) -> None:
        self.answers = answers or {}
        self.submits = 0
        self.ids: dict[str, str] = {}

    def submit_many(self, messages: Sequence[SubmitMessage]) -> SubmitAnswer:
        self.submits += 1
        answer = self.answers.get(self.submits)
        return answer(list(messages)) if answer else self.take(messages)

    def take(self, messages: Sequence[SubmitMessage]) -> SubmitAnswer:
        accepted: list[Accepted] = []
        for message in messages:
            assert message.ref is not None
            duplicate = message.ref in self.ids
            message_id = self.ids.setdefault(message.ref, f"m{len(self.ids)}")
            accepted.append(Accepted(message.ref, message_id, 1, duplicate))
        return SubmitAnswer(accepted, [])


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(sending, "time", fake)
    return fake


def submit(node: FakeNode, sent: Sent, **options: Any) -> int:
    advanced: list[int] = []
    submit_rows(cast(SyncClient, node), sent, advanced.append, **options)
    return sum(advanced)


def test_a_list_goes_in_slices_and_the_bar_reaches_its_end() -> None:
    node, sent = FakeNode(), Sent(read_recipients(LIST))
    assert submit(node, sent) == 250
    assert node.submits == -(-250 // sending.SLICE_MESSAGES)
    assert len(sent.taken) == len(node.ids) == 250


def test_a_lost_answer_is_asked_again_and_nothing_is_taken_twice(clock: FakeTime) -> None:
    node = FakeNode()

    def taken_but_lost(messages: list[SubmitMessage]) -> SubmitAnswer:
        node.take(messages)
        raise NodeAway("the connection was lost")

    node.answers = {2: taken_but_lost}
    sent = Sent(read_recipients(LIST))
    assert submit(node, sent) == 250
    assert len(sent.taken) == len(node.ids) == 250
    assert sum(taken.accepted.duplicate for taken in sent.taken.values()) == sending.SLICE_MESSAGES
    assert clock.slept == [sending.PAUSE_S]


def test_what_a_full_node_puts_off_is_repeated_and_what_it_refuses_is_not() -> None:
    def half(messages: list[SubmitMessage]) -> SubmitAnswer:
        answer = node.take(messages[1::2])
        refused = [
            Refusal(index, None, None, "queue_full", "full", 0.5)
            if index
            else Refusal(0, None, "text", "unencodable", "no")
            for index in range(0, len(messages), 2)
        ]
        return SubmitAnswer(answer.accepted, refused)

    node = FakeNode({1: half})
    sent = Sent(read_recipients(LIST))
    assert submit(node, sent) == 250
    assert len(sent.taken) == 249
    assert [(row.row, row.column, row.code) for row in sent.all_refused] == [(2, "text", "unencodable")]


@pytest.mark.parametrize("kind", ["away", "full"])
def test_patience_ends(kind: str, clock: FakeTime) -> None:
    def refuse(messages: list[SubmitMessage]) -> SubmitAnswer:
        if kind == "away":
            raise NodeAway("no node at run/todoke.sock")
        return SubmitAnswer(
            [], [Refusal(n, None, None, "queue_full", "full", 5.0) for n in range(len(messages))]
        )

    node = FakeNode(dict.fromkeys(range(1, 1000), refuse))
    sent = Sent(read_recipients(LIST))
    with pytest.raises(CliError, match="sending the list again goes on from here"):
        submit(node, sent, patience_s=10.0)
    assert 10.0 <= sum(clock.slept) <= 12.0
    assert sent.taken == {}


class FakeSubscription:
    """Gives batches of events; notes what was acknowledged."""

    def __init__(self, batches: list[list[Event]]) -> None:
        self.batches = batches
        self.acknowledged: list[str] = []

    def receive(self, timeout_s: float | None = None) -> list[Event]:
        if not self.batches:
            raise TimeoutError
        return self.batches.pop(0)

    def ack(self, cursor: str) -> None:
        self.acknowledged.append(cursor)


def report(message_id: str) -> Report:
    return Report(
        f"c-{message_id}", message_id, None, "delivered", "docomo", 1, 1, False, None, "2026-11-21T10:00:00Z"
    )


def listen(batches: list[list[Event]], **options: Any) -> tuple[bool, FakeSubscription, Sent]:
    sent = Sent(read_recipients(b"to,text\n090-1234-0001,x\n090-1234-0002,x\n"))
    submit(FakeNode(), sent)
    subscription = FakeSubscription(batches)
    done = wait_for_reports(cast(SyncSubscription, subscription), sent, lambda _count: None, **options)
    return done, subscription, sent


def test_reports_of_this_list_are_awaited_and_acknowledged() -> None:
    done, subscription, sent = listen([[report("m0")], [report("m1")]])
    assert done
    assert subscription.acknowledged == ["c-m0", "c-m1"]
    assert sent.unreported == 0


def test_events_of_others_are_left_to_others() -> None:
    message = Received("c-r", "+819012340001", "0032069000", "Hello", None)
    done, subscription, _sent = listen([[report("m0")], [message, report("other")], [report("m1")]])
    assert done
    assert subscription.acknowledged == ["c-m0"]


def test_a_time_out_is_told() -> None:
    done, _subscription, sent = listen([[report("m0")]], timeout_s=5.0)
    assert not done
    assert sent.unreported == 1


def test_what_was_told_is_written_down() -> None:
    told = io.BytesIO()
    sent = Sent(read_recipients(b"to,text\n090-1234-0001,x\n"))
    submit(FakeNode(), sent, told=told)
    wait_for_reports(
        cast(SyncSubscription, FakeSubscription([[report("m0")]])), sent, lambda _count: None, told=told
    )
    first, second = (json.loads(line) for line in told.getvalue().splitlines())
    assert (first["message_id"], first["to"], first["parts"], first["row"]) == ("m0", "+819012340001", 1, 2)
    assert (second["event"], second["message_id"], second["state"]) == ("report", "m0", "delivered")
