"""One value of a PDU -> the words for it: bits spelled out, codes named, times readable. `names` is the data.

Nothing here shows an address, a text or a password: `describe` decides what may be shown at all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from . import constants as c
from . import names, smpp_time, udh
from .errors import TextError, status_name
from .national_tables import LANGUAGES


def esm_class(value: int, *, to_smsc: bool) -> str:
    """Mode (towards the SMSC only), type and features (5.2.12)."""
    types = names.ESM_TYPES_TO_SMSC if to_smsc else names.ESM_TYPES_TO_ESME
    kind = value & c.ESM_CLASS_TYPE_MASK
    words = [names.ESM_MODES[value & c.ESM_CLASS_MODE_MASK]] if to_smsc else []
    words.append(types.get(kind, f"reserved message type 0x{kind:02X}"))
    words += [word for bit, word in names.ESM_FEATURES if value & bit]
    return ", ".join(words)


def registered_delivery(value: int) -> str:
    """Receipts and acknowledgements asked for (5.2.17)."""
    words = [names.RECEIPT_WANTED[value & 0x03]]
    if acknowledgement := names.ACKNOWLEDGEMENT_WANTED.get(value & 0x0C):
        words.append(acknowledgement)
    if value & 0x30:  # bit 5 by the text of 3.4, bit 4 by its table; both are in use
        words.append("intermediate notification")
    if value & 0xC0:
        words.append(f"reserved bits 0x{value & 0xC0:02X}")
    return ", ".join(words)


def command_status(value: int) -> str:
    """Name and meaning; the number alone would send the reader to the specification."""
    return f"{status_name(value)}: {names.status_meaning(value)}"


def _listed(table: dict[int, str]) -> Callable[[int], str]:
    return lambda value: table.get(value, "reserved")


INTEGERS: Final[dict[str, Callable[[int], str]]] = {
    **dict.fromkeys(("source_addr_ton", "dest_addr_ton", "esme_addr_ton", "addr_ton"), _listed(names.TONS)),
    **dict.fromkeys(("source_addr_npi", "dest_addr_npi", "esme_addr_npi", "addr_npi"), _listed(names.NPIS)),
    "registered_delivery": registered_delivery,
    "data_coding": names.data_coding_name,
    "priority_flag": _listed(names.PRIORITIES),
    "replace_if_present_flag": _listed(names.REPLACE_FLAGS),
    "protocol_id": lambda value: names.PROTOCOL_IDS.get(value, ""),
    "interface_version": lambda value: names.INTERFACE_VERSIONS.get(
        value, "SMPP 3.3 or older" if value < c.INTERFACE_VERSION_34 else "reserved"
    ),
    "message_state": _listed(names.MESSAGE_STATES),
    "error_code": lambda value: "no error" if value == 0 else "the SMSC's own code: ask the carrier",
    "dest_flag": _listed(names.DEST_FLAGS),
}
"""Meaning of one-octet fields by name; esm_class and command_status need to know the command."""


def ranges(values: frozenset[int]) -> str:
    """The numbers in words, such as "0 to 52 or 80"."""
    firsts = sorted(value for value in values if value - 1 not in values)
    lasts = sorted(value for value in values if value + 1 not in values)
    pairs = zip(firsts, lasts, strict=True)
    return " or ".join(str(first) if first == last else f"{first} to {last}" for first, last in pairs)


def time(value: bytes) -> tuple[str, bool]:
    """(readable, is it right) of an SMPP time (7.1.1)."""
    try:
        when = smpp_time.parse(value)
    except TextError as error:
        return error.detail, False
    if when is None:
        return "not set", True
    if isinstance(when, timedelta):
        return f"{when} (d, h:mm:ss) after the SMSC gets it; years as 365 days, months as 30", True
    return when.isoformat(" ", "milliseconds" if when.microsecond else "seconds"), True


def receipt_date(raw: str) -> str:
    """Readable date of a receipt; "" if it is none."""
    when = smpp_time.receipt_date(raw)
    return when.isoformat(" ") if when else ""


def network_error(network: int, code: int) -> str:
    """Words for network_error_code (5.3.2.31); network 0 is what `receipt` gives for bare digits."""
    return f"{names.NETWORK_TYPES.get(network, f'network type {network}')}, error {code}"


def tlv_integer(tag: int, value: int) -> str:
    """Meaning of an integer parameter; "" where the number is the meaning."""
    if tag == c.TAG_CONGESTION_STATE:
        return names.congestion_name(value)
    if tag in (c.TAG_SOURCE_PORT, c.TAG_DEST_PORT):
        return names.PORTS.get(value, "")
    if tag == c.TAG_QOS_TIME_TO_LIVE:
        return f"{timedelta(seconds=value)} (d, h:mm:ss)"
    if tag == c.TAG_MS_MSG_WAIT_FACILITIES:
        indication = names.INDICATIONS[value & 3]
        return f"{indication} {'active' if value & 0x80 else 'inactive'}"
    if tag == c.TAG_CALLBACK_NUM_PRES_IND:
        shown = ("allowed", "restricted", "not available", "reserved")[value >> 2 & 3]
        return f"presentation {shown}"
    table = names.TLV_VALUES.get(tag)
    return table.get(value, "reserved") if table else ""


def element(iei: int, value: bytes) -> tuple[str, str]:
    """(value, meaning) of an element of a user data header that holds no text; ("", "") of any other."""
    header = udh.build([(iei, value)])
    if iei in (udh.IEI_CONCAT_8, udh.IEI_CONCAT_16):
        if concat := udh.concat_of(header):
            return str(
                concat.reference
            ), f"reference {concat.reference}, part {concat.number} of {concat.total}"
    elif iei in (udh.IEI_PORTS_8, udh.IEI_PORTS_16):
        if ports := udh.ports_of(header):
            words = [f"destination port {ports.destination}", f"source port {ports.source}"]
            if known := names.PORTS.get(ports.destination):
                words.append(known)
            return f"{ports.destination}, {ports.source}", ", ".join(words)
    elif iei in (udh.IEI_NATIONAL_SINGLE_SHIFT, udh.IEI_NATIONAL_LOCKING_SHIFT) and len(value) == 1:
        return str(value[0]), LANGUAGES.get(value[0], "reserved language")
    elif iei == udh.IEI_SPECIAL_MESSAGE_INDICATION and len(value) == 2:
        kind = names.INDICATIONS[value[0] & 3]
        return f"{value[0]}, {value[1]}", f"{value[1]} waiting: {kind}"
    return "", ""
