"""What the codecs raise, by what the caller has to do.

    CodecError
     ├─ FramingError   the octet stream has lost its frames: send generic_nack, close the session
     ├─ PduError       one PDU is wrong: answer it with `command_status`, go on
     └─ TextError      a text or a time cannot be put into a PDU: refuse the message

No error carries message text, an address or a password: only names, limits and lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

from .constants import BROADCAST_NAMES, COMMAND_NAMES, STATUS_NAMES

Frame = tuple[int, int, int, bytes]
"""(command_id, command_status, sequence_number, whole PDU)"""


class CodecError(Exception):
    """The root: nothing else leaves this package for bad octets or a bad text."""


class FramingError(CodecError):
    """The stream cannot be followed further (SMPP 3.4 section 3.2: command_length is the only framing).

    `command_status` goes into the generic_nack, `sequence_number` too (0: the header could not be read).
    `frames` are the good frames that came before it in the same buffer: deal with them, then close.
    """

    def __init__(
        self, command_status: int, sequence_number: int, detail: str, frames: Sequence[Frame] = ()
    ) -> None:
        super().__init__(f"{status_name(command_status)}: {detail}")
        self.command_status = command_status
        self.sequence_number = sequence_number
        self.detail = detail
        self.frames: list[Frame] = list(frames)


class PduError(CodecError):
    """One field of one PDU breaks a rule; the stream is still framed.

    `pdu` and `field` are the specification's names, `limit` says the rule in words ("1 to 20 octets").
    `command_status` is what to answer with; `sequence_number` that of the PDU (0 when encoding).
    """

    def __init__(
        self, pdu: str, field: str, limit: str, command_status: int, sequence_number: int = 0
    ) -> None:
        super().__init__(f"{pdu}: {field}: {limit} ({status_name(command_status)})")
        self.pdu = pdu
        self.field = field
        self.limit = limit
        self.command_status = command_status
        self.sequence_number = sequence_number


class TextError(CodecError):
    """A text (or time) cannot be sent: `code` is "unencodable" or "too_long"; `detail` names no character."""

    def __init__(self, field: str, code: str, detail: str) -> None:
        super().__init__(f"{field}: {code}: {detail}")
        self.field = field
        self.code = code
        self.detail = detail


def status_name(command_status: int) -> str:
    """The specification's name of a command_status, or its number in hex where it has none."""
    return STATUS_NAMES.get(command_status) or f"0x{command_status:08X}"


def command_name(command_id: int) -> str:
    """The specification's name of a command_id, or its number in hex where it has none."""
    return COMMAND_NAMES.get(command_id) or BROADCAST_NAMES.get(command_id) or f"0x{command_id:08X}"
