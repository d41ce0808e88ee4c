"""The layouts of all PDU bodies (SMPP 3.4 sections 4.1 to 4.12) and optional parameters (5.3.2) as data.

A layout is what one reads in the specification's tables; `pdu` turns it into octets and back.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from . import constants as c


class Kind(IntEnum):
    """How a mandatory field lies in the octets."""

    INTEGER = 0
    """one octet"""
    STRING = 1
    """C-Octet String of at most `size` octets, its NUL included"""
    TIME = 2
    """C-Octet String of 1 or 17 octets, its NUL included"""
    MESSAGE = 3
    """sm_length and that many octets"""
    DESTINATIONS = 4
    """number_of_dests, 1 to `size`, and that many dest_address structures (4.5.1.1)"""
    UNSUCCESSFUL = 5
    """no_unsuccess, at most `size`, and that many unsuccess_sme structures (4.5.2.1)"""


class Field(NamedTuple):
    """One mandatory field; `status` answers a PDU whose field is wrong.

    `values` are the only ones written where the specification leaves no other meaning; they do not bind what
    is read, because SMSCs send reserved values and mean no harm. None: any octet. Numbering plans,
    data_coding, esm_class and protocol_id have reserved values too, which carriers nevertheless ask for.
    """

    name: str
    kind: Kind
    size: int
    status: int
    values: frozenset[int] | None = None


def _integer(name: str, status: int = c.ESME_RINVCMDLEN, values: Iterable[int] | None = None) -> Field:
    return Field(name, Kind.INTEGER, 1, status, None if values is None else frozenset(values))


def _string(name: str, size: int, status: int) -> Field:
    return Field(name, Kind.STRING, size, status)


def _source(size: int = 21) -> tuple[Field, ...]:
    return (
        _integer("source_addr_ton", c.ESME_RINVSRCTON),
        _integer("source_addr_npi", c.ESME_RINVSRCNPI),
        _string("source_addr", size, c.ESME_RINVSRCADR),
    )


def _destination(size: int = 21) -> tuple[Field, ...]:
    return (
        _integer("dest_addr_ton", c.ESME_RINVDSTTON),
        _integer("dest_addr_npi", c.ESME_RINVDSTNPI),
        _string("destination_addr", size, c.ESME_RINVDSTADR),
    )


_service_type = _string("service_type", 6, c.ESME_RINVSERTYP)
_message_id = _string("message_id", 65, c.ESME_RINVMSGID)
_schedule = Field("schedule_delivery_time", Kind.TIME, 17, c.ESME_RINVSCHED)
_validity = Field("validity_period", Kind.TIME, 17, c.ESME_RINVEXPIRY)
_short_message = Field("short_message", Kind.MESSAGE, 255, c.ESME_RINVMSGLEN)
# Bits 7 and 6 are reserved (5.2.17). Bit 5 asks for intermediate notifications by the text of 3.4, bit 4 by
# its table; both are in use.
_registered_delivery = _integer("registered_delivery", c.ESME_RINVREGDLVFLG, range(0x40))
_sm_default_msg_id = _integer("sm_default_msg_id", c.ESME_RINVDFTMSGID, range(255))

_bind = (
    _string("system_id", 16, c.ESME_RINVSYSID),
    _string("password", 9, c.ESME_RINVPASWD),
    _string("system_type", 13, c.ESME_RINVSYSTYP),
    _integer("interface_version", values=c.INTERFACE_VERSIONS),
    _integer("addr_ton"),
    _integer("addr_npi"),
    _string("address_range", 41, c.ESME_RINVCMDLEN),
)
_bind_resp = (_string("system_id", 16, c.ESME_RINVSYSID),)
_message_tail = (
    _integer("esm_class", c.ESME_RINVESMCLASS),
    _integer("protocol_id"),
    _integer("priority_flag", c.ESME_RINVPRTFLG, range(4)),
    _schedule,
    _validity,
    _registered_delivery,
    _integer("replace_if_present_flag", c.ESME_RINVREPFLAG, range(2)),
    _integer("data_coding", c.ESME_RINVDCS),
    _sm_default_msg_id,
    _short_message,
)
_message = (_service_type, *_source(), *_destination(), *_message_tail)

LAYOUTS: Final[dict[int, tuple[Field, ...]]] = {
    c.BIND_RECEIVER: _bind,
    c.BIND_RECEIVER_RESP: _bind_resp,
    c.BIND_TRANSMITTER: _bind,
    c.BIND_TRANSMITTER_RESP: _bind_resp,
    c.BIND_TRANSCEIVER: _bind,
    c.BIND_TRANSCEIVER_RESP: _bind_resp,
    c.OUTBIND: _bind[:2],
    c.UNBIND: (),
    c.UNBIND_RESP: (),
    c.ENQUIRE_LINK: (),
    c.ENQUIRE_LINK_RESP: (),
    c.GENERIC_NACK: (),
    c.SUBMIT_SM: _message,
    c.SUBMIT_SM_RESP: (_message_id,),
    c.DELIVER_SM: _message,
    c.DELIVER_SM_RESP: (_message_id,),
    c.SUBMIT_MULTI: (
        _service_type,
        *_source(),
        Field("dest_addresses", Kind.DESTINATIONS, c.DESTINATIONS_MAX, c.ESME_RINVNUMDESTS),
        *_message_tail,
    ),
    c.SUBMIT_MULTI_RESP: (
        _message_id,
        Field("unsuccess_smes", Kind.UNSUCCESSFUL, 255, c.ESME_RINVNUMDESTS),
    ),
    c.DATA_SM: (
        _service_type,
        *_source(65),
        *_destination(65),
        _integer("esm_class", c.ESME_RINVESMCLASS),
        _registered_delivery,
        _integer("data_coding", c.ESME_RINVDCS),
    ),
    c.DATA_SM_RESP: (_message_id,),
    c.QUERY_SM: (_message_id, *_source()),
    c.QUERY_SM_RESP: (
        _message_id,
        Field("final_date", Kind.TIME, 17, c.ESME_RINVCMDLEN),
        _integer("message_state", values=range(c.MESSAGE_STATE_SKIPPED + 1)),
        _integer("error_code"),
    ),
    c.CANCEL_SM: (_service_type, _message_id, *_source(), *_destination()),
    c.CANCEL_SM_RESP: (),
    c.REPLACE_SM: (
        _message_id,
        *_source(),
        _schedule,
        _validity,
        _registered_delivery,
        _sm_default_msg_id,
        _short_message,
    ),
    c.REPLACE_SM_RESP: (),
    c.ALERT_NOTIFICATION: (
        *_source(65),
        _integer("esme_addr_ton"),
        _integer("esme_addr_npi"),
        _string("esme_addr", 65, c.ESME_RINVCMDLEN),
    ),
}


class TlvRule(NamedTuple):
    """An optional parameter and its value's size; `kind` is "integer", "string" (with NUL) or "octets".

    A value of one octet is written from `value_min` to `value_max`; what is read may be anything.
    """

    name: str
    kind: str
    octets_min: int
    octets_max: int
    value_min: int = 0
    value_max: int = 255


def _tlv_table() -> dict[int, TlvRule]:
    """Tag, kind (i integer, c C-Octet String, o octets), size, =limits of the value if any, name."""
    lines = """
    0005 i 1 dest_addr_subunit | 0006 i 1 dest_network_type | 0007 i 1 dest_bearer_type
    0008 i 2 dest_telematics_id | 000D i 1 source_addr_subunit | 000E i 1 source_network_type
    000F i 1 source_bearer_type | 0010 i 1 source_telematics_id | 0017 i 4 qos_time_to_live
    0019 i 1 payload_type | 001D c 1-256 additional_status_info_text | 001E c 1-65 receipted_message_id
    0030 i 1 ms_msg_wait_facilities | 0201 i 1 privacy_indicator | 0202 o 2-23 source_subaddress
    0203 o 2-23 dest_subaddress | 0204 i 2 user_message_reference | 0205 i 1 user_response_code
    020A i 2 source_port | 020B i 2 dest_port | 020C i 2 sar_msg_ref_num | 020D i 1 language_indicator
    020E i 1=1-255 sar_total_segments | 020F i 1=1-255 sar_segment_seqnum
    0210 i 1 sc_interface_version
    0302 i 1 callback_num_pres_ind | 0303 o 0-65 callback_num_atag | 0304 i 1=0-99 number_of_messages
    0381 o 4-19 callback_num | 0420 i 1 dpf_result | 0421 i 1 set_dpf | 0422 i 1 ms_availability_status
    0423 o 3 network_error_code | 0424 o 0-65535 message_payload | 0425 i 1 delivery_failure_reason
    0426 i 1 more_messages_to_send | 0427 i 1 message_state | 0428 i 1=0-100 congestion_state
    0501 o 1 ussd_service_op | 0600 i 1 broadcast_channel_indicator | 0601 o 3 broadcast_content_type
    0602 o 1-255 broadcast_content_type_info | 0603 i 1 broadcast_message_class
    0604 i 2 broadcast_rep_num | 0605 o 3 broadcast_frequency_interval
    0606 o 1-101 broadcast_area_identifier | 0607 i 4 broadcast_error_status
    0608 i 1 broadcast_area_success | 0609 c 17 broadcast_end_time
    060A o 1-255 broadcast_service_group | 060B o 1-1024 billing_identification
    060D c 7-65 source_network_id | 060E c 7-65 dest_network_id | 060F o 6 source_node_id
    0610 o 6 dest_node_id | 0611 i 1 dest_addr_np_resolution | 0612 o 10 dest_addr_np_information
    0613 o 1-5 dest_addr_np_country | 1201 i 1 display_time | 1203 i 2 sms_signal
    1204 o 1-4 ms_validity | 130C o 0-1 alert_on_message_delivery | 1380 i 1 its_reply_type
    1383 o 2 its_session_info
    """
    kinds = {"i": "integer", "c": "string", "o": "octets"}
    table: dict[int, TlvRule] = {}
    for entry in lines.replace("\n", "|").split("|"):
        if words := entry.split():
            tag, kind, sizes, name = words
            size, _, limits = sizes.partition("=")
            low, _, high = size.partition("-")
            least, _, most = (limits or "0-255").partition("-")
            table[int(tag, 16)] = TlvRule(
                name, kinds[kind], int(low), int(high or low), int(least), int(most)
            )
    return table


TLVS: Final[dict[int, TlvRule]] = _tlv_table()
"""Known optional parameters by tag; one that is not here is carried through untouched."""
