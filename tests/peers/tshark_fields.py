"""What tshark has to show of a PDU of ours: (its field, the octets, the value), in order.

The names are tshark's. What it does not show is in the tables at the end, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.codecs.fields import LAYOUTS, TLVS, Field, Kind
from todoke_tests_capture import Shown, ShownPdu


class Wanted(NamedTuple):
    """A field tshark must show. `value` is its meaning as tshark prints it, None where it prints no value."""

    name: str
    octets: bytes
    value: str | int | None


BESIDES = ("smpp.opt_params", "smpp.opt_param", "smpp.message_text")
"""What tshark adds to the fields: containers, its reading of data_coding, and the text it makes of them."""


def difference(message: pdu.Pdu, frame: bytes, shown: ShownPdu) -> str:
    """The first thing tshark shows otherwise than it was meant; "" if there is none."""
    meant = list(wanted(message, frame))
    fields = [one for one in shown.fields if one.name not in BESIDES and not one.name.startswith("smpp.dcs.")]
    for want, field in zip(meant, fields, strict=False):
        if (want.name, want.octets) != (field.name, field.octets):
            return f"{want} but {field}"
        if want.value is not None and want.value != _value(field, want.value):
            return f"{want} but {field}"
    if len(meant) != len(fields):
        return f"wanted {meant[len(fields) :][:1]}, found {fields[len(meant) :][:1]}"
    return ""


def _value(field: Shown, like: str | int) -> str | int:
    return int(field.show, 0) if isinstance(like, int) else field.show


def wanted(message: pdu.Pdu, frame: bytes) -> Iterator[Wanted]:
    """All that tshark must show of `frame`, which `message` was encoded to."""
    yield _integer("smpp.command_length", frame[:4])
    yield _integer("smpp.command_id", frame[4:8])
    response = message.command_id & c.RESPONSE_BIT
    if response:
        yield _integer("smpp.command_status", frame[8:12])
    yield _integer("smpp.sequence_number", frame[12:16])
    if response and (len(frame) == c.HEADER_OCTETS or frame[8:12] != bytes(4)):
        # 3.2.1.3 gives a refusal no body; tshark shows none, even if there is one.
        return
    for field in LAYOUTS[message.command_id]:
        yield from _field(message, field, getattr(message, field.name))
    if message.command_id not in WITHOUT_TLVS:
        for tag, value in message.tlvs:
            yield _integer("smpp.opt_param_tag", tag.to_bytes(2, "big"))
            yield _integer("smpp.opt_param_len", len(value).to_bytes(2, "big"))
            yield from _tlv(tag, value)


BITS: Final = {
    "esm_class": (
        ("smpp.esm.submit.msg_mode", 0x03),
        ("smpp.esm.submit.msg_type", 0x3C),
        ("smpp.esm.submit.features", 0xC0),
    ),
    "registered_delivery": (
        ("smpp.regdel.receipt", 0x03),
        ("smpp.regdel.acks", 0x0C),
        ("smpp.regdel.notif", 0x10),
    ),
    "replace_if_present_flag": (("smpp.replace_if_present_flag", 0x01),),
}
SHOWN_WHEN_EMPTY: Final = {
    "source_addr": {c.SUBMIT_SM, c.DELIVER_SM, c.SUBMIT_MULTI, c.DATA_SM, c.REPLACE_SM},
    "destination_addr": {c.SUBMIT_SM, c.DELIVER_SM, c.DATA_SM},
}
"""Other C-Octet Strings are left out by tshark if they hold nothing (service_type is called "(Default)")."""


def _integer(name: str, octets: bytes) -> Wanted:
    return Wanted(name, octets, int.from_bytes(octets, "big"))


def _string(name: str, value: bytes) -> Wanted:
    printable = all(0x20 <= octet < 0x7F for octet in value)
    return Wanted(name, value + b"\0", value.decode("ascii") if printable else None)


def _bits(octet: int, masks: tuple[tuple[str, int], ...]) -> Iterator[Wanted]:
    for name, mask in masks:
        shift = (mask & -mask).bit_length() - 1
        yield Wanted(name, bytes((octet,)), (octet & mask) >> shift)


def _field(message: pdu.Pdu, field: Field, value: Any) -> Iterator[Wanted]:
    name = f"smpp.{field.name}"
    if field.name in BITS:
        yield from _bits(value, BITS[field.name])
    elif field.kind is Kind.INTEGER:
        yield _integer(name, bytes((value,)))
    elif field.kind is Kind.STRING:
        if field.name == "service_type" and not value:
            yield Wanted(name, b"\0", "(Default)")
        elif value or message.command_id in SHOWN_WHEN_EMPTY.get(field.name, ()):
            yield _string(name, value)
    elif field.kind is Kind.TIME:
        if value:
            yield _time(name, value)
        elif field.name == "validity_period" and message.command_id == c.SUBMIT_MULTI:
            # A slip of tshark's: the empty one stands under the other's name.
            yield _time("smpp.schedule_delivery_time", value)
        elif field.name != "final_date":
            yield _time(name, value)
    elif field.kind is Kind.MESSAGE:
        yield _integer("smpp.sm_length", bytes((len(value),)))
        if value:
            yield Wanted("smpp.message", value, value.hex(":"))
    elif field.kind is Kind.DESTINATIONS:
        yield from _destinations(value)
    else:
        yield from _unsuccessful(value)


def _destinations(value: list[pdu.DestAddress]) -> Iterator[Wanted]:
    if value:
        yield Wanted("smpp.dlist", b"", None)
    for one in value:
        if one.dl_name:
            yield _string("smpp.dl_name", one.dl_name)
        else:
            yield from _address(one)


def _unsuccessful(value: list[pdu.UnsuccessSme]) -> Iterator[Wanted]:
    if value:
        yield Wanted("smpp.dlist_resp", b"", None)
    for one in value:
        yield from _address(one)
        yield _integer("smpp.error_status_code", one.error_status_code.to_bytes(4, "big"))


def _address(one: pdu.DestAddress | pdu.UnsuccessSme) -> Iterator[Wanted]:
    yield _integer("smpp.dest_addr_ton", bytes((one.dest_addr_ton,)))
    yield _integer("smpp.dest_addr_npi", bytes((one.dest_addr_npi,)))
    if one.destination_addr:
        yield _string("smpp.destination_addr", one.destination_addr)


def _time(name: str, value: bytes) -> Wanted:
    if not value:
        return Wanted(f"{name}_r", b"\0", "0.000000000")
    if value.endswith(b"R"):
        return Wanted(f"{name}_r", value + b"\0", _duration(value.decode()))
    return Wanted(name, value + b"\0", _moment(value.decode()))


def _moment(value: str) -> str:
    """An absolute time (7.1.1) in UTC, as tshark prints it; a year below 38 is of this century."""
    year, month, day, hour, minute, second = (int(value[at : at + 2]) for at in range(0, 12, 2))
    tenths, quarters = int(value[12]), int(value[13:15])
    offset = timedelta(minutes=15 * quarters) * (1 if value[15] == "+" else -1)
    local = datetime(2000 + year if year < 38 else 1900 + year, month, day, hour, minute, second, tzinfo=UTC)
    moment = local - offset
    return f"{moment:%b} {moment.day:2}, {moment:%Y %H:%M:%S}.{tenths}00000000 UTC"


def _duration(value: str) -> str | None:
    """A relative time in seconds, as tshark prints it; None with years or months: how long is a month?"""
    years, months, days, hours, minutes, seconds = (int(value[at : at + 2]) for at in range(0, 12, 2))
    if years or months:
        return None
    return f"{((days * 24 + hours) * 60 + minutes) * 60 + seconds}.000000000"


# --- optional parameters -----------------------------------------------------------------------------------

RENAMED: Final = {
    "dest_port": "destination_port",
    "sc_interface_version": "SC_interface_version",
    "billing_identification": "billing_id",
    "dest_addr_np_information": "dest_addr_np_info",
    "broadcast_content_type_info": "broadcast_content_type.info",
}
SPLIT: Final[dict[str, tuple[tuple[str, slice], ...]]] = {
    "network_error_code": (("network_error.type", slice(0, 1)), ("network_error.code", slice(1, 3))),
    "broadcast_content_type": (
        ("broadcast_content_type.nw", slice(0, 1)),
        ("broadcast_content_type.type", slice(1, 3)),
    ),
    "broadcast_frequency_interval": (
        ("broadcast_frequency_interval.unit", slice(0, 1)),
        ("broadcast_frequency_interval.value", slice(1, 3)),
    ),
}
TLV_BITS: Final = {
    "ms_msg_wait_facilities": (("smpp.msg_wait.ind", 0x80), ("smpp.msg_wait.type", 0x03)),
    "callback_num_pres_ind": (("smpp.callback_num.pres", 0x0C), ("smpp.callback_num.scrn", 0x03)),
}


def _tlv(tag: int, value: bytes) -> Iterator[Wanted]:
    rule = TLVS.get(tag)
    if rule is None:
        name = "smpp.vendor_op" if 0x1400 <= tag <= 0x3FFF else "smpp.reserved_op"
        yield Wanted(name, value, value.hex(":"))
        return
    name = f"smpp.{RENAMED.get(rule.name, rule.name)}"
    if rule.name in TLV_BITS:
        yield from _bits(value[0], TLV_BITS[rule.name])
    elif rule.name in SPLIT:
        for part, where in SPLIT[rule.name]:
            yield _integer(f"smpp.{part}", value[where])
    elif rule.name == "its_session_info":
        yield _integer("smpp.its_session.number", value[:1])
        yield from _bits(value[1], (("smpp.its_session.sequence", 0xFE), ("smpp.its_session.ind", 0x01)))
    elif rule.name == "alert_on_message_delivery":
        if value:
            yield _integer("smpp.alert_on_message_delivery_type", value)
        else:
            yield Wanted("smpp.alert_on_message_delivery_null", b"", None)
    elif rule.name == "broadcast_area_identifier":
        yield _integer("smpp.broadcast_area_identifier.format", value[:1])
        yield Wanted(name, value, value.hex(":"))
    elif rule.name == "broadcast_end_time":
        yield _time(name, value[:-1])
    elif rule.name in WITHOUT_VALUE:
        if value:
            yield Wanted(name, b"", None)
    elif rule.kind == "string":
        text = value[:-1]
        yield _string(name, text)
    elif rule.kind == "integer" or rule.name in {"ussd_service_op", "ms_validity"}:
        yield _integer(name, value)
    elif value:
        yield Wanted(name, value, value.hex(":"))


def names_of_ours() -> dict[str, set[str]]:
    """tshark's names of a field of ours, where they are others."""
    found = {ours: {theirs} for ours, theirs in RENAMED.items()}
    found |= {ours: {name for name, _ in parts} for ours, parts in SPLIT.items()}
    for table in (BITS, TLV_BITS):
        found |= {ours: {name.removeprefix("smpp.") for name, _ in parts} for ours, parts in table.items()}
    return found | {
        "short_message": {"message"},
        "dest_addresses": {"destination_addr"},
        "unsuccess_smes": {"error_status_code"},
        "its_session_info": {"its_session.number"},
        "alert_on_message_delivery": {"alert_on_message_delivery_type"},
    }


# --- what tshark does not show -----------------------------------------------------------------------------

WITHOUT_TLVS: Final = {
    c.BIND_RECEIVER, c.BIND_TRANSMITTER, c.BIND_TRANSCEIVER, c.OUTBIND, c.QUERY_SM, c.QUERY_SM_RESP,
    c.CANCEL_SM, c.CANCEL_SM_RESP, c.REPLACE_SM_RESP, c.UNBIND, c.UNBIND_RESP, c.ENQUIRE_LINK,
    c.ENQUIRE_LINK_RESP, c.GENERIC_NACK,
}  # fmt: skip
"""SMPP 3.4 gives these no optional parameters; tshark does not look for any."""
WITHOUT_VALUE: Final = {"callback_num", "callback_num_atag"}
"""tshark says that it is there and how long, not what is in it."""
