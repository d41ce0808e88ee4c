"""Where a fuzzer begins: real shapes for every target, and the words that it would be long in finding."""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec
from todoke.codecs import constants as c
from todoke.codecs import pdu, udh
from todoke.codecs.fields import TLVS

RECEIPT_TEXT = (
    b"id:0123456789 sub:001 dlvrd:001 submit date:2611211000 done date:2611211001"
    b" stat:DELIVRD err:000 text:hello"
)
RECEIPT_TEXTS = (
    RECEIPT_TEXT,
    RECEIPT_TEXT.replace(b"0123456789", b"0aF3-9._z").replace(b" text:hello", b" Text:"),
    b"id:4A5B sub:001 dlvrd:000 submit date:20261121100000 done date:261121100100 stat:UNDELIV err:1F text:",
    b"ID: 77,SUBMIT DATE: 2611211000;STAT: Expired|ERR: 12 donedate:0000000000",
    b"stat:REJECTD err:11 done date:2611211000 submitdate:2611211000",
    RECEIPT_TEXT.decode().encode("utf-16-be"),
    RECEIPT_TEXT.decode().encode("utf-16-le"),
    b"id:0 stat:" + b"x" * 80,
    "id:０１ stat:ß done date:1".encode("latin-1", "ignore"),
)
RECEIPT_TLVS = [
    (c.TAG_RECEIPTED_MESSAGE_ID, b"0123456789\0"),
    (c.TAG_NETWORK_ERROR_CODE, b"\3\0\x0b"),
    (c.TAG_MESSAGE_STATE, b"\2"),
]
SAR = [
    (c.TAG_SAR_MSG_REF_NUM, b"\1\2"),
    (c.TAG_SAR_TOTAL_SEGMENTS, b"\3"),
    (c.TAG_SAR_SEGMENT_SEQNUM, b"\2"),
]
PACKED = bytes.fromhex("c8329bfd065ddf72363904")
HEADERS = (
    udh.concat8(7, 3, 2),
    udh.concat16(0x1234, 2, 1),
    b"\x06\x05\x04\x0b\x84\x23\xf0",  # ports, 16 bits
    b"\x04\x04\x02\x10\x20",  # ports, 8 bits
    b"\x03\x24\x01\x01",  # single shift, Turkish
    b"\x06\x25\x01\x06\x24\x01\x06",  # locking and single shift, Hindi
    b"\x0b\x00\x03\x01\x02\x01\x05\x04\x23\xf4\x23\xf4",
    b"\x02\x70\x00",
    b"\x05\x01\x02\x80\x01\x70\x00",
    b"\xff\x00",
    b"\x04\x00\x03\x01\x02",
    b"\x00",
)


def _pdus() -> list[bytes]:
    common = {"source_addr": b"819012345678", "destination_addr": b"0032069000", "source_addr_ton": 1}
    full = dict(
        common,
        service_type=b"CMT",
        dest_addr_ton=5,
        schedule_delivery_time=b"261121103005300+",
        validity_period=b"000001000000000R",
        registered_delivery=1,
        data_coding=8,
        esm_class=0x40,
        short_message=udh.concat8(7, 2, 1) + "日本".encode("utf-16-be"),
    )
    made: list[pdu.Pdu] = [kind() for kind in pdu.PDUS.values() if kind is not pdu.SubmitMulti]
    made += [
        pdu.BindTransceiver(
            system_id=b"todoke", password=b"secret", system_type=b"X", address_range=b"^8190"
        ),
        pdu.BindTransceiverResp(system_id=b"SMSC", tlvs=[(c.TAG_SC_INTERFACE_VERSION, b"\x34")]),
        pdu.SubmitSm(**full, tlvs=[(c.TAG_USER_MESSAGE_REFERENCE, b"\0\7")]),
        pdu.SubmitSm(**common, short_message=b"hello", dest_addr_npi=1),
        pdu.SubmitSm(**common, tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"hello"), *SAR, (0x1400, b"vendor")]),
        pdu.SubmitSmResp(message_id=b"0123456789"),
        pdu.SubmitSmResp(message_id=b"abc", tlvs=[(c.TAG_CONGESTION_STATE, b"\x20")]),
        pdu.DeliverSm(**common, short_message=b"hi \x1be", data_coding=0),
        pdu.SubmitMulti(
            source_addr=b"1",
            dest_addresses=[pdu.DestAddress(b"8190", 1, 1), pdu.DestAddress(dl_name=b"list")],
            short_message=b"hi",
        ),
        pdu.SubmitMultiResp(message_id=b"a", unsuccess_smes=[pdu.UnsuccessSme(b"81", 1, 1, 0x0B)]),
        pdu.QuerySm(message_id=b"x", source_addr=b"me"),
        pdu.QuerySmResp(message_id=b"x", final_date=b"261121103005300+", message_state=2, error_code=9),
        pdu.CancelSm(message_id=b"x", **common),
        pdu.ReplaceSm(message_id=b"x", source_addr=b"1", short_message=b"new"),
        pdu.AlertNotification(source_addr=b"1", esme_addr=b"2", tlvs=[(c.TAG_MS_AVAILABILITY_STATUS, b"\0")]),
        pdu.Outbind(system_id=b"a", password=b"b"),
        pdu.DataSmResp(message_id=b"x"),
    ]
    return [pdu.encode(one, number) for number, one in enumerate(made, 1)]


def _receipts() -> list[bytes]:
    addresses = {"source_addr": b"819012345678", "destination_addr": b"0032069000"}
    made: list[pdu.Pdu] = [
        pdu.DeliverSm(**addresses, esm_class=4, short_message=text[:254], tlvs=tlvs)
        for text in RECEIPT_TEXTS
        for tlvs in ([], RECEIPT_TLVS)
    ]
    made += [
        pdu.DeliverSm(**addresses, esm_class=0x20, short_message=RECEIPT_TEXT, tlvs=RECEIPT_TLVS[2:]),
        pdu.DeliverSm(**addresses, esm_class=0, short_message=RECEIPT_TEXT),
        pdu.DeliverSm(**addresses, esm_class=0x44, short_message=HEADERS[0] + RECEIPT_TEXT),
        pdu.DeliverSm(**addresses, esm_class=8, tlvs=RECEIPT_TLVS),
        pdu.DeliverSm(**addresses, esm_class=4, tlvs=[(c.TAG_MESSAGE_PAYLOAD, RECEIPT_TEXT)]),
        pdu.DataSm(**addresses, esm_class=4, tlvs=RECEIPT_TLVS),
        pdu.DataSm(
            **addresses, tlvs=[(c.TAG_MESSAGE_PAYLOAD, RECEIPT_TEXT), (c.TAG_NETWORK_ERROR_CODE, b"012")]
        ),
    ]
    return [pdu.encode(one, 1) for one in made]


def _inbound() -> list[bytes]:
    made: list[pdu.Pdu] = [
        pdu.DeliverSm(source_addr=b"1", data_coding=data_coding, short_message=b"\0h\0i \x1be")
        for data_coding in (0, 1, 2, 3, 4, 8, 0x11, 0x18, 0xC8, 0xE0, 0xF0, 0xF4, 0xF5)
    ]
    made += [
        pdu.DeliverSm(esm_class=0x40, data_coding=data_coding, short_message=header + PACKED)
        for header in HEADERS
        for data_coding in (0, 4, 8)
    ]
    made.append(pdu.DeliverSm(short_message=b"part", tlvs=SAR))
    made.append(pdu.DataSm(data_coding=8, tlvs=[(c.TAG_MESSAGE_PAYLOAD, "日本😀".encode("utf-16-be")), *SAR]))
    return [pdu.encode(one, 1) for one in made]


_BOUND = b"\x00\x03\x01"


def _sessions(all_pdus: list[bytes]) -> list[bytes]:
    found = [kind + b"\x03\x01" for kind in (b"\x00", b"\x01", b"\x42", b"\x10")]
    found += [_BOUND + b"\x00" + bytes((len(frame),)) + frame for frame in all_pdus if len(frame) < 256]
    # submit, an answer to it, a time-out, a late answer; unbind and its answer; deliver and answer
    submitted = b"\x09\x03"
    answer = bytes((6, 22, 0, 1)) + b"\x05id\0\0\0"
    found += [
        _BOUND + submitted + answer + answer,
        _BOUND + submitted + b"\x0c\x05\x0c\x02" + answer,
        _BOUND + b"\x0d\x00" + bytes((6, 24, 0, 1, 0)),
        _BOUND + b"\x0a\x00\x0a\x01\x0a\x02" + answer,
        _BOUND + b"\x0b\x01" + b"\x0c\x03" * 6,
        _BOUND + submitted + b"\x0e\x01\x0f\x01",
    ]
    return found


_SUBMIT = {
    "op": "submit",
    "id": 7,
    "messages": [
        {"to": "+819012345678", "text": "hello 日本", "from": "Todoke", "ref": "r-1", "tags": ["a", "b"]},
        {
            "to": "819012345678",
            "data": b"\x01\x02",
            "at": "2026-11-22T10:00:00+09:00",
            "expires": "2026-11-23T10:00:00Z",
            "window": {"from": "09:00", "to": "21:00", "zone": "Asia/Tokyo", "days": ["mon", "fri"]},
            "lane": "bulk",
            "carrier": "docomo",
            "campaign": "c",
            "receipt": False,
        },
    ],
}
_BODIES: list[object] = [
    {"op": "hello", "id": 1},
    {"op": "subscribe"},
    {"op": "ack", "cursor": "c-1", "id": "x"},
    {"op": "query", "message_id": "m"},
    {"op": "cancel", "message_id": "m", "id": None},
    {"op": "status", "id": -1},
    _SUBMIT,
    {
        "op": "submit",
        "messages": [{"to": 1}, {"to": "8190123456", "txt": ""}, 5, None, {"to": "0", "lane": "x"}],
    },
    {"op": "submit", "messages": [{}] * 9},
    {"op": "nothing", "id": 2**63},
    {},
    [],
    "text",
    1.5,
]
_ODD_JSON = [
    b'{"op":"hello","id":"\\ud800"}',
    b'{"op":"submit","messages":[{"to":"81901234567","text":"\\ud83d\\ude00\\udc00"}]}',
    b'{"op":"submit","messages":[{"to":"81901234567","text":"\xff"}]}',
    b'{"op":"hello","op":"status"}',
    b'{"op":"hello","id":1e400}',
    b'{"op":' + b"[" * 40,
]


def _requests() -> list[bytes]:
    spelled = [b"\0" + msgspec.json.encode(body) for body in _BODIES]
    spelled += [b"\1" + msgspec.msgpack.encode(body) for body in _BODIES]
    return spelled + [b"\0" + line for line in _ODD_JSON]


def _frames() -> list[bytes]:
    lines = b"\n".join(msgspec.json.encode(body) for body in _BODIES[:3])
    packed = b"".join(
        len(one).to_bytes(4, "big") + one for one in [msgspec.msgpack.encode(body) for body in _BODIES[:4]]
    )
    streams = [
        lines,
        lines + b"\r\n",
        b" \n" + lines + b"\n\n",
        packed,
        packed[:-2],
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    return [first + b"\x04" + stream for first in (b"\0", b"\1", b"\3") for stream in streams]


_OBJECTS = [
    b"\x01\x05hello\x00\x00\x02\x06Todoke\x00\x00\x03\x03r-1\x00\x00",
    b"\x04\x192026-11-22T10:00:00+09:00\x00\x00\x05\x142026-11-23T10:00:00Z\x00\x00",
    b"\x0c\x0b09:00-21:00\x00\x00\x00\x02\x01\x01x\x00\x00",
    b"\x00\x0c+81901234567\x00\x00\x01\x02hi\x01\x00\x08\x03a,b\x00\x00\x0a\x02\x01\x02\x00\x00",
]
_TEXTS = [
    spelling + text
    for spelling in (b"\0", b"\1", b"\2", b"\3")
    for text in (
        b"",
        b"hello",
        b"x" * 161,
        "日本".encode() * 40,
        "日本😀".encode("utf-16-be") * 30,
        b"[]{}" * 50,
        bytes(range(64)) * 4,
        b"a\r\n" * 60,
    )
]
_NATIONAL = "Şimdi ğüzel İstanbul'da ıssız çağrı; नमस्ते दुनिया ".encode()
_RULES = (
    b"\0\0\0\0\0\0\1\2\0\0",  # as they come
    b"\x05\xc5\0\0\0\0\1\2\0\0",  # small parts
    b"\0\0\0\0\2\0\1\2\0\0",  # national tables
    b"\0\0\1\2\x0e\0\1\2\3\0",  # everything: tables, packed, transliterated, ports
    b"\0\0\2\0\x04\0\1\2\2\0",  # sar, packed, ports
    b"\0\0\3\0\0\0\1\2\0\0",
)
_PARTS = [
    b"\5\0" + bytes((0x40, 0x01, 0x18)) + b"ab" + bytes((0x40, 0x05, 0x18)) + b"cd",
    b"\0\0" + bytes((0x40, 0x02, 0x28)) + b"abc" + b"\x1f\x1f" + bytes((0x41, 0x06, 0x2A)) + b"\xd8\x3d\0",
    b"\2\1" + bytes((0x40, 0x03, 0x58)) + b"packed" + b"\xe0\xe1\x0f\xe0",
]
_TIMES = [
    b"",
    b"261121103005300+",
    b"000001000000000R",
    b"991231235959948-",
    b"000101000000048+",
    b"2611211000",
    b"261121100000",
    b"20261121100000",
    b"0000000000",
    b"\x00\x00\x0e\x10",
]


def _captures() -> list[bytes]:
    """One segment with a PDU in it, as pcap and as pcapng, over Ethernet (a VLAN too), IPv4 and IPv6."""
    tcp = struct.pack(">HHIIBBHHH", 40_000, 2775, 1, 1, 0x50, 0x18, 1_000, 0, 0) + PDUS[0]
    ip4 = (
        struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
        + tcp
    )
    ip6 = struct.pack(">IHBB16s16s", 6 << 28, len(tcp), 6, 64, bytes(15) + b"\1", bytes(15) + b"\2") + tcp
    found: list[bytes] = []
    for packet in (b"\2" * 12 + b"\x08\0" + ip4, b"\2" * 12 + b"\x81\0\0\1\x86\xdd" + ip6):
        header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
        found.append(header + struct.pack("<4I", 1, 2, len(packet), len(packet)) + packet)
        section = struct.pack("<3IHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
        interface = struct.pack("<IIHHIHHB3xHHI", 1, 32, 1, 0, 0, 9, 1, 9, 0, 0, 32)
        padded = packet + bytes(-len(packet) % 4)
        block = struct.pack("<7I", 6, 32 + len(padded), 0, 0, 1, len(packet), len(packet))
        found.append(section + interface + block + padded + struct.pack("<I", 32 + len(padded)))
    found += [PDUS[1].hex().encode(), PDUS[2].hex(" ").encode(), b"0000  " + PDUS[3].hex(" ")[:47].encode()]
    return found


PDUS = _pdus()
RECEIPTS = _receipts()
INBOUND = _inbound()
SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "framing": lambda: (
        [bytes((n % 4, n % 7)) + frame + PDUS[n - 1] for n, frame in enumerate(PDUS)]
        + [b"\0\3" + banner for banner in (b"HTTP/1.1 400", b"\x16\x03\x01\x02\0", b"SSH-2.0", b"-ERR x")]
    ),
    "pdu": lambda: PDUS + RECEIPTS[:4] + INBOUND[:4],
    "encode": lambda: [
        b"\0\0\0\1\0" + bytes((number,)) + filler * 20
        for number in range(len(pdu.PDUS))
        for filler in (b"\0", b"\2\x45abcde\0", b"\x04\x0a")
    ],
    "fast": lambda: RECEIPTS + [frame for frame in PDUS if frame[4:8] == b"\0\0\0\4"],
    "udh": lambda: [header + b"text" for header in HEADERS],
    "receipt": lambda: RECEIPTS,
    "inbound": lambda: INBOUND,
    "parts": lambda: _PARTS,
    "segment": lambda: (
        [rules + text for rules in _RULES for text in _TEXTS] + [_RULES[0][:-1] + b"\1" + b"x" * 300]
    ),
    "alphabets": lambda: [
        *_TEXTS,
        PACKED,
        b"\x1be\x1b\x1b\x1b",
        *(b"\1\1\2\1" + _NATIONAL[at:] for at in (0, 40)),
    ],
    "transliterate": lambda: [
        b"\4\1\xe2\x80\x93" + text for text in (*_TEXTS, "\1“Hi” … ＡＢＣ １２３ ½™é".encode())
    ],
    "time": lambda: _TIMES,
    "describe": lambda: PDUS + RECEIPTS[:6] + INBOUND[-6:],
    "captures": _captures,
    "streams": lambda: [
        b"\5" + bytes((7, 200, 70, 15, 130)) + b"\xff\xff\xff\xf8" + frame * 3 for frame in PDUS[::3]
    ],
    "frames": _frames,
    "requests": _requests,
    "objects": lambda: _OBJECTS,
    "session": lambda: _sessions(PDUS),
}

WORDS: list[bytes] = [
    *(command_id.to_bytes(4, "big") for command_id in c.COMMAND_NAMES),
    *(tag.to_bytes(2, "big") for tag in TLVS),
    *(bytes((0, low)) for low in range(0, 24)),
    b"id:", b" stat:", b" err:", b" text:", b" Text:", b" sub:", b" dlvrd:", b" submit date:", b" done date:",
    b"DELIVRD", b"UNDELIV", b"EXPIRED", b"REJECTD", b"ACCEPTD", b"UNKNOWN", b"\0\x1e\0\x0b", b"\x04\x24",
    b"\x04\x27\0\1", b"\x04\x23\0\3", b"\x05\0\3", b"\x06\x08\4", b"\x24\1", b"\x25\1", b"\x05\4", b"\x1b",
    b"261121103005300+", b"000001000000000R", b"\xd8\x3d", b"\xde\0", b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff", b'"op":"submit"', b'"messages":[', b'{"to":"', b'"text":"', b'"id":', b"\\ud800",
    b"\\udc00", b"null", b"true", b"\x81\xa2op", b"\xa8messages", b"\xa2to", b"\xa4text", b"\xc4\x01",
    b"\xdd", b"\xc0", b"+09:00", b"Asia/Tokyo",
]  # fmt: skip
"""A dictionary for the mutations: what PDUs, receipts, headers and frames are made of."""
