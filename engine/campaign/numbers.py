"""Telephone numbers as people write them -> E.164. Pure.

The numbering plans are those of the phonenumbers library, with what it does not know of Japan added: the
14-digit 0200 numbers of machines.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

from .errors import INVALID_NUMBER, MISSING, NOT_MOBILE, RowError

REGION_DEFAULT: Final = "JP"
_REACHABLE: Final = frozenset(
    {
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.PAGER,  # Japan: 020, machines
    }
)
_JAPAN_MACHINE: Final = re.compile(r"\+8120[1-9][0-9]{10}")
_SPREADSHEET: Final = re.compile(r"[0-9.]+E\+?[0-9]+", re.IGNORECASE)
_HYPHENS: Final = str.maketrans(dict.fromkeys("‐‑‒–—―−ー", "-"))
"""Whatever a Japanese keyboard makes of a hyphen."""


def international(text: str, region: str = REGION_DEFAULT, column: str = "to") -> str:
    """`090-1234-5678` (also full width, or `+81 90 ...`) -> `+819012345678`.

    Raises `RowError`: missing, invalid_number, not_mobile. No detail quotes the number.
    """
    written = unicodedata.normalize("NFKC", text).translate(_HYPHENS).strip()
    if not written:
        raise RowError(column, MISSING, "no number")
    if _SPREADSHEET.fullmatch(written):
        raise RowError(
            column, INVALID_NUMBER, "a spreadsheet has rounded this number; format the column as text"
        )
    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        raise RowError(column, INVALID_NUMBER, "not a telephone number") from None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if number.extension:
        raise RowError(column, INVALID_NUMBER, "an extension cannot be reached by SMS")
    if _JAPAN_MACHINE.fullmatch(e164):
        return e164
    if not phonenumbers.is_valid_number(number):
        country = phonenumbers.region_code_for_country_code(number.country_code or 0)
        raise RowError(column, INVALID_NUMBER, f"no number of the numbering plan of {country}")
    if phonenumbers.number_type(number) not in _REACHABLE:
        raise RowError(column, NOT_MOBILE, "not a mobile number")
    return e164


@lru_cache
def is_region(region: str) -> bool:
    """Whether `region` is a two-letter code whose numbering plan is known."""
    return region in phonenumbers.SUPPORTED_REGIONS
