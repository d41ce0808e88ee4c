"""What a simulated SMSC shall do: one frozen structure, checked when it is made.

Nothing here reads a file or a clock. `SmscConfig` can be written as JSON (`msgspec.json`), so that a
simulator in its own process gets exactly the configuration a test holds in its hands.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

from ..codecs import constants

PROPORTION_SUM_MAX: Final = 1.0 + 1e-9
CUT_MODES: Final = ("reset", "close", "unbind", "silence")
STATES: Final = (
    "delivered",
    "expired",
    "deleted",
    "undeliverable",
    "accepted",
    "unknown",
    "rejected",
    "skipped",
    "enroute",
)
"""Indexes into this tuple are what the submit log stores: append, never reorder."""

IdForm = Literal[
    "decimal",  # 1000000007 in the response and in the receipt
    "hex",  # 3b9aca07, both
    "hex_decimal",  # 3b9aca07 in the response, 1000000007 in the receipt
    "decimal_hex",  # the reverse
    "uuid",
    "zeros",  # 0000001000000007 in the response, zeros stripped in the receipt
    "zeros_receipt",  # the reverse
    "mixed_case",  # 3B9ACA07 in the response, 3b9aca07 in the receipt
    "mixed",  # one of the above after the other, as behind a balancer
]


class ScenarioError(ValueError):
    """A configuration that cannot be played; the text names the key and the values allowed."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to parts whose destination ends in `suffix`; the longest suffix wins.

    `first` > 0 applies the rule only to the first so many submits to each such destination.
    """

    suffix: str
    first: int = 0
    command_status: str | None = None
    """Name ("ESME_RMSGQFUL") or number ("0x14", "20") answered instead of taking the part."""
    state: str | None = None
    """Final state, "undeliverable" or with its err code "undeliverable:027"."""
    receipt_delay_s: float | None = None
    lost_response: bool = False
    no_receipt: bool = False
    early_receipt: bool = False
    doubled_receipt: bool = False


class Spell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time in which every part of an account is refused with `command_status`.

    It begins `after_s` seconds after the account's first submit and lasts `for_s`.
    """

    after_s: float
    for_s: float
    command_status: str


class SmscConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulated SMSC. Proportions are 0..1, times seconds, rates per second; 0 switches a limit off.

    Raises `ScenarioError` when a value cannot be played.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: str | None = None
    tls_key: str | None = None
    accounts: dict[str, str] = msgspec.field(default_factory=lambda: {"todoke": "secret"})
    """system_id -> password."""
    smsc_id: str = "todoke-smsc"
    """system_id in bind_resp."""
    seed: int = 1
    id_start: int = 1_000_000_000
    """The first message_id is this plus one."""
    id_form: IdForm = "decimal"

    # What an account may do
    binds_max: int = 16
    connections_max: int = 1_000
    rate_max: int = 0
    """Parts per sliding second for an account; above it ESME_RTHROTTLED."""
    window_max: int = 0
    """Unanswered requests a bind may have; above it ESME_RTHROTTLED."""
    messages_max: int = 4_000_000
    """Receipts and mobile-originated messages held for an account; above it ESME_RMSGQFUL."""
    query_messages_max: int = 200_000
    """How many of the latest messages query_sm can be asked about."""
    pdu_octets_max: int = 70_000
    bind_timeout_s: float = 30.0
    inactivity_s: float = 0.0
    enquire_link_s: float = 0.0

    bind_errors: dict[str, float] = {}
    """command_status -> proportion of binds with good credentials refused so."""

    # Answers
    response_delay_s: float = 0.0
    response_jitter_s: float = 0.0
    """Each response waits response_delay_s plus up to this, evenly spread."""
    errors: dict[str, float] = {}
    """command_status (name or number) -> proportion of parts answered so and not taken."""
    lost_responses: float = 0.0
    """Taken, but never answered."""

    # Receipts
    receipt_delay_s: float = 0.0
    """From the response to the receipt."""
    receipt_jitter_s: float = 0.0
    states: dict[str, float] = {}
    """Final state ("undeliverable", "undeliverable:027") -> proportion; the rest is delivered."""
    receipt_form: Literal["text", "tlv", "both"] = "text"
    receipt_text: bool = False
    """Put the first 20 octets of a one-part text into the receipt."""
    no_receipts: float = 0.0
    early_receipts: float = 0.0
    """The receipt is written before the response."""
    doubled_receipts: float = 0.0
    enroute_first: float = 0.0
    """An intermediate ENROUTE receipt goes out with the response."""
    shuffle_receipts: bool = False
    """Receipts due together go out in random order."""
    hold_receipts: int = 0
    """Hold every receipt until so many are held (or `release()`, SIGUSR1), then send them shuffled."""
    release_rate: float = 0.0
    """Receipts per second after a release."""
    receipt_window_max: int = 1_000
    """Unanswered deliver_sm per bind."""
    receipt_timeout_s: float = 30.0
    """An unanswered deliver_sm is offered again after this."""
    receipt_retry_s: float = 5.0
    """One answered with a temporary error is offered again after this."""

    # Handsets (see `population`): the same for every SMSC with this seed
    handsets_seed: int = 1
    gone: float = 0.0
    """Handsets that nothing reaches: their parts end undeliverable."""
    away: float = 0.0
    """Handsets that are away when a part comes: its receipt comes up to `away_s` later."""
    away_s: float = 60.0

    # Faults
    spells: list[Spell] = []
    cut_every_s: float = 0.0
    cut_after_submits: int = 0
    """Cut the bind that delivers every so manieth submit of the account, its responses unwritten."""
    cut_mode: Literal["reset", "close", "unbind", "silence"] = "reset"

    # Messages from handsets
    mo_rate: float = 0.0
    mo_destination: str = "0032069000"
    mo_texts: list[str] = msgspec.field(default_factory=lambda: ["STOP", "YES", "Where is my parcel?"])

    rules: list[Rule] = []
    log: str | None = None
    """Path of the log of accepted submits (see `smsc_log`)."""
    log_payload: bool = False
    """Keep every part's payload octets in the log, not only their checksum."""
    statistics_s: float = 0.0
    """Print statistics so often."""
    json: bool = False

    def __post_init__(self) -> None:
        for name in ("errors", "states", "bind_errors"):
            _check_proportions(name, getattr(self, name))
        for name in _PROPORTIONS:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ScenarioError(f"{name}: {getattr(self, name)}: 0 to 1 is allowed")
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ScenarioError(f"{name}: {value}: must be 0 or more")
        for name in ("binds_max", "connections_max", "messages_max", "receipt_window_max"):
            if getattr(self, name) < 1:
                raise ScenarioError(f"{name}: {getattr(self, name)}: must be 1 or more")
        for key in [*self.errors, *self.bind_errors, *(spell.command_status for spell in self.spells)]:
            command_status_of(key)
        if self.gone + self.away > PROPORTION_SUM_MAX:
            raise ScenarioError("gone, away: their sum is at most 1")
        for spell in self.spells:
            if not (0 <= spell.after_s < math.inf and 0 < spell.for_s < math.inf):
                raise ScenarioError("spells: after_s is 0 or more, for_s more than 0")
        for key in self.states:
            state_of(key)
        for rule in self.rules:
            if rule.command_status is not None:
                command_status_of(rule.command_status)
            if rule.state is not None:
                state_of(rule.state)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ScenarioError("tls_cert and tls_key go together")
        if self.hold_receipts > self.messages_max:
            raise ScenarioError(
                f"hold_receipts: {self.hold_receipts}: more than messages_max ({self.messages_max})"
            )

    def __repr__(self) -> str:
        """Everything but the passwords."""
        shown = {
            name: sorted(self.accounts) if name == "accounts" else getattr(self, name)
            for name in self.__struct_fields__
        }
        return "SmscConfig(" + ", ".join(f"{name}={value!r}" for name, value in shown.items()) + ")"


_PROPORTIONS: Final = (
    "lost_responses",
    "no_receipts",
    "early_receipts",
    "doubled_receipts",
    "enroute_first",
    "gone",
    "away",
)
_NOT_NEGATIVE: Final = (
    "port",
    "rate_max",
    "window_max",
    "query_messages_max",
    "bind_timeout_s",
    "inactivity_s",
    "enquire_link_s",
    "response_delay_s",
    "response_jitter_s",
    "receipt_delay_s",
    "receipt_jitter_s",
    "hold_receipts",
    "release_rate",
    "receipt_timeout_s",
    "receipt_retry_s",
    "away_s",
    "cut_every_s",
    "cut_after_submits",
    "mo_rate",
    "statistics_s",
)


def command_status_of(text: str) -> int:
    """The number of a command_status given by name or number. Raises `ScenarioError`."""
    if text.startswith("ESME_"):
        value = getattr(constants, text, None)
        if isinstance(value, int):
            return value
    else:
        try:
            value = int(text, 0)
        except ValueError:
            value = None
        if value is not None and 0 < value <= 0xFFFFFFFF:
            return value
    raise ScenarioError(
        f"command_status {text!r}: unknown; a name such as ESME_RTHROTTLED or a number is allowed"
    )


def state_of(text: str) -> tuple[int, bytes]:
    """(index into STATES, err code) of "undeliverable" or "undeliverable:027". Raises `ScenarioError`."""
    word, _, err = text.partition(":")
    if word not in STATES:
        raise ScenarioError(f"state {word!r}: unknown; allowed: {', '.join(STATES)}")
    if not err:
        err = "000" if word == "delivered" else "001"
    if not (err.isascii() and err.isalnum() and len(err) <= 8):
        raise ScenarioError(f"err code {err!r}: 1 to 8 ASCII letters and digits are allowed")
    return STATES.index(word), err.encode()


def _check_proportions(name: str, table: dict[str, float]) -> None:
    if any(not 0.0 <= value <= 1.0 for value in table.values()) or sum(table.values()) > PROPORTION_SUM_MAX:
        raise ScenarioError(f"{name}: proportions are 0 to 1 and their sum at most 1")
