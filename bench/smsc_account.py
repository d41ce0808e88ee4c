"""One account (system_id) at the simulated SMSC: its binds, its limits, its receipts on their way back.

Pure: no socket, no clock; `now` comes in. The hot loop is `Account.accept`: a batch of submit_sm frames
becomes one run of responses, one run of receipts and one log entry list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import repeat
from struct import Struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

from ..codecs.constants import (
    ESME_RMSGQFUL,
    ESME_RTHROTTLED,
    ESME_RX_P_APPN,
    ESME_RX_R_APPN,
    SUBMIT_SM_RESP,
)
from ..codecs.errors import Frame
from .handset import DELIVERED, ENROUTE, Fate, mo_body
from .smsc_config import command_status_of
from .smsc_log import HEAD_OCTETS, Entry
from .smsc_parts import Part, read_submits
from .wheel import TimerWheel

if TYPE_CHECKING:
    from .smsc_core import SmscCore
    from .smsc_session import EsmeSession

Item = tuple[int, bytes]
"""A deliver_sm on its way: (serial of the part, 0 for a mobile-originated message; body without header)."""

RELEASE_STEP_S: Final = 0.01
RELEASE_BATCH: Final = 2_000
"""Held receipts drawn at a time: enough to fill a window, little enough not to stall the loop."""
HEADER: Final = Struct(">4I").pack


class SlidingSecond:
    """How many parts came in the last second, and the most that ever did."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()
        self._sum = 0
        self.peak = 0

    def count(self, now: float) -> int:
        steps = self._steps
        while steps and steps[0][0] <= now - 1.0:
            self._sum -= steps.popleft()[1]
        return self._sum

    def add(self, now: float, parts: int) -> None:
        if parts:
            self._steps.append((now, parts))
            self._sum += parts
            self.peak = max(self.peak, self.count(now))


class Account:
    """Created by `SmscCore`, one for each system_id of the configuration."""

    def __init__(self, system_id: str, core: SmscCore) -> None:
        self.system_id = system_id
        self._core = core
        self._config = core.config
        self.sessions: list[EsmeSession] = []
        self.receivers: list[EsmeSession] = []
        self._turn = 0
        self._ready: deque[Item] = deque()
        self.receipts: TimerWheel[Item] = TimerWheel()
        self._held: list[Item] = []
        self._releasing = False
        self._release_started = 0.0
        self._release_count = 0
        self.unanswered_receipts = 0
        self._offered = SlidingSecond()
        self._taken = SlidingSecond()
        self._until_cut = self._config.cut_after_submits
        self._first_submit_at: float | None = None
        self._spells = [
            (spell.after_s, spell.after_s + spell.for_s, command_status_of(spell.command_status))
            for spell in self._config.spells
        ] or None
        self._states: tuple[dict[bytes, tuple[float, int]], dict[bytes, tuple[float, int]]] = ({}, {})

    # What the account holds

    @property
    def waiting(self) -> int:
        """Receipts and mobile-originated messages not yet answered by the ESME."""
        return len(self.receipts) + len(self._ready) + len(self._held) + self.unanswered_receipts

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def peak_parts_per_s(self) -> int:
        """Most parts offered in any sliding second."""
        return self._offered.peak

    def state_of(self, message_id: bytes, now: float) -> int | None:
        """Index into STATES of a message by the id of its response; None when unknown or forgotten."""
        found = self._states[0].get(message_id) or self._states[1].get(message_id)
        if found is None:
            return None
        final_at, state = found
        return state if now >= final_at else ENROUTE

    # submit_sm

    def accept(self, session: EsmeSession, frames: list[Frame], now: float) -> None:
        """Answer and take a batch of submit_sm that arrived together on `session`."""
        cut = False
        if self._until_cut:
            frames, cut = self._to_the_cut(frames)
        core = self._core
        core.counters.submits += len(frames)
        self._offered.add(now, len(frames))
        room, status = self._room(session, now)
        if self._spells is not None and (refusing := self._spell(now)):
            room, status = 0, refusing
        if room < len(frames):
            core.counters.refused(status, len(frames) - room)
            core.note(now, self.system_id, f"refused:0x{status:08x}", len(frames) - room)
            session.answer([HEADER(16, SUBMIT_SM_RESP, status, frame[2]) for frame in frames[room:]])
            frames = frames[:room]
        parts, refused = read_submits(frames)
        for sequence_number, status in refused:
            core.counters.refused(status, 1)
            session.answer([HEADER(16, SUBMIT_SM_RESP, status, sequence_number)])
        self.take(session, parts, SUBMIT_SM_RESP, now)
        if cut:
            core.counters.cuts += 1
            session.cut(self._config.cut_mode, now)

    def _to_the_cut(self, frames: list[Frame]) -> tuple[list[Frame], bool]:
        if len(frames) < self._until_cut:
            self._until_cut -= len(frames)
            return frames, False
        frames = frames[: self._until_cut]
        self._until_cut = self._config.cut_after_submits
        return frames, True

    def _room(self, session: EsmeSession, now: float) -> tuple[int, int]:
        """(how many parts may be taken now, the status for those beyond)."""
        config = self._config
        room, status = config.messages_max - self.waiting, ESME_RMSGQFUL
        if config.rate_max and (left := config.rate_max - self._taken.count(now)) < room:
            room, status = left, ESME_RTHROTTLED
        if config.window_max and (left := config.window_max - session.unanswered) < room:
            room, status = left, ESME_RTHROTTLED
        return max(room, 0), status

    def _spell(self, now: float) -> int:
        """The command_status of the spell of refusals at `now`, 0 outside them."""
        if self._first_submit_at is None:
            self._first_submit_at = now
        passed_s = now - self._first_submit_at
        for begins_s, ends_s, status in self._spells or ():
            if begins_s <= passed_s < ends_s:
                return status
        return 0

    def take(self, session: EsmeSession, parts: list[Part], response_id: int, now: float) -> None:
        """Accept `parts`: answer them as `response_id`, note their receipts, log them."""
        core = self._core
        fates: list[Fate] | None = None
        if not core.plain:
            parts, fates = self._choose(session, parts, response_id)
        if not parts:
            return
        self._taken.add(now, len(parts))
        session.unanswered += len(parts)
        session.peak_unanswered = max(session.peak_unanswered, session.unanswered)
        core.counters.accepted += len(parts)
        first_serial, core.serial = core.serial, core.serial + len(parts)
        in_response, in_receipt = core.ids.take(len(parts))
        if core.log is not None:
            states = repeat(DELIVERED) if fates is None else [fate.state for fate in fates]
            head_octets = _PAYLOAD_OCTETS_MAX if self._config.log_payload else HEAD_OCTETS
            entries = _entries(parts, in_response, in_receipt, states, head_octets)
            core.log.accepted(now, self.system_id, session.bind, first_serial, entries)
        responses = [
            HEADER(17 + len(message_id), response_id, 0, part[0]) + message_id
            for part, message_id in zip(parts, in_response, strict=True)
        ]
        if fates is None:
            self._play_plain(session, parts, responses, in_response, in_receipt, first_serial, now)
        else:
            for index, fate in enumerate(fates):
                message = first_serial + index, in_response[index], in_receipt[index]
                self._play(session, parts[index], fate, responses[index] + b"\0", message, now)
        self.pump(now)

    def _choose(
        self, session: EsmeSession, parts: list[Part], response_id: int
    ) -> tuple[list[Part], list[Fate]]:
        """Fates of `parts`; those to be refused are answered and left out."""
        choose = self._core.scenario.choose
        kept: list[Part] = []
        fates: list[Fate] = []
        for part in parts:
            fate = choose(part[2][2][2:-1])
            if fate.command_status:
                self._core.counters.refused(fate.command_status, 1)
                session.answer([HEADER(16, response_id, fate.command_status, part[0])])
            else:
                kept.append(part)
                fates.append(fate)
        return kept, fates

    def _play_plain(
        self,
        session: EsmeSession,
        parts: list[Part],
        responses: list[bytes],
        in_response: list[bytes],
        in_receipt: list[bytes],
        serial: int,
        now: float,
    ) -> None:
        """All are answered, and delivered, after the same delays: one timer entry for all."""
        core, config = self._core, self._config
        answered_at = now + config.response_delay_s
        final_at = answered_at + config.receipt_delay_s
        responses.append(b"")
        core.respond(session, b"\0".join(responses), len(parts), answered_at, now)
        self._remember(dict.fromkeys(in_response, (final_at, DELIVERED)))
        tail = core.receipts.tail(DELIVERED, b"000", now, final_at)
        body = core.receipts.body
        text_octets = _RECEIPT_TEXT_OCTETS if config.receipt_text else 0
        items = [
            (
                serial + index,
                body(
                    fields[0], fields[1], fields[2], in_receipt[index], DELIVERED, tail, payload[:text_octets]
                ),
            )
            for index, (_, payload, fields) in enumerate(parts)
            if fields[4] in _WANTS_SUCCESS
        ]
        self._schedule(final_at, items, now)

    def _play(
        self,
        session: EsmeSession,
        part: Part,
        fate: Fate,
        response: bytes,
        message: tuple[int, bytes, bytes],
        now: float,
    ) -> None:
        """One part with a fate of its own."""
        core, config = self._core, self._config
        serial, in_response, in_receipt = message
        _, payload, (service_type, source, destination, _, registered_delivery, _) = part
        answered_at = now + config.response_delay_s + config.response_jitter_s * core.random()
        delay_s = config.receipt_delay_s if fate.receipt_delay_s is None else fate.receipt_delay_s
        final_at = answered_at + delay_s + config.receipt_jitter_s * core.random()
        self._remember({in_response: (final_at, fate.state)})
        wanted = registered_delivery in (_WANTS_SUCCESS if fate.state == DELIVERED else _WANTS_FAILURE)
        text = payload[:_RECEIPT_TEXT_OCTETS] if config.receipt_text else b""
        head = service_type, source, destination, in_receipt

        def receipt(state: int, err: bytes) -> Item:
            tail = core.receipts.tail(state, err, now, final_at)
            # An intermediate receipt settles nothing: the log does not count it as this part's.
            return 0 if state == ENROUTE else serial, core.receipts.body(*head, state, tail, text)

        if wanted and fate.early_receipt and not fate.no_receipt:
            self._ready.append(receipt(fate.state, fate.err))
            self.pump(now)
        if fate.lost_response:
            core.counters.lost_responses += 1
            core.note(now, self.system_id, "response_lost", serial)
            session.unanswered -= 1
        else:
            core.respond(session, response, 1, answered_at, now)
        if fate.enroute_first and wanted:
            self._schedule(answered_at, [receipt(ENROUTE, b"000")], now)
        if wanted and not fate.no_receipt:
            copies = (0 if fate.early_receipt else 1) + (1 if fate.doubled_receipt else 0)
            self._schedule(final_at, [receipt(fate.state, fate.err)] * copies, now)

    def _remember(self, states: dict[bytes, tuple[float, int]]) -> None:
        """Keep the last `query_messages_max` states, in two generations."""
        half = self._config.query_messages_max // 2
        if not half:
            return
        if len(self._states[0]) >= half:
            self._states = {}, self._states[0]
        self._states[0].update(states)

    # Receipts and mobile-originated messages

    def _schedule(self, deadline: float, items: list[Item], now: float) -> None:
        if not items:
            return
        if deadline > now:
            self.receipts.extend(deadline, items)
        else:
            self._due(items, now)

    def handle_tick(self, now: float) -> None:
        """Send the receipts due at `now`."""
        items = self.receipts.due(now)
        if items:
            self._due(items, now)
            self.pump(now)

    def _due(self, items: list[Item], now: float) -> None:
        if self._config.hold_receipts:
            self._held += items
            if not self._releasing and len(self._held) >= self._config.hold_receipts:
                self.release(now)
            return
        if self._config.shuffle_receipts:
            self._core.rng.shuffle(items)
        self._ready.extend(items)

    def release(self, now: float) -> None:
        """Begin to send the held receipts, in random order, at `release_rate`."""
        if not self._releasing:
            self._releasing = True
            self._release_started = now
            self._core.note(now, self.system_id, "released", len(self._held))
        self.pump(now)

    def _draw(self, now: float) -> None:
        """Move a few held receipts, drawn at random, to the ready ones."""
        held, random, rate = self._held, self._core.random, self._config.release_rate
        count = min(len(held), RELEASE_BATCH - len(self._ready))
        if rate:
            allowed = int((now - self._release_started) * rate) - self._release_count
            count = min(count, allowed)
            if held:
                self._core.call_at(now + RELEASE_STEP_S, self.pump)
        for _ in range(max(count, 0)):
            index = int(random() * len(held))
            held[index], held[-1] = held[-1], held[index]
            self._ready.append(held.pop())
        self._release_count += max(count, 0)

    def pump(self, now: float) -> None:
        """Spread what is ready over the receiving binds, as far as their windows have room."""
        if self._releasing and self._held:
            self._draw(now)
        ready, receivers = self._ready, self.receivers
        full = 0
        while ready and full < len(receivers):
            session = receivers[self._turn % len(receivers)]
            self._turn += 1
            count = min(session.deliver_room, -(-len(ready) // len(receivers)))
            if count <= 0:
                full += 1
                continue
            full = 0
            if count == len(ready):
                items = list(ready)
                ready.clear()
            else:
                items = [ready.popleft() for _ in range(count)]
            session.deliver(items, now)

    def offer_again(self, items: list[Item], now: float) -> None:
        """Put unanswered deliver_sm back at the front, in order: their bind is gone."""
        self.unanswered_receipts -= len(items)
        self._core.counters.offered_again += len(items)
        self._ready.extendleft(reversed(items))
        self.pump(now)

    def refused(self, item: Item, command_status: int, now: float) -> None:
        """A deliver_sm_resp with an error: for ever (RX_P_APPN, RX_R_APPN), or to be offered later."""
        if command_status in (ESME_RX_P_APPN, ESME_RX_R_APPN):
            self._core.counters.receipts_dropped += 1
            return
        self._core.counters.offered_again += 1
        self._schedule(now + self._config.receipt_retry_s, [item], now)

    # Timed faults and handsets

    def start(self, now: float) -> None:
        """Arm the timers of this account."""
        if self._config.cut_every_s:
            self._core.call_at(now + self._config.cut_every_s, self._cut_one)
        if self._config.mo_rate:
            self._core.call_at(now + 1.0 / self._config.mo_rate, self._originate)

    def _cut_one(self, now: float) -> None:
        if self.sessions:
            self._core.counters.cuts += 1
            self._core.rng.choice(self.sessions).cut(self._config.cut_mode, now)
        self._core.call_at(now + self._config.cut_every_s, self._cut_one)

    def _originate(self, now: float) -> None:
        rng, config = self._core.rng, self._config
        if self.waiting < config.messages_max:
            handset = b"8190%08d" % rng.randrange(100_000_000)
            self._ready.append(
                (0, mo_body(handset, config.mo_destination.encode(), rng.choice(config.mo_texts)))
            )
            self.pump(now)
        self._core.call_at(now + 1.0 / config.mo_rate, self._originate)


_WANTS_SUCCESS: Final = frozenset(bytes((value,)) for value in range(256) if value & 1)
_WANTS_FAILURE: Final = frozenset(bytes((value,)) for value in range(256) if value & 3 in (1, 2))
_RECEIPT_TEXT_OCTETS: Final = 20
_PAYLOAD_OCTETS_MAX: Final = 1 << 17


def _entries(
    parts: list[Part],
    in_response: list[bytes],
    in_receipt: list[bytes],
    states: Iterable[int],
    head_octets: int,
) -> list[Entry]:
    return [
        (
            message_id,
            receipt_id,
            fields[1],
            fields[2],
            fields[3][0],
            fields[5][0],
            fields[4][0],
            crc32(payload),
            payload[:head_octets],
            state,
        )
        for (_, payload, fields), message_id, receipt_id, state in zip(
            parts, in_response, in_receipt, states, strict=False
        )
    ]
