"""tshark reads what our encoder writes: field by field the same octets and values, and nothing malformed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import pytest
import todoke_tests_capture as capture
import todoke_tests_pdus as pdus
import todoke_tests_tshark_fields as tshark_fields
from hypothesis import HealthCheck, Phase, given, settings
from todoke.codecs import constants as c
from todoke.codecs import gsm7, pdu, segment, udh
from todoke.codecs.fields import LAYOUTS, TLVS
from todoke_tests_capture import Segment, ShownPdu
from todoke_tests_tshark_fields import difference

DRAWS = 400
CROSSINGS = 2_000
# --- the PDUs ----------------------------------------------------------------------------------------------


def drawn() -> list[pdu.Pdu]:
    """The shared strategy's draws and crossings of them, the same in every run."""
    found: list[pdu.Pdu] = []

    @settings(
        max_examples=DRAWS,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(pdus.pdus())
    def collect(message: pdu.Pdu) -> None:
        found.append(message)

    collect()
    return found + list(pdus.crossed(found, CROSSINGS, Random(1)))


def vectors() -> list[pdu.Pdu]:
    """Every object of the codec's own table of objects and octets."""
    path = Path(__file__).parent.parent / "codecs" / "test_pdu.py"
    spec = importlib.util.spec_from_file_location("todoke_tests_test_pdu", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [message for message, _ in module.TABLE]


def edges() -> list[pdu.Pdu]:
    found: list[pdu.Pdu] = [edge for command_id in sorted(pdu.PDUS) for edge in pdus.edges(command_id)]
    found += [
        pdu.DataSm(tlvs=pdus.with_whole_sar([tlv]))
        for tlv in pdus.edge_tlvs()
        if len(tlv[1]) <= PAYLOAD_OCTETS_MAX
    ]
    found += [
        pdu.SubmitSm(tlvs=pdus.with_whole_sar([tlv]))
        for tlv in pdus.edge_tlvs()
        if len(tlv[1]) <= PAYLOAD_OCTETS_MAX
    ]
    found.append(pdu.DataSm(tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * PAYLOAD_OCTETS_MAX)]))
    return found


PAYLOAD_OCTETS_MAX = 65_000
"""tshark takes nothing above 64 KiB for SMPP (`test_what_tshark_takes_for_no_smpp`)."""


def readable(message: pdu.Pdu, number: int) -> pdu.Pdu:
    """The same without what tshark reads wrongly, and with a user data header where esm_class says so.

    Never two payloads: tshark rightly complains. `number` is the header's reference, or parts of several
    messages would be put together.
    """
    kept: pdu.Tlvs = []
    payload = False
    for tag, value in message.tlvs:
        if (tag, len(value)) in READ_WRONGLY or (tag == c.TAG_MESSAGE_PAYLOAD and payload):
            continue
        payload |= tag == c.TAG_MESSAGE_PAYLOAD
        kept.append((tag, value))
    message = msgspec.structs.replace(message, tlvs=kept)
    if not isinstance(message, pdu.SubmitSm | pdu.DeliverSm) or not message.esm_class & c.ESM_CLASS_UDHI:
        return message
    user_data = udh.concat16(number, 1, 1) + message.short_message[7:]
    return msgspec.structs.replace(message, short_message=user_data if message.short_message else b"")


def without_udhi(message: pdu.Pdu) -> pdu.Pdu:
    esm_class = getattr(message, "esm_class", 0)
    if not esm_class & c.ESM_CLASS_UDHI:
        return message
    return msgspec.structs.replace(message, esm_class=esm_class & ~c.ESM_CLASS_UDHI)


READ_WRONGLY = {
    (c.TAG_BROADCAST_REP_NUM, 2),  # steps over one octet too few or too many
    (c.TAG_MS_VALIDITY, 2),  # takes it for one octet, as in 3.4; the rest for the next tag
    (c.TAG_MS_VALIDITY, 3),
    (c.TAG_MS_VALIDITY, 4),
}
"""Known tags at which tshark 4.0 loses its way, whatever comes after (`test_what_tshark_reads_wrongly`)."""


def encoded(messages: list[pdu.Pdu]) -> list[tuple[pdu.Pdu, bytes]]:
    """With sequence numbers from 1; every third response is a refusal."""
    found: list[tuple[pdu.Pdu, bytes]] = []
    statuses = sorted(c.STATUS_NAMES)
    for number, message in enumerate(messages, 1):
        refused = message.command_id & c.RESPONSE_BIT and number % 3 == 0
        found.append(
            (message, pdu.encode(message, number, statuses[number % len(statuses)] if refused else 0))
        )
    return found


# --- the comparison ----------------------------------------------------------------------------------------


def numbers(shown: list[ShownPdu]) -> list[int]:
    return [int(one.first("smpp.sequence_number").show) for one in shown]


@pytest.fixture(scope="module")
def everything() -> list[tuple[pdu.Pdu, bytes]]:
    return encoded(
        [readable(message, number) for number, message in enumerate(drawn() + edges() + vectors())]
    )


Read = Callable[[list[Segment]], list[ShownPdu]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Segments -> a capture file -> what tshark shows."""
    capture.tshark()

    def through_tshark(segments: list[Segment]) -> list[ShownPdu]:
        capture.write(tmp_path / "capture.pcap", segments)
        return capture.read(tmp_path / "capture.pcap")

    return through_tshark


def test_every_pdu_is_read_to_the_same_values(read: Read, everything: list[tuple[pdu.Pdu, bytes]]) -> None:
    shown = read([Segment(bool(one.command_id & c.RESPONSE_BIT), frame) for one, frame in everything])
    assert numbers(shown) == list(range(1, len(everything) + 1))
    assert len(everything) > 2_500, len(everything)
    assert {type(message) for message, _ in everything} == set(pdu.PDUS.values())
    differences: list[str] = []
    for (message, frame), one in zip(everything, shown, strict=True):
        found = difference(message, frame, one) or "".join(one.complaints)
        if found:
            differences.append(f"{type(message).__name__} {frame[:400].hex()}: {found}")
    assert not differences, f"{len(differences)} of {len(everything)}, the first: {differences[:6]}"


def test_pdus_torn_over_segments_and_many_in_one(read: Read, everything: list[tuple[pdu.Pdu, bytes]]) -> None:
    """One stream cut anywhere but within a header, after which tshark 4.0 does not always find its way back.

    Without user data headers: tshark takes what follows in the segment for user data with one as well.
    """
    random = Random(2026)
    some = encoded([without_udhi(message) for message, _ in everything])
    stream = b"".join(frame for _, frame in some)
    headers: set[int] = set()
    at = 0
    for _, frame in some:
        headers |= set(range(at + 1, at + c.HEADER_OCTETS))
        at += len(frame)
    segments: list[Segment] = []
    at = 0
    while at < len(stream):
        end = at + random.choice((1, 3, 17, 40, 100, 900, 1_440))
        while end in headers:
            end += 1
        segments.append(Segment(False, stream[at:end]))
        at = end
    shown = read(segments)
    assert numbers(shown) == list(range(1, len(some) + 1))
    for (message, frame), one in zip(some, shown, strict=True):
        assert (difference(message, frame, one), one.complaints) == ("", [])


def test_a_wrong_octet_would_be_seen(read: Read) -> None:
    """The comparison itself: every octet of a PDU changed, one at a time, is found out."""
    message = pdu.SubmitSm(
        service_type=b"CMT",
        source_addr_ton=5,
        source_addr=b"Todoke",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr=b"8190",
        validity_period=b"000001000000000R",
        short_message=b"hi",
        tlvs=[(c.TAG_USER_MESSAGE_REFERENCE, b"\0\7"), (0x1400, b"v")],
    )
    frame = pdu.encode(message, 7)
    assert difference(message, frame, read([Segment(False, frame)])[0]) == ""
    changed = [frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :] for at in range(16, len(frame))]
    # Each in a connection of its own, so that none can spoil the next.
    shown = read([Segment(False, one, number) for number, one in enumerate(changed)])
    assert len(shown) == len(changed)
    assert all(difference(message, frame, one) for one in shown)


# --- what tshark does not show -----------------------------------------------------------------------------

NOT_SHOWN = {
    "dest_flag": "only by which of the two kinds of destination follows",
    "number_of_dests": "only by how many follow",
    "no_unsuccess": "only by how many follow",
    "callback_num": "that it is there, not what is in it",
    "callback_num_atag": "that it is there, not what is in it",
    "broadcast_rep_num": "read wrongly, as is all that follows",
}
"""Fields of ours without a value of tshark's; on top of them a request's command_status (always 0), empty
strings, and optional parameters of the PDUs that have none in SMPP 3.4 (`tshark_fields.WITHOUT_TLVS`)."""


def test_the_list_of_what_tshark_does_not_show_is_complete(everything: list[tuple[pdu.Pdu, bytes]]) -> None:
    shown: set[str] = set()
    for message, frame in everything:
        names = {want.name for want in tshark_fields.wanted(message, frame) if want.value is not None}
        shown |= {name.removeprefix("smpp.") for name in names}
    ours = {field.name for layout in LAYOUTS.values() for field in layout}
    ours |= {rule.name for rule in TLVS.values()} | {
        "dest_flag",
        "number_of_dests",
        "no_unsuccess",
        "dl_name",
    }
    renamed = tshark_fields.names_of_ours()
    missing = {name for name in ours if not renamed.get(name, {name}) & shown}
    assert missing == set(NOT_SHOWN)
    without = {c.COMMAND_NAMES[command_id] for command_id in tshark_fields.WITHOUT_TLVS}
    assert without == {
        "bind_receiver", "bind_transmitter", "bind_transceiver", "outbind", "query_sm", "query_sm_resp",
        "cancel_sm", "cancel_sm_resp", "replace_sm_resp", "unbind", "unbind_resp", "enquire_link",
        "enquire_link_resp", "generic_nack",
    }  # fmt: skip


def test_what_tshark_reads_wrongly(read: Read) -> None:
    messages = [pdu.DataSm(tlvs=[(tag, b"\1" * size)]) for tag, size in sorted(READ_WRONGLY)]
    frames = [pdu.encode(message, number) for number, message in enumerate(messages)]
    shown = read([Segment(False, frame, connection) for connection, frame in enumerate(frames)])
    for message, frame, one in zip(messages, frames, shown, strict=True):
        assert difference(message, frame, one) or one.complaints, message.tlvs


def test_what_tshark_takes_for_no_smpp(read: Read) -> None:
    """A PDU above 64 KiB and one of a vendor are data to it; the next connection is read as ever."""
    large = pdu.encode(pdu.DataSm(tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * 65_535)]), 1)
    vendor = pdu.encode(pdu.VendorPdu(command_id=0x00010200, body=b"x"), 2)
    segments = [Segment(False, large, 0), Segment(False, vendor, 1)]
    assert numbers(read([*segments, Segment(False, pdu.encode(pdu.Unbind(), 3), 2)])) == [3]


def test_a_header_that_is_none_is_malformed_user_data_and_the_pdu_is_read(read: Read) -> None:
    message = pdu.SubmitSm(esm_class=c.ESM_CLASS_UDHI, short_message=b"\x65\xe5\x67\x2c")
    frame = pdu.encode(message, 1)
    (shown,) = read([Segment(False, frame)])
    assert difference(message, frame, shown) == ""
    assert shown.complaints == ["[Malformed Packet: GSM SMS UD]"]


# --- user data ---------------------------------------------------------------------------------------------


def submit(esm_class: int, short_message: bytes, data_coding: int, number: int, tlvs: bytes = b"") -> bytes:
    return pdu.encode(
        pdu.SubmitSm(
            source_addr=b"0032069000",
            destination_addr=b"8190%08d" % number,
            esm_class=esm_class,
            data_coding=data_coding,
            short_message=short_message,
            tlvs=pdu.decode_tlvs(tlvs),
        ),
        number,
    )


LONG_TEXTS = ("Straße [9] €uro ~ {ñ} " * 30, "お荷物をお届けしました。😀" * 20)


@pytest.mark.parametrize("concat", ["udh8", "udh16"])
@pytest.mark.parametrize("text", LONG_TEXTS)
def test_parts_are_put_together_again(read: Read, text: str, concat: Literal["udh8", "udh16"]) -> None:
    rules = segment.Rules(concat=concat)
    cut = segment.segment(text, rules)
    reference = 0x1234
    segments = [
        Segment(False, submit(esm_class, short_message, cut.data_coding, 1, tlvs))
        for esm_class, short_message, tlvs in segment.fields(cut, rules, reference)
    ]
    shown = read(segments)
    for number, (one, part, part_text) in enumerate(zip(shown, cut.parts, cut.texts, strict=True), 1):
        assert one.complaints == []
        found = {field.name: field.show for field in one.user_data}
        assert found["gsm_sms.udh.mm.msg_id"] == str(reference & 0xFF if concat == "udh8" else reference)
        assert found["gsm_sms.udh.mm.msg_parts"] == str(len(cut.parts))
        assert found["gsm_sms.udh.mm.msg_part"] == str(number)
        # It knows UCS-2, not the surrogate pairs of UTF-16: each half comes out as three broken octets.
        assert one.first("smpp.message_text").show == part_text.replace("😀", "\ufffd" * 6)
        if number < len(cut.parts):
            assert found["gsm_sms_ud.short_msg"] == part.hex(":")
    whole = next(field for field in shown[-1].user_data if field.name == "gsm_sms_ud.short_msg")
    assert whole.octets == b"".join(cut.parts)


def test_ports_and_national_shifts_are_shown(read: Read) -> None:
    """The elements, that is; the text is shown by the default tables whatever the shifts say."""
    headers = [udh.build([(udh.IEI_PORTS_16, b"\x0b\x84\x23\xf0")]), udh.build([(0x04, b"\xf0\xf1")])]
    headers += [
        udh.build([(0x25, bytes((language,))), (0x24, bytes((language,)))]) for language in range(1, 14)
    ]
    shown = read([Segment(False, submit(0x40, one + b"abc", 0, at), at) for at, one in enumerate(headers, 1)])
    assert [one.complaints for one in shown] == [[]] * len(headers)
    found = [{field.name.rpartition(".")[2]: field.show for field in one.user_data} for one in shown]
    assert (found[0]["destination_port"], found[0]["originator_port"]) == ("2948", "9200")
    assert (found[1]["destination_port"], found[1]["originator_port"]) == ("240", "241")
    shifts = [(one["locking_shift"], one["single_shift"]) for one in found[2:]]
    assert shifts == [(str(language), str(language)) for language in range(1, 14)]
    turkish = udh.build([(0x25, b"\1"), (0x24, b"\1")]) + b"\x04\x1b\x67"
    (one,) = read([Segment(False, submit(0x40, turkish, 0, 1))])
    assert gsm7.decode(b"\x04\x1b\x67", 1, 1) == "€ğ"
    assert one.first("smpp.message_text").show == "è\ufffd"


def test_texts_in_the_default_alphabet(read: Read) -> None:
    """tshark's own table of the default alphabet and its extensions."""
    characters = [one for one in (*gsm7.BASIC, *gsm7.EXTENSION) if one not in "\x1b\n\r\f"]
    texts = ["".join(characters[at : at + 20]) for at in range(0, len(characters), 20)]
    shown = read(
        [Segment(False, submit(0, gsm7.encode(one) or b"", 0, at)) for at, one in enumerate(texts, 1)]
    )
    assert [one.first("smpp.message_text").show for one in shown] == texts
