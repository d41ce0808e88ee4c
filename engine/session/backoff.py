"""How long to wait before the next bind: pure, random through what is passed in.

SMPP 5.0 section 2.8.1 suggests some five seconds; many binds that fall together must not come back
together, so the wait is drawn from a range that doubles (full jitter). No two attempts lie closer than a
second.
"""

from __future__ import annotations

import random
from typing import Final

from ...codecs import constants as c

ATTEMPT_INTERVAL_S_MIN: Final = 1.0
BACKOFF_S_FIRST: Final = 1.0
BACKOFF_S_MAX: Final = 60.0
REFUSED_BACKOFF_S_MIN: Final = 60.0
REFUSED_BACKOFF_S_MAX: Final = 120.0
STABLE_S: Final = 10.0
"""A session that stayed bound for so long clears the count of failures; one that flaps does not."""

CREDENTIALS_REFUSED: Final = frozenset(
    {c.ESME_RBINDFAIL, c.ESME_RINVPASWD, c.ESME_RINVSYSID, c.ESME_RINVSYSTYP}
)
"""Answers to a bind that only a person can put right: retried slowly (accounts get locked), never given
up."""


def backoff_s(failures: int, since_attempt_s: float, rng: random.Random) -> float:
    """Seconds to wait after `failures` failures in a row (0: the session was fine), the last attempt
    having begun `since_attempt_s` ago."""
    range_s = min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2.0 ** min(failures, 10))
    return max(rng.uniform(0.0, range_s), ATTEMPT_INTERVAL_S_MIN - since_attempt_s)


def refused_backoff_s(rng: random.Random) -> float:
    """Seconds to wait after the credentials were refused."""
    return rng.uniform(REFUSED_BACKOFF_S_MIN, REFUSED_BACKOFF_S_MAX)
