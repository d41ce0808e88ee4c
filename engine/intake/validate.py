"""Whether a message may be taken, field by field: the shape of numbers and senders, texts, times, windows.

Pure: now is an argument. Numbering plans, routes and the carriers' alphabets are judged later, by the node.
`validate` is the hot path (a frame of messages in one pass); `check` is the whole rule for one message, and
the hot path only lets through what `check` would.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from ..messages import (
    CAMPAIGN_CHARACTERS_MAX,
    CARRIER_CHARACTERS_MAX,
    DATA_OCTETS_MAX,
    EMPTY,
    EXPIRED,
    INVALID_NUMBER,
    INVALID_SENDER,
    INVALID_TEXT,
    INVALID_TIME,
    INVALID_WINDOW,
    MISSING,
    NUMBER_DIGITS_MAX,
    NUMBER_DIGITS_MIN,
    REF_CHARACTERS_MAX,
    SCHEDULE_S_MAX,
    SENDER_CHARACTERS_MAX,
    SENDER_DIGITS_MAX,
    TAG_CHARACTERS_MAX,
    TAGS_MAX,
    TEXT_AND_DATA,
    TEXT_CHARACTERS_MAX,
    TOO_FAR,
    TOO_LONG,
    TOO_MANY,
    UNKNOWN_ZONE,
    ZONE_CHARACTERS_MAX,
    Refusal,
    SubmitMessage,
    Valid,
    Window,
)
from .errors import MessageError

_SENDERS_REMEMBERED_MAX: Final = 1024
_ZONES_REMEMBERED_MAX: Final = 1024

# Control characters but tab, line feed, form feed and return; and halves of surrogate pairs, which are no
# characters (Unicode, section 3.8, D71). A handset has no use for the others, though UCS-2 would carry them.
_BAD_TEXT: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BAD_NAME: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER: Final = re.compile(rf"\+?([1-9][0-9]{{{NUMBER_DIGITS_MIN - 1},{NUMBER_DIGITS_MAX - 1}}})", re.ASCII)
# The characters that the GSM basic alphabet and ASCII share (an address travels in ASCII), and one letter.
_NAME: Final = re.compile(r"""(?=.*[A-Za-z])[A-Za-z0-9 !"#$%&'()*+,\-./:;<=>?@_]+""")
# RFC 3339 section 5.6, its note included: a space for the T, small t and z.
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_HOUR: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00", re.ASCII)


def validate(
    messages: Sequence[SubmitMessage], indexes: Iterable[int], now_ms: int
) -> tuple[list[Valid], list[int], list[Refusal]]:
    """Check messages, each with its index: those that may be taken, their indexes, the others' refusals."""
    valid: list[Valid] = []
    kept: list[int] = []
    refused: list[Refusal] = []
    for index, message in zip(indexes, messages, strict=False):
        to = message.to
        text = message.text
        ref = message.ref
        if to[:1] == "+":
            to = to[1:]
        if (
            text
            and (text.isprintable() or _without_common(text).isprintable())
            and len(text) <= TEXT_CHARACTERS_MAX
            and to.isdigit()
            and to.isascii()
            and NUMBER_DIGITS_MIN <= len(to) <= NUMBER_DIGITS_MAX
            and to[0] != "0"
            and (ref is None or (ref and ref.isprintable() and len(ref) <= REF_CHARACTERS_MAX))
            and message.data is None
            and message.at is None
            and message.expires is None
            and message.window is None
            and message.carrier is None
            and message.tags is None
            and message.campaign is None
            and sender_fault(message.from_) is None
        ):
            kept.append(index)
            valid.append(
                Valid(
                    to, message.from_, text, None, ref, 0, 0, None, message.lane, None, None, message.receipt
                )
            )
            continue
        try:
            checked = check(message, now_ms)
        except MessageError as error:
            refused.append(Refusal(index, safe_ref(ref), error.field, error.code, error.detail))
        else:
            kept.append(index)
            valid.append(checked)
    return valid, kept, refused


def check(message: SubmitMessage, now_ms: int) -> Valid:
    """The whole rule for one message; raises MessageError for the first field that breaks it."""
    to = check_number(message.to)
    fault = sender_fault(message.from_)
    if fault is not None:
        raise MessageError("from", INVALID_SENDER, fault)
    _check_body(message.text, message.data)
    _check_name("ref", message.ref, REF_CHARACTERS_MAX)
    _check_name("carrier", message.carrier, CARRIER_CHARACTERS_MAX)
    _check_name("campaign", message.campaign, CAMPAIGN_CHARACTERS_MAX)
    if message.tags is not None:
        if len(message.tags) > TAGS_MAX:
            raise MessageError("tags", TOO_MANY, f"at most {TAGS_MAX} tags")
        for tag in message.tags:
            _check_name("tags", tag, TAG_CHARACTERS_MAX)
    if message.window is not None:
        _check_window(message.window)
    at_ms = _check_time("at", message.at, now_ms)
    expires_ms = _check_time("expires", message.expires, now_ms)
    if expires_ms and expires_ms <= max(now_ms, at_ms):
        raise MessageError("expires", EXPIRED, "not after now" if expires_ms <= now_ms else "not after `at`")
    return Valid(
        to,
        message.from_,
        message.text,
        message.data,
        message.ref,
        at_ms,
        expires_ms,
        message.window,
        message.lane,
        message.carrier,
        message.tags,
        message.receipt,
        message.campaign,
    )


def check_number(to: str) -> str:
    """The digits of a number in international form (E.164 section 6.2.1); raises MessageError."""
    match = _NUMBER.fullmatch(to)
    if match is not None:
        return match[1]
    if not to:
        raise MessageError("to", EMPTY, "no number")
    digits = to.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        detail = "only digits, and a + before them: no spaces, hyphens or brackets"
    elif digits.startswith("0"):
        detail = (
            "a national number or a dialling prefix begins with 0: write the country code and the number"
            " without its leading 0, +81 90... for 090..."
        )
    else:
        detail = f"{NUMBER_DIGITS_MIN} to {NUMBER_DIGITS_MAX} digits with the country code, not {len(digits)}"
    raise MessageError("to", INVALID_NUMBER, detail)


@lru_cache(_SENDERS_REMEMBERED_MAX)
def sender_fault(sender: str) -> str | None:
    """What is wrong with a sender, None if nothing is. The few that an app uses are remembered."""
    if not sender:
        return None
    if sender.isascii() and sender.isdigit():
        if len(sender) <= SENDER_DIGITS_MAX:
            return None
        return f"at most {SENDER_DIGITS_MAX} digits, not {len(sender)}"
    if sender.startswith("+"):
        return None if _NUMBER.fullmatch(sender) else "after a +, an international number of 7 to 15 digits"
    if len(sender) > SENDER_CHARACTERS_MAX:
        return f"a name has at most {SENDER_CHARACTERS_MAX} characters, not {len(sender)}"
    if _NAME.fullmatch(sender) is None or sender != sender.strip():
        return (
            "digits, or a name of GSM characters that are also ASCII, with a letter in it and no space around"
        )
    return None


def _without_common(text: str) -> str:
    """Without what many texts hold and isprintable() does not pass; each replace is one quick scan in C."""
    return text.replace("\u3000", "").replace("\n", "").replace("\r", "")


def safe_ref(ref: str | None) -> str | None:
    """The ref to tell in a refusal: None if it could not be written or is over its limit."""
    if ref is None or len(ref) > REF_CHARACTERS_MAX or _BAD_NAME.search(ref):
        return None
    return ref


def _check_body(text: str | None, data: bytes | None) -> None:
    if data is not None:
        if text is not None:
            raise MessageError("data", TEXT_AND_DATA, "a message has `text` or `data`, not both")
        if not data:
            raise MessageError("data", EMPTY, "no octets")
        if len(data) > DATA_OCTETS_MAX:
            raise MessageError("data", TOO_LONG, f"at most {DATA_OCTETS_MAX} octets, not {len(data)}")
        return
    if text is None:
        raise MessageError("text", MISSING, "a message has `text` or `data`")
    if not text:
        raise MessageError("text", EMPTY, "no characters")
    if len(text) > TEXT_CHARACTERS_MAX:
        raise MessageError("text", TOO_LONG, f"at most {TEXT_CHARACTERS_MAX} characters, not {len(text)}")
    bad = _BAD_TEXT.search(text)
    if bad is not None:
        raise MessageError("text", INVALID_TEXT, f"U+{ord(bad[0]):04X} at character {bad.start()}")


def _check_name(field: str, name: str | None, characters_max: int) -> None:
    if name is None:
        return
    if not name:
        raise MessageError(field, EMPTY, "no characters: leave it out")
    if len(name) > characters_max:
        raise MessageError(field, TOO_LONG, f"at most {characters_max} characters, not {len(name)}")
    bad = _BAD_NAME.search(name)
    if bad is not None:
        raise MessageError(field, INVALID_TEXT, f"U+{ord(bad[0]):04X} at character {bad.start()}")


def _check_time(field: str, text: str | None, now_ms: int) -> int:
    """Unix milliseconds of an RFC 3339 time; 0 for none."""
    if text is None:
        return 0
    if _RFC_3339.fullmatch(text) is None:
        raise MessageError(field, INVALID_TIME, "RFC 3339 with its zone: 2026-11-21T10:00:00+09:00")
    try:
        time_ms = int(datetime.fromisoformat(text.upper()).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise MessageError(field, INVALID_TIME, "no such date or time") from error
    if time_ms > now_ms + SCHEDULE_S_MAX * 1000:
        raise MessageError(field, TOO_FAR, f"at most {SCHEDULE_S_MAX // 86_400} days ahead")
    return max(time_ms, 1)


def _check_window(window: Window) -> None:
    for hour in (window.from_, window.to):
        if _HOUR.fullmatch(hour) is None:
            raise MessageError("window", INVALID_WINDOW, "`from` and `to` are HH:MM, 00:00 to 24:00")
    if window.from_ == window.to or window.from_ == "24:00":
        raise MessageError("window", INVALID_WINDOW, "no time between `from` and `to`")
    if window.days is not None and (not window.days or len(set(window.days)) != len(window.days)):
        raise MessageError("window", INVALID_WINDOW, "`days`: each at most once, and at least one")
    if len(window.zone) > ZONE_CHARACTERS_MAX or not _zone_is_known(window.zone):
        raise MessageError("window", UNKNOWN_ZONE, "`zone` is a name of the IANA database: Asia/Tokyo")


@lru_cache(_ZONES_REMEMBERED_MAX)
def _zone_is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):  # a name that is a path, a folder or nothing
        return False
    return True
