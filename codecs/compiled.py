"""The layouts (`fields`) as functions for the interpreter's fast paths: one reader and one writer a PDU.

Their source text is made from the layout at import and compiled once. All they do is the good case: if any
field breaks any rule they give None, and `pdu` goes through the layout field by field to find out which.
Lists (submit_multi) are read and written only there.

What makes them fast: where the strings' NULs lie (or how long the strings are) is the key to a
`struct.Struct` that takes the whole PDU apart (or puts it together) in one step of C. A key is only kept if
all of its strings are within their limits, so finding it is also the check.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from . import constants as c
from .errors import PduError
from .fields import LAYOUTS, Field, Kind
from .structs import PDUS, Pdu, Tlvs

Reader = Callable[[bytes, int, int], Pdu | None]
"""(whole PDU, command_status, sequence_number) -> the PDU, or None if something about it is not usual."""
Writer = Callable[[Any, int, int], bytes | None]
"""(PDU, sequence_number, command_status) -> the whole PDU, or None if something about it is not usual."""

SHAPES_MAX: Final = 1_024
"""Most Structs kept a PDU (about 1 KiB each): a peer that sends every shape makes us slow, not large."""

_STRINGS: Final = (Kind.STRING, Kind.TIME)


def _layout_is_covered(layout: tuple[Field, ...]) -> bool:
    return bool(layout) and all(field.kind in (Kind.INTEGER, Kind.MESSAGE, *_STRINGS) for field in layout)


def _fits(layout: tuple[Field, ...], lengths: tuple[int, ...]) -> bool:
    """All strings, in order, are within their limits."""
    strings = [field for field in layout if field.kind in _STRINGS]
    return all(
        length in (0, field.size - 1) if field.kind is Kind.TIME else 0 <= length < field.size
        for field, length in zip(strings, lengths, strict=False)
    )


def _format(layout: tuple[Field, ...], lengths: tuple[int, ...]) -> str:
    """The mandatory fields as a `struct` format, sm_length being the last octet."""
    rest = iter(lengths)
    return "".join(f"{next(rest)}sx" if field.kind in _STRINGS else "B" for field in layout)


# --- reading ----------------------------------------------------------------------------------------------


def compile_reader(command_id: int, decode_tlvs: Callable[[bytes, int], Tlvs]) -> Reader | None:
    """The reader of one PDU, None for a layout with lists. `decode_tlvs` may raise PduError."""
    layout = LAYOUTS[command_id]
    if not _layout_is_covered(layout):
        return None
    shapes: dict[tuple[int, ...], Callable[[bytes, int], tuple[Any, ...]]] = {}

    def add(ends: tuple[int, ...]) -> Callable[[bytes, int], tuple[Any, ...]] | None:
        lengths: list[int] = []
        at = c.HEADER_OCTETS
        rest = iter(ends)
        for field in layout:
            if field.kind in _STRINGS:
                end = next(rest)
                lengths.append(end - at)
                at = end
            at += 1
        if not _fits(layout, tuple(lengths)):
            return None
        if len(shapes) >= SHAPES_MAX:
            shapes.clear()
        shapes[ends] = unpack = struct.Struct(">" + _format(layout, tuple(lengths))).unpack_from
        return unpack

    names = {"shapes": shapes, "add": add, "PDU": PDUS[command_id], "decode_tlvs": decode_tlvs}
    reader: Reader = _compiled(f"read_{c.COMMAND_NAMES[command_id]}", _reader_source(layout), names)
    return reader


def _reader_source(layout: tuple[Field, ...]) -> list[str]:
    lines = ["index = frame.index"]
    ends: list[str] = []
    behind, octets = "", c.HEADER_OCTETS  # the octet that a field begins at, as a name and a number
    for field in layout:
        if field.kind in _STRINGS:
            end = f"end_{field.name}"
            at = f"{behind}{octets}"
            if field.kind is Kind.TIME:  # nearly always empty, and then this is much faster
                lines += [f"{end} = {at}", f"if frame[{end}]:", f"    {end} = index(0, {end})"]
            else:
                lines.append(f"{end} = index(0, {at})")
            ends.append(end)
            behind, octets = f"{end} + ", 1
        else:
            octets += 1
    key = f"({', '.join(ends)},)"
    values = [field.name if field.kind is not Kind.MESSAGE else "sm_length" for field in layout]
    lines += [
        f"unpack = shapes.get({key}) or add({key})",
        "if unpack is None:",
        "    return None",
        f"{', '.join(values)}, = unpack(frame, {c.HEADER_OCTETS})",
        f"at = {behind}{octets}",
    ]
    if layout[-1].kind is Kind.MESSAGE:
        lines += ["begin = at", "at += sm_length", "short_message = frame[begin:at]"]
        values[-1] = "short_message"
    made = f"PDU(command_status, sequence_number, {{}}, {', '.join(values)})"
    return [
        "try:",
        *(f"    {line}" for line in lines),
        "    if at == len(frame):",
        f"        return {made.format('[]')}",
        "    if at > len(frame):",
        "        return None",
        f"    return {made.format('decode_tlvs(frame, at)')}",
        "except Unusual:",
        "    return None",
    ]


# --- writing ----------------------------------------------------------------------------------------------


def compile_writer(command_id: int, encode_tlvs: Callable[[Any], bytes]) -> Writer | None:
    """The writer of one PDU, None for a layout with lists. `encode_tlvs` of the PDU may raise PduError."""
    layout = LAYOUTS[command_id]
    if not _layout_is_covered(layout):
        return None
    shapes: dict[tuple[int, ...], tuple[Callable[..., bytes], int]] = {}

    def add(lengths: tuple[int, ...]) -> tuple[Callable[..., bytes], int] | None:
        form = ">4I" + _format(layout, lengths)
        if layout[-1].kind is Kind.MESSAGE:
            if lengths[-1] > c.SHORT_MESSAGE_OCTETS_MAX:
                return None
            form += f"{lengths[-1]}s"
        if not _fits(layout, lengths):
            return None
        if len(shapes) >= SHAPES_MAX:
            shapes.clear()
        whole = struct.Struct(form)
        shapes[lengths] = made = (whole.pack, whole.size)
        return made

    names: dict[str, Any] = {"shapes": shapes, "add": add, "encode_tlvs": encode_tlvs, "ID": command_id}
    names |= {f"VALUES_{field.name}": field.values for field in layout if field.values is not None}
    writer: Writer = _compiled(f"write_{c.COMMAND_NAMES[command_id]}", _writer_source(layout), names)
    return writer


def _writer_source(layout: tuple[Field, ...]) -> list[str]:
    lines: list[str] = []
    lengths: list[str] = []
    values: list[str] = []
    wrong = ["shape is None"]
    for field in layout:
        name = field.name
        if field.kind is Kind.INTEGER and field.values is None:
            values.append(f"pdu.{name}")  # struct refuses what is no octet
            continue
        lines.append(f"{name} = pdu.{name}")
        if field.kind is Kind.INTEGER:
            wrong.append(f"{name} not in VALUES_{name}")
        elif field.kind is Kind.MESSAGE:
            lengths.append(f"len({name})")
            values.append(f"len({name})")
        else:
            lengths.append(f"len({name})")
            wrong.append(f"({name} and 0 in {name})")
        values.append(name)
    key = f"({', '.join(lengths)},)"
    return [
        "try:",
        *(f"    {line}" for line in lines),
        f"    shape = shapes.get({key}) or add({key})",
        f"    if {' or '.join(wrong)}:",
        "        return None",
        "    pack, octets = shape",
        "    tail = encode_tlvs(pdu) if pdu.tlvs else b''",
        "    octets += len(tail)",
        f"    return pack(octets, ID, command_status, sequence_number, {', '.join(values)}) + tail",
        "except Unusual:",
        "    return None",
    ]


# --- both -------------------------------------------------------------------------------------------------

_PARAMETERS: Final = {
    "read": "frame, command_status, sequence_number",
    "write": "pdu, sequence_number, command_status",
}


def _compiled(name: str, body: list[str], names: dict[str, Any]) -> Any:
    source = f"def {name}({_PARAMETERS[name.partition('_')[0]]}):\n    " + "\n    ".join(body)
    namespace = {**names, "Unusual": (ValueError, IndexError, struct.error, PduError)}
    exec(compile(source, f"<{name}, made by {__name__}>", "exec"), namespace)
    return namespace[name]
