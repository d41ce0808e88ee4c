"""The tables against the specification's table 2-1, of SMPP 5.0."""

from __future__ import annotations

import pytest
from todoke.codecs import constants as c
from todoke.engine.session.states import (
    AFTER_RECEIVING,
    AFTER_SENDING,
    BOUND,
    RECEIVES,
    RESPONSES,
    SENDS,
    State,
)

# Columns: Open, Bound_TX, Bound_RX, Bound_TRX, Unbound. E = the ESME may send it, M = the SMSC.
_TABLE = """
bind_receiver          E - - - -
bind_transmitter       E - - - -
bind_transceiver       E - - - -
bind_receiver_resp     M - - - -
bind_transmitter_resp  M - - - -
bind_transceiver_resp  M - - - -
outbind                M - - - -
unbind                 - EM EM EM -
unbind_resp            - EM EM EM -
enquire_link           EM EM EM EM EM
enquire_link_resp      EM EM EM EM EM
generic_nack           EM EM EM EM EM
submit_sm              - E - E -
submit_multi           - E - E -
query_sm               - E - E -
cancel_sm              - E - E -
replace_sm             - E - E -
submit_sm_resp         - M - M -
submit_multi_resp      - M - M -
query_sm_resp          - M - M -
cancel_sm_resp         - M - M -
replace_sm_resp        - M - M -
deliver_sm             - - M M -
alert_notification     - - M M -
deliver_sm_resp        - - E E -
data_sm                - E M EM -
data_sm_resp           - M E EM -
"""
_STATES = (State.OPEN, State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX, State.UNBOUND)
_OUR_EXCEPTIONS = {
    (State.BOUND_TX, "M", "deliver_sm"),
    (State.BOUND_TX, "E", "deliver_sm_resp"),
}


def _cells() -> list[tuple[State, str, str, bool]]:
    cells: list[tuple[State, str, str, bool]] = []
    for line in _TABLE.split("\n"):
        if line:
            name, *columns = line.split()
            for state, column in zip(_STATES, columns, strict=True):
                cells += [(state, side, name, side in column) for side in "EM"]
    return cells


def test_tables_are_the_specifications_but_for_the_named_exceptions() -> None:
    numbers = {name: number for number, name in c.COMMAND_NAMES.items()}
    differing = {
        (state, side, name)
        for state, side, name, legal in _cells()
        if legal != (numbers[name] in (SENDS if side == "E" else RECEIVES)[state])
    }
    assert differing == _OUR_EXCEPTIONS


def test_every_command_is_in_the_specifications_table() -> None:
    assert {name for _, _, name, _ in _cells()} == set(c.COMMAND_NAMES.values())


@pytest.mark.parametrize("state", list(State))
def test_what_changes_the_state_is_legal_in_it(state: State) -> None:
    assert set(AFTER_SENDING.get(state, {})) <= SENDS[state]
    assert set(AFTER_RECEIVING.get(state, {})) <= RECEIVES[state]


def test_a_response_answers_its_request() -> None:
    assert all(response == request | c.RESPONSE_BIT for request, response in RESPONSES.items())
    assert {c.OUTBIND, c.ALERT_NOTIFICATION}.isdisjoint(RESPONSES)
    assert State.UNBINDING not in BOUND
