"""data_coding 8: UTF-16 big-endian, which is what "UCS-2" is on the air (3GPP TS 23.038 section 6.2.3).

A character above U+FFFF takes two units, which must not be torn apart between parts.
"""

from __future__ import annotations


def encode(text: str) -> bytes | None:
    """Two octets a unit; None if the text holds a lone surrogate, which no handset could show."""
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError:
        return None


def decode(data: bytes) -> str:
    """Text of big-endian units; a lone surrogate or an odd last octet shows U+FFFD; never fails."""
    return data.decode("utf-16-be", "replace")
