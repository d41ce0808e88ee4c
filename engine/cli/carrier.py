"""`todoke carrier`: how the accounts of a running node are, and what an operator lays on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .errors import EXIT_OK, UsageError
from .node import ConfigOption, JsonOption, SocketOption, node_client
from .output import print_json, print_table


def carrier(
    action: Literal["list", "pause", "resume", "rate", "window"] = "list",
    name: str | None = None,
    value: float | None = None,
    /,
    *,
    socket: SocketOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Show each carrier account; pause and resume one, lower and raise its rate or its window.

    For an operator: the node's own uid, or root. It holds at once and until it is changed back, over
    restarts too, and for every process of the account. While an account is paused nothing is written to it;
    its binds stay up, answers and receipts are taken, its queue stays.

    Parameters
    ----------
    action
        What to do; `rate` and `window` without a value go back to the configured contract.
    name
        Name of the [[carrier]].
    value
        Parts a second of the whole account, or unanswered requests of one bind; never above the contract.
    """
    if action != "list" and name is None:
        raise UsageError(f"carrier {action}: which carrier?")
    if value is not None and action not in ("rate", "window"):
        raise UsageError(f"carrier {action}: takes no value")
    with node_client(socket, config) as client:
        answer = client.carrier(action, name, value)
    if json:
        print_json(answer)
    else:
        _for_people(answer["carriers"])
    return EXIT_OK


def _for_people(accounts: list[Mapping[str, Any]]) -> None:
    header = [
        "carrier", "state", "slots", "binds", "in flight", "window", "parts/s", "breaker", "held parts",
        "orphans", "full numbers",
    ]  # fmt: skip
    rows = [
        [
            one["name"],
            one["state"],
            f"{one['slots_held']}/{one['slots']}",
            f"{one['bound']}/{one['binds']}",
            one["outstanding"],
            _of(one["window"], one["window_allowed"], one["window_contract"]),
            f"{one['rate_used']:g} at "
            + _of(one["rate"] or "any", one["rate_allowed"] or "any", one["rate_contract"] or "any"),
            one["breaker"],
            one["held_parts"],
            one["orphans"],
            one["full_destinations"],
        ]
        for one in accounts
    ]
    print_table("Carriers", header, rows)
    for one in accounts:
        if one["breaker_reason"] and one["breaker"] != "closed":
            print(f"{one['name']}: left alone because {one['breaker_reason']}")
        if line := laid(one):
            print(line)


def laid(one: Mapping[str, Any]) -> str:
    """What an operator has laid on an account, who and when; "" if nothing."""
    what: list[str] = ["PAUSED"] if one["paused"] else []
    rate = one.get("rate_contract", one["rate"])
    window = one.get("window_contract", one["window"])
    if one["rate_allowed"] != rate:
        what.append(f"rate {one['rate_allowed']:g} of {f'{rate:g}' if rate else 'any'}")
    if one["window_allowed"] != window:
        what.append(f"window {one['window_allowed']} of {window}")
    if not what:
        return ""
    return f"{one['name']}: {', '.join(what)} (by {one['changed_by']}, {one['changed_at']})"


def _of(now: float | str, allowed: float | str, contract: float | str) -> str:
    """`5/10`, or `5/8/10` where an operator allows less than the contract."""
    shown = [now, contract] if allowed == contract else [now, allowed, contract]
    return "/".join(each if isinstance(each, str) else f"{each:g}" for each in shown)
