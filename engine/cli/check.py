"""`todoke check`: what a configuration would run, and what about it deserves a second look."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from ..config import CarrierConfig, Config, ConfigError, host_port, load
from .errors import EXIT_OK, UsageError


class CarrierPlan(msgspec.Struct):
    """One carrier as it would be reached."""

    name: str
    hosts: list[str]
    bind: str
    binds: int
    rate: float
    window: int
    tls: bool
    concat: str
    parts_max: int
    in_doubt: str


class RoutePlan(msgspec.Struct):
    """One route; an empty prefix list takes every number."""

    prefix: list[str]
    carriers: list[str]


class Plan(msgspec.Struct):
    """What `serve` would run, paths absolute, no password in it."""

    file: str
    socket: str
    data: str
    redis: str
    durability: str
    apps: dict[str, int]
    carriers: list[CarrierPlan]
    routes: list[RoutePlan]
    warnings: list[str]


def check(file: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check a configuration and print what would run. Nothing is started.

    Exit 2 if the configuration cannot be used. Relative paths in it are relative to the current directory;
    they are printed absolute.

    Parameters
    ----------
    file
        The configuration.
    json
        Print one JSON object.
    """
    plan = plan_of(load_config(file), file)
    print(msgspec.json.encode(plan).decode() if json else _for_people(plan))
    return EXIT_OK


def load_config(file: Path) -> Config:
    """The configuration at `file`. Raises `UsageError` with the file's name before what is wrong."""
    try:
        return load(file)
    except ConfigError as error:
        raise UsageError(f"{file}: {error}") from None


def plan_of(config: Config, file: Path) -> Plan:
    """What would run; looks at the configuration file's mode and the caller's uid."""
    return Plan(
        file=os.path.abspath(file),
        socket=os.path.abspath(config.intake.socket),
        data=os.path.abspath(config.node.data),
        redis=config.redis.safe_url,
        durability=config.redis.durability,
        apps={app.name: app.uid for app in config.app} or {"default": os.getuid()},
        carriers=[_carrier_plan(carrier) for carrier in config.carrier],
        routes=[RoutePlan(route.prefix, route.carriers) for route in config.route],
        warnings=[*warnings_of(config), *_file_warnings(config, file)],
    )


def warnings_of(config: Config) -> list[str]:
    """What is allowed but deserves a second look; pure."""
    found: list[str] = []
    if config.redis.durability == "relaxed":
        found.append(
            "[redis] durability = 'relaxed': a message answered as accepted can be lost when the server dies"
        )
    if all(route.prefix for route in config.route):
        covered = ", ".join(sorted({prefix for route in config.route for prefix in route.prefix}))
        found.append(f"[[route]]: only numbers that begin with {covered} have a carrier; others are refused")
    routed = {name for route in config.route for name in route.carriers}
    for carrier in config.carrier:
        found += [f"[[carrier]] {carrier.name}: {text}" for text in _carrier_warnings(carrier)]
        if carrier.name not in routed:
            found.append(
                f"[[carrier]] {carrier.name}: no route leads there; only messages that name it take it"
            )
    return found + _one_account_twice(config)


def _one_account_twice(config: Config) -> list[str]:
    accounts: dict[tuple[str, str], str] = {}
    found: list[str] = []
    for carrier in config.carrier:
        for host in carrier.hosts:
            first = accounts.setdefault((host, carrier.system_id), carrier.name)
            if first != carrier.name:
                found.append(
                    f"[[carrier]] {carrier.name} is the account {first} too ({carrier.system_id} at {host}): "
                    "receipts of one may come over binds of the other, and find no message"
                )
    return found


def _carrier_warnings(carrier: CarrierConfig) -> list[str]:
    found: list[str] = []
    if not carrier.password:
        found.append("no password")
    if carrier.rate == 0:
        found.append("rate = 0: sends as fast as the carrier answers")
    elif carrier.rate < carrier.binds:
        found.append(
            f"rate {carrier.rate:g} over {carrier.binds} binds is less than one part a second for each"
        )
    open_hosts = [host for host in carrier.hosts if not _is_loopback(host)]
    if open_hosts and not carrier.tls:
        found.append(
            f"tls = false: password and texts cross the network to {', '.join(open_hosts)} unencrypted"
        )
    if carrier.in_doubt == "query":
        found.append(
            "in_doubt = 'query': query_sm needs the id that was lost with the answer, so it holds like 'hold'"
        )
    if carrier.in_doubt == "resend":
        found.append("in_doubt = 'resend': a lost response always makes a second copy")
    if carrier.in_doubt == "never":
        found.append(
            "in_doubt = 'never': a lost response can lose the message, which is then reported unknown"
        )
    needed_s = carrier.response_timeout_s + carrier.hold_s
    if carrier.in_doubt in ("hold", "query") and carrier.orphan_ttl_s < needed_s:
        found.append(
            f"orphan_ttl_s = {carrier.orphan_ttl_s:g}: the receipt of a part in doubt is thrown away before "
            f"response_timeout_s + hold_s ({needed_s:g} s) are over and a copy is sent"
        )
    return found


def _file_warnings(config: Config, file: Path) -> list[str]:
    inline = any(c.password and not (c.password_file or c.password_env) for c in config.carrier)
    mode = stat.S_IMODE(file.stat().st_mode)
    if inline and mode & 0o077:
        return [f"{file} holds a password and can be read by others (mode {mode:04o}); chmod 600"]
    return []


def _is_loopback(host: str) -> bool:
    name = host_port(host)[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _carrier_plan(carrier: CarrierConfig) -> CarrierPlan:
    names = CarrierPlan.__struct_fields__
    return CarrierPlan(**{name: getattr(carrier, name) for name in names})


def _for_people(plan: Plan) -> str:
    rows = [
        f"configuration  {plan.file}",
        f"socket         {plan.socket}",
        f"data           {plan.data}",
        f"redis          {plan.redis}, durability {plan.durability}",
        "apps           " + ", ".join(f"{name} (uid {uid})" for name, uid in plan.apps.items()),
    ]
    for one in plan.carriers:
        rate = f"{one.rate:g} parts/s" if one.rate else "no rate limit"
        rows.append(
            f"carrier        {one.name}: {one.binds} x {one.bind} to {', '.join(one.hosts)}"
            f"{' over TLS' if one.tls else ''}, {rate}, window {one.window}"
        )
    for route in plan.routes:
        prefixes = ", ".join(route.prefix) or "every number"
        rows.append(f"route          {prefixes} -> {', '.join(route.carriers)}")
    rows += [f"warning        {text}" for text in plan.warnings]
    return "\n".join(rows)
