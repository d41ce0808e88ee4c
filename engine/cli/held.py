"""`todoke held`: what waits because a part of it is in doubt."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from .errors import EXIT_FAILED, EXIT_OK, UsageError
from .node import ConfigOption, JsonOption, SocketOption, node_client
from .output import print_json, print_table


def held(
    action: Literal["list", "release", "drop"] = "list",
    message_id: str | None = None,
    /,
    *,
    carrier: str | None = None,
    all: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    socket: SocketOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Messages of which a part may have been sent: its answer never came, so a copy waits for a receipt.

    For an operator: the node's own uid, or root. `release` sends the copies now, unless a receipt has come
    that tells of the first one; `drop` never sends them: each is reported to its app as `unknown` (a receipt
    that says otherwise still corrects that).

    Exit 1 if a message named was not held.

    Parameters
    ----------
    action
        What to do.
    message_id
        Only this message.
    carrier
        Only those of this carrier.
    all
        Every one: `release` and `drop` want a message_id, --carrier or this.
    yes
        Drop without asking.
    """
    if action != "list" and message_id is None and carrier is None and not all:
        raise UsageError(f"held {action}: a message_id, --carrier or --all")
    if sum((message_id is not None, carrier is not None, all)) > 1:
        raise UsageError(f"held {action}: one of a message_id, --carrier and --all")
    with node_client(socket, config) as client:
        if action == "drop" and not yes:
            _ask(client.held("list", carrier, message_id)["held"])
        answer = client.held(action, carrier, message_id)
    if json:
        print_json(answer)
    elif action == "list":
        _for_people(answer)
    else:
        done = "sent now" if action == "release" else "dropped"
        print(f"{answer['changed']:,} messages {done}")
        if answer["elsewhere"]:
            print(f"{answer['elsewhere']:,} are for another process of the account: ask that one")
    found = answer.get("changed") or answer.get("held")
    return EXIT_OK if found or message_id is None else EXIT_FAILED


def _ask(number: int) -> None:
    """Raises UsageError unless somebody says yes."""
    if not sys.stdin.isatty():
        raise UsageError(f"held drop: {number:,} messages would never be sent again; say --yes")
    print(
        f"{number:,} messages are never sent again and reported as unknown. Drop them? [y/N] ",
        end="",
        flush=True,
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("held drop: nothing was dropped")


def _for_people(answer: Mapping[str, Any]) -> None:
    shown: list[Mapping[str, Any]] = answer["messages"]
    if not shown:
        print("nothing is held")
        return
    header = ["message", "carrier", "app", "to", "parts", "in doubt s", "sent in s", "at"]
    rows = [
        [
            one["message_id"], one["carrier"], one["app"], one["to"], one["parts"], one["age_s"],
            one["due_in_s"], one["due_at"],
        ]
        for one in shown
    ]  # fmt: skip
    print_table("Held in doubt", header, rows)
    more = answer["held"] - len(shown)
    print(
        f"{answer['held']:,} messages, {answer['parts']:,} parts" + (f"; {more:,} not shown" if more else "")
    )
