"""Conversations with a Session: what the SMSC says, what we answer, what we are told."""

from __future__ import annotations

from typing import Any

import pytest
from todoke.codecs import constants as c
from todoke.engine.session.errors import NotBound, WindowFull
from todoke.engine.session.events import (
    BindRefused,
    Bound,
    Closed,
    CloseReason,
    Counted,
    Delivers,
    LateResponses,
    Responses,
    TimedOut,
    UnbindReceived,
)
from todoke.engine.session.session import Session
from todoke.engine.session.settings import SessionConfig
from todoke.engine.session.states import State

OK = c.ESME_ROK
SUBMIT_RESP = c.SUBMIT_SM_RESP


# --- bind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "command_id", "state"),
    [
        ("transceiver", c.BIND_TRANSCEIVER, State.BOUND_TRX),
        ("transmitter", c.BIND_TRANSMITTER, State.BOUND_TX),
        ("receiver", c.BIND_RECEIVER, State.BOUND_RX),
    ],
)
def test_bind_of_each_kind(talk: Any, wire: Any, bind: str, command_id: int, state: State) -> None:
    t = talk(bind=bind, system_type="VMA", address_range="81", addr_ton=1, addr_npi=1)
    assert t.sent() == [(command_id, 0, 1, b"todoke\0secret\0VMA\0\x34\1\x0181\0")]
    events = t.receive(wire.pdu(command_id | c.RESPONSE_BIT, 1, b"docomo\0\x02\x10\0\1\x50"))
    assert events == [Bound(b"docomo", 0x50)]
    assert t.session.state is state
    assert t.session.window_free == (0 if bind == "receiver" else 100)


@pytest.mark.parametrize("body", [b"", b"\0", b"no nul", b"x\0\x02\x10\0\x09", b"x\0junk", b"y" * 300])
def test_bind_is_accepted_whatever_its_response_carries(talk: Any, wire: Any, body: bytes) -> None:
    t = talk()
    events = t.receive(wire.pdu(c.BIND_TRANSCEIVER_RESP, 1, body))
    (bound,) = [event for event in events if isinstance(event, Bound)]
    assert bound.interface_version is None
    assert len(bound.system_id) <= 15


@pytest.mark.parametrize("command_status", [c.ESME_RBINDFAIL, c.ESME_RALYBND, c.ESME_RTHROTTLED, 0x4FF])
def test_bind_refused_ends_the_session(talk: Any, wire: Any, command_status: int) -> None:
    t = talk()
    events = t.receive(wire.pdu(c.BIND_TRANSCEIVER_RESP, 1, b"", command_status))
    assert events[0] == BindRefused(command_status)
    assert events[1].reason is CloseReason.BIND_REFUSED
    assert t.session.state is State.CLOSED


def test_generic_nack_of_the_bind_refuses_it(talk: Any, wire: Any) -> None:
    t = talk()
    assert t.receive(wire.pdu(c.GENERIC_NACK, 1, b"", c.ESME_RINVCMDID))[0] == BindRefused(c.ESME_RINVCMDID)


def test_no_bind_resp_ends_the_session(talk: Any) -> None:
    t = talk(bind_timeout_s=5.0)
    assert t.wait(4.9) == []
    assert t.wait(0.2)[0].reason is CloseReason.BIND_TIMEOUT


@pytest.mark.parametrize(
    ("command_id", "sequence"), [(c.BIND_RECEIVER_RESP, 1), (c.BIND_TRANSCEIVER_RESP, 2)]
)
def test_bind_resp_of_another_bind_is_not_ours(talk: Any, wire: Any, command_id: int, sequence: int) -> None:
    t = talk()
    (event,) = t.receive(wire.pdu(command_id, sequence, b"x\0"))
    assert isinstance(event, Counted)
    assert t.session.state is State.OPEN


def test_submit_before_the_bind_is_refused_and_queues_nothing(talk: Any) -> None:
    t = talk()
    t.sent()
    with pytest.raises(NotBound):
        t.submit("a")
    assert t.sent() == []


def test_submit_on_a_receiver_bind_is_refused(talk: Any) -> None:
    with pytest.raises(NotBound):
        talk(bind="receiver").bound().submit("a")


def test_bind_and_what_follows_in_one_segment_with_a_large_pdu(talk: Any, wire: Any) -> None:
    """The limit for unbound peers must not fall on a bound peer's PDU in the same octets."""
    t = talk()
    large = wire.pdu(c.DELIVER_SM, 1, wire.DELIVER_BODY + b"\x04\x24\x1f\x40" + b"x" * 8000)
    events = t.receive(wire.pdu(c.BIND_TRANSCEIVER_RESP, 1, b"s\0"), large, large[:100])
    assert [type(event) for event in events] == [Bound, Delivers]
    events = t.receive(large[100:])
    assert events[0].items[0][2] == large


def test_large_pdu_before_the_bind_is_a_framing_error(talk: Any, wire: Any) -> None:
    t = talk()
    events = t.receive(wire.pdu(c.DELIVER_SM, 1, b"x" * 5000))
    assert events[-1].reason is CloseReason.FRAMING


# --- requests and answers -------------------------------------------------------------------------------


def test_answers_in_any_order_come_with_their_tokens(talk: Any, wire: Any) -> None:
    t = talk().bound()
    a, b, d = t.submit("a", "b", "d")
    assert t.session.outstanding == 3
    events = t.receive(
        wire.pdu(SUBMIT_RESP, d, b"id-d\0"),
        wire.pdu(SUBMIT_RESP, a, b"id-a\0"),
        wire.pdu(SUBMIT_RESP, b, b"", c.ESME_RTHROTTLED),
    )
    assert [item for event in events for item in event.items] == [
        ("d", SUBMIT_RESP, OK, b"id-d", d),
        ("a", SUBMIT_RESP, OK, b"id-a", a),
        ("b", SUBMIT_RESP, c.ESME_RTHROTTLED, b"", b),
    ]
    assert t.session.outstanding == 0


def test_submit_sm_is_header_and_body(talk: Any, wire: Any) -> None:
    t = talk().bound()
    t.session.submit([b"body one", b"two"], ["a", "b"], t.now)
    assert t.sent() == [(c.SUBMIT_SM, 0, 2, b"body one"), (c.SUBMIT_SM, 0, 3, b"two")]
    assert t.sent() == []


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize(
    ("body", "command_status", "message_id", "counted"),
    [
        (b"", OK, b"", 0),
        (b"\0", OK, b"", 0),
        (b"A1\0", OK, b"A1", 0),
        (b"i" * 64 + b"\0", OK, b"i" * 64, 0),
        (b"i" * 65 + b"\0", OK, b"", 1),
        (b"i" * 9000 + b"\0", OK, b"", 1),
        (b"no nul", OK, b"", 1),
        (b"x", OK, b"", 1),
        (b"", c.ESME_RSYSERR, b"", 0),
        (b"\0", c.ESME_RSYSERR, b"", 0),
        (b"ignored\0", c.ESME_RSYSERR, b"", 0),
        (b"junk without end", c.ESME_RSYSERR, b"", 0),
        (b"A1\0\x04\x28\0\1\x5a", OK, b"A1", 0),
        (b"A1\0\x04\x28\xff\xff\x5a", OK, b"A1", 0),
        (b"A1\0trail\0", OK, b"A1", 0),
    ],
)
def test_submit_sm_resp_of_every_shape(
    talk: Any, wire: Any, n: int, body: bytes, command_status: int, message_id: bytes, counted: int
) -> None:
    """Alone and in runs, which another loop matches."""
    t = talk().bound()
    numbers = t.submit(*range(n))
    events = t.receive(*(wire.pdu(SUBMIT_RESP, number, body, command_status) for number in numbers))
    items = [item for event in events if isinstance(event, Responses) for item in event.items]
    assert items == [
        (token, SUBMIT_RESP, command_status, message_id, number) for token, number in enumerate(numbers)
    ]
    assert [e for e in events if isinstance(e, Counted)] == (
        [Counted("message_id_malformed", n)] if counted else []
    )


@pytest.mark.parametrize("odd", [0, 1, 7, 19])
@pytest.mark.parametrize(
    "breaking",
    ["error", "no id", "no nul", "unsolicited", "longer", "tlv", "deliver", "enquire", "nack", "other"],
)
def test_a_run_of_answers_broken_anywhere(talk: Any, wire: Any, odd: int, breaking: str) -> None:
    t = talk().bound()
    numbers = t.submit(*range(20))
    pdus = [wire.pdu(SUBMIT_RESP, number, b"id%07d\0" % number) for number in numbers]
    pdus[odd] = {
        "error": wire.pdu(SUBMIT_RESP, numbers[odd], b"id0000000\0", c.ESME_RMSGQFUL),
        "no id": wire.pdu(SUBMIT_RESP, numbers[odd], b"\0"),
        "no nul": wire.pdu(SUBMIT_RESP, numbers[odd], b"id00000001"),
        "unsolicited": wire.pdu(SUBMIT_RESP, 999, b"id0000000\0"),
        "longer": wire.pdu(SUBMIT_RESP, numbers[odd], b"id00000000000\0"),
        "tlv": wire.pdu(SUBMIT_RESP, numbers[odd], b"id0000000\0\x04\x28\0\1\x10"),
        "deliver": wire.pdu(c.DELIVER_SM, 5, b"id0000000\0"),
        "enquire": wire.pdu(c.ENQUIRE_LINK, 5),
        "nack": wire.pdu(c.GENERIC_NACK, numbers[odd], b"id0000000\0", c.ESME_RSYSERR),
        "other": wire.pdu(c.QUERY_SM_RESP, numbers[odd], b"id0000000\0"),
    }[breaking]
    events = t.receive(*pdus)
    tokens = [item[0] for event in events if isinstance(event, Responses) for item in event.items]
    unanswered = breaking in {"unsolicited", "deliver", "enquire", "other"}
    assert tokens == [token for token in range(20) if token != odd or not unanswered]
    assert t.session.outstanding == (1 if unanswered else 0)


def test_congestion_state_is_kept(talk: Any, wire: Any) -> None:
    t = talk().bound()
    a, b, d = t.submit("a", "b", "d")
    seen = [t.session.congestion_state]
    for pdu in (
        wire.pdu(SUBMIT_RESP, a, b"1\0\x04\x28\0\1\x5a"),
        wire.pdu(SUBMIT_RESP, b, b"\0\x04\x28\0\1\x60", c.ESME_RTHROTTLED),
        wire.pdu(SUBMIT_RESP, d, b"2\0\x04\x28\0\1\xff"),
    ):
        t.receive(pdu)
        seen.append(t.session.congestion_state)
    assert seen == [None, 90, 96, 96]


def test_an_answer_counts_once(talk: Any, wire: Any) -> None:
    t = talk().bound()
    (a,) = t.submit("a")
    answer = wire.pdu(SUBMIT_RESP, a, b"1\0")
    events = t.receive(answer, answer)
    assert events[0] == Counted("response_unsolicited", 1)
    assert len(events[1].items) == 1
    assert t.sent() == [], "a response is never answered"


def test_generic_nack_is_the_failure_of_its_request(talk: Any, wire: Any) -> None:
    t = talk().bound()
    a, b = t.submit("a", "b")
    events = t.receive(wire.pdu(c.GENERIC_NACK, a, b"", c.ESME_RINVCMDLEN), wire.pdu(c.GENERIC_NACK, b))
    items = [item for event in events for item in event.items]
    assert items[0] == ("a", c.GENERIC_NACK, c.ESME_RINVCMDLEN, b"", a)
    assert items[1][2] == c.ESME_RUNKNOWNERR, "a generic_nack is never a success"


def test_generic_nacks_for_nothing_end_the_session(talk: Any, wire: Any) -> None:
    t = talk(unmatched_nacks_max=3).bound()
    nack = wire.pdu(c.GENERIC_NACK, 0, b"", c.ESME_RINVCMDLEN)
    assert not isinstance(t.receive(nack, nack)[-1], Closed)
    (a,) = t.submit("a")
    t.receive(wire.pdu(SUBMIT_RESP, a, b"1\0"))
    assert not isinstance(t.receive(nack, nack)[-1], Closed), "an answer between them clears the count"
    assert t.receive(nack)[-1].reason is CloseReason.NACKED
    assert t.sent() == []


def test_other_requests_share_the_window(talk: Any, wire: Any) -> None:
    t = talk(window=2).bound()
    t.submit("a")
    t.session.request(c.QUERY_SM, b"id\0\0\0\0", "query", t.now)
    assert t.session.window_free == 0
    with pytest.raises(WindowFull):
        t.session.request(c.QUERY_SM, b"", "another", t.now)
    ((command_id, _, sequence, body),) = t.sent()
    assert (command_id, body) == (c.QUERY_SM, b"id\0\0\0\0")
    events = t.receive(wire.pdu(SUBMIT_RESP, sequence, b"1\0"))
    assert events == [Counted("response_mismatched", 1)]
    (event,) = t.receive(wire.pdu(c.QUERY_SM_RESP, sequence, b"id\0\0\2\0"))
    assert event.items == [("query", c.QUERY_SM_RESP, OK, b"id\0\0\2\0", sequence)]


def test_data_sm_resp_gives_its_message_id(talk: Any, wire: Any) -> None:
    t = talk().bound()
    t.session.request(c.DATA_SM, b"", "d", t.now)
    ((_, _, sequence, _),) = t.sent()
    (event,) = t.receive(wire.pdu(c.DATA_SM_RESP, sequence, b"77\0"))
    assert event.items[0][3] == b"77"


@pytest.mark.parametrize(
    "command_id", [c.BIND_TRANSCEIVER, c.DELIVER_SM, c.SUBMIT_SM_RESP, 0x1234, c.OUTBIND]
)
def test_a_request_that_is_none_of_ours_is_refused(talk: Any, command_id: int) -> None:
    t = talk().bound()
    with pytest.raises(NotBound):
        t.session.request(command_id, b"", "x", t.now)


def test_the_window_is_kept_and_may_be_narrowed(talk: Any, wire: Any) -> None:
    t = talk(window=10).bound()
    t.session.window = 3
    with pytest.raises(WindowFull) as caught:
        t.submit("a", "b", "c", "d")
    assert (caught.value.wanted, caught.value.free) == (4, 3)
    numbers = t.submit("a", "b", "c")
    t.session.window = 1
    assert t.session.window_free == 0
    t.receive(*(wire.pdu(SUBMIT_RESP, n, b"1\0") for n in numbers))
    assert t.session.window_free == 1
    t.session.window = 50
    assert t.session.window == 10
    t.session.window = 0
    assert t.session.window == 1


def test_a_full_window_does_not_stop_enquire_link_nor_answers(talk: Any, wire: Any) -> None:
    t = talk(window=1, enquire_link_s=10.0).bound()
    t.submit("a")
    t.receive(wire.pdu(c.DELIVER_SM, 9, wire.DELIVER_BODY))
    t.session.answer_delivers([(7 << 32 | 9, c.DELIVER_SM, OK)])
    assert t.sent() == [(c.DELIVER_SM_RESP, OK, 9, b"\0")]
    t.wait(10.0)
    assert wire.names(t.session.data_to_send()) == ["enquire_link"]


# --- from the SMSC --------------------------------------------------------------------------------------


def test_delivers_are_told_whole_and_answered_by_handle(talk: Any, wire: Any) -> None:
    t = talk().bound()
    first = wire.pdu(c.DELIVER_SM, 0xFFFFFFFF, wire.DELIVER_BODY)
    second = wire.pdu(c.DATA_SM, 0, b"anything")
    events = t.receive(first, second)
    items = [item for event in events for item in event.items]
    assert [(command_id, frame) for _, command_id, frame in items] == [
        (c.DELIVER_SM, first),
        (c.DATA_SM, second),
    ]
    assert t.session.delivers_unanswered == 2
    t.session.answer_delivers([(items[1][0], c.DATA_SM, c.ESME_RX_T_APPN), (items[0][0], c.DELIVER_SM, OK)])
    assert t.sent() == [
        (c.DATA_SM_RESP, c.ESME_RX_T_APPN, 0, b""),
        (c.DELIVER_SM_RESP, OK, 0xFFFFFFFF, b"\0"),
    ]
    assert t.session.delivers_unanswered == 0


@pytest.mark.parametrize("number", [6, 8, 0])
def test_answers_for_another_session_are_dropped(talk: Any, wire: Any, number: int) -> None:
    t = talk().bound()
    t.receive(wire.pdu(c.DELIVER_SM, 5, wire.DELIVER_BODY))
    t.session.answer_delivers([(number << 32 | 5, c.DELIVER_SM, OK)])
    assert t.sent() == []
    assert t.session.events() == [Counted("answer_stale", 1)]
    assert t.session.delivers_unanswered == 1


def test_too_many_unanswered_delivers_stop_the_reading(talk: Any, wire: Any) -> None:
    t = talk(deliver_outstanding_max=2).bound()
    (event,) = t.receive(*(wire.pdu(c.DELIVER_SM, n, wire.DELIVER_BODY) for n in (1, 2)))
    assert not t.session.wants_read
    t.session.answer_delivers([(event.items[0][0], c.DELIVER_SM, OK)])
    assert t.session.wants_read


def test_receipts_on_a_transmitter_bind_are_taken(talk: Any, wire: Any) -> None:
    t = talk(bind="transmitter").bound()
    assert isinstance(t.receive(wire.pdu(c.DELIVER_SM, 5, wire.DELIVER_BODY))[0], Delivers)


@pytest.mark.parametrize("n", [1, 3])
def test_enquire_link_is_answered_in_any_state(talk: Any, wire: Any, n: int) -> None:
    t = talk()
    t.sent()
    ask = wire.pdu(c.ENQUIRE_LINK, 77)
    answer = (c.ENQUIRE_LINK_RESP, OK, 77, b"")
    t.receive(ask * n)
    assert t.sent() == [answer] * n
    t.receive(wire.pdu(c.BIND_TRANSCEIVER_RESP, 1, b"\0"), ask)
    assert t.sent() == [answer]
    t.session.unbind(t.now)
    t.receive(ask)
    assert t.sent()[-1] == answer
    t.receive(wire.pdu(c.UNBIND_RESP, 2), ask)
    assert t.sent() == [answer]


ILLEGAL = [
    (c.SUBMIT_SM, "transceiver"),
    (c.SUBMIT_MULTI, "transceiver"),
    (c.QUERY_SM, "transceiver"),
    (c.CANCEL_SM, "transceiver"),
    (c.REPLACE_SM, "transceiver"),
    (c.BIND_TRANSCEIVER, "transceiver"),
    (c.BIND_RECEIVER, "transceiver"),
    (c.BIND_TRANSMITTER, "transceiver"),
    (c.DATA_SM, "transmitter"),
]


@pytest.mark.parametrize(("command_id", "bind"), ILLEGAL)
def test_an_illegal_request_is_answered_with_its_response(
    talk: Any, wire: Any, command_id: int, bind: str
) -> None:
    t = talk(bind=bind).bound()
    assert t.receive(wire.pdu(command_id, 31, b"whatever")) == [Counted("illegal_state", 1)]
    assert t.sent() == [(command_id | c.RESPONSE_BIT, c.ESME_RINVBNDSTS, 31, b"")]
    assert t.session.window_free == 100


@pytest.mark.parametrize("command_id", [c.DELIVER_SM, c.DATA_SM, c.UNBIND, c.SUBMIT_SM])
def test_before_the_bind_everything_is_illegal(talk: Any, wire: Any, command_id: int) -> None:
    t = talk()
    t.sent()
    t.receive(wire.pdu(command_id, 31, b"x"))
    assert t.sent() == [(command_id | c.RESPONSE_BIT, c.ESME_RINVBNDSTS, 31, b"")]


@pytest.mark.parametrize("command_id", [0, 0x0A, 0x111, 0x10200, 0x7FFFFFFF])
def test_an_unknown_request_gets_generic_nack(talk: Any, wire: Any, command_id: int) -> None:
    t = talk().bound()
    assert t.receive(wire.pdu(command_id, 31, b"x")) == [Counted("unknown_command", 1)]
    assert t.sent() == [(c.GENERIC_NACK, c.ESME_RINVCMDID, 31, b"")]


@pytest.mark.parametrize("command_id", [0x80000111, 0xFFFFFFFF, c.BIND_RECEIVER_RESP, c.UNBIND_RESP])
def test_an_unknown_or_unsolicited_response_is_only_counted(talk: Any, wire: Any, command_id: int) -> None:
    t = talk().bound()
    assert t.receive(wire.pdu(command_id, 31, b"x")) == [Counted("response_unsolicited", 1)]
    assert t.sent() == []


@pytest.mark.parametrize(
    ("command_id", "name"), [(c.OUTBIND, "illegal_state"), (c.ALERT_NOTIFICATION, "alert_notification")]
)
def test_pdus_without_a_response_are_only_counted(talk: Any, wire: Any, command_id: int, name: str) -> None:
    t = talk().bound()
    assert t.receive(wire.pdu(command_id, 31, b"x")) == [Counted(name, 1)]
    assert t.sent() == []


# --- time -----------------------------------------------------------------------------------------------


def test_silence_is_asked_about_and_an_answer_proves_life(talk: Any, wire: Any) -> None:
    t = talk(enquire_link_s=20.0, enquire_link_timeout_s=10.0).bound()
    for _ in range(3):
        assert t.wait(20.0) == []
        ((command_id, _, sequence, _),) = t.sent()
        assert command_id == c.ENQUIRE_LINK
        t.receive(wire.pdu(c.ENQUIRE_LINK_RESP, sequence, b"", c.ESME_RSYSERR))
    assert t.session.state is State.BOUND_TRX


def test_any_pdu_proves_life_though_enquire_link_is_not_answered(talk: Any, wire: Any) -> None:
    t = talk(enquire_link_s=20.0, enquire_link_timeout_s=10.0).bound()
    for n in range(20):
        assert t.wait(25.0) == []
        assert wire.names(t.session.data_to_send()) == ["enquire_link"]
        t.receive(wire.pdu(c.DELIVER_SM, n, wire.DELIVER_BODY))
    assert t.session.state is State.BOUND_TRX


def test_a_peer_that_speaks_is_not_asked(talk: Any, wire: Any) -> None:
    t = talk(enquire_link_s=20.0).bound()
    for n in range(5):
        t.wait(19.0)
        t.receive(wire.pdu(c.ENQUIRE_LINK, n))
        assert [pdu[0] for pdu in t.sent()] == [c.ENQUIRE_LINK_RESP]


def test_silence_after_the_question_ends_the_session(talk: Any) -> None:
    t = talk(enquire_link_s=20.0, enquire_link_timeout_s=10.0).bound()
    t.submit("a")
    assert t.wait(29.9) == []
    (closed,) = t.wait(0.2)
    assert closed.reason is CloseReason.ENQUIRE_LINK_TIMEOUT
    assert (closed.tokens_in_doubt, closed.tokens_unsent) == (["a"], [])


def test_parts_of_a_pdu_prove_nothing_and_time_out(talk: Any, wire: Any) -> None:
    t = talk(read_timeout_s=10.0, enquire_link_s=60.0).bound()
    pdu = wire.pdu(c.DELIVER_SM, 1, wire.DELIVER_BODY)
    for octet in pdu[:9]:
        t.receive(bytes([octet]))
        assert t.wait(1.0) == []
    t.receive(pdu[9:10])
    assert t.wait(2.0)[0].reason is CloseReason.READ_TIMEOUT


def test_the_read_timer_begins_again_with_each_pdu(talk: Any, wire: Any) -> None:
    t = talk(read_timeout_s=10.0, enquire_link_s=600.0).bound()
    pdu = wire.pdu(c.ENQUIRE_LINK, 1)
    t.receive(pdu[:8])
    for _ in range(5):
        assert t.wait(8.0) == []
        t.receive(pdu[8:] + pdu[:8])
    assert t.wait(9.0) == []


def test_no_answer_in_time_is_doubt_and_a_late_answer_is_told_as_such(talk: Any, wire: Any) -> None:
    t = talk(window=2, response_timeout_s=30.0, enquire_link_s=600.0).bound()
    a, b = t.submit("a", "b")
    t.wait(10.0)
    t.receive(wire.pdu(SUBMIT_RESP, b, b"2\0"))
    (event,) = t.wait(21.0)
    assert event == TimedOut(["a"])
    assert t.session.window_free == 2
    events = t.receive(wire.pdu(SUBMIT_RESP, a, b"1\0"))
    assert events[0] == Counted("late_response", 1)
    assert events[1] == LateResponses([("a", SUBMIT_RESP, OK, b"1", a)])
    assert t.receive(wire.pdu(SUBMIT_RESP, a, b"1\0")) == [Counted("response_unsolicited", 1)]


def test_a_late_generic_nack_is_told_too(talk: Any, wire: Any) -> None:
    t = talk(response_timeout_s=1.0, enquire_link_s=600.0).bound()
    (a,) = t.submit("a")
    t.wait(3.0)
    events = t.receive(wire.pdu(c.GENERIC_NACK, a, b"", c.ESME_RSYSERR))
    assert events[1] == LateResponses([("a", c.GENERIC_NACK, c.ESME_RSYSERR, b"", a)])


def test_a_whole_window_without_an_answer_ends_the_session_with_two_windows_in_doubt(
    talk: Any, wire: Any
) -> None:
    t = talk(window=4, response_timeout_s=10.0, enquire_link_s=3.0).bound()
    doubt: list[object] = []
    token = 0
    for _ in range(200):
        free = t.session.window_free
        t.submit(*range(token, token + free))
        token += free
        events = t.wait(1.0)
        for pdu in t.sent():
            if pdu[0] == c.ENQUIRE_LINK:
                t.receive(wire.pdu(c.ENQUIRE_LINK_RESP, pdu[2]))
        doubt += [x for event in events if isinstance(event, TimedOut) for x in event.tokens]
        if events and isinstance(events[-1], Closed):
            assert events[-1].reason is CloseReason.UNANSWERED
            doubt += events[-1].tokens_in_doubt
            break
    else:
        pytest.fail("never closed")
    assert set(doubt) == set(range(token))
    assert len(doubt) <= 2 * 4


def test_late_answers_keep_the_session(talk: Any, wire: Any) -> None:
    t = talk(window=3, response_timeout_s=5.0, enquire_link_s=600.0).bound()
    for _ in range(5):
        a, _ = t.submit("a", "b")
        assert t.wait(6.0) == [TimedOut(["a", "b"])]
        t.receive(wire.pdu(SUBMIT_RESP, a, b"1\0"))
    assert not t.session.closed


def test_an_answer_between_time_outs_keeps_the_session(talk: Any, wire: Any) -> None:
    t = talk(window=3, response_timeout_s=5.0, enquire_link_s=600.0).bound()
    for _ in range(5):
        _, _, answered = t.submit("a", "b", "c")
        t.receive(wire.pdu(SUBMIT_RESP, answered, b"1\0"))
        assert t.wait(6.0) == [TimedOut(["a", "b"])]


def test_inactivity_unbinds(talk: Any, wire: Any) -> None:
    t = talk(inactivity_timeout_s=60.0, enquire_link_s=600.0).bound()
    t.wait(50.0)
    t.submit("a")
    t.receive(wire.pdu(SUBMIT_RESP, 2, b"1\0"))
    t.wait(59.0)
    assert t.sent() == []
    t.wait(1.0)
    assert [pdu[0] for pdu in t.sent()] == [c.UNBIND]


def test_a_write_that_is_not_taken_ends_the_session(talk: Any) -> None:
    t = talk(write_timeout_s=10.0).bound()
    t.session.write_began(t.now)
    t.session.write_done()
    assert t.wait(11.0) == []
    t.session.write_began(t.now)
    assert t.wait(10.0)[0].reason is CloseReason.WRITE_STALLED


def test_while_we_do_not_read_the_peer_is_not_timed(talk: Any, wire: Any) -> None:
    t = talk(response_timeout_s=5.0, enquire_link_s=5.0, read_timeout_s=5.0).bound()
    t.submit("a")
    t.receive(b"\0\0")
    t.wait(2.0)
    t.session.pause_reading(t.now)
    assert t.wait(100.0) == []
    t.session.resume_reading(t.now)
    assert t.wait(2.9) == []
    assert t.sent() == []
    t.receive(wire.pdu(c.ENQUIRE_LINK, 1)[2:])
    assert t.wait(3.0) == [TimedOut(["a"])]


# --- ends -----------------------------------------------------------------------------------------------


def test_unbind_is_answered_and_ends_the_session(talk: Any, wire: Any) -> None:
    t = talk().bound()
    t.session.unbind(t.now)
    ((command_id, _, sequence, _),) = t.sent()
    assert command_id == c.UNBIND
    with pytest.raises(NotBound):
        t.submit("late")
    events = t.receive(wire.pdu(c.UNBIND_RESP, sequence))
    assert events == [Closed(CloseReason.UNBOUND, "", [], [])]
    assert t.session.next_deadline() == float("inf")


def test_answers_still_come_while_unbinding(talk: Any, wire: Any) -> None:
    t = talk().bound()
    a, _ = t.submit("a", "b")
    t.session.unbind(t.now)
    assert isinstance(t.receive(wire.pdu(SUBMIT_RESP, a, b"1\0"))[0], Responses)
    (event,) = t.receive(wire.pdu(c.DELIVER_SM, 4, wire.DELIVER_BODY))
    t.session.answer_delivers([(event.items[0][0], c.DELIVER_SM, OK)])
    assert t.sent()[-1] == (c.DELIVER_SM_RESP, OK, 4, b"\0")
    (closed,) = t.wait(10.0)
    assert closed.reason is CloseReason.UNBIND_TIMEOUT
    assert closed.tokens_in_doubt == ["b"]


def test_the_smscs_unbind_is_answered_at_once_when_nothing_is_under_way(talk: Any, wire: Any) -> None:
    t = talk().bound()
    events = t.receive(wire.pdu(c.UNBIND, 50))
    assert events == [UnbindReceived(), Closed(CloseReason.UNBOUND_BY_PEER, "", [], [])]
    assert t.sent() == [(c.UNBIND_RESP, OK, 50, b"")]
    assert t.session.state is State.UNBOUND


def test_the_smscs_unbind_waits_for_answers_under_way(talk: Any, wire: Any) -> None:
    t = talk(unbind_grace_s=1.0).bound()
    (a,) = t.submit("a")
    (event,) = t.receive(wire.pdu(c.DELIVER_SM, 4, wire.DELIVER_BODY))
    assert t.receive(wire.pdu(c.UNBIND, 50)) == [UnbindReceived()]
    assert t.session.window_free == 0
    t.session.answer_delivers([(event.items[0][0], c.DELIVER_SM, OK)])
    events = t.receive(wire.pdu(SUBMIT_RESP, a, b"1\0"))
    assert [type(event) for event in events] == [Responses, Closed]
    assert events[1].tokens_in_doubt == []
    assert [pdu[0] for pdu in t.sent()] == [c.DELIVER_SM_RESP, c.UNBIND_RESP]


def test_the_smscs_unbind_does_not_wait_long(talk: Any, wire: Any) -> None:
    t = talk(unbind_grace_s=1.0).bound()
    t.submit("a")
    t.receive(wire.pdu(c.UNBIND, 50))
    (closed,) = t.wait(1.0)
    assert closed == Closed(CloseReason.UNBOUND_BY_PEER, "", ["a"], [])
    assert t.sent() == [(c.UNBIND_RESP, OK, 50, b"")]


def test_an_answer_too_late_for_a_session_that_ended_while_its_unbind_waited_is_dropped(
    talk: Any, wire: Any
) -> None:
    t = talk(unbind_grace_s=1.0).bound()
    t.submit("a")
    t.receive(wire.pdu(c.UNBIND, 50))
    t.session.receive_eof(t.now)
    assert t.session.events()[-1] == Closed(CloseReason.EOF, "", ["a"], [])
    t.session.answer_delivers([(4, c.DELIVER_SM, OK)])
    assert t.session.events() == [Counted("answer_stale", 1)]
    assert t.sent() == []
    assert t.session.state is State.CLOSED


def test_both_unbind_at_once(talk: Any, wire: Any) -> None:
    t = talk().bound()
    t.session.unbind(t.now)
    ((_, _, ours, _),) = t.sent()
    t.receive(wire.pdu(c.UNBIND, 50))
    assert t.sent() == [(c.UNBIND_RESP, OK, 50, b"")]
    assert t.receive(wire.pdu(c.UNBIND_RESP, ours))[-1].reason is CloseReason.UNBOUND


def test_an_unbind_may_be_answered_by_closing(talk: Any, wire: Any) -> None:
    t = talk().bound()
    t.session.unbind(t.now)
    t.session.receive_eof(t.now)
    assert t.session.events() == [Closed(CloseReason.UNBOUND, "closed without unbind_resp", [], [])]
    # The end of a peer that has not waited for the answer to its own unbind is still an end nobody asked for.
    t = talk().bound()
    t.submit("a")
    t.receive(wire.pdu(c.UNBIND, 50))
    t.session.receive_eof(t.now)
    assert t.session.events()[-1] == Closed(CloseReason.EOF, "", ["a"], [])


def test_the_end_tells_what_was_sent_from_what_was_not(talk: Any, wire: Any) -> None:
    t = talk().bound()
    t.submit("sent")
    t.session.submit([b"x", b"y"], ["queued", "too"], t.now)
    t.session.request(c.QUERY_SM, b"", "query", t.now)
    t.receive(wire.pdu(c.ENQUIRE_LINK, 8))
    t.session.receive_eof(t.now)
    (closed,) = t.session.events()
    assert closed == Closed(CloseReason.EOF, "", ["sent"], ["queued", "too", "query"])
    assert t.sent() == [(c.ENQUIRE_LINK_RESP, OK, 8, b"")], "what is told as unsent must never leave"


def test_nothing_happens_after_the_end(talk: Any, wire: Any) -> None:
    t = talk().bound()
    t.session.connection_lost(CloseReason.LOST, "reset")
    assert len(t.session.events()) == 1
    t.session.receive_eof(t.now)
    t.session.unbind(t.now)
    t.session.answer_delivers([(7 << 32 | 1, c.DELIVER_SM, OK)])
    assert t.receive(wire.pdu(c.ENQUIRE_LINK, 1)) == [Counted("answer_stale", 1)]
    assert t.wait(1000.0) == []
    assert t.sent() == []
    with pytest.raises(NotBound):
        t.submit("x")


def test_a_write_buffer_filled_to_the_brim_takes_no_more(talk: Any) -> None:
    t = talk(write_buffer_octets_max=1000, window=100).bound()
    t.session.submit([b"x" * 1000], ["a"], t.now)
    assert t.session.window_free == 0
    assert not t.session.wants_read
    t.session.data_to_send()
    assert t.session.window_free == 99
    assert t.session.wants_read


# --- settings -------------------------------------------------------------------------------------------


def test_no_password_in_any_repr() -> None:
    config = SessionConfig(system_id="todoke", password="hunter2!")
    session = Session(config, 0.0)
    shown = [repr(config), str(config), f"{config}", repr(session), repr(session.events())]
    assert not any("hunter2" in text for text in shown)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("system_id", "x" * 16),
        ("password", "hunter2!!"),
        ("password", "päss"),
        ("system_type", "a\0b"),
        ("address_range", "x" * 41),
        ("window", 0),
        ("window", 100_001),
        ("response_timeout_s", 0),
        ("pdu_octets_max", 15),
    ],
)
def test_settings_out_of_range_are_refused_by_field_and_never_shown(field: str, value: object) -> None:
    settings: dict[str, Any] = {"system_id": "a", "password": "b", field: value}
    with pytest.raises(ValueError, match=f"^{field}: ") as caught:
        SessionConfig(**settings)
    assert "hunter2" not in str(caught.value)
