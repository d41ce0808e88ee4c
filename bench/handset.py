"""What becomes of a part behind the simulated SMSC: its ids, its fate, its receipt.

Pure: randomness comes in as a `random.Random`, time as an argument. Receipts follow SMPP 3.4 Appendix B
(text) and SMPP 5 section 4.3.5.1 (TLVs, addresses swapped).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from ..codecs.constants import TAG_MESSAGE_STATE, TAG_RECEIPTED_MESSAGE_ID
from .population import THERE, Population
from .smsc_config import STATES, Rule, SmscConfig, command_status_of, state_of

if TYPE_CHECKING:
    from random import Random

T = TypeVar("T")
DELIVERED: Final = STATES.index("delivered")
ENROUTE: Final = STATES.index("enroute")
_STAT: Final = (
    b"DELIVRD",
    b"EXPIRED",
    b"DELETED",
    b"UNDELIV",
    b"ACCEPTD",
    b"UNKNOWN",
    b"REJECTD",
    b"SKIPPED",
    b"ENROUTE",
)
_ESM_CLASS_RECEIPT: Final = b"\x04"
_ESM_CLASS_INTERMEDIATE: Final = b"\x20"
_TAILS_MAX: Final = 10_000
_RULE_COUNTS_MAX: Final = 1_000_000

MESSAGE_STATES: Final = (2, 3, 4, 5, 6, 7, 8, 9, 1)
"""message_state values (SMPP 5 section 4.7.15) by index into STATES."""


class Ids:
    """Message ids of one SMSC, counted up from `start`, in the form it writes them."""

    def __init__(self, form: str, start: int, rng: Random) -> None:
        self._form = form
        self._next = start + 1
        self._rng = rng
        self._writers = _ID_WRITERS.get(form)
        self._turns = [Ids(each, start, rng) for each in (*_ID_WRITERS, "uuid")] if form == "mixed" else []

    def take(self, count: int) -> tuple[list[bytes], list[bytes]]:
        """`count` new ids: as written in responses, and as written in receipts (maybe the same list)."""
        numbers = range(self._next, self._next + count)
        self._next += count
        if self._turns:
            return self._take_mixed(numbers)
        if self._writers is None:
            ids = [_uuid(self._rng.getrandbits(128)) for _ in numbers]
            return ids, ids
        in_response, in_receipt = self._writers
        ids = [in_response % number for number in numbers]
        return ids, ids if in_response == in_receipt else [in_receipt % number for number in numbers]

    def _take_mixed(self, numbers: range) -> tuple[list[bytes], list[bytes]]:
        in_response: list[bytes] = []
        in_receipt: list[bytes] = []
        for number in numbers:
            form = self._turns[number % len(self._turns)]
            form._next = number
            first, second = form.take(1)
            in_response += first
            in_receipt += second
        return in_response, in_receipt


_ID_WRITERS: Final[dict[str, tuple[bytes, bytes]]] = {
    "decimal": (b"%d", b"%d"),
    "hex": (b"%x", b"%x"),
    "hex_decimal": (b"%x", b"%d"),
    "decimal_hex": (b"%d", b"%x"),
    "zeros": (b"%016d", b"%d"),
    "zeros_receipt": (b"%d", b"%016d"),
    "mixed_case": (b"%X", b"%x"),
}


def _uuid(bits: int) -> bytes:
    digits = b"%032x" % bits
    return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Fate(NamedTuple):
    """What happens to one part. `command_status` other than 0: not taken, the rest does not apply."""

    command_status: int = 0
    state: int = DELIVERED
    err: bytes = b"000"
    receipt_delay_s: float | None = None
    lost_response: bool = False
    no_receipt: bool = False
    early_receipt: bool = False
    doubled_receipt: bool = False
    enroute_first: bool = False


PLAIN: Final = Fate()
GONE: Final = STATES.index("undeliverable"), b"001"
"""What becomes of a part to a handset that is gone: unknown subscriber."""


class Scenario:
    """Chooses fates by proportion and by destination rule, from one random source."""

    def __init__(self, config: SmscConfig, rng: Random) -> None:
        self._rng = rng
        self._statuses = _Proportions(
            [(command_status_of(key), part) for key, part in config.errors.items()], 0
        )
        self._binds = _Proportions(
            [(command_status_of(key), part) for key, part in config.bind_errors.items()], 0
        )
        self._states = _Proportions(
            [(state_of(key), part) for key, part in config.states.items()], (DELIVERED, b"000")
        )
        self._flags = (
            config.lost_responses,
            config.no_receipts,
            config.early_receipts,
            config.doubled_receipts,
            config.enroute_first,
        )
        self._rules = {rule.suffix.encode(): (rule, _fate_of(rule)) for rule in config.rules}
        self._suffix_octets = sorted({len(suffix) for suffix in self._rules}, reverse=True)
        self._counts: dict[bytes, int] = {}
        self._receipt_delay_s = config.receipt_delay_s
        self._population = Population(config.handsets_seed, config.gone, config.away, config.away_s)
        self.plain = self._population.all_there and not (
            config.errors or config.states or any(self._flags) or self._rules
        )
        """Every part gets the fate PLAIN: callers need not ask."""

    def choose(self, destination: bytes) -> Fate:
        """The fate of a part to `destination` (digits)."""
        ruled = self._ruled(destination) if self._rules else None
        if ruled is not None:
            return ruled
        random = self._rng.random
        command_status = self._statuses.choose(random)
        if command_status:
            return Fate(command_status)
        state, err = self._states.choose(random)
        lost, none, early, doubled, enroute = (part > 0.0 and random() < part for part in self._flags)
        delay_s = None
        handset = THERE if self._population.all_there else self._population.handset(destination)
        if handset is not THERE:
            if handset.gone:
                state, err = GONE
            else:
                # Nothing is told of a part before its handset is back.
                early, delay_s = False, self._receipt_delay_s + handset.away_s
        return Fate(0, state, err, delay_s, lost, none, early, doubled, enroute)

    def choose_bind(self) -> int:
        """The command_status of a bind with good credentials."""
        return self._binds.choose(self._rng.random)

    def _ruled(self, destination: bytes) -> Fate | None:
        for octets in self._suffix_octets:
            found = self._rules.get(destination[-octets:])
            if found is None:
                continue
            rule, fate = found
            if rule.first:
                count = self._counts.get(destination, 0)
                if count >= rule.first or len(self._counts) >= _RULE_COUNTS_MAX:
                    return None
                self._counts[destination] = count + 1
            return fate
        return None


def _fate_of(rule: Rule) -> Fate:
    state, err = state_of(rule.state) if rule.state else (DELIVERED, b"000")
    return Fate(
        command_status_of(rule.command_status) if rule.command_status else 0,
        state,
        err,
        rule.receipt_delay_s,
        rule.lost_response,
        rule.no_receipt,
        rule.early_receipt,
        rule.doubled_receipt,
    )


class _Proportions(Generic[T]):
    """Values by proportion, the remainder `rest`. Draws no random number when there is no choice."""

    def __init__(self, table: list[tuple[T, float]], rest: T) -> None:
        self._values = [value for value, _ in table]
        self._bounds = list(accumulate(part for _, part in table))
        self._values.append(rest)

    def choose(self, random: Callable[[], float]) -> T:
        if not self._bounds:
            return self._values[0]
        return self._values[bisect_right(self._bounds, random())]


class Receipts:
    """Builds deliver_sm bodies (everything after the header) for the receipts of one SMSC."""

    def __init__(self, form: str, wall_offset_s: float) -> None:
        self._text = form in ("text", "both")
        self._tlv = form in ("tlv", "both")
        self._wall_offset_s = wall_offset_s
        self._tails: dict[tuple[int, int, int, bytes], bytes] = {}

    def tail(self, state: int, err: bytes, submitted: float, done: float) -> bytes:
        """Receipt text after the id, up to and including "text:". Dates have minutes, so tails are few."""
        minutes = int(submitted + self._wall_offset_s) // 60, int(done + self._wall_offset_s) // 60
        key = (state, *minutes, err)
        tail = self._tails.get(key)
        if tail is None:
            if len(self._tails) >= _TAILS_MAX:
                self._tails.clear()
            tail = self._tails[key] = (
                b" sub:001 dlvrd:%b submit date:%b done date:%b stat:%b err:%b text:"
                % (
                    b"001" if state == DELIVERED else b"000",
                    _date(minutes[0]),
                    _date(minutes[1]),
                    _STAT[state],
                    err,
                )
            )
        return tail

    def body(
        self,
        service_type: bytes,
        source: bytes,
        destination: bytes,
        message_id: bytes,
        state: int,
        tail: bytes,
        text: bytes = b"",
    ) -> bytes:
        """One receipt. `service_type` and the addresses come NUL-terminated, as on the submit_sm
        (ton, npi, digits), and are swapped here; `tail` comes from `tail()`."""
        esm_class = _ESM_CLASS_INTERMEDIATE if state == ENROUTE else _ESM_CLASS_RECEIPT
        short_message = b"id:" + message_id + tail + text if self._text else b""
        head = b"%b%b%b%b\0\0\0\0\0\0\0\0%c" % (
            service_type,
            destination,
            source,
            esm_class,
            len(short_message),
        )
        if not self._tlv:
            return head + short_message
        tlvs = struct.pack(">HHB", TAG_MESSAGE_STATE, 1, MESSAGE_STATES[state])
        tlvs += struct.pack(">HH", TAG_RECEIPTED_MESSAGE_ID, len(message_id) + 1) + message_id + b"\0"
        return head + short_message + tlvs


def _date(minute: int) -> bytes:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%y%m%d%H%M").encode()


def mo_body(handset: bytes, destination: bytes, text: str) -> bytes:
    """A mobile-originated deliver_sm body: ASCII as data_coding 0, anything else as UCS-2 (8)."""
    octets, data_coding = (text.encode(), 0) if text.isascii() else (text.encode("utf-16-be"), 8)
    octets = octets[:254]
    return b"\0\1\1%b\0\1\1%b\0\0\0\0\0\0\0\0%c\0%c%b" % (
        handset,
        destination,
        data_coding,
        len(octets),
        octets,
    )
