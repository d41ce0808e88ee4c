"""The words of a message that its receipt quotes (SMPP 3.4 appendix B: `text:`, the first 20 characters).

A hint: many SMSCs quote nothing, some quote octets of another alphabet or of the user data header.
"""

from __future__ import annotations

import re
from typing import Final

QUOTED_CHARACTERS_MAX: Final = 64
LEAST_CHARACTERS: Final = 5
"""Fewer quoted characters say nothing."""

_quoted = re.compile(rb"[ \t]text:[ \t]*([\x20-\x7e]{1,%d})" % QUOTED_CHARACTERS_MAX, re.IGNORECASE).search


def quoted_text(frame: bytes) -> str:
    """What stands behind `text:` in a deliver_sm or data_sm, up to the first octet that is not printable
    ASCII.

    Empty when nothing does that could be compared with a message's text.
    """
    match = _quoted(frame)
    return "" if match is None else match[1].decode("ascii").rstrip()


def speaks_of(quoted: str, text: str) -> bool | None:
    """Whether the words that a receipt quotes are a message's: True, False, or None where they do not tell.

    `text` is the whole message; the receipt of a later part quotes from its middle. Words of an alphabet
    beyond ASCII are not compared: what SMSCs make of them is anybody's guess.
    """
    if len(quoted) < LEAST_CHARACTERS or not text.isascii():
        return None
    return quoted in text or quoted in " ".join(text.split())
