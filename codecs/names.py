"""What the values of SMPP fields mean, as data, for a person who reads a PDU (SMPP 3.4 chapter 5; the few of
5.0 that SMSCs send; 3GPP TS 23.038 section 4 and TS 23.040 section 9.2.3.24).

Nothing here decides anything: `describe` shows it. Words are short; the specification's names stay.
"""

from __future__ import annotations

from typing import Final

from . import constants as c

# --- mandatory fields -------------------------------------------------------------------------------------

TONS: Final[dict[int, str]] = {
    0: "unknown",
    1: "international",
    2: "national",
    3: "network specific",
    4: "subscriber number",
    5: "alphanumeric",
    6: "abbreviated",
}
"""Type of number (5.2.5)."""

NPIS: Final[dict[int, str]] = {
    0: "unknown",
    1: "ISDN (E.163, E.164)",
    3: "data (X.121)",
    4: "telex (F.69)",
    6: "land mobile (E.212)",
    8: "national",
    9: "private",
    10: "ERMES",
    14: "Internet (IP)",
    18: "WAP client id",
}
"""Numbering plan indicator (5.2.6)."""

ESM_MODES: Final[dict[int, str]] = {
    0: "default mode",
    1: "datagram mode",
    2: "forward (transaction) mode",
    3: "store and forward mode",
}
"""esm_class bits 1-0, towards the SMSC only (5.2.12)."""

ESM_TYPES_TO_SMSC: Final[dict[int, str]] = {
    0x00: "default message type",
    0x08: "delivery acknowledgement by the ESME",
    0x10: "manual (user) acknowledgement by the ESME",
}
ESM_TYPES_TO_ESME: Final[dict[int, str]] = {
    0x00: "default message type",
    0x04: "SMSC delivery receipt",
    0x08: "delivery acknowledgement by the handset",
    0x10: "manual (user) acknowledgement by the handset",
    0x18: "conversation abort (Korean CDMA)",
    0x20: "intermediate delivery notification",
}
"""esm_class bits 5-2."""

ESM_FEATURES: Final[tuple[tuple[int, str], ...]] = (
    (c.ESM_CLASS_UDHI, "user data header (UDHI)"),
    (c.ESM_CLASS_REPLY_PATH, "reply path"),
)
"""esm_class bits 7-6."""

RECEIPT_WANTED: Final[dict[int, str]] = {
    0: "no SMSC receipt",
    1: "SMSC receipt on success and failure",
    2: "SMSC receipt on failure",
    3: "SMSC receipt on success (5.0; reserved in 3.4)",
}
"""registered_delivery bits 1-0 (5.2.17)."""

ACKNOWLEDGEMENT_WANTED: Final[dict[int, str]] = {
    0x04: "delivery acknowledgement of the handset",
    0x08: "manual acknowledgement of the handset",
    0x0C: "delivery and manual acknowledgement of the handset",
}
"""registered_delivery bits 3-2."""

PRIORITIES: Final[dict[int, str]] = {0: "lowest", 1: "priority 1", 2: "priority 2", 3: "highest"}
"""priority_flag (5.2.14); for GSM 0 is normal, 1 to 3 are priority."""

REPLACE_FLAGS: Final[dict[int, str]] = {0: "do not replace", 1: "replace if present"}

PROTOCOL_IDS: Final[dict[int, str]] = {
    0x00: "short message",
    0x40: "short message type 0: nothing is shown (silent)",
    0x5F: "return call message",
    0x7D: "mobile equipment data download",
    0x7E: "mobile equipment de-personalisation",
    0x7F: "SIM data download",
} | {0x40 + number: f"replace short message type {number}" for number in range(1, 8)}
"""protocol_id is GSM's TP-PID (TS 23.040 section 9.2.3.9)."""

INTERFACE_VERSIONS: Final[dict[int, str]] = {0x33: "SMPP 3.3", 0x34: "SMPP 3.4", 0x50: "SMPP 5.0"}

DATA_CODINGS: Final[dict[int, str]] = {
    0x00: "the SMSC's default alphabet",
    0x01: "IA5 / ASCII",
    0x02: "8-bit data",
    0x03: "Latin-1 (ISO 8859-1)",
    0x04: "8-bit data",
    0x05: "JIS (X 0208-1990)",
    0x06: "Cyrillic (ISO 8859-5)",
    0x07: "Latin/Hebrew (ISO 8859-8)",
    0x08: "UCS-2",
    0x09: "pictograms",
    0x0A: "music codes (ISO 2022-JP)",
    0x0D: "extended Kanji JIS (X 0212-1990)",
    0x0E: "KS C 5601",
}
"""data_coding below 0x10 (5.2.19); above it is the GSM data coding scheme, see `data_coding_name`."""

_GSM_ALPHABETS: Final = {0x00: "GSM 7-bit", 0x04: "8-bit data", 0x08: "UCS-2", 0x0C: "reserved alphabet"}
INDICATIONS: Final = ("voicemail", "fax", "e-mail", "other message")
"""What waits, by the two lowest bits of a message waiting indication."""
_CLASSES: Final = ("0 (flash)", "1 (handset)", "2 (SIM)", "3 (terminal)")


def data_coding_name(data_coding: int) -> str:
    """What one octet of data_coding says (5.2.19, and 3GPP TS 23.038 section 4 for the GSM scheme)."""
    if data_coding >= 0xF0:
        alphabet = _GSM_ALPHABETS[data_coding & 0x04]
        return f"{alphabet}, message class {_CLASSES[data_coding & 3]}"
    if data_coding >= 0xC0:
        active = "active" if data_coding & 0x08 else "inactive"
        what = INDICATIONS[data_coding & 3]
        kept = (
            "discard" if data_coding < 0xD0 else "UCS-2, store" if data_coding >= 0xE0 else "GSM 7-bit, store"
        )
        return f"message waiting indication: {what} {active}, {kept} the text"
    if 0x40 <= data_coding <= 0x5F:
        return f"GSM scheme: {_GSM_ALPHABETS[data_coding & 0x0C]}, deleted by itself when read"
    if 0x10 <= data_coding <= 0x1F:
        alphabet = _GSM_ALPHABETS[data_coding & 0x0C]
        return f"GSM scheme: {alphabet}, message class {_CLASSES[data_coding & 3]}"
    return DATA_CODINGS.get(data_coding, "reserved")


MESSAGE_STATES: Final[dict[int, str]] = {
    c.MESSAGE_STATE_SCHEDULED: "SCHEDULED (not final)",
    c.MESSAGE_STATE_ENROUTE: "ENROUTE (not final)",
    c.MESSAGE_STATE_DELIVERED: "DELIVERED (final)",
    c.MESSAGE_STATE_EXPIRED: "EXPIRED (final)",
    c.MESSAGE_STATE_DELETED: "DELETED (final)",
    c.MESSAGE_STATE_UNDELIVERABLE: "UNDELIVERABLE (final)",
    c.MESSAGE_STATE_ACCEPTED: "ACCEPTED (final by the specification; many SMSCs send more)",
    c.MESSAGE_STATE_UNKNOWN: "UNKNOWN (invalid state)",
    c.MESSAGE_STATE_REJECTED: "REJECTED (final)",
    c.MESSAGE_STATE_SKIPPED: "SKIPPED (final)",
}
"""message_state (5.2.28)."""

DEST_FLAGS: Final[dict[int, str]] = {1: "SME address", 2: "distribution list"}

# --- optional parameters ----------------------------------------------------------------------------------

_subunits = {
    0: "unknown",
    1: "MS display (flash)",
    2: "mobile equipment",
    3: "smart card 1",
    4: "external unit 1",
}
_networks = {
    0: "unknown",
    1: "GSM",
    2: "ANSI-136 / TDMA",
    3: "IS-95 / CDMA",
    4: "PDC",
    5: "PHS",
    6: "iDEN",
    7: "AMPS",
    8: "paging network",
}
_bearers = {
    0: "unknown",
    1: "SMS",
    2: "circuit switched data",
    3: "packet data",
    4: "USSD",
    5: "CDPD",
    6: "DataTAC",
    7: "FLEX / ReFLEX",
    8: "cell broadcast",
}
_yes_no = {0: "no", 1: "yes"}

TLV_VALUES: Final[dict[int, dict[int, str]]] = {
    c.TAG_DEST_ADDR_SUBUNIT: _subunits,
    c.TAG_SOURCE_ADDR_SUBUNIT: _subunits,
    c.TAG_DEST_NETWORK_TYPE: _networks,
    c.TAG_SOURCE_NETWORK_TYPE: _networks,
    c.TAG_DEST_BEARER_TYPE: _bearers,
    c.TAG_SOURCE_BEARER_TYPE: _bearers,
    c.TAG_PAYLOAD_TYPE: {0: "default", 1: "WCMP"},
    c.TAG_PRIVACY_INDICATOR: {0: "not restricted", 1: "restricted", 2: "confidential", 3: "secret"},
    c.TAG_LANGUAGE_INDICATOR: {
        0: "unspecified",
        1: "English",
        2: "French",
        3: "Spanish",
        4: "German",
        5: "Portuguese",
    },
    c.TAG_SC_INTERFACE_VERSION: INTERFACE_VERSIONS,
    c.TAG_DPF_RESULT: {0: "DPF not set", 1: "DPF set"},
    c.TAG_SET_DPF: {0: "not requested", 1: "requested"},
    c.TAG_MS_AVAILABILITY_STATUS: {0: "available", 1: "denied", 2: "unavailable"},
    c.TAG_DELIVERY_FAILURE_REASON: {
        0: "destination unavailable",
        1: "destination address invalid",
        2: "permanent network error",
        3: "temporary network error",
    },
    c.TAG_MORE_MESSAGES_TO_SEND: _yes_no,
    c.TAG_MESSAGE_STATE: MESSAGE_STATES,
    c.TAG_USSD_SERVICE_OP: {
        0: "PSSD indication",
        1: "PSSR indication",
        2: "USSR request",
        3: "USSN request",
        16: "PSSD response",
        17: "PSSR response",
        18: "USSR confirm",
        19: "USSN confirm",
    },
    c.TAG_DISPLAY_TIME: {0: "temporary", 1: "default", 2: "invoke"},
    c.TAG_ALERT_ON_MESSAGE_DELIVERY: {
        0: "default",
        1: "low priority",
        2: "medium priority",
        3: "high priority",
    },
    c.TAG_ITS_REPLY_TYPE: {
        0: "digit",
        1: "number",
        2: "telephone number",
        3: "password",
        4: "character line",
        5: "menu",
        6: "date",
        7: "time",
        8: "continue",
    },
}
"""Optional parameters whose integer is one of a list (5.3.2), by tag."""

NETWORK_TYPES: Final[dict[int, str]] = {
    1: "ANSI-136",
    2: "IS-95",
    3: "GSM",
    4: "ANSI-136 cause code",
    5: "IS-95 cause code",
    6: "ANSI-41 error",
    7: "SMPP command_status",
    8: "message centre specific",
}
"""First octet of network_error_code (5.3.2.31; 4 and above are 5.0)."""

CONGESTION_STATES: Final[tuple[tuple[int, str], ...]] = (
    (0, "idle"),
    (29, "low load"),
    (49, "medium load"),
    (79, "high load"),
    (89, "optimum load"),
    (99, "nearing congestion"),
    (100, "congested"),
)
"""(highest value, meaning) of congestion_state (5.0 section 4.8.4.18)."""


def congestion_name(value: int) -> str:
    """The meaning of congestion_state 0 to 255."""
    return next((name for highest, name in CONGESTION_STATES if value <= highest), "reserved")


# --- user data header -------------------------------------------------------------------------------------

PORTS: Final[dict[int, str]] = {
    1080: "vCard/vCalendar over WSP",
    2948: "WAP push",
    2949: "WAP push (secure)",
    5505: "ring tone (Nokia)",
    5506: "operator logo (Nokia)",
    5507: "group logo (Nokia)",
    9200: "WSP",
    9204: "vCard",
    9205: "vCalendar",
    49_999: "WAP provisioning (Nokia)",
}
"""Well-known application ports."""

# --- command_status ---------------------------------------------------------------------------------------

STATUS_MEANINGS: Final[dict[int, str]] = {
    c.ESME_ROK: "no error",
    c.ESME_RINVMSGLEN: "the length of the message is invalid",
    c.ESME_RINVCMDLEN: "command_length is invalid",
    c.ESME_RINVCMDID: "command_id is unknown or not supported",
    c.ESME_RINVBNDSTS: "this command is not allowed in the state of the bind",
    c.ESME_RALYBND: "already bound",
    c.ESME_RINVPRTFLG: "priority_flag is invalid",
    c.ESME_RINVREGDLVFLG: "registered_delivery is invalid or receipts are not allowed",
    c.ESME_RSYSERR: "system error of the SMSC",
    c.ESME_RINVSRCADR: "the source address is invalid or not allowed",
    c.ESME_RINVDSTADR: "the destination address is invalid",
    c.ESME_RINVMSGID: "message_id is unknown",
    c.ESME_RBINDFAIL: "the bind failed; often wrong credentials or an address not allowed",
    c.ESME_RINVPASWD: "the password is wrong",
    c.ESME_RINVSYSID: "system_id is unknown",
    c.ESME_RCANCELFAIL: "cancel_sm failed",
    c.ESME_RREPLACEFAIL: "replace_sm failed",
    c.ESME_RMSGQFUL: "a message queue is full: the destination's or the SMSC's",
    c.ESME_RINVSERTYP: "service_type is invalid",
    c.ESME_RINVNUMDESTS: "number_of_dests is invalid",
    c.ESME_RINVDLNAME: "the distribution list is unknown",
    c.ESME_RINVDESTFLAG: "dest_flag is invalid",
    c.ESME_RINVSUBREP: "submit with replace is not allowed",
    c.ESME_RINVESMCLASS: "esm_class is invalid or not allowed",
    c.ESME_RCNTSUBDL: "cannot submit to the distribution list",
    c.ESME_RSUBMITFAIL: "submitting failed; the SMSC does not say why",
    c.ESME_RINVSRCTON: "source_addr_ton is invalid",
    c.ESME_RINVSRCNPI: "source_addr_npi is invalid",
    c.ESME_RINVDSTTON: "dest_addr_ton is invalid",
    c.ESME_RINVDSTNPI: "dest_addr_npi is invalid",
    c.ESME_RINVSYSTYP: "system_type is invalid",
    c.ESME_RINVREPFLAG: "replace_if_present_flag is invalid",
    c.ESME_RINVNUMMSGS: "number_of_messages is invalid",
    c.ESME_RTHROTTLED: "throttled: more messages a second than are allowed",
    c.ESME_RINVSCHED: "schedule_delivery_time is invalid",
    c.ESME_RINVEXPIRY: "validity_period is invalid",
    c.ESME_RINVDFTMSGID: "sm_default_msg_id is invalid",
    c.ESME_RX_T_APPN: "temporary error of the receiver: send it again later",
    c.ESME_RX_P_APPN: "permanent error of the receiver: stop sending to this destination",
    c.ESME_RX_R_APPN: "the receiver rejects this message",
    c.ESME_RQUERYFAIL: "query_sm failed",
    c.ESME_RINVTLVSTREAM: "the optional parameters cannot be read",
    c.ESME_RTLVNOTALLWD: "an optional parameter is not allowed here",
    c.ESME_RINVTLVLEN: "an optional parameter has a wrong length",
    c.ESME_RMISSINGTLV: "an optional parameter that is needed is missing",
    c.ESME_RINVTLVVAL: "an optional parameter has an invalid value",
    c.ESME_RDELIVERYFAILURE: "delivery failed (transaction mode): see delivery_failure_reason",
    c.ESME_RUNKNOWNERR: "unknown error",
    c.ESME_RSERTYPUNAUTH: "not authorised to use this service_type",
    c.ESME_RPROHIBITED: "not authorised to use this operation",
    c.ESME_RSERTYPUNAVAIL: "this service_type is out of order",
    c.ESME_RSERTYPDENIED: "this service_type is denied for the content or the destination",
    c.ESME_RINVDCS: "data_coding is invalid or not allowed",
    c.ESME_RINVSRCADDRSUBUNIT: "source_addr_subunit is invalid",
    c.ESME_RINVDSTADDRSUBUNIT: "dest_addr_subunit is invalid",
    c.ESME_RINVBCASTFREQINT: "broadcast_frequency_interval is invalid",
    c.ESME_RINVBCASTALIAS_NAME: "broadcast_alias_name is invalid",
    c.ESME_RINVBCASTAREAFMT: "the format of the broadcast area is invalid",
    c.ESME_RINVNUMBCAST_AREAS: "the number of broadcast areas is invalid",
    c.ESME_RINVBCASTCNTTYPE: "broadcast_content_type is invalid",
    c.ESME_RINVBCASTMSGCLASS: "broadcast_message_class is invalid",
    c.ESME_RBCASTFAIL: "broadcast_sm failed",
    c.ESME_RBCASTQUERYFAIL: "query_broadcast_sm failed",
    c.ESME_RBCASTCANCELFAIL: "cancel_broadcast_sm failed",
    c.ESME_RINVBCAST_REP: "the number of repeated broadcasts is invalid",
    c.ESME_RINVBCASTSRVGRP: "broadcast_service_group is invalid",
    c.ESME_RINVBCASTCHANIND: "broadcast_channel_indicator is invalid",
}
"""command_status in one line (5.1.3), for every one `constants.STATUS_NAMES` names."""

VENDOR_STATUSES: Final = range(0x400, 0x500)


def status_meaning(command_status: int) -> str:
    """One line about a command_status, named or not."""
    if command_status in VENDOR_STATUSES:
        return "a code of the SMSC's vendor: ask the carrier"
    return STATUS_MEANINGS.get(command_status, "reserved: no meaning in SMPP 3.4 or 5.0")
