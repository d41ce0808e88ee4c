"""From a valid submission to an entry of a carrier's block, or a refusal. Pure.

What is decided here is what the app is told at the door: which carrier takes the number, into how many parts
the text falls by that carrier's rules, and when it may first be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final, NamedTuple
from zlib import crc32

from ...codecs import segment
from ...codecs.errors import TextError
from ..ledger.blocks import Entry, Extra
from ..ledger.keys import LANES
from ..messages import INVALID_WINDOW, NO_ROUTE, UNKNOWN_CARRIER, Refusal, Valid
from . import hours
from .portability import KnownPortability
from .router import Router

URGENT: Final = LANES[0]


class Batchlet:
    """Messages of one submission that may share a block: same carrier, lane, campaign and moment. Parallel
    lists.
    """

    __slots__ = (
        "at_ms",
        "campaign",
        "carrier",
        "digests",
        "entries",
        "lane",
        "long",
        "payloads",
        "places",
        "refs",
    )

    def __init__(self, carrier: str, lane: str, campaign: str, at_ms: int) -> None:
        self.carrier = carrier
        self.lane = lane
        self.campaign = campaign
        self.at_ms = at_ms
        self.places: list[int] = []
        """Indexes in the submission."""
        self.entries: list[Entry] = []
        self.payloads: list[bytes | None] = []
        """Octets of one-part GSM-7 texts, else None."""
        self.digests: list[int] = []
        """See body_digest; 0 without a ref."""
        self.refs = False
        self.long = False

    def only(self, positions: list[int]) -> Batchlet:
        """A batchlet of the messages at these positions."""
        some = Batchlet(self.carrier, self.lane, self.campaign, self.at_ms)
        some.places = [self.places[position] for position in positions]
        some.entries = [self.entries[position] for position in positions]
        some.payloads = [self.payloads[position] for position in positions]
        some.digests = [self.digests[position] for position in positions]
        some.refs, some.long = self.refs, self.long
        return some


class CarrierRules(NamedTuple):
    """What preparing needs to know of a carrier."""

    rules: segment.Rules
    sender: str
    gsm7_first: bool
    """GSM-7 is the first alphabet tried, one part holds 160 units: the fast path applies."""
    least_ms: int = hours.VALIDITY_LEAST_MS
    """How much time a message must have left to be sent."""


class Preparer:
    """Routes and measures messages for the carriers of one node."""

    def __init__(
        self,
        router: Router,
        carriers: dict[str, CarrierRules],
        avoided: Set[str] = frozenset(),
        portability: KnownPortability | None = None,
        monotonic: Callable[[], float] = lambda: 0.0,
        has_room: Callable[[str], bool] = lambda carrier: True,
    ) -> None:
        """`avoided`: carriers that are not chosen while a route has another that `has_room` (it would send
        what it is given soon; urgent messages do not ask); read at every submission.
        `portability` may know better than a prefix whose a number is; its times are `monotonic`'s.
        """
        self._portability = portability
        self._monotonic = monotonic
        self._router = router
        self._carriers = carriers
        self._avoided = avoided
        self._has_room = has_room

    def prepare(
        self, messages: list[Valid], places: list[int], now_ms: int
    ) -> tuple[list[Batchlet], list[Refusal]]:
        """A submission, in order. `places` are the messages' indexes; `now_ms` wall-clock milliseconds."""
        batchlets: list[Batchlet] = []
        refused: list[Refusal] = []
        choose, carriers, single = self._router.choose, self._carriers, segment.single
        avoided = self._avoided
        portability = self._portability
        if portability is not None and portability:
            numbers, now = portability, self._monotonic()

            def choose(to: str) -> tuple[str, ...]:
                return self._router.choose_ported(to, numbers, now)

        last: Batchlet | None = None
        for valid, place in zip(messages, places, strict=True):
            to = valid.to
            text = valid.text
            ref = valid.ref
            if valid.carrier is None:
                names = choose(to)
                if not names:
                    refused.append(
                        Refusal(place, ref, "to", NO_ROUTE, "no route has a prefix of this number")
                    )
                    continue
                name = names[0]
                if avoided and name in avoided:
                    other = next((each for each in names if each not in avoided), name)
                    if valid.lane == URGENT or self._has_room(other):
                        name = other
            else:
                name = valid.carrier
                if name not in carriers:
                    known = ", ".join(carriers)
                    refused.append(
                        Refusal(place, ref, "carrier", UNKNOWN_CARRIER, f"no such carrier; known: {known}")
                    )
                    continue
            carrier = carriers[name]
            payload = single(text) if text is not None and carrier.gsm7_first else None
            parts = 1
            at_ms = valid.at_ms
            extra = None
            if payload is None or not valid.receipt or valid.window is not None or valid.tags:
                slow = _slow(valid, carrier, payload is None, place, now_ms)
                if type(slow) is Refusal:
                    refused.append(slow)
                    continue
                assert type(slow) is tuple
                parts, at_ms, extra = slow
            if at_ms <= now_ms:
                at_ms = 0
            campaign = valid.campaign or ""
            batchlet = last
            if (
                batchlet is None
                or batchlet.carrier != name
                or batchlet.lane != valid.lane
                or batchlet.at_ms != at_ms
                or batchlet.campaign != campaign
            ):
                for batchlet in batchlets:
                    if (batchlet.carrier, batchlet.lane, batchlet.at_ms) == (name, valid.lane, at_ms) and (
                        batchlet.campaign == campaign
                    ):
                        break
                else:
                    batchlet = Batchlet(name, valid.lane, campaign, at_ms)
                    batchlets.append(batchlet)
                last = batchlet
            batchlet.places.append(place)
            batchlet.entries.append(
                Entry(to, valid.sender, text or "", ref, parts, valid.expires_ms, 0, extra)
            )
            batchlet.payloads.append(payload)
            if parts > 1:
                batchlet.long = True
            if ref is None:
                batchlet.digests.append(0)
            else:
                batchlet.refs = True
                batchlet.digests.append(body_digest(valid))
        return batchlets, refused


def _slow(
    valid: Valid, carrier: CarrierRules, measure: bool, place: int, now_ms: int
) -> tuple[int, int, Extra | None] | Refusal:
    """Parts, first moment and extras of a message that is not one plain part, or why it is refused."""
    parts = 1
    if measure:
        try:
            if valid.text is not None:
                parts = len(segment.segment(valid.text, carrier.rules).parts)
            else:
                parts = len(segment.segment_data(valid.data or b"", carrier.rules).parts)
        except TextError as error:
            return Refusal(
                place, valid.ref, "text" if valid.text is not None else "data", error.code, error.detail
            )
    at_ms = valid.at_ms
    extra = None
    if not valid.receipt or valid.window is not None or valid.tags or valid.data is not None:
        extra = Extra(receipt=valid.receipt, window=valid.window, tags=valid.tags, data=valid.data)
    if valid.window is not None:
        earliest_ms = max(now_ms, at_ms)
        opens_ms = hours.next_moment(valid.window, earliest_ms, carrier.least_ms)
        if opens_ms == hours.NEVER_MS or (valid.expires_ms and opens_ms >= valid.expires_ms):
            return Refusal(
                place, valid.ref, "window", INVALID_WINDOW, "the window does not open before `expires`"
            )
        at_ms = max(at_ms, opens_ms) if opens_ms > earliest_ms else at_ms
    return parts, at_ms, extra


def body_digest(valid: Valid) -> int:
    """What must be equal for a repeated reference to be a duplicate and not a conflict (32 bits)."""
    digest = crc32(f"{valid.to}\0{valid.sender}\0{valid.text}".encode())
    if valid.at_ms or valid.expires_ms or valid.carrier is not None or valid.window is not None or valid.data:
        window = valid.window
        hours_of = None if window is None else (window.from_, window.to, window.zone, window.days)
        rest = (valid.at_ms, valid.expires_ms, valid.carrier, hours_of, valid.data)
        digest = crc32(repr(rest).encode(), digest)
    return digest
