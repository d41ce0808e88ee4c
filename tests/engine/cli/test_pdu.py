"""`todoke pdu`: every spelling of hexadecimal, captures of every kind in every disorder, exit codes, JSON."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.engine.cli import captures, hex_input, main, streams
from todoke.engine.cli.pdu_summary import Summary

dpkt = pytest.importorskip("dpkt")

ESME, SMSC = ("192.0.2.1", 40_000), ("192.0.2.2", 2775)
ENQUIRE = bytes.fromhex("00000010000000150000000000000001")
ENQUIRE_RESP = bytes.fromhex("00000010800000150000000000000001")


def submit(sequence: int, text: bytes = b"zqxjkvb") -> bytes:
    made = pdu.SubmitSm(source_addr=b"QJXVZKW", destination_addr=b"819012345678", short_message=text)
    return pdu.encode(made, sequence)


SUBMITS = [submit(number, b"zqxjkvb" * number) for number in range(1, 30)]
STREAM = b"".join(SUBMITS)


class Run:
    """What one command line gave."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.code = main.run(["pdu", *arguments])
        captured = capsys.readouterr()
        self.out, self.err = captured.out, captured.err

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def sequences(self) -> list[int]:
        return [one["sequence_number"] for one in self.objects if "name" in one]

    @property
    def notes(self) -> list[str]:
        return [one["note"] for one in self.objects if "note" in one]


# --- hexadecimal ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [ENQUIRE.hex()],
        [ENQUIRE.hex().upper()],
        [ENQUIRE.hex(" ")],
        ENQUIRE.hex(" ", 4).split(),
        [ENQUIRE.hex(":")],
        ["0x" + ENQUIRE.hex()],
        [", ".join(f"0x{octet:02x}" for octet in ENQUIRE)],
        ["".join(f"\\x{octet:02x}" for octet in ENQUIRE)],
    ],
)
def test_hexadecimal_in_any_spelling(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, *arguments, "--json")
    assert (run.code, run.err) == (0, "")
    assert [(one["name"], one["octets"]) for one in run.objects] == [("enquire_link", 16)]


DUMPS = {
    "xxd": "{offset:08x}: {pairs}  {text}",
    "xxd -g1": "{offset:08x}: {singles}  {text}",
    "hexdump -C": "{offset:08x}  {halves}  |{text}|",
    "tcpdump -X": "\t0x{offset:04x}:  {pairs}  {text}",
    "Wireshark": "{offset:04x}  {halves}   {text}",
    "od": "{offset:06x}  {singles}  >{text}<",
}


def dump(data: bytes, form: str) -> str:
    lines: list[str] = []
    for offset in range(0, len(data), 16):
        line = data[offset : offset + 16]
        lines.append(
            form.format(
                offset=offset,
                pairs=line.hex(" ", -2).ljust(39),
                singles=line.hex(" ").ljust(47),
                halves=f"{line[:8].hex(' ')}  {line[8:].hex(' ')}".ljust(48),
                text="".join(chr(octet) if 32 <= octet < 127 else "." for octet in line),
            )
        )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("form", DUMPS.values(), ids=DUMPS)
@given(data=st.binary(min_size=16, max_size=70) | st.text("0123456789abcdef ", min_size=16).map(str.encode))
def test_dumps_give_their_octets_whatever_their_text_column_says(form: str, data: bytes) -> None:
    whole = data[: len(data) // 16 * 16]  # the text column of a short last line is told apart below
    assert hex_input.blocks(dump(whole, form)) == [whole]


@pytest.mark.parametrize("form", DUMPS.values(), ids=DUMPS)
def test_a_short_last_line_of_a_dump(form: str) -> None:
    data = submit(1, b"ab cd 12")
    assert hex_input.blocks(dump(data, form)) == [data]


def test_dumps_one_after_another_and_lines_between_them() -> None:
    text = "10:00:00.000000 IP a > b: Flags [P.]\n" + dump(ENQUIRE, DUMPS["xxd"]) + dump(STREAM, DUMPS["xxd"])
    assert hex_input.blocks(text) == [ENQUIRE, STREAM]


def test_a_dump_of_two_directions_that_differ_in_their_indentation() -> None:
    ours, theirs = dump(STREAM[:64], DUMPS["Wireshark"]), dump(ENQUIRE, DUMPS["Wireshark"])
    lines = ours.splitlines()
    text = "\n".join([*lines[:2], *("    " + line for line in theirs.splitlines()), *lines[2:]])
    assert hex_input.blocks(text) == [STREAM[:64], ENQUIRE]


def test_a_star_in_a_dump_repeats_the_line() -> None:
    line = "00000000  " + " ".join(["00"] * 8) + "  " + " ".join(["00"] * 8) + "  |................|"
    text = line + "\n*\n00000030  01 02  |..|\n"
    assert hex_input.blocks(text) == [bytes(48) + b"\1\2"]


def test_a_star_for_more_than_any_dump_of_pdus_is_refused() -> None:
    line = "00000000  " + " ".join(["00"] * 16) + "\n*\n"
    most = hex_input.REPEATED_OCTETS_MAX
    assert hex_input.blocks(line + f"{16 + most:08x}  01\n") == [bytes(16 + most) + b"\1"]
    wrong = line + f"{17 + most:08x}  01\n"
    for text in (wrong, line + f"{most // 2:08x}  01\n*\n{most + 20:08x}  01\n"):
        with pytest.raises(hex_input.HexError, match=r"^\* for 1,048,57\d octets, the limit is 1,048,576"):
            hex_input.blocks(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zz", "digit 1 is not hexadecimal"),
        ("0011 22g3", "digit 7 is not hexadecimal"),
        ("001", "3 digits are half an octet too many"),
        (" : ", "no octets"),
    ],
)
def test_what_is_no_hexadecimal_is_said_in_one_line_that_does_not_repeat_it(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(hex_input.HexError, match=message):
        hex_input.blocks(text)
    run = Run(capsys, text)
    assert run.code == 2
    assert run.err == f"todoke: pdu: {message}; neither a file, nor hexadecimal\n"


def test_several_pdus_behind_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, STREAM.hex(), "--json")
    assert run.code == 0
    assert run.sequences == list(range(1, 30))
    assert [one["offset"] for one in run.objects][:3] == [0, len(SUBMITS[0]), len(SUBMITS[0] + SUBMITS[1])]
    assert run.objects[0]["time"] is run.objects[0]["source"] is run.objects[0]["answer_s"] is None


def test_a_pdu_cut_short_is_told_field_by_field(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, ENQUIRE.hex(), submit(7).hex()[:80])
    assert run.code == 1
    assert "! " in run.out
    assert "^ octet 0: 40 octets are there; answer generic_nack ESME_RINVCMDLEN, then close" in run.out
    assert "from octet 16 of the input" in run.out
    assert "not there" in run.out


def test_a_bad_length_and_then_the_next_plausible_header(capsys: pytest.CaptureFixture[str]) -> None:
    octets = ENQUIRE + b"\0\0\0\x05" + submit(7)[4:] + submit(8) + ENQUIRE
    run = Run(capsys, octets.hex(), "--json")
    assert run.code == 1
    assert run.notes == ["lost the frames: command_length 5: must be 16 to 70000"]
    assert run.sequences == [1, 7, 8, 1]
    assert [one["wrong"] for one in run.objects] == [False, True, True, False, False]


def test_another_protocol_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, b"HTTP/1.1 400 Bad Request\r\n".hex(), "--json")
    assert run.code == 1
    assert run.notes == ["lost the frames: the peer speaks HTTP, not SMPP"]


def test_the_answer_of_a_message_comes_with_its_retry_class(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, "00000010 80000004 00000058 00000001")
    assert "ESME_RTHROTTLED: throttled: more messages a second than are allowed; retry: throttle" in run.out
    assert run.code == 0


def test_filters_and_limit(capsys: pytest.CaptureFixture[str]) -> None:
    octets = (ENQUIRE + STREAM).hex()
    assert Run(capsys, octets, "--json", "--command", "submit_sm", "--limit", "2").sequences == [1, 2]
    assert Run(capsys, octets, "--json", "--sequence", "1").sequences == [1, 1]
    assert Run(capsys, octets, "--json", "--limit", "0").out == ""


# --- files and standard input -----------------------------------------------------------------------------


def test_a_file_of_octets_of_hexadecimal_or_compressed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pdus"
    for content in (
        STREAM,
        STREAM.hex().encode(),
        dump(STREAM, DUMPS["xxd"]).encode(),
        gzip.compress(STREAM),
    ):
        path.write_bytes(content)
        run = Run(capsys, str(path), "--json")
        assert (run.code, run.sequences) == (0, list(range(1, 30)))


def test_raw_octets_that_are_broken_are_not_taken_for_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pdus"
    path.write_bytes(b"\xff\xfe" * 10)
    assert Run(capsys, str(path)).code == 1
    path.write_bytes(b"\0" * 20)
    assert Run(capsys, str(path)).code == 1


@pytest.mark.parametrize("content", [STREAM, STREAM.hex(" ").encode(), b"0x" + STREAM.hex().encode()])
def test_standard_input(
    content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert Run(capsys, "-", "--json").sequences == list(range(1, 30))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give hexadecimal, a file, or - for standard input"),
        (["no/such.pcap"], "no file no/such.pcap"),
        (["00", "--command", "submit"], "no command 'submit'; such as submit_sm, deliver_sm_resp"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(capsys, *arguments)
    assert (run.code, run.err) == (2, f"todoke: pdu: {message}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no PDU in the input"),
        (b"\xd4\xc3\xb2\xa1\x02", "the capture is cut off in the file header"),
        (gzip.compress(STREAM)[:-20], "its compression is broken"),
    ],
)
def test_a_file_that_cannot_be_read(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    run = Run(capsys, str(path))
    assert run.code == 2
    assert run.err.splitlines()[-1].startswith("todoke: pdu: ")
    assert run.err.splitlines()[-1].endswith(message)


# --- captures ---------------------------------------------------------------------------------------------

Endpoint = tuple[str, int]
Wrap = Callable[[Any], bytes]


def tcp(
    source: Endpoint, destination: Endpoint, sequence: int, data: bytes, flags: int = 0x18, ack: int = 1
) -> Any:
    segment = dpkt.tcp.TCP(
        sport=source[1], dport=destination[1], seq=sequence & 0xFFFFFFFF, ack=ack, flags=flags, data=data
    )
    hosts = [struct.pack("4B", *map(int, host.split("."))) for host in (source[0], destination[0])]
    return dpkt.ip.IP(src=hosts[0], dst=hosts[1], p=6, data=segment)


def tcp6(source: Endpoint, destination: Endpoint, sequence: int, data: bytes, flags: int = 0x18) -> Any:
    segment = dpkt.tcp.TCP(sport=source[1], dport=destination[1], seq=sequence, flags=flags, data=data)
    hosts = [bytes(15) + host[-1:].encode() for host in (source[0], destination[0])]
    return dpkt.ip6.IP6(src=hosts[0], dst=hosts[1], nxt=6, plen=len(segment), data=segment)


def ethernet(packet: Any) -> bytes:
    return bytes(dpkt.ethernet.Ethernet(src=b"\1" * 6, dst=b"\2" * 6, data=packet)) + b"\0\0\0"  # padding


def vlan(packet: Any) -> bytes:
    return b"\2" * 6 + b"\1" * 6 + b"\x81\x00\x00\x07\x08\x00" + bytes(packet)


LINKS: dict[str, tuple[int, Wrap]] = {
    "ethernet": (1, ethernet),
    "vlan": (1, vlan),
    "cooked": (113, lambda packet: bytes(14) + b"\x08\x00" + bytes(packet)),
    "cooked 2": (276, lambda packet: b"\x08\x00" + bytes(18) + bytes(packet)),
    "null": (0, lambda packet: b"\2\0\0\0" + bytes(packet)),
    "loop": (108, lambda packet: b"\0\0\0\2" + bytes(packet)),
    "raw": (101, bytes),
    "ipv4": (228, bytes),
}


def write(path: Path, packets: list[bytes], link: int = 1, *, kind: str = "pcap") -> str:
    with path.open("wb") as file:
        if kind == "pcapng":
            writer = dpkt.pcapng.Writer(file, linktype=link)
        else:
            writer = dpkt.pcap.Writer(file, linktype=link, nano=kind == "nano")
        for number, packet in enumerate(packets):
            writer.writepkt(packet, 1_800_000_000 + number / 1000)
    return str(path)


SYN = tcp(ESME, SMSC, 999, b"", flags=0x02)


def segments(stream: bytes, size: int, first: int = 1000) -> list[Any]:
    return [tcp(ESME, SMSC, first + at, stream[at : at + size]) for at in range(0, len(stream), size)]


@pytest.mark.parametrize("kind", ["pcap", "pcapng", "nano"])
@pytest.mark.parametrize("link", LINKS)
def test_a_capture_of_any_link_and_kind(
    link: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number, wrap = LINKS[link]
    packets = [wrap(packet) for packet in [SYN, *segments(STREAM, 100)]]
    run = Run(capsys, write(tmp_path / "c", packets, number, kind=kind), "--json")
    assert (run.code, run.sequences, run.notes) == (0, list(range(1, 30)), [])
    first = run.objects[0]
    assert (first["source"], first["destination"]) == ("192.0.2.1:40000", "192.0.2.2:2775")
    assert first["time"] == pytest.approx(1_800_000_000.001)
    assert "29 PDUs, something wrong in 0" in run.err
    assert "without an answer: 29 submit_sm" in run.err


def test_ipv6_with_extension_headers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packets: list[bytes] = []
    for packet in (tcp6(ESME, SMSC, 999, b"", 2), tcp6(ESME, SMSC, 1000, STREAM)):
        octets = bytes(packet)
        extended = (
            octets[:4] + struct.pack(">H", len(octets) - 32) + b"\0" + octets[7:40] + b"\x06\0" + bytes(6)
        )
        packets += [extended + octets[40:]]
    run = Run(capsys, write(tmp_path / "c", packets, 101), "--json")
    assert (run.code, run.sequences) == (0, list(range(1, 30)))
    assert run.objects[0]["source"] == "[::31]:40000"


ORDERS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "as sent": lambda sent: sent,
    "neighbours exchanged": lambda sent: [
        one for at in range(0, len(sent), 2) for one in sent[at : at + 2][::-1]
    ],
    "each sent twice": lambda sent: [one for one in sent for _ in range(2)],
    "all sent again": lambda sent: sent + sent,
    "shuffled": lambda sent: random.Random(1).sample(sent, len(sent)),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("first", [1000, 0xFFFFFFF0])
def test_segments_in_any_order(
    order: str, first: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    syn = tcp(ESME, SMSC, first - 1, b"", flags=2)
    packets = [ethernet(packet) for packet in [syn, *ORDERS[order](segments(STREAM, 33, first))]]
    run = Run(capsys, write(tmp_path / "c", packets), "--json")
    assert (run.code, run.sequences, run.notes) == (0, list(range(1, 30)), [])
    assert ("segments sent again" in run.err) == ("again" in order or "twice" in order)
    assert ("segments out of order" in run.err) == (order in ("neighbours exchanged", "shuffled"))


def test_overlapping_segments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packets = [tcp(ESME, SMSC, 1000 + at, STREAM[at : at + 70]) for at in range(0, len(STREAM), 40)]
    run = Run(capsys, write(tmp_path / "c", [ethernet(one) for one in [SYN, *packets]]), "--json")
    assert (run.code, run.sequences) == (0, list(range(1, 30)))


def test_one_octet_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packets = [ethernet(packet) for packet in [SYN, *segments(STREAM, 1)]]
    assert Run(capsys, write(tmp_path / "c", packets), "--json").sequences == list(range(1, 30))


def test_a_gap_is_named_and_reading_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = segments(STREAM, 100)
    packets = [ethernet(packet) for packet in [SYN, *sent[:2], *sent[3:]]]
    run = Run(capsys, write(tmp_path / "c", packets), "--json")
    assert run.code == 0
    lost = set(range(1, 30)) - set(run.sequences)
    assert lost
    assert max(lost) - min(lost) == len(lost) - 1
    assert run.notes[0].startswith("100 octets are missing in the capture within a PDU, of which ")
    assert run.notes[1].endswith("octets skipped up to a plausible header")
    assert "1 gaps" in run.err


def test_what_the_receiver_has_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = segments(STREAM, 100)
    acknowledgement = tcp(SMSC, ESME, 1, ENQUIRE, ack=1000 + len(STREAM))
    packets = [ethernet(packet) for packet in [SYN, *sent[1:], tcp(SMSC, ESME, 0, b"", 2), acknowledgement]]
    run = Run(capsys, write(tmp_path / "c", packets), "--json")
    assert [one["name"] for one in run.objects if "name" in one][-1] == "enquire_link"


def test_packets_that_were_not_captured_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = len(bytes(ethernet(tcp(ESME, SMSC, 1, b"")))) - 3 + 80
    packets = [ethernet(packet)[:cut] for packet in [SYN, *segments(STREAM, 100)]]
    run = Run(capsys, write(tmp_path / "c", packets), "--json")
    assert (
        run.notes.count("20 octets are missing in the capture") + sum("20 octets" in n for n in run.notes) > 1
    )
    assert run.sequences


def test_a_capture_that_begins_in_the_middle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packets = [ethernet(packet) for packet in segments(STREAM[50:], 100)]
    run = Run(capsys, write(tmp_path / "c", packets), "--json")
    assert run.code == 0
    assert run.sequences == list(range(2, 30))
    skipped = len(SUBMITS[0]) - 50
    assert run.notes == [
        f"the capture begins within the connection; {skipped} octets skipped up to a plausible header"
    ]


def test_a_capture_that_ends_within_a_pdu_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(
        capsys, write(tmp_path / "c", [ethernet(one) for one in [SYN, *segments(STREAM[:-5], 100)]]), "--json"
    )
    assert (run.code, run.sequences[-1]) == (0, 28)
    assert run.notes == [f"the capture ends within a PDU, of which {len(SUBMITS[-1]) - 5} octets are there"]


def test_other_traffic_is_left_out_unless_its_port_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web = ("192.0.2.9", 443)
    other = [tcp(web, ESME, 10, b"", 2), tcp(web, ESME, 11, b"\x16\x03\x01" + bytes(300))]
    middle = [tcp(web, ESME, 11, b"\x17\x03\x03" * 9000, flags=0x10)]
    udp = dpkt.ip.IP(src=b"\1" * 4, dst=b"\2" * 4, p=17, data=b"x" * 30)
    arp = b"\2" * 12 + b"\x08\x06" + bytes(40)
    packets = [*map(ethernet, [*other, udp, SYN, *segments(STREAM, 500)]), arp, b"short"]
    path = write(tmp_path / "c", packets)
    run = Run(capsys, path, "--json")
    assert (run.code, run.sequences, run.notes) == (0, list(range(1, 30)), [])
    run = Run(capsys, path, "--json", "--port", "443")
    assert run.code == 1
    assert run.notes[0] == "lost the frames: the peer speaks TLS, not SMPP"
    run = Run(capsys, write(tmp_path / "d", [ethernet(one) for one in middle]), "--json")
    assert run.code == 2
    assert run.err.endswith("no PDU in the capture; give the port of SMPP with --port\n")


def test_a_port_used_again_is_a_new_connection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = [tcp(ESME, SMSC, 4999, b"", 2), *segments(STREAM, 100, 5000)]
    packets = [ethernet(packet) for packet in [SYN, SYN, *segments(STREAM[:-5], 100), *again]]
    run = Run(capsys, write(tmp_path / "c", packets), "--json")
    assert run.sequences == [*range(1, 29), *range(1, 30)]


def test_answers_are_matched_and_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = pdu.encode(pdu.SubmitSmResp(message_id=b"a"), 1) + pdu.encode(pdu.SubmitSmResp(), 9, 0x58)
    back = [tcp(SMSC, ESME, 0, b"", 2), tcp(SMSC, ESME, 1, answers)]
    packets = [ethernet(packet) for packet in [SYN, tcp(ESME, SMSC, 1000, submit(1) + submit(2)), *back]]
    path = write(tmp_path / "c", packets)
    run = Run(capsys, path, "--json")
    assert [one["answer_s"] for one in run.objects] == [None, None, pytest.approx(0.002, abs=1e-4), None]
    expected = [
        "4 PDUs, something wrong in 0",
        "        2  submit_sm",
        "        1  submit_sm_resp ESME_ROK",
        "        1  submit_sm_resp ESME_RTHROTTLED",
        "without an answer: 1 submit_sm",
        "  192.0.2.1:40000 > 192.0.2.2:2775 submit_sm sequence 2 at 1800000000.001000",
        "answers whose request is not in the capture: 1",
        "answer times: median 2.0 ms, 95 % within 2.0 ms, 99 % within 2.0 ms, longest 2.0 ms",
    ]
    assert run.err.splitlines() == expected
    people = Run(capsys, path)
    assert "2027-01-15 08:00:00.001000Z  192.0.2.1:40000 > 192.0.2.2:2775" in people.out
    assert "answered in 2.0 ms" in people.out


def test_nothing_private_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bind = pdu.encode(pdu.BindTransmitter(system_id=b"me", password=b"Vkqzwxjb"), 1)
    packets = [ethernet(packet) for packet in [SYN, tcp(ESME, SMSC, 1000, bind + STREAM)]]
    path = write(tmp_path / "c", packets)
    for options in ([], ["--json"]):
        run = Run(capsys, path, *options)
        for secret in ("zqxj", "QJXV", "819012345678", "Vkqz"):
            assert secret not in run.out + run.err
        shown = Run(capsys, path, *options, "--show-text").out
        assert "zqxj" in shown
        assert "819012345678" in shown
        assert "Vkqz" not in shown


def test_a_capture_cut_off_shows_what_came_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("pcap", "pcapng"):
        path = Path(
            write(tmp_path / "c", [ethernet(one) for one in [SYN, *segments(STREAM, 100)]], kind=kind)
        )
        path.write_bytes(path.read_bytes()[:-50])
        run = Run(capsys, str(path), "--json")
        assert run.code == 2
        assert run.sequences == list(range(1, 29))
        assert "todoke: pdu: the capture is cut off in " in run.err


def test_a_packet_dump_with_its_headers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "dump"
    for wrap in (bytes, ethernet):
        packets = [wrap(packet) for packet in [SYN, *segments(STREAM, 100)]]
        packets.insert(3, SUBMITS[1])  # as tshark -x adds what it put together
        path.write_text("".join(dump(packet, DUMPS["tcpdump -X"]) for packet in packets))
        run = Run(capsys, str(path), "--json")
        assert (run.code, run.sequences) == (0, list(range(1, 30)))
        assert run.objects[-1]["source"] == "192.0.2.1:40000"
    path.write_text(dump(bytes(tcp6(ESME, SMSC, 1, ENQUIRE)), DUMPS["xxd"]))
    assert Run(capsys, str(path), "--json").sequences == [1]


def test_a_text_column_behind_one_space_is_not_read() -> None:
    text = f"00000000: {ENQUIRE.hex(' ', -2)} beef\n00000010: {ENQUIRE.hex(' ', -2)} ..ef\n"
    assert hex_input.blocks(text) == [ENQUIRE + ENQUIRE]


def test_pcapng_interfaces_sections_and_units_of_time() -> None:
    def block(kind: int, body: bytes, order: str) -> bytes:
        length = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + length + body + length

    def section(order: str) -> bytes:
        return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)

    def interface(link: int, order: str, options: bytes = b"") -> bytes:
        return block(1, struct.pack(order + "HHI", link, 0, 0) + options, order)

    def packet(number: int, time: int, order: str) -> bytes:
        fields = struct.pack(order + "IIIII", number, time >> 32, time & 0xFFFFFFFF, 2, 2)
        return block(6, fields + b"hi\0\0", order)

    nano = struct.pack("<HHB3xHHqI", 9, 1, 9, 14, 8, 100, 0)
    binary = struct.pack("<HHB3x", 9, 1, 0x80 | 10)
    file = section("<") + interface(1, "<", nano) + interface(113, "<", binary) + block(99, b"skip", "<")
    file += packet(0, 5_000_000_000, "<") + packet(1, 2048, "<")
    file += block(3, struct.pack("<I", 2) + b"hi\0\0", "<")
    file += section(">") + interface(101, ">") + packet(0, 3_000_000, ">")
    file += block(2, struct.pack(">HHIIII", 0, 0, 0, 4_000_000, 2, 2) + b"hi\0\0", ">")
    found = list(captures.packets(io.BytesIO(file[4:]), file[:4]))
    assert found == [
        (105.0, 1, b"hi"),
        (2.0, 113, b"hi"),
        (0.0, 1, b"hi"),
        (3.0, 101, b"hi"),
        (4.0, 101, b"hi"),
    ]


@given(st.sampled_from(sorted(captures.MAGICS)), st.binary(max_size=120))
def test_any_octets_behind_a_magic_are_packets_or_a_capture_error(magic: bytes, octets: bytes) -> None:
    counted = streams.Connections().counted
    try:
        for packet in captures.packets(io.BytesIO(octets), magic):
            captures.segment_of(packet, counted)
    except captures.CaptureError:
        pass


@given(st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276, 999]), st.binary(max_size=120), st.data())
def test_any_packet_is_a_segment_or_none(link: int, octets: bytes, data: st.DataObject) -> None:
    good = bytes(tcp(ESME, SMSC, 1, b"hello"))
    if data.draw(st.booleans()):
        octets = bytearray(bytes({0: 4, 108: 4, 276: 20}.get(link, 0)) + good)
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        octets = bytes(octets)
    found = captures.segment_of(captures.Packet(0.0, link, octets), streams.Connections().counted)
    assert found is None or len(found.payload) <= len(octets)


def test_ip_fragments_are_counted() -> None:
    counted = streams.Connections().counted
    octets = bytearray(bytes(tcp(ESME, SMSC, 1, b"hello")))
    octets[6] |= 0x20
    assert captures.segment_of(captures.Packet(0.0, 101, bytes(octets)), counted) is None
    assert captures.segment_of(captures.Packet(0.0, 147, bytes(octets)), counted) is None
    assert sorted(counted) == [
        "IP fragments, which are not put together",
        "packets of link type 147, which is not read",
    ]


def ip6(next_header: int, extension: bytes, protocol: int = 6) -> bytes:
    inner = bytes(dpkt.tcp.TCP(sport=1, dport=2, data=b"hello"))
    body = (bytes([protocol]) + extension if extension else b"") + inner
    return b"\x60\0\0\0" + struct.pack(">HBB", len(body), next_header, 64) + bytes(32) + body


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        (ip6(6, b""), True),
        (ip6(0, bytes(7)), True),
        (ip6(60, b"\x01" + bytes(14)), True),
        (ip6(51, b"\x01" + bytes(10)), True),
        (ip6(44, bytes(7)), True),
        (ip6(44, b"\0\0\x01" + bytes(4)), False),
        (ip6(44, b"\0\1\0" + bytes(4)), False),
        (ip6(17, b""), False),
        (ip6(59, bytes(7)), False),
        (ip6(0, b"\xff" + bytes(6)), False),
        (ip6(6, b"")[:50], False),
    ],
)
def test_ipv6_extension_headers(octets: bytes, found: bool) -> None:
    segment = captures.segment_of(captures.Packet(0.0, 229, octets), streams.Connections().counted)
    assert (segment is not None and segment.payload == b"hello") == found


def test_packets_in_pppoe() -> None:
    octets = b"\2" * 12 + b"\x88\x64" + bytes(8) + bytes(tcp(ESME, SMSC, 1, b"hello"))
    segment = captures.segment_of(captures.Packet(0.0, 1, octets), streams.Connections().counted)
    assert segment is not None
    assert segment.payload == b"hello"


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"\x0a\x0d\x0d\x0a" + b"\x1c\0\0\0" + b"none", "block 1: no byte order mark"),
        (b"\x0a\x0d\x0d\x0a" + b"\x0c\0\0\0" + b"\x4d\x3c\x2b\x1a", "block 1: its length 12 cannot be"),
        (b"\x0a\x0d\x0d\x0a" + b"\x1c\0\0\x7f" + b"\x4d\x3c\x2b\x1a", "a packet of 2130706460 octets"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20) + b"\0" * 15, "cut off in packet 1"),
        (
            b"\xd4\xc3\xb2\xa1" + bytes(20) + b"\0" * 8 + b"\xff\xff\xff\0" + bytes(4),
            "a packet of 16777215 octets",
        ),
        (b"none", "neither pcap nor pcapng"),
    ],
)
def test_broken_captures_say_where(octets: bytes, message: str) -> None:
    with pytest.raises(captures.CaptureError, match=message):
        list(captures.packets(io.BytesIO(octets[4:]), octets[:4]))


def test_a_packet_of_an_interface_that_is_not_described() -> None:
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    packet = struct.pack("<IIIIIIII", 6, 32, 0, 0, 0, 0, 0, 32)
    with pytest.raises(captures.CaptureError, match="block 2: broken"):
        list(captures.packets(io.BytesIO((section + packet)[4:]), section[:4]))
    with pytest.raises(captures.CaptureError, match="cut off in block 2"):
        list(captures.packets(io.BytesIO((section + b"xx")[4:]), section[:4]))


# --- limits -----------------------------------------------------------------------------------------------

A, B = (b"\1\1\1\1", 1), (b"\2\2\2\2", 2)


def segment(
    sequence: int, payload: bytes, *, syn: bool = False, source: streams.Endpoint = A
) -> captures.Segment:
    return captures.Segment(0.0, source, B, sequence & 0xFFFFFFFF, None, syn, payload, 0)


def test_segments_that_wait_are_bounded() -> None:
    connections = streams.Connections()
    connections.feed(segment(0, b"", syn=True))
    peak = 0
    for number in range(200):
        connections.feed(segment(2 + number * 60_001, bytes(60_000)))
        peak = max(peak, connections.pending_octets)
    assert 60_000 < peak <= streams.OUT_OF_ORDER_OCTETS_MAX
    connections.finish()
    assert connections.pending_octets == 0


def test_segments_that_wait_are_bounded_over_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "OUT_OF_ORDER_OCTETS_ALL_MAX", 500)
    connections = streams.Connections()
    for port in range(20):
        source = (b"\1\1\1\1", port)
        connections.feed(segment(0, b"", syn=True, source=source))
        connections.feed(segment(50, bytes(100), source=source))
        assert connections.pending_octets <= 500


def test_octets_without_a_header_at_the_end_are_counted() -> None:
    framer = streams.Framer(A, B, certain=True, from_start=False)
    framer.feed(0.0, b"x" * 100)
    (note,) = framer.finish(0.0)
    assert isinstance(note, streams.Note)
    assert note.text == "100 octets at the end without a plausible header"


def test_connections_followed_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FLOWS_MAX", 3)
    connections = streams.Connections()
    for port in range(9):
        connections.feed(segment(0, b"", syn=True, source=(b"\1\1\1\1", port)))
        assert len(connections.flows) <= 3


def test_octets_that_are_not_smpp_are_not_kept() -> None:
    framer = streams.Framer(A, B, certain=False, from_start=False)
    for _ in range(20):
        assert framer.feed(0.0, bytes(range(1, 256)) * 10) == []
        assert len(framer.buffer) < 16
    assert framer.foreign


def test_requests_that_wait_for_an_answer_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todoke.engine.cli.pdu_summary.OUTSTANDING_MAX", 5)
    summary = Summary()
    for number in range(20):
        summary.add(streams.Frame(0.0, A, B, 0, b""), c.SUBMIT_SM, 0, number)
    assert len(summary.outstanding) == 5
    lines = summary.lines([])
    assert "without an answer: 20 submit_sm" in lines
    assert "  and 10 more" in lines


@given(st.lists(st.integers(1, 60)), st.randoms())
def test_streams_give_the_same_pdus_however_cut_and_ordered(cuts: list[int], order: random.Random) -> None:
    parts: list[captures.Segment] = []
    at = 0
    for size in [*cuts, len(STREAM)]:
        parts.append(segment(at + 1, STREAM[at : at + size + 7]))
        at += size
    order.shuffle(parts)
    connections = streams.Connections()
    events = connections.feed(segment(0, b"", syn=True))
    for part in parts:
        events += connections.feed(part)
    events += connections.finish()
    frames = [event.octets for event in events if isinstance(event, streams.Frame)]
    assert frames == SUBMITS


@given(st.binary(max_size=200), st.integers(0, 60), st.booleans(), st.booleans())
def test_any_octets_are_frames_and_notes(octets: bytes, at: int, certain: bool, from_start: bool) -> None:
    framer = streams.Framer(None, None, certain=certain, from_start=from_start)
    data = STREAM[:at] + octets + STREAM[:100] + octets
    events = (
        framer.feed(0.0, data[:90])
        + framer.feed(0.0, data[90:])
        + framer.gap(0.0, 5)
        + framer.feed(0.0, STREAM)
    )
    events += framer.finish(0.0)
    for event in events:
        assert event.offset >= 0
    if certain:
        assert [one.octets for one in events if isinstance(one, streams.Frame)][-28:] == SUBMITS[-28:]
