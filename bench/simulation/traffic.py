"""What the apps send, drawn from a seed: batches of messages, a third of them in parts. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from .marks import data_of, text_of

DAY_S: Final = 86_400.0
LARGEST_BATCH: Final = 120
SHARED_NUMBERS: Final = "8180"
"""Numbers that begin so get several messages."""
_ZONES: Final = ("Asia/Tokyo", "UTC", "America/New_York")


class Sent(msgspec.Struct, frozen=True):
    """One message as an app submits it. Times are Unix times in milliseconds, 0 for none."""

    number: int
    app: str
    to: str
    ref: str | None
    at_ms: int
    expires_ms: int
    window_ms: tuple[int, int]
    """The first span of allowed hours; (0, 0): no window. Later days repeat it."""
    receipt: bool
    body: dict[str, Any]
    """The object that is submitted."""


class Batch(msgspec.Struct, frozen=True):
    """Messages of one submit. `cancel`: numbers that the app cancels `cancel_after_s` after the answer."""

    at_s: float
    app: str
    messages: list[Sent]
    cancel: list[int]
    cancel_after_s: float


def draw_traffic(
    rng: random.Random,
    apps: Sequence[str],
    carriers: Sequence[str],
    length_s: float,
    messages: int,
    wall_start_s: float,
) -> list[Batch]:
    """Batches within `length_s`, in order of time; the last tenth stays free so that retries have room."""
    batches: list[Batch] = []
    number = 0
    while number < messages:
        at_s = round(rng.uniform(0.002, 0.9) * length_s, 3)
        count = min(messages - number, rng.choice((1, 1, 2, 5, 20, 60, LARGEST_BATCH)))
        app = rng.choice(apps)
        lane = rng.choice(("urgent", "normal", "normal", "bulk"))
        carrier = rng.choice((None, None, None, rng.choice(carriers)))
        sent = [
            _message(rng, number + index, app, lane, carrier, at_s, length_s, wall_start_s)
            for index in range(count)
        ]
        number += count
        cancel = [each.number for each in sent if rng.random() < 0.02]
        batches.append(Batch(at_s, app, sent, cancel, rng.choice((0.0, 0.01, 1.0, 60.0))))
    batches.sort(key=lambda batch: (batch.at_s, batch.messages[0].number))
    return batches


def _message(
    rng: random.Random,
    number: int,
    app: str,
    lane: str,
    carrier: str | None,
    at_s: float,
    length_s: float,
    wall_start_s: float,
) -> Sent:
    # A few numbers get several messages, so that references and receipts have to be told apart.
    to = f"8190{number:08d}" if rng.random() < 0.9 else f"{SHARED_NUMBERS}{rng.randrange(5):08d}"
    ref = f"r{number}" if rng.random() < 0.95 else None
    body: dict[str, Any] = {"to": "+" + to, "lane": lane}
    if ref is not None:
        body["ref"] = ref
    if carrier is not None:
        body["carrier"] = carrier
    shape = rng.random()
    if shape < 0.55:
        body["text"] = text_of(number, rng.randrange(8, 161), japanese=False)
    elif shape < 0.66:
        body["text"] = text_of(number, rng.randrange(30, 71), japanese=True)
    elif shape < 0.83:
        body["text"] = text_of(
            number, rng.choice((rng.randrange(161, 320), rng.randrange(161, 700))), japanese=False
        )
    elif shape < 0.97:
        body["text"] = text_of(
            number, rng.choice((rng.randrange(71, 135), rng.randrange(71, 300))), japanese=True
        )
    else:
        body["data"] = data_of(number, rng.randrange(20, 400))
    receipt = rng.random() >= 0.05
    if not receipt:
        body["receipt"] = False
    now_ms = int((wall_start_s + at_s) * 1000)
    at_ms = expires_ms = 0
    window_ms = (0, 0)
    if rng.random() < 0.05:
        at_ms = now_ms + rng.randrange(1_000, int(length_s * 100))
        body["at"] = _rfc3339(at_ms)
        at_ms = at_ms // 1000 * 1000
    if rng.random() < 0.15:
        window_ms = _window(rng, body, max(at_ms, now_ms), length_s)
    # What misses its window is put off by a day: only where that is no longer than the rest.
    if rng.random() < 0.15 or (window_ms[1] and (rng.random() < 0.9 or length_s < DAY_S)):
        # Sometimes sooner than the pace allows; never before the window opens: that is refused.
        earliest_ms = max(at_ms, now_ms, window_ms[0])
        expires_ms = (earliest_ms + rng.choice((2_000, 10_000, 60_000, int(length_s * 200)))) // 1000 * 1000
        expires_ms += 1_000
        body["expires"] = _rfc3339(expires_ms)
    return Sent(number, app, to, ref, at_ms, expires_ms, window_ms, receipt, body)


def _window(rng: random.Random, body: dict[str, Any], from_ms: int, length_s: float) -> tuple[int, int]:
    """Allowed hours that are open at `from_ms` or open soon after; whole minutes in some zone."""
    minute_ms = 60_000
    opens_ms = from_ms + int(rng.uniform(-0.2, 0.1) * length_s * 1000)
    opens_ms = opens_ms // minute_ms * minute_ms
    closes_ms = max(opens_ms, from_ms) + int(rng.uniform(0.02, 0.3) * length_s * 1000)
    closes_ms = (closes_ms // minute_ms + 2) * minute_ms
    zone = rng.choice(_ZONES)
    hours = [
        datetime.fromtimestamp(ms / 1000, UTC).astimezone(ZoneInfo(zone)).strftime("%H:%M")
        for ms in (opens_ms, closes_ms)
    ]
    body["window"] = {"from": hours[0], "to": hours[1], "zone": zone}
    return opens_ms, closes_ms


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
