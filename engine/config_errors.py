"""What is wrong with a configuration, said so that a person can put it right: table, key, what is allowed.

Pure. msgspec reports the first fault with a path such as `$.carrier[0].window`; `explain` walks that path
through the types and the values and writes the line that the user reads.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, TypeGuard, cast

import msgspec
from msgspec import inspect

_SECRET_KEYS = frozenset({"password"})
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<key>[^`]*)`")
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`")
_STEP = re.compile(r"\.(?P<key>[A-Za-z0-9_]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")
_VALUE_SHOWN_MAX = 60


class ConfigError(Exception):
    """A configuration that cannot be used. `table` and `key` are None where the fault has no such place."""

    def __init__(self, table: str | None, key: str | None, detail: str) -> None:
        self.table = table
        self.key = key
        self.detail = detail
        place = [f"table {table}"] if table else []
        place += [f"key {key!r}"] if key else []
        super().__init__(": ".join([*place, detail]))


def explain(error: msgspec.ValidationError, raw: dict[str, Any], top: type[msgspec.Struct]) -> ConfigError:
    """Turn a validation error of `raw` against the struct `top` into the line a user reads."""
    text = str(error)
    found = _PATH.search(text)
    steps = list(_STEP.finditer(found["path"] if found else ""))
    table, owner, key, kind, value = _walk(steps, raw, top)
    unknown, missing = _UNKNOWN.search(text), _MISSING.search(text)
    if unknown and owner is top:
        tables = ", ".join(f"[{name}]" for name in top.__struct_encode_fields__)
        return ConfigError(f"[{unknown['key']}]", None, f"unknown; allowed: {tables}")
    if unknown:
        allowed = list(owner.__struct_encode_fields__)
        close = difflib.get_close_matches(unknown["key"], allowed, 1)
        hint = f"unknown (did you mean {close[0]!r}?)" if close else "unknown"
        return ConfigError(table, unknown["key"], f"{hint}; allowed: {', '.join(allowed)}")
    if missing and owner is top:
        return ConfigError(f"[[{missing['key']}]]", None, "missing; at least one is needed")
    if missing:
        return ConfigError(table, missing["key"], "missing; it has no default")
    if kind is None:
        return ConfigError(table, key, text)
    if key in _SECRET_KEYS:
        return ConfigError(table, key, f"this value is not allowed; allowed: {describe(kind)}")
    shown = repr(value) if len(repr(value)) <= _VALUE_SHOWN_MAX else f"this {type(value).__name__}"
    return ConfigError(table, key, f"{shown} is not allowed; allowed: {describe(kind)}")


def _walk(
    steps: list[re.Match[str]], raw: Any, top: type[msgspec.Struct]
) -> tuple[str | None, type[msgspec.Struct], str | None, inspect.Type | None, Any]:
    """Follow the path: (table as written, its struct, key inside it, innermost type, innermost value)."""
    owner, table, key = top, None, None
    kind: inspect.Type | None = inspect.type_info(top)
    value: Any = raw
    for step in steps:
        kind = _not_none(kind)
        if step["key"]:
            if isinstance(kind, inspect.StructType):
                owner = kind.cls
                key = step["key"]
                kind = next((f.type for f in kind.fields if f.encode_name == key), None)
                if owner is top:
                    table = f"[{key}]"
            value = _member(value, step["key"])
        else:
            kind = kind.item_type if isinstance(kind, inspect.ListType) else None
            index = int(step["index"]) if step["index"] else None
            value = _item(value, index)
            if owner is top and index is not None:
                table = _table_name(key, index, value)
    inner = _not_none(kind)
    if isinstance(inner, inspect.StructType):
        owner, key = inner.cls, None
        if owner is top:
            table = None
    return table, owner, key, kind, value


def _table_name(key: str | None, index: int, value: Any) -> str:
    name = _member(value, "name")
    return f"[[{key}]] {name}" if isinstance(name, str) else f"[[{key}]] number {index + 1}"


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether an untyped TOML value is an array."""
    return isinstance(value, list)


def _member(value: Any, key: str) -> Any:
    return cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None


def _item(value: Any, index: int | None) -> Any:
    return value[index] if is_list(value) and index is not None and index < len(value) else None


def _not_none(kind: inspect.Type | None) -> inspect.Type | None:
    """The one type of an optional key."""
    if isinstance(kind, inspect.UnionType):
        others = [t for t in kind.types if not isinstance(t, inspect.NoneType)]
        return others[0] if len(others) == 1 else kind
    return kind


def describe(kind: inspect.Type) -> str:
    """The values a type allows, in words."""
    match kind:
        case inspect.UnionType():
            return " or ".join(describe(t) for t in kind.types if not isinstance(t, inspect.NoneType))
        case inspect.LiteralType():
            # Numbers beside texts are another spelling, taken and not recommended.
            return ", ".join(repr(v) for v in kind.values if isinstance(v, str))
        case inspect.BoolType():
            return "true, false"
        case inspect.IntType():
            return f"a whole number{_range(kind)}"
        case inspect.FloatType():
            return f"a number{_range(kind)}"
        case inspect.StrType():
            return _describe_text(kind)
        case inspect.ListType():
            least = f"{kind.min_length} or more" if kind.min_length else "any number"
            most = f", at most {kind.max_length}" if kind.max_length else ""
            if isinstance(kind.item_type, inspect.StructType):
                return f"tables [[...]], {least}{most}"
            return f"a list ({least}{most}) of: {describe(kind.item_type)}"
        case inspect.StructType() | inspect.DictType():
            return "a table"
        case _:
            return type(kind).__name__


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = (
        f" from {kind.ge:g}" if kind.ge is not None else f" above {kind.gt:g}" if kind.gt is not None else ""
    )
    return low + (f" to {kind.le:.12g}" if kind.le is not None else "")


def _describe_text(kind: inspect.StrType) -> str:
    if kind.pattern:
        return f"text of the form {kind.pattern}"
    least = f" of at least {kind.min_length} characters" if kind.min_length else ""
    most = f" of at most {kind.max_length} characters" if kind.max_length is not None else ""
    return f"text{least}{most}"
