"""`todoke preview`: how a text is encoded and cut, by the same segmenter that sends it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from ...codecs import segment
from ...codecs.errors import TextError
from .errors import EXIT_FAILED, EXIT_OK, CliError, UsageError

REFERENCE = 0
"""Any reference number cuts alike."""


class Part(msgspec.Struct):
    """One submit_sm: its text, the units it takes in the alphabet, the octets of short_message or payload."""

    text: str
    units: int
    octets: int


class Preview(msgspec.Struct):
    """How one text would be sent."""

    alphabet: str
    data_coding: int
    parts: list[Part]
    units_left: int


def preview_text(text: str, rules: segment.Rules) -> Preview:
    """Encode and cut one text. Octets include the user data header. Raises `TextError`."""
    cut = segment.segment(text, rules)
    fields = segment.fields(cut, rules, REFERENCE)
    if len(fields) == len(cut.parts):
        octets = [
            len(short_message) or len(part)
            for (_, short_message, _), part in zip(fields, cut.parts, strict=True)
        ]
    else:
        octets = [len(part) for part in cut.parts]
    parts = [Part(*part) for part in zip(cut.texts, cut.units, octets, strict=True)]
    return Preview(cut.alphabet, cut.data_coding, parts, cut.units_left)


def preview(
    *,
    text: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    whole: Annotated[bool, Parameter(negative="")] = False,
    carrier: str | None = None,
    config: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
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
    """
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
    rows = [
        f"{shown.alphabet}, data_coding {shown.data_coding}, {count} part{'s' if count != 1 else ''}, "
        f"{shown.units_left} units left in the last"
    ]
    rows += [
        f"  {number}/{count}  {part.units:3d} units  {part.octets:3d} octets  {part.text!r}"
        for number, part in enumerate(shown.parts, 1)
    ]
    return "\n".join(rows)
