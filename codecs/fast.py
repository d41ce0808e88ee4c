"""The shapes that make nearly all traffic, in as few interpreter steps as possible.

A submit_sm is one join of pieces, most of them made before; a receipt is one regular expression over the
whole PDU, which checks the header, the limits of the mandatory fields and the text at once. Whatever does not
match goes to the complete codec (`pdu`, `receipt`), and a property holds both equal.
"""

from __future__ import annotations

import re
from struct import Struct

from . import constants as c
from .errors import PduError
from .pdu import SubmitSm, encode
from .receipt import WORDS, Receipt, with_tlvs

_header = Struct(">4I").pack
_join = b"".join
_OCTET = [bytes((value,)) for value in range(256)]


class SubmitTemplate:
    """Everything of a submit_sm that a route fixes; `body` and `pdu` add what a part brings.

    Also serves deliver_sm, which has the same layout (SMPP 3.4 sections 4.4.1, 4.6.1).
    Raises PduError for a fixed field outside its limits.
    """

    __slots__ = ("_fixed", "_head", "_octets", "_plain")

    def __init__(
        self,
        *,
        service_type: bytes = b"",
        source_addr_ton: int = 0,
        source_addr_npi: int = 0,
        source_addr: bytes = b"",
        dest_addr_ton: int = 1,
        dest_addr_npi: int = 1,
        protocol_id: int = 0,
        priority_flag: int = 0,
        registered_delivery: int = 1,
        replace_if_present_flag: int = 0,
    ) -> None:
        fixed = SubmitSm(
            service_type=service_type,
            source_addr_ton=source_addr_ton,
            source_addr_npi=source_addr_npi,
            source_addr=source_addr,
            dest_addr_ton=dest_addr_ton,
            dest_addr_npi=dest_addr_npi,
            protocol_id=protocol_id,
            priority_flag=priority_flag,
            registered_delivery=registered_delivery,
            replace_if_present_flag=replace_if_present_flag,
        )
        encode(fixed, 0)  # raises PduError
        self._fixed = (protocol_id, priority_flag, registered_delivery, replace_if_present_flag)
        self._head = b"%b\0%c%c%b\0%c%c" % (
            service_type,
            source_addr_ton,
            source_addr_npi,
            source_addr,
            dest_addr_ton,
            dest_addr_npi,
        )
        # By data_coding: what stands between destination_addr and sm_length when esm_class is 0 and no
        # validity_period is given.
        self._plain: dict[int, bytes] = {}
        self._octets = 16 + len(self._head) + len(self._middle(0, 0, b"")) + 1

    def body(
        self,
        destination_addr: bytes,
        data_coding: int,
        short_message: bytes,
        esm_class: int = 0,
        validity_period: bytes = b"",
        tlvs: bytes = b"",
    ) -> bytes:
        """The PDU without its 16-octet header, which the session adds. Raises PduError outside the limits."""
        length = len(short_message)
        if (
            esm_class
            or validity_period
            or tlvs
            or length > 254
            or data_coding not in self._plain
            or len(destination_addr) > 20
            or not destination_addr.isalnum()
        ):
            _check(destination_addr, short_message, validity_period)
            middle = self._middle(esm_class, data_coding, validity_period)
            return _join((self._head, destination_addr, middle, _OCTET[length], short_message, tlvs))
        return _join((self._head, destination_addr, self._plain[data_coding], _OCTET[length], short_message))

    def pdu(
        self,
        sequence_number: int,
        destination_addr: bytes,
        data_coding: int,
        short_message: bytes,
        esm_class: int = 0,
        validity_period: bytes = b"",
        tlvs: bytes = b"",
    ) -> bytes:
        """The whole submit_sm. Raises PduError outside the limits."""
        length = len(short_message)
        if (
            esm_class
            or validity_period
            or tlvs
            or length > 254
            or data_coding not in self._plain
            or len(destination_addr) > 20
            or not destination_addr.isalnum()
        ):
            body = self.body(destination_addr, data_coding, short_message, esm_class, validity_period, tlvs)
            return _header(16 + len(body), 4, 0, sequence_number) + body
        return _join(
            (
                _header(self._octets + len(destination_addr) + length, 4, 0, sequence_number),
                self._head,
                destination_addr,
                self._plain[data_coding],
                _OCTET[length],
                short_message,
            )
        )

    def _middle(self, esm_class: int, data_coding: int, validity_period: bytes) -> bytes:
        _check_integer("esm_class", esm_class, c.ESME_RINVESMCLASS)
        _check_integer("data_coding", data_coding, c.ESME_RINVDCS)
        protocol_id, priority_flag, registered_delivery, replace_if_present_flag = self._fixed
        middle = b"\0%c%c%c\0%b\0%c%c%c\0" % (
            esm_class,
            protocol_id,
            priority_flag,
            validity_period,
            registered_delivery,
            replace_if_present_flag,
            data_coding,
        )
        if not esm_class and not validity_period:
            self._plain[data_coding] = middle
        return middle


def _check_integer(field: str, value: int, status: int) -> None:
    if not 0 <= value <= 0xFF:
        raise PduError("submit_sm", field, "0 to 255", status)


def _check(destination_addr: bytes, short_message: bytes, validity_period: bytes) -> None:
    _check_string("destination_addr", destination_addr, 20, c.ESME_RINVDSTADR)
    if len(short_message) > c.SHORT_MESSAGE_OCTETS_MAX:
        raise PduError("submit_sm", "short_message", "at most 254 octets", c.ESME_RINVMSGLEN)
    if len(validity_period) not in (0, 16) or b"\0" in validity_period:
        raise PduError("submit_sm", "validity_period", "empty or 16 octets", c.ESME_RINVEXPIRY)


def _check_string(field: str, value: bytes, octets_max: int, status: int) -> None:
    if len(value) > octets_max or b"\0" in value:
        raise PduError("submit_sm", field, f"at most {octets_max} octets, none of them NUL", status)


_receipt = re.compile(
    "....\0\0\0\x05........"  # command_length, deliver_sm, command_status, sequence_number
    "[^\0]{0,5}+\0..([^\0]{0,20}+)\0..([^\0]{0,20}+)\0[\x04\x20\x24]..\0\0....."  # up to sm_length
    "id:([0-9A-Za-z._\\-]{1,64}+) sub:[0-9]{1,3}+ dlvrd:[0-9]{1,3}+ submit date:[0-9]{10,14}+"
    " done date:([0-9]{10,14}+) stat:([A-Z]{1,16}+) err:([0-9A-Za-z]{1,32}+) [Tt]ext:"
    # If text goes to the end, without a NUL and within 200 octets, no optional parameter can be there, and a
    # wrong sm_length does not matter to `receipt.parse_deliver` either. Otherwise the last group is set.
    "[^\0]{0,200}+(.?)",
    re.DOTALL,
).match
_state_of = WORDS.get


_delivered = re.compile(
    rb"....\0\0\0\x05........[^\0]{0,5}+\0..[^\0]{0,20}+\0..[^\0]{0,20}+\0\x04..\0\0....."
    rb"id:([0-9A-Za-z._\-]{1,64}+) sub:[0-9]{1,3}+ dlvrd:[0-9]{1,3}+ submit date:[0-9]{10,14}+"
    rb" done date:[0-9]{10,14}+ stat:DELIVRD err:[0-9A-Za-z]{1,32}+ [Tt]ext:[^\0]{0,200}+\Z",
    re.DOTALL,
).match


def delivered_id(frame: bytes) -> bytes | None:
    """The message_id in a receipt that says DELIVRD, in the very plainest shape (appendix B, no TLVs).

    None: ask `receipt_of`. Where this gives an id, `receipt_of` gives the same one and state "delivered".
    """
    match = _delivered(frame)
    return None if match is None else match[1]


def receipt_of(frame: bytes) -> Receipt | None:
    """The receipt in a deliver_sm of the usual shape (SMPP 3.4 appendix B), with TLVs or without.

    `frame` is one PDU as `framing.split` cuts it. None means "not covered": ask `receipt.parse_deliver`.
    """
    text = frame.decode("latin-1")
    match = _receipt(text)
    if match is None:
        return None
    source_addr, destination_addr, message_id, done_date, stat, err, more = match.groups()
    if not more:
        state = _state_of(stat, "unknown")
        return Receipt(message_id, stat, state, err, None, (), source_addr, destination_addr, done_date)
    start = match.start(3) - 3
    end = start + frame[start - 1]
    if not match.end(6) + len(" text:") <= end <= len(frame):
        return None
    return with_tlvs(frame, text, end, message_id, stat, err, source_addr, destination_addr, done_date)


_submit = re.compile(
    rb"....\0\0\0\x04........[^\0]{0,5}+\0..([^\0]{0,20}+)\0..([^\0]{0,20}+)\0"
    rb"(.)..(?:[^\0]{16})?+\0(?:[^\0]{16})?+\0(.).(.).(.)",
    re.DOTALL,
).match

Submitted = tuple[bytes, bytes, int, int, int, bytes, bytes]
"""(source_addr, destination_addr, esm_class, registered_delivery, data_coding, short_message, TLV octets)"""


def submit_of(frame: bytes) -> Submitted | None:
    """What an SMSC needs of a submit_sm, optional parameters left as octets (`pdu.decode_tlvs` reads them).

    `frame` is one PDU as `framing.split` cuts it. None means "not covered": ask `pdu.decode`.
    """
    match = _submit(frame)
    if match is None:
        return None
    source_addr, destination_addr, esm_class, registered_delivery, data_coding, sm_length = match.groups()
    start = match.end()
    end = start + sm_length[0]
    if end > len(frame):
        return None
    return (
        source_addr,
        destination_addr,
        esm_class[0],
        registered_delivery[0],
        data_coding[0],
        frame[start:end],
        frame[end:],
    )
