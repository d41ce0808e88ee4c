"""What an interface_version means (SMPP 3.4 section 5.2.4, 5.0 sections 2.11 and 4.7.13): the levels of the
protocol, and what a peer of each may be sent and may send.

SMSCs are seldom exact about it (many take optional parameters and never give sc_interface_version), so
nothing here forbids anything: who sends decides, with a switch for the carrier where it matters.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import constants as c
from .fields import TLVS


class Level(NamedTuple):
    """One version of the protocol: `name`, and what a session at this level may carry.

    `message_id_octets_max` is without its NUL; `tags` are the known optional parameters (vendors' may come
    wherever any may).
    """

    name: str
    message_id_octets_max: int
    commands: frozenset[int]
    tags: frozenset[int]


_SINCE_34: Final = frozenset(
    {
        c.BIND_TRANSCEIVER,
        c.BIND_TRANSCEIVER_RESP,
        c.DATA_SM,
        c.DATA_SM_RESP,
        c.ALERT_NOTIFICATION,
    }
)
_TAGS_SINCE_50: Final = frozenset(
    tag
    for tag in TLVS
    if tag == c.TAG_CONGESTION_STATE or c.TAG_BROADCAST_CHANNEL_INDICATOR <= tag <= c.TAG_DEST_ADDR_NP_COUNTRY
)

LEVELS: Final[dict[int, Level]] = {
    c.INTERFACE_VERSION_33: Level("3.3", 8, frozenset(c.COMMAND_NAMES) - _SINCE_34, frozenset()),
    c.INTERFACE_VERSION_34: Level(
        "3.4", c.MESSAGE_ID_OCTETS_MAX, frozenset(c.COMMAND_NAMES), frozenset(TLVS) - _TAGS_SINCE_50
    ),
    c.INTERFACE_VERSION_50: Level(
        "5.0",
        c.MESSAGE_ID_OCTETS_MAX,
        frozenset(c.COMMAND_NAMES) | frozenset(c.BROADCAST_NAMES),
        frozenset(TLVS),
    ),
}
"""By the interface_version that names it."""


def level_of(interface_version: int | None) -> Level:
    """The newest level known that is not above `interface_version`; 3.3 if it is older, or None (a bind_resp
    without sc_interface_version: 5.0 section 2.11.2)."""
    known = [version for version in LEVELS if version <= (interface_version or 0)]
    return LEVELS[max(known, default=c.INTERFACE_VERSION_33)]


def session_level(interface_version: int, sc_interface_version: int | None) -> Level:
    """What both sides of a session speak: the lower level of the bind and of its response."""
    return level_of(min(interface_version, sc_interface_version or 0))
