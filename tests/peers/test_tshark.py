"""tshark reads what our encoder writes: field by field the same octets and values, and nothing malformed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest
import todoke_tests_capture as capture
import todoke_tests_pdus as pdus
import todoke_tests_tshark_fields as tshark_fields
from hypothesis import HealthCheck, Phase, given, settings
from todoke.codecs import constants as c
from todoke.codecs import pdu, udh
from todoke.codecs.fields import LAYOUTS, TLVS
from todoke_tests_capture import Segment, Shown, ShownPdu

DRAWS = 600
CROSSINGS = 1_800
BESIDES = ("smpp.opt_params", "smpp.opt_param", "smpp.message_text")
"""What tshark adds to the fields: containers, its reading of data_coding, and the text it makes of them."""

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


def difference(message: pdu.Pdu, frame: bytes, shown: ShownPdu) -> str:
    """The first thing tshark shows otherwise than it was meant; "" if there is none."""
    wanted = list(tshark_fields.wanted(message, frame))
    fields = [one for one in shown.fields if one.name not in BESIDES and not one.name.startswith("smpp.dcs.")]
    for want, field in zip(wanted, fields, strict=False):
        if (want.name, want.octets) != (field.name, field.octets):
            return f"{want} but {field}"
        if want.value is not None and want.value != _value(field, want.value):
            return f"{want} but {field}"
    if len(wanted) != len(fields):
        return f"wanted {wanted[len(fields) :][:1]}, found {fields[len(wanted) :][:1]}"
    return ""


def _value(field: Shown, like: str | int) -> str | int:
    return int(field.show, 0) if isinstance(like, int) else field.show


def numbers(shown: list[ShownPdu]) -> list[int]:
    return [int(one.first("smpp.sequence_number").show) for one in shown]


@pytest.fixture(scope="module")
def everything() -> list[tuple[pdu.Pdu, bytes]]:
    return encoded([readable(message, number) for number, message in enumerate(drawn() + edges())])


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
    assert len(everything) > 2_500
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
    for tag, size in sorted(READ_WRONGLY):
        message = pdu.DataSm(tlvs=[(tag, b"\1" * size)])
        frame = pdu.encode(message, 1)
        (shown,) = read([Segment(False, frame)])
        assert difference(message, frame, shown) or shown.complaints, (tag, size)


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
