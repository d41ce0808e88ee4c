"""The targets by name: what to call, where to begin, how long an input may be.

A target is a function of octets that returns if all its properties hold. It needs no fuzzer, so that the
tests call the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import intake_targets, message_targets, pdu_targets, session_target, text_targets, tool_targets
from .seeds import SEEDS


class Target(NamedTuple):
    """`structured`: inputs are PDUs, and are changed by `mutator.mutate_pdu`."""

    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    octets_max: int
    structured: bool = False


TARGETS: dict[str, Target] = {
    "framing": Target(pdu_targets.framing, SEEDS["framing"], 400),
    "pdu": Target(pdu_targets.pdus, SEEDS["pdu"], 1_000, structured=True),
    "encode": Target(pdu_targets.encodings, SEEDS["encode"], 200),
    "fast": Target(pdu_targets.fast_paths, SEEDS["fast"], 600, structured=True),
    "udh": Target(message_targets.headers, SEEDS["udh"], 300),
    "receipt": Target(message_targets.receipts, SEEDS["receipt"], 1_500, structured=True),
    "inbound": Target(message_targets.inbounds, SEEDS["inbound"], 600, structured=True),
    "parts": Target(message_targets.parts, SEEDS["parts"], 400),
    "segment": Target(text_targets.segments, SEEDS["segment"], 500),
    "alphabets": Target(text_targets.alphabets, SEEDS["alphabets"], 300),
    "transliterate": Target(text_targets.transliterations, SEEDS["transliterate"], 300),
    "time": Target(text_targets.times, SEEDS["time"], 40),
    "describe": Target(tool_targets.descriptions, SEEDS["describe"], 600, structured=True),
    "captures": Target(tool_targets.captures, SEEDS["captures"], 1_200),
    "streams": Target(tool_targets.streams, SEEDS["streams"], 400),
    "frames": Target(intake_targets.frames, SEEDS["frames"], 400),
    "requests": Target(intake_targets.requests, SEEDS["requests"], 800),
    "objects": Target(intake_targets.objects, SEEDS["objects"], 300),
    "session": Target(session_target.sessions, SEEDS["session"], 600),
}
