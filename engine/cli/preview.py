"""`todoke preview`: how a text is encoded and cut, by the same segmenter that sends it."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from ...codecs import constants as c
from ...codecs import national, pdu, segment, transliterate
from ...codecs.errors import TextError
from .errors import EXIT_FAILED, EXIT_OK, CliError, UsageError

REFERENCE = 0
"""Any reference number cuts alike."""


class Part(msgspec.Struct):
    """One submit_sm: its text, the units it takes in the alphabet, the octets of short_message or payload."""

    text: str
    units: int
    octets: int


class Replaced(msgspec.Struct):
    """Characters that transliteration replaced, their names, and what is sent for them."""

    text: str
    names: list[str]
    sent: str


class Preview(msgspec.Struct, omit_defaults=True):
    """How one text would be sent. The last three only where they say something."""

    alphabet: str
    data_coding: int
    parts: list[Part]
    units_left: int
    locking: str | None = None
    """Language of the national locking shift table."""
    single: str | None = None
    """Language of the national single shift table."""
    replaced: list[Replaced] = []


def preview_text(text: str, rules: segment.Rules) -> Preview:
    """Encode and cut one text. Octets include the user data header. Raises `TextError`."""
    cut = segment.segment(text, rules)
    octets = [
        len(short_message or dict(pdu.decode_tlvs(tlvs)).get(c.TAG_MESSAGE_PAYLOAD, b""))
        for _, short_message, tlvs in segment.fields(cut, rules, REFERENCE)
    ]
    parts = [Part(*part) for part in zip(cut.texts, cut.units, octets, strict=True)]
    return Preview(
        cut.alphabet,
        cut.data_coding,
        parts,
        cut.units_left,
        national.LANGUAGES.get(cut.locking),
        national.LANGUAGES.get(cut.single),
        _replaced(text, "".join(cut.texts), rules),
    )


def _replaced(text: str, sent: str, rules: segment.Rules) -> list[Replaced]:
    if sent == text or rules.transliterate is None:
        return []
    kept = national.characters_of(rules.languages)
    pairs = transliterate.replaced(text, sent, rules.transliterate, kept)
    return [Replaced(before, _names(before), after) for before, after in pairs]


def _names(text: str) -> list[str]:
    """As Unicode calls them; controls, which have no name there, by their number."""
    return [unicodedata.name(one, f"U+{ord(one):04X}") for one in text]


def preview(
    *,
    text: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    whole: Annotated[bool, Parameter(negative="")] = False,
    carrier: str | None = None,
    config: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    transliteration_table: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show how a text is encoded and cut into parts. Nothing is sent.

    Without `--carrier`: GSM 7-bit where every character is in it, else UCS-2; 8-bit concatenation
    references (153 or 67 units a part); as many parts as they can count.

    Exit 1 if a text cannot be sent.

    Parameters
    ----------
    text
        The text.
    file
        A file of texts in UTF-8, one a line; `-` is standard input.
    whole
        The whole file is one text (a line end at its very end left out).
    carrier
        A carrier of the configuration, or a known profile: docomo, au, softbank, rakuten.
    config
        Configuration that names the carrier.
    json
        Print one JSON object a line, in the order of the texts.
    transliteration_table
        Instead of a text: print what a carrier with `transliterate = true` may send for a character; with
        `--carrier`, that carrier's own table.
    """
    if transliteration_table:
        if text is not None or file is not None:
            raise UsageError("preview: --transliteration-table goes without --text and --file")
        _print_table(_table(carrier, config), json)
        return EXIT_OK
    if (text is None) == (file is None):
        raise UsageError("preview: give one of --text and --file")
    if whole and file is None:
        raise UsageError("preview: --whole needs --file")
    rules = _rules(carrier, config)
    code = EXIT_OK
    for number, one in enumerate(_texts(text, file, whole), 1):
        try:
            shown = preview_text(one, rules)
        except TextError as error:
            code = EXIT_FAILED
            if json:
                print(msgspec.json.encode({"error": {"code": error.code, "detail": error.detail}}).decode())
            print(f"todoke: text {number}: {error.detail} ({error.code})", file=sys.stderr)
        else:
            print(msgspec.json.encode(shown).decode() if json else _for_people(shown))
    return code


def _rules(carrier: str | None, config: Path | None) -> segment.Rules:
    if carrier is None and config is None:
        return segment.Rules(parts_max=segment.PARTS_MAX)
    from ..carrier_rules import build_carrier_rules
    from ..config import PROFILE_NAMES, ConfigError, carrier_from_profile, load

    try:
        known = {one.name: one for one in load(config).carrier} if config else {}
        if carrier is None:
            raise UsageError(f"preview: --config also needs --carrier, one of: {', '.join(known)}")
        if carrier in known:
            return build_carrier_rules(known[carrier])
        if carrier in PROFILE_NAMES:
            return build_carrier_rules(carrier_from_profile(carrier))
    except ConfigError as error:
        raise UsageError(str(error)) from None
    allowed = ", ".join([*known, *(name for name in PROFILE_NAMES if name not in known)])
    raise UsageError(f"preview: no carrier {carrier!r}; allowed: {allowed}")


def _table(carrier: str | None, config: Path | None) -> Mapping[str, str]:
    rules = _rules(carrier, config)
    if rules.transliterate is None and carrier is not None:
        raise UsageError(f"preview: carrier {carrier!r} has no transliterate = true")
    return transliterate.TABLE if rules.transliterate is None else rules.transliterate


def _print_table(table: Mapping[str, str], json: bool) -> None:
    for character, sent in sorted(table.items()):
        if json:
            print(msgspec.json.encode(Replaced(character, _names(character), sent)).decode())
        else:
            print(f"U+{ord(character):04X}  {character!r} -> {sent!r}  {_names(character)[0]}")


def _texts(text: str | None, file: Path | None, whole: bool) -> list[str]:
    if file is None:
        return [text or ""]
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        texts = content.decode("utf-8-sig")
    except OSError as error:
        raise CliError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CliError(f"cannot read {file}: octet {error.start} is not UTF-8") from None
    texts = texts.removesuffix("\n").removesuffix("\r")
    # Only line ends cut: str.splitlines() also cuts at form feeds, which are GSM characters.
    return [texts] if whole else [line.removesuffix("\r") for line in texts.split("\n")]


def _for_people(shown: Preview) -> str:
    count = len(shown.parts)
    tables = "".join(
        f", {language} {kind} shift table"
        for language, kind in ((shown.locking, "locking"), (shown.single, "single"))
        if language
    )
    rows = [
        f"{shown.alphabet}{tables}, data_coding {shown.data_coding}, "
        f"{count} part{'s' if count != 1 else ''}, {shown.units_left} units left in the last"
    ]
    rows += [
        f"  {number}/{count}  {part.units:3d} units  {part.octets:3d} octets  {part.text!r}"
        for number, part in enumerate(shown.parts, 1)
    ]
    rows += [f"  replaced {one.text!r} by {one.sent!r}  {' + '.join(one.names)}" for one in shown.replaced]
    return "\n".join(rows)
