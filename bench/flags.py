"""Command line words -> a settings structure: one flag a field, so that the two cannot part."""

from __future__ import annotations

import argparse
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def settings(kind: type[T], arguments: list[str], program: str, description: str) -> T:
    """An object of `kind` from --config-json, then `--field-name value` on top of it.

    Lists and objects are given as JSON, switches as `--name` or `--no-name`. Raises
    msgspec.ValidationError and what `kind` raises for wrong values, SystemExit for wrong flags and for
    --help.
    """
    parser = argparse.ArgumentParser(prog=program, description=description, allow_abbrev=False)
    parser.add_argument("--config-json", default="{}", help="all settings at once, as JSON")
    for field in msgspec.structs.fields(kind):
        flag = "--" + field.name.replace("_", "-")
        default = "" if field.default in (msgspec.NODEFAULT, None) else f"default {field.default}"
        if field.type is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=default)
        else:
            parser.add_argument(flag, default=None, help=default)
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    values = msgspec.json.decode(given.pop("config_json"), type=dict[str, Any])
    for name, value in given.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            values[name] = msgspec.json.decode(value)
        elif value is not None:
            values[name] = value
    return msgspec.convert(values, kind, strict=False)
