"""Every PDU of SMPP 3.4 as a Struct, fields named as in the specification (sections 4.1 to 4.12).

Strings are octets, because an address or an id is what the peer says it is. No repr shows text, an address or
a password. `pdu` turns these into octets and back, and is where to import them from.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from . import constants as c

Tlvs = list[tuple[int, bytes]]


class Pdu(msgspec.Struct):
    """What all PDUs have. `command_status` and `sequence_number` are filled by `decode`.

    Give fields by name: their order is the codec's own affair.
    """

    command_id: ClassVar[int]
    command_status: int = 0
    sequence_number: int = 0
    tlvs: Tlvs = []

    def tlv(self, tag: int) -> bytes | None:
        """The value of the first optional parameter with this tag (a repeated one does not override it)."""
        for found, value in self.tlvs:
            if found == tag:
                return value
        return None

    def tlv_integer(self, tag: int) -> int | None:
        """The same as an unsigned integer of 1 to 4 octets; None if absent or of another size."""
        value = self.tlv(tag)
        return int.from_bytes(value, "big") if value and len(value) <= 4 else None

    def tlv_string(self, tag: int) -> bytes | None:
        """The same as a C-Octet String, up to its NUL, which peers forget."""
        value = self.tlv(tag)
        return None if value is None else value.partition(b"\0")[0]

    @property
    def congestion_state(self) -> int | None:
        """How full the SMSC is, 0 (idle) to 100 (congested), which any response may say (5.0 section
        4.8.4.18); None if it says nothing, or a reserved value."""
        value = self.tlv(c.TAG_CONGESTION_STATE)
        return value[0] if value and len(value) == 1 and value[0] <= c.CONGESTION_STATE_MAX else None


class _Bind(Pdu):
    system_id: bytes = b""
    password: bytes = b""
    system_type: bytes = b""
    interface_version: int = c.INTERFACE_VERSION_34
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: bytes = b""

    def __repr__(self) -> str:
        """Without the password: a PDU ends up in logs."""
        return f"{type(self).__name__}(system_id={self.system_id!r}, sequence_number={self.sequence_number})"


class _BindResp(Pdu):
    system_id: bytes = b""

    @property
    def sc_interface_version(self) -> int | None:
        """The version the SMSC speaks (5.3.2.25), as it gave it; None if it did not. `versions` reads it."""
        return self.tlv_integer(c.TAG_SC_INTERFACE_VERSION)


class BindReceiver(_Bind):
    """4.1.3"""

    command_id: ClassVar[int] = c.BIND_RECEIVER


class BindReceiverResp(_BindResp):
    """4.1.4"""

    command_id: ClassVar[int] = c.BIND_RECEIVER_RESP


class BindTransmitter(_Bind):
    """4.1.1"""

    command_id: ClassVar[int] = c.BIND_TRANSMITTER


class BindTransmitterResp(_BindResp):
    """4.1.2"""

    command_id: ClassVar[int] = c.BIND_TRANSMITTER_RESP


class BindTransceiver(_Bind):
    """4.1.5"""

    command_id: ClassVar[int] = c.BIND_TRANSCEIVER


class BindTransceiverResp(_BindResp):
    """4.1.6"""

    command_id: ClassVar[int] = c.BIND_TRANSCEIVER_RESP


class Outbind(Pdu):
    """4.1.7"""

    command_id: ClassVar[int] = c.OUTBIND
    system_id: bytes = b""
    password: bytes = b""

    def __repr__(self) -> str:
        """Without the password."""
        return f"Outbind(system_id={self.system_id!r}, sequence_number={self.sequence_number})"


class Unbind(Pdu):
    """4.2.1"""

    command_id: ClassVar[int] = c.UNBIND


class UnbindResp(Pdu):
    """4.2.2"""

    command_id: ClassVar[int] = c.UNBIND_RESP


class EnquireLink(Pdu):
    """4.11.1"""

    command_id: ClassVar[int] = c.ENQUIRE_LINK


class EnquireLinkResp(Pdu):
    """4.11.2"""

    command_id: ClassVar[int] = c.ENQUIRE_LINK_RESP


class GenericNack(Pdu):
    """4.3.1"""

    command_id: ClassVar[int] = c.GENERIC_NACK


class _Message(Pdu):
    service_type: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: bytes = b""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: bytes = b""
    validity_period: bytes = b""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""

    def __repr__(self) -> str:
        """Without text and addresses: a PDU ends up in logs."""
        return (
            f"{type(self).__name__}(sequence_number={self.sequence_number}, esm_class={self.esm_class:#04x}, "
            f"data_coding={self.data_coding:#04x}, sm_length={len(self.short_message)})"
        )

    @property
    def message(self) -> bytes:
        """The user data: short_message, or message_payload (5.2.21 allows only one of them)."""
        return self.short_message or self.tlv(c.TAG_MESSAGE_PAYLOAD) or b""


class SubmitSm(_Message):
    """4.4.1"""

    command_id: ClassVar[int] = c.SUBMIT_SM


class _MessageIdResp(Pdu):
    message_id: bytes = b""


class SubmitSmResp(_MessageIdResp):
    """4.4.2"""

    command_id: ClassVar[int] = c.SUBMIT_SM_RESP


class DeliverSm(_Message):
    """4.6.1"""

    command_id: ClassVar[int] = c.DELIVER_SM


class DeliverSmResp(_MessageIdResp):
    """4.6.2"""

    command_id: ClassVar[int] = c.DELIVER_SM_RESP


class DestAddress(msgspec.Struct, frozen=True):
    """One of submit_multi's destinations (4.5.1.1): an address, or the distribution list `dl_name`."""

    destination_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    dl_name: bytes = b""

    def __repr__(self) -> str:
        """Without the address."""
        return "DestAddress(...)"


class UnsuccessSme(msgspec.Struct, frozen=True):
    """One of submit_multi_resp's failures (4.5.2.1)."""

    destination_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    error_status_code: int = 0

    def __repr__(self) -> str:
        """Without the address."""
        return f"UnsuccessSme(error_status_code={self.error_status_code:#x})"


class SubmitMulti(Pdu):
    """4.5.1"""

    command_id: ClassVar[int] = c.SUBMIT_MULTI
    service_type: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addresses: list[DestAddress] = []
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: bytes = b""
    validity_period: bytes = b""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""

    def __repr__(self) -> str:
        """Without text and addresses."""
        return (
            f"SubmitMulti(sequence_number={self.sequence_number}, number_of_dests={len(self.dest_addresses)})"
        )


class SubmitMultiResp(_MessageIdResp):
    """4.5.2"""

    command_id: ClassVar[int] = c.SUBMIT_MULTI_RESP
    unsuccess_smes: list[UnsuccessSme] = []


class DataSm(Pdu):
    """4.7.1; the user data is always in message_payload."""

    command_id: ClassVar[int] = c.DATA_SM
    service_type: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: bytes = b""
    esm_class: int = 0
    registered_delivery: int = 0
    data_coding: int = 0

    def __repr__(self) -> str:
        """Without text and addresses."""
        return f"DataSm(sequence_number={self.sequence_number}, esm_class={self.esm_class:#04x})"

    @property
    def message(self) -> bytes:
        """The user data."""
        return self.tlv(c.TAG_MESSAGE_PAYLOAD) or b""


class DataSmResp(_MessageIdResp):
    """4.7.2"""

    command_id: ClassVar[int] = c.DATA_SM_RESP


class QuerySm(Pdu):
    """4.8.1"""

    command_id: ClassVar[int] = c.QUERY_SM
    message_id: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""

    def __repr__(self) -> str:
        """Without the address."""
        return f"QuerySm(message_id={self.message_id!r}, sequence_number={self.sequence_number})"


class QuerySmResp(Pdu):
    """4.8.2"""

    command_id: ClassVar[int] = c.QUERY_SM_RESP
    message_id: bytes = b""
    final_date: bytes = b""
    message_state: int = 0
    error_code: int = 0


class CancelSm(Pdu):
    """4.9.1. An empty message_id cancels *everything* between the two addresses: never by accident."""

    command_id: ClassVar[int] = c.CANCEL_SM
    service_type: bytes = b""
    message_id: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: bytes = b""

    def __repr__(self) -> str:
        """Without addresses."""
        return f"CancelSm(message_id={self.message_id!r}, sequence_number={self.sequence_number})"


class CancelSmResp(Pdu):
    """4.9.2"""

    command_id: ClassVar[int] = c.CANCEL_SM_RESP


class ReplaceSm(Pdu):
    """4.10.1"""

    command_id: ClassVar[int] = c.REPLACE_SM
    message_id: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    schedule_delivery_time: bytes = b""
    validity_period: bytes = b""
    registered_delivery: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""

    def __repr__(self) -> str:
        """Without text and addresses."""
        return f"ReplaceSm(message_id={self.message_id!r}, sequence_number={self.sequence_number})"


class ReplaceSmResp(Pdu):
    """4.10.2"""

    command_id: ClassVar[int] = c.REPLACE_SM_RESP


class AlertNotification(Pdu):
    """4.12.1; it has no response."""

    command_id: ClassVar[int] = c.ALERT_NOTIFICATION
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    esme_addr_ton: int = 0
    esme_addr_npi: int = 0
    esme_addr: bytes = b""

    def __repr__(self) -> str:
        """Without addresses."""
        return f"AlertNotification(sequence_number={self.sequence_number})"


class VendorPdu(Pdu, kw_only=True):
    """A PDU of a vendor (command_id 0x00010200 to 0x000102FF, or with the response bit): its body is kept
    octet by octet, `tlvs` stay empty."""

    command_id: int  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]
    body: bytes = b""

    def __repr__(self) -> str:
        """Without the body: nobody knows what is in it."""
        return (
            f"VendorPdu(command_id=0x{self.command_id:08X}, sequence_number={self.sequence_number}, "
            f"octets={len(self.body)})"
        )


PDUS: dict[int, type[Pdu]] = {
    pdu.command_id: pdu
    for pdu in (
        BindReceiver, BindReceiverResp, BindTransmitter, BindTransmitterResp, BindTransceiver,
        BindTransceiverResp, Outbind, Unbind, UnbindResp, EnquireLink, EnquireLinkResp, GenericNack, SubmitSm,
        SubmitSmResp, DeliverSm, DeliverSmResp, SubmitMulti, SubmitMultiResp, DataSm, DataSmResp, QuerySm,
        QuerySmResp, CancelSm, CancelSmResp, ReplaceSm, ReplaceSmResp, AlertNotification,
    )
}  # fmt: skip
"""The Struct of every command_id of SMPP 3.4."""
