"""The configuration: what is read, and what an error tells the user."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import inbound
from todoke.engine import config
from todoke.engine.carrier_rules import build_carrier_rules
from todoke.engine.config import ConfigError
from todoke.engine.dispatch.binds import session_config

CARRIER = '[[carrier]]\nname = "docomo"\nhosts = ["127.0.0.1:2775"]\nsystem_id = "todoke"\n'


def carrier(keys: str) -> config.CarrierConfig:
    return config.parse(CARRIER + keys).carrier[0]


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, config.profiles())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_those_of_the_design() -> None:
    parsed = config.parse(CARRIER)
    one = parsed.carrier[0]
    assert (one.response_timeout_s, one.in_doubt, one.hold_s, one.lease_s, one.enquire_link_s) == (
        30,
        "hold",
        15,
        10,
        20,
    )
    assert (one.receipt_timeout_s, one.history_s, parsed.intake.ref_ttl_s, parsed.node.drain_s) == (
        259_200,
        600,
        86_400,
        30,
    )
    assert (parsed.node.data, parsed.redis.url, parsed.intake.socket) == (
        "run",
        "embedded",
        "run/todoke.sock",
    )
    assert parsed.redis.durability == "always"
    assert parsed.app == []


def test_without_a_route_every_number_goes_to_every_carrier_in_order() -> None:
    second = CARRIER.replace("docomo", "au")
    parsed = config.parse(CARRIER + second)
    assert [(route.prefix, route.carriers) for route in parsed.route] == [([], ["docomo", "au"])]


def test_the_configuration_of_the_design_is_read() -> None:
    text = """
[node]
data = "run"
[redis]
url = "embedded"
[intake]
socket = "run/todoke.sock"
[[app]]
name = "billing"
uid = 1001
[[carrier]]
name = "docomo"
hosts = ["127.0.0.1:2775"]
system_id = "todoke"
password = "secret"
bind = "transceiver"
binds = 2
rate = 500
window = 100
[[carrier]]
name = "softbank"
hosts = ["127.0.0.1:2776"]
system_id = "todoke"
password = "secret"
[[route]]
prefix = ["81"]
carriers = ["docomo", "softbank"]
"""
    parsed = config.parse(text)
    assert parsed.app[0].uid == 1001
    assert (parsed.carrier[0].binds, parsed.carrier[0].rate, parsed.carrier[0].window) == (2, 500, 100)
    assert parsed.route[0].carriers == ["docomo", "softbank"]


ERRORS = [
    (
        "windw = 3",
        "table [[carrier]] docomo: key 'windw': unknown (did you mean 'window'?); allowed: name, profile,",
    ),
    (
        "window = 0",
        "table [[carrier]] docomo: key 'window': 0 is not allowed; allowed: a whole number from 1 to 10000",
    ),
    (
        "window = '9'",
        "table [[carrier]] docomo: key 'window': '9' is not allowed; allowed: a whole number from 1",
    ),
    ("bind = 'both'", "key 'bind': 'both' is not allowed; allowed: 'transceiver', 'transmitter+receiver'"),
    ("rate = -1", "key 'rate': -1 is not allowed; allowed: a number from 0 to"),
    ("tls = 1", "key 'tls': 1 is not allowed; allowed: true, false"),
    (
        "alphabets = []",
        "key 'alphabets': [] is not allowed; allowed: a list (1 or more, at most 3) of: 'gsm7',",
    ),
    ("alphabets = ['ebcdic']", "key 'alphabets': 'ebcdic' is not allowed; allowed: 'gsm7', 'latin1', 'ucs2'"),
    ("alphabets = ['gsm7', 'gsm7']", "key 'alphabets': 'gsm7' stands there twice"),
    ("languages = ['hindi', 'hindi']", "key 'languages': 'hindi' stands there twice"),
    ("languages = ['klingon']", "key 'languages': 'klingon' is not allowed; allowed: 'bengali', 'gujarati',"),
    ("languages = ['hindi']\nalphabets = ['ucs2']", "key 'languages': only allowed with 'gsm7' among the"),
    ("gsm7_packed = true\nalphabets = ['ucs2']", "key 'gsm7_packed': only allowed with 'gsm7' among the"),
    ("transliterate = true\nalphabets = ['ucs2']", "key 'transliterate': only allowed with 'gsm7' among the"),
    (
        "transliterate_extra = { '♥' = '<3' }",
        "key 'transliterate_extra': only allowed with transliterate = true",
    ),
    (
        "transliterate = true\ntransliterate_extra = { '♥♥' = '<3' }",
        "key 'transliterate_extra': '♥♥' is not allowed; allowed: one character",
    ),
    (
        "transliterate = true\ntransliterate_extra = { '♥' = '❤' }",
        "key 'transliterate_extra': '❤' for '♥' is not allowed; allowed: text in GSM 7-bit",
    ),
    (
        "gsm7_single_units = 100",
        "key 'gsm7_single_units': 100 is not allowed; allowed: at least the 153 of gsm7_part_units",
    ),
    (
        "concat = 'udh16'\nucs2_single_units = 65",
        "key 'ucs2_single_units': 65 is not allowed; allowed: at least the 66 of ucs2_part_units",
    ),
    (
        "latin1_single_units = 99\nlatin1_part_units = 100",
        "key 'latin1_single_units': 99 is not allowed; allowed: at least the 100 of latin1_part_units",
    ),
    (
        "gsm7_part_units = 161",
        "key 'gsm7_part_units': 161 is not allowed; allowed: at most the 160 of gsm7_single_units",
    ),
    (
        "received_alphabet = 'utf8'",
        "key 'received_alphabet': 'utf8' is not allowed; allowed: ",
    ),
    ("received_packed = 1", "key 'received_packed': 1 is not allowed; allowed: true, false"),
    ("transliterate_extra = 5", "key 'transliterate_extra': 5 is not allowed; allowed: a table"),
    (
        "interface_version = '4.0'",
        "key 'interface_version': '4.0' is not allowed; allowed: '3.3', '3.4', '5.0'",
    ),
    (
        "sender_ton = 'x'",
        "key 'sender_ton': 'x' is not allowed; allowed: a whole number from 0 to 255 or 'auto'",
    ),
    (
        "profile = 'kddi'",
        "key 'profile': 'kddi' is not allowed; allowed: 'au', 'docomo', 'rakuten', 'softbank'",
    ),
    ("tls_ca_file = 'ca.pem'", "key 'tls_ca_file': only allowed with tls = true"),
    (
        "password = 'a'\npassword_env = 'A'",
        "key 'password_env': given together with 'password'; allowed: one of them",
    ),
    ("hold_s = 300000", "key 'hold_s': must be shorter than receipt_timeout_s"),
    ("lease_s = 3", "key 'lease_s': 3 is not allowed; allowed: a number above 3"),
    (CARRIER, "table [[carrier]]: key 'name': 'docomo' stands there twice; allowed: once"),
    ("[[carrier]]\nname = 'b'\n", "table [[carrier]] b: key 'hosts': missing; it has no default"),
    (
        "[[carrier]]\nname = 'B'\n",
        "table [[carrier]] B: key 'name': 'B' is not allowed; allowed: text of the form",
    ),
    ("[[carrier]]\nsystem_id = ''\n", "table [[carrier]] number 2: key 'name': missing"),
    (
        "[node]\ndatta = 1",
        "table [node]: key 'datta': unknown (did you mean 'data'?); allowed: data, drain_s,",
    ),
    (
        "[nodes]",
        "table [nodes]: unknown; allowed: [node], [redis], [intake], [portability], [app], [carrier],",
    ),
    (
        "[redis]\nurl = 'http://u:hush@h'",
        "table [redis]: key 'url': 'http://h' is not allowed; allowed: 'embedded',",
    ),
    (
        "[redis]\nurl = 'redis://h'\nserver_binary = 'x'",
        "key 'server_binary': only allowed with url = 'embedded'",
    ),
    (
        "[[app]]\nname = 'a'\nuid = 1\n[[app]]\nname = 'b'\nuid = 1",
        "table [[app]]: key 'uid': 1 stands there twice",
    ),
    (
        "[[route]]\nprefix = ['+81']\ncarriers = ['docomo']",
        "table [[route]] number 1: key 'prefix': '+81' is not",
    ),
    ("[[route]]\nprefix = ['81']\ncarriers = ['au']", "key 'carriers': 'au' is no carrier; allowed: docomo"),
    (
        "[[route]]\ncarriers = ['docomo']\n[[route]]\ncarriers = ['docomo']",
        "table [[route]]: key 'prefix': every number ([]) stands there twice",
    ),
    ("[[route]]\nprefix = ['81']", "table [[route]] number 1: key 'carriers': missing"),
    ("x =", "not TOML: Invalid value"),
]


@pytest.mark.parametrize(("text", "expected"), ERRORS)
def test_an_error_names_the_table_the_key_and_what_is_allowed(text: str, expected: str) -> None:
    assert expected in error_of(CARRIER + text)


def test_every_alphabet_of_the_reader_may_be_received() -> None:
    allowed = error_of(CARRIER + "received_alphabet = ''").partition("allowed: ")[2]
    assert {name.strip("'") for name in allowed.split(", ")} == inbound.ALPHABETS


def test_part_sizes_that_the_configuration_takes_are_taken_by_the_segmenter() -> None:
    keys = "gsm7_single_units = 153\nucs2_single_units = 70\nucs2_part_units = 70\n"
    (carrier,) = config.parse(CARRIER + keys).carrier
    assert build_carrier_rules(carrier).units_single == {"gsm7": 153, "ucs2": 70}


@pytest.mark.parametrize("text", ["", "carrier = []", "carrier = 3", "carrier = [3]", "[node]\ndata = 'x'"])
def test_a_node_needs_a_carrier(text: str) -> None:
    assert "carrier" in error_of(text)


@pytest.mark.parametrize(
    "host", ["h", "h:", ":1", "h:0x1", "h:70000", "[::1", "::1:2775", "a@b:1", "h:1/x", ""]
)
def test_a_host_needs_a_port(host: str) -> None:
    assert "allowed: 'host:port' or '[ipv6]:port'" in error_of(CARRIER.replace("127.0.0.1:2775", host))


def test_host_and_port_are_split() -> None:
    assert config.host_port("smsc.example:2775") == ("smsc.example", 2775)
    assert config.host_port("[::1]:2776") == ("::1", 2776)


SECRET = "hush9876"


@pytest.mark.parametrize("keys", [f"password = '{SECRET}'", f"password = '{SECRET}'\nwindw = 1"])
def test_a_password_is_never_shown(keys: str) -> None:
    try:
        shown = repr(config.parse(CARRIER + keys + f"\n[redis]\nurl = 'redis://u:{SECRET}@h/0'"))
    except ConfigError as error:
        shown = f"{error!r} {error}"
    assert SECRET not in shown
    assert "docomo" in shown


@pytest.mark.parametrize("value", ["'hush98765'", "['hush']", "{a = 'hush'}"])
def test_a_wrong_password_is_not_quoted(value: str) -> None:
    message = error_of(f"{CARRIER}password = {value}")
    assert "hush" not in message
    assert "key 'password'" in message


def test_passwords_come_from_files_and_variables(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush1\n")
    path = tmp_path / "todoke.toml"
    other = CARRIER.replace("docomo", "au")
    path.write_text(f"{CARRIER}password_file = '{secret}'\n{other}password_env = 'AU_PASSWORD'\n")
    loaded = config.load(path, {"AU_PASSWORD": "hush2"})
    assert [one.password for one in loaded.carrier] == ["hush1", "hush2"]
    with pytest.raises(ConfigError, match="key 'password_env': the environment has no 'AU_PASSWORD'"):
        config.load(path, {})
    secret.write_text("much-too-long")
    with pytest.raises(ConfigError, match="key 'password_file': holds more than the 8 characters"):
        config.load(path, {"AU_PASSWORD": "hush2"})
    secret.unlink()
    with pytest.raises(ConfigError, match=r"key 'password_file': cannot read .*: No such file"):
        config.load(path, {"AU_PASSWORD": "hush2"})


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: No such file"):
        config.load(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load(bad)


def test_a_profile_fills_what_the_carrier_leaves_out() -> None:
    known = config.profiles()
    one = config.parse(CARRIER + "profile = 'rakuten'\n", known).carrier[0]
    assert (one.concat, one.window, one.enquire_link_s) == ("udh16", 20, 20)
    one = config.parse(CARRIER + "profile = 'rakuten'\nwindow = 5\n", known).carrier[0]
    assert (one.concat, one.window) == ("udh16", 5)


@pytest.mark.parametrize(
    ("given", "octet"),
    [
        ("", 0x34),
        ("'3.3'", 0x33),
        ("'3.4'", 0x34),
        ("'5.0'", 0x50),
        ("0x33", 0x33),
        ("0x34", 0x34),
        ("0x50", 0x50),
    ],
)
def test_interface_version_is_that_of_the_bind(given: str, octet: int) -> None:
    text = CARRIER + (f"interface_version = {given}\n" if given else "")
    one = config.parse(text).carrier[0]
    assert one.interface_version_octet == octet
    assert session_config(one, "transceiver").interface_version == octet


def test_every_profile_is_a_carrier_that_takes_660_characters() -> None:
    assert tuple(config.profiles()) == config.PROFILE_NAMES
    for name in config.PROFILE_NAMES:
        one = config.carrier_from_profile(name)
        part_units = one.ucs2_part_units or {"udh8": 67, "udh16": 66}[one.concat]
        assert part_units * one.parts_max >= 660
    with pytest.raises(ConfigError, match="'kddi' is not allowed; allowed: docomo, au, softbank, rakuten"):
        config.carrier_from_profile("kddi")


@pytest.mark.parametrize("name", [p.name for p in files("todoke.conf").iterdir() if p.name.endswith(".toml")])
def test_the_shipped_files_are_valid(name: str) -> None:
    text = (files("todoke.conf") / name).read_text("utf-8")
    if name != "profiles.toml":
        assert config.parse(text, config.profiles()).carrier
    else:
        assert tomllib.loads(text)


@given(st.text() | st.text(alphabet="[]=\"'.\n abcdenorit0123456789"))
def test_any_text_is_a_configuration_or_a_configuration_error(text: str) -> None:
    for whole in (text, CARRIER + text):
        try:
            config.parse(whole)
        except ConfigError as error:
            assert str(error)  # noqa: PT017  either outcome is right


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(config.CarrierConfig.__struct_encode_fields__), VALUES)
def test_any_value_of_any_key_is_taken_or_refused_by_name(key: str, value: object) -> None:
    try:
        parsed = config.parse(config_text(key, value))
    except ConfigError as error:
        named = error.key is not None or error.table is not None
        assert named or str(error).startswith("not TOML")  # noqa: PT017  either outcome is right
    else:
        assert isinstance(parsed.carrier[0], config.CarrierConfig)


def config_text(key: str, value: object) -> str:
    """A carrier with one key set to a value, as TOML written by way of JSON (a subset but for null)."""

    def inline(item: object) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in item.items()) + "}"
        if isinstance(item, list):
            return "[" + ", ".join(inline(v) for v in item) + "]"
        return "'none'" if item is None else json.dumps(item)

    keys = {"name": '"docomo"', "hosts": '["127.0.0.1:1"]', "system_id": '"x"', key: inline(value)}
    return "[[carrier]]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
