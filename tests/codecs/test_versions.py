"""versions: which level a number names, and what may be sent at each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs.versions import LEVELS, level_of, session_level


@pytest.mark.parametrize(
    ("interface_version", "name"),
    [
        (None, "3.3"), (0, "3.3"), (0x32, "3.3"), (0x33, "3.3"), (0x34, "3.4"), (0x35, "3.4"), (0x4F, "3.4"),
        (0x50, "5.0"), (0x51, "5.0"), (255, "5.0"),
    ],
)  # fmt: skip
def test_the_level_of_a_version(interface_version: int | None, name: str):
    assert level_of(interface_version).name == name


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [
        (0x34, 0x34, "3.4"), (0x34, 0x50, "3.4"), (0x50, 0x34, "3.4"), (0x50, 0x50, "5.0"),
        (0x34, None, "3.3"),        (0x50, 0x33, "3.3"), (0x33, 0x50, "3.3"),
    ],
)  # fmt: skip
def test_a_session_speaks_the_lower_of_both(ours: int, theirs: int | None, name: str):
    assert session_level(ours, theirs).name == name


def test_what_each_level_has():
    old, usual, new = LEVELS.values()
    assert (old.message_id_octets_max, usual.message_id_octets_max, new.message_id_octets_max) == (8, 64, 64)
    assert old.commands < usual.commands < new.commands
    assert usual.commands - old.commands == {
        c.BIND_TRANSCEIVER, c.BIND_TRANSCEIVER_RESP, c.DATA_SM, c.DATA_SM_RESP, c.ALERT_NOTIFICATION,
    }  # fmt: skip
    assert new.commands - usual.commands == set(c.BROADCAST_NAMES)
    assert old.tags == set()
    assert {c.TAG_MESSAGE_STATE, c.TAG_ITS_SESSION_INFO, c.TAG_USSD_SERVICE_OP} <= usual.tags < new.tags
    assert {tag for tag in new.tags - usual.tags if tag < 0x600 or tag > 0x613} == {c.TAG_CONGESTION_STATE}
    assert {c.TAG_BROADCAST_CHANNEL_INDICATOR, c.TAG_DEST_ADDR_NP_COUNTRY} <= new.tags - usual.tags
    assert len(new.tags - usual.tags) == 20


@given(st.integers(0, 255), st.integers(0, 255))
def test_a_higher_version_never_has_less(a: int, b: int):
    low, high = sorted((a, b))
    assert level_of(low).commands <= level_of(high).commands
    assert level_of(low).tags <= level_of(high).tags
