"""Every table of the codecs, value by value, against tables.txt: a slip of the hand in one changes what goes
over the wire, or what people are told. Other tests hold tables against other programs'; here any change of
any value shows. After one that is meant:

    python tests/codecs/test_tables.py > tests/codecs/tables.txt      and read the difference
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from todoke.codecs import constants, meanings, names
from todoke.codecs.fields import TLVS

EXPECTED = Path(__file__).with_name("tables.txt")
MODULES = [
    *(
        "constants",
        "describe",
        "describe_text",
        "describe_tlvs",
        "fields",
        "framing",
        "gsm7",
        "inbound",
        "meanings",
    ),
    *(
        "names",
        "national",
        "national_tables",
        "receipt",
        "reassembly",
        "rows",
        "segment",
        "septets",
        "smpp_time",
        "sniff",
    ),
    *("structs", "transliterate", "udh", "versions"),
]


def shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{shown(key)}: {shown(one)}" for key, one in value.items()) + "}"
    if isinstance(value, frozenset | set):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return "(" + ", ".join(map(shown, value)) + ")"
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", "function")
    return ascii(value) if isinstance(value, str | bytes | int | float) else repr(value)


def _is_plain(value: object) -> bool:
    """A small table of a module's own."""
    return isinstance(value, int | str | bytes | range | frozenset) and len(shown(value)) < 1_000


def lines(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if not name.isupper() or (name.startswith("_") and not _is_plain(value)):
            continue
        if isinstance(value, Mapping):
            yield f"{name}:"
            yield from (f"  {shown(key)}: {shown(one)}" for key, one in value.items())
        else:
            yield f"{name} = {shown(value)}"
    for name, made in vars(module).items():
        if isinstance(made, type) and issubclass(made, msgspec.Struct) and made.__module__ == module.__name__:
            options = made.__struct_config__
            fields = ", ".join(
                f"{one.name}={'required' if one.required else shown(one.default)}"
                if one.default is not msgspec.NODEFAULT or one.required
                else f"{one.name}={shown(one.default_factory)}"
                for one in msgspec.structs.fields(made)
            )
            yield f"{name}({fields}) frozen={options.frozen} gc={options.gc}"


def table(name: str) -> str:
    module = importlib.import_module(f"todoke.codecs.{name}")
    return "\n".join([f"== {name}", *lines(module)]) + "\n"


def runs(name: str, meaning: Callable[[int], str], values: range = range(256)) -> Iterator[str]:
    """The meanings of all values, those that follow one another and mean the same together."""
    for words, run in groupby(values, meaning):
        numbers = list(run)
        yield f"  {name} {numbers[0]} to {numbers[-1]}: {words}"


def values() -> str:
    found = ["== values"]
    for name, known in meanings.INTEGERS.items():
        found += runs(name, known)
    for to_smsc in (False, True):
        found += runs(f"esm_class, to the SMSC {to_smsc}", partial(meanings.esm_class, to_smsc=to_smsc))
    for tag, rule in TLVS.items():
        if rule.kind == "integer" or tag in names.TLV_VALUES:
            numbers = range(256 if rule.octets_max == 1 else 3)
            found += runs(rule.name, partial(meanings.tlv_integer, tag), numbers)
    found += runs("port", partial(meanings.tlv_integer, constants.TAG_DEST_PORT), range(0x10000))
    found += runs("network of an error 7", lambda network: meanings.network_error(network, 7))
    for iei in range(0x28):
        for value in (
            b"",
            b"\1",
            b"\x0d",
            b"\x0e",
            b"\xf0\2",
            b"\1\2",
            b"\2\2",
            b"\3\2",
            b"\7\3\2",
            b"\0\7\3\2",
            b"\x0b\x84\x23\xf0",
        ):
            found.append(f"  element {iei} {value.hex()}: {meanings.element(iei, value)}")
    found += [f"  ranges: {meanings.ranges(frozenset(row))}" for row in ([1], [1, 2, 5], [0, 3, 4, 5, 9])]
    return "\n".join(found) + "\n"


def test_every_meaning_is_as_it_was_last_read() -> None:
    assert f"\n{values()}" in f"\n{EXPECTED.read_text('utf-8')}"


@pytest.mark.parametrize("name", MODULES)
def test_every_value_is_as_it_was_last_read(name: str) -> None:
    assert f"\n{table(name)}\n" in f"\n{EXPECTED.read_text('utf-8')}\n"


if __name__ == "__main__":
    print("\n".join([*map(table, MODULES), values()]), end="")
