"""`todoke bench codec`: our codec beside smpplib (pure Python) and smpp34 (Rust), same work, same run.

Every contestant of a line does the whole of that line's work on the same 200 messages, and what it makes is
compared with ours octet by octet (or value by value) before anything is timed. Rounds go through the lines
and their contestants in turn, so a noisy moment of the machine strikes all; a ratio is the median of the
rounds' ratios, a time the best round. Times are the thread's share of a processor, so that other processes
count only as far as they slow that down.

A line may have a limit of its own for our time. Lines called "complete" are of the paths that take everything
(`pdu`, `receipt`), the others of those that a node takes for nearly all of its traffic (`fast`).
"""

from __future__ import annotations

import logging
import platform
import re
import statistics
import time
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from ..codecs import constants as c
from ..codecs import fast, framing, gsm7, receipt, segment
from ..codecs.pdu import DeliverSm, SubmitSm, SubmitSmResp, decode, encode

MESSAGES: Final = 200
SOURCE: Final = "Todoke"
SMPP34_VERSION: Final = "1.5.0"
SMPPLIB_VERSION: Final = "2.2.4"
ROUND_S: Final = 0.02
"""A contestant's share of a round, at least."""

ONE_PART_NS_MAX: Final = 3_000.0
"""A message of one part, whatever is done with it."""
LONG_PART_NS_MAX: Final = 1_000.0
"""A part of a long message in the GSM 7-bit default alphabet, cut and with its headers."""
NATIONAL_NS_MAX: Final = 5_000.0
"""A message of one part, or a part of a long one, for which national tables are tried and taken."""
TEN_JAPANESE_PARTS_NS_MAX: Final = 10_000.0

_receipt_text = re.compile(rb"id:(\S+) .*?stat:(\w+)", re.DOTALL).search
_states = {b"DELIVRD": "delivered", b"UNDELIV": "undeliverable"}


class MissingContestant(RuntimeError):
    """A library to compare with is not installed."""


class Line(msgspec.Struct, frozen=True):
    """One kind of work. Times are nanoseconds a message, ratios theirs over ours."""

    work: str
    ours_ns: float
    theirs_ns: dict[str, float]
    ratios: dict[str, float]
    required: dict[str, float]
    ok: bool
    at_most_ns: float = 0.0
    """Our own limit; 0 without one."""


class CodecFigures(msgspec.Struct, frozen=True):
    """What a run measured."""

    python: str
    rounds: int
    versions: dict[str, str]
    lines: list[Line]
    ok: bool


Contestant = Callable[[], list[Any]]
"""Does the work on all messages, returns what came of each."""


class Work(msgspec.Struct, frozen=True):
    """A line before it is measured. `at_most_ns` binds our own time."""

    name: str
    ours: Contestant
    theirs: dict[str, Contestant] = {}
    required: dict[str, float] = {}
    at_most_ns: float = 0.0
    messages: int = MESSAGES


def run_codec(rounds: int = 15) -> CodecFigures:
    """Measure everything once. Raises `MissingContestant`, and AssertionError when results differ."""
    works = [_submit(), _receipt(), _segment(), *_long(), *_complete(), *_alone()]
    lines = _measure(works, rounds)
    versions = {"smpp34": SMPP34_VERSION, "smpplib": SMPPLIB_VERSION}
    return CodecFigures(platform.python_version(), rounds, versions, lines, all(line.ok for line in lines))


def main_codec(*, rounds: int = 15, json: bool = False) -> int:
    """Measure and print; 0 when every ratio and limit was kept, else 1. Raises `MissingContestant`."""
    figures = run_codec(rounds)
    print(msgspec.json.encode(figures).decode() if json else table(figures))
    return 0 if figures.ok else 1


def table(figures: CodecFigures) -> str:
    """The figures for people."""
    rows = [
        f"{'ns a message (ratio to ours; required)':<58}{'ours':>8}{'at most':>9}"
        f"{'smpp34':>22}{'smpplib':>24}"
    ]
    for line in figures.lines:
        at_most = f"{line.at_most_ns:,.0f}" if line.at_most_ns else ""
        row = f"{line.work:<58}{line.ours_ns:>8,.0f}{at_most:>9}"
        for name, width in (("smpp34", 22), ("smpplib", 24)):
            cell = ""
            if name in line.theirs_ns:
                cell = f"{line.theirs_ns[name]:,.0f} ({line.ratios[name]:.2f}x"
                cell += f"; {line.required[name]:g}x)" if name in line.required else ")"
            row += f"{cell:>{width}}"
        rows.append(row + ("" if line.ok else "  MISSED"))
    rows.append(f"Python {figures.python}, {figures.rounds} rounds, " + _versions(figures.versions))
    return "\n".join(rows)


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


# The work


def _texts() -> list[str]:
    return [
        f"{number:04d} Your parcel arrives today between 14:00 and 16:00. Thanks!"[:61]
        for number in range(200)
    ]


def _numbers() -> list[str]:
    return [f"8190{number * 499_979 % 100_000_000:08d}" for number in range(MESSAGES)]


def _smpp34() -> Any:
    try:
        import smpp34
    except ImportError as error:
        raise MissingContestant(f"smpp34 {SMPP34_VERSION} is not installed") from error
    return smpp34


def _smpplib() -> tuple[Any, Any, Any]:
    """(a client that stays unconnected, its only use being sequence numbers; gsm; smpp)"""
    try:
        from smpplib import client, gsm, smpp
    except ImportError as error:
        raise MissingContestant(f"smpplib {SMPPLIB_VERSION} is not installed") from error
    logging.getLogger("smpplib.client").setLevel(logging.ERROR)
    return client.Client("127.0.0.1", 0, allow_unknown_opt_params=True), gsm, smpp


def _submit() -> Work:
    """61 characters of text and a number become submit_sm octets."""
    smpp34, (client, gsm, smpp) = _smpp34(), _smpplib()
    texts, numbers = _texts(), _numbers()
    rows = list(zip(range(1, MESSAGES + 1), numbers, texts, strict=True))
    encoded = [(number, to, gsm7.encode(text)) for number, to, text in rows]
    # None is only for texts that this test has not.
    single = cast("Callable[[str], bytes]", segment.single)
    route = fast.SubmitTemplate(source_addr_ton=5, source_addr=SOURCE.encode(), registered_delivery=1)

    def ours() -> list[bytes]:
        pdu = route.pdu
        return [pdu(number, to.encode(), 0, single(text)) for number, to, text in rows]

    def rust() -> list[bytes]:
        submit_sm = smpp34.SubmitSm
        return [
            submit_sm(
                SOURCE,
                to,
                short_message,
                source_addr_ton=5,
                dest_addr_ton=1,
                dest_addr_npi=1,
                registered_delivery=1,
                sequence_number=number,
            ).encode()
            for number, to, short_message in encoded
        ]

    def python() -> list[bytes]:
        made: list[bytes] = []
        for number, to, text in rows:
            parts, data_coding, esm_class = gsm.make_parts(text)
            pdu = smpp.make_pdu(
                "submit_sm",
                client=client,
                source_addr_ton=5,
                source_addr=SOURCE,
                dest_addr_ton=1,
                dest_addr_npi=1,
                destination_addr=to,
                esm_class=esm_class,
                registered_delivery=True,
                data_coding=data_coding,
                short_message=parts[0],
            )
            pdu.sequence = number
            made.append(pdu.generate())
        return made

    theirs = {"smpp34": rust, "smpplib": python}
    return Work(
        "submit_sm from 61 characters (smpp34: text encoded before)",
        ours,
        theirs,
        {"smpp34": 1.5, "smpplib": 50.0},
        ONE_PART_NS_MAX,
    )


def _receipt() -> Work:
    """A deliver_sm receipt, from octets to message_id and state."""
    smpp34, (client, _, smpp) = _smpp34(), _smpplib()
    frames = _receipts()

    def ours() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for frame in frames:
            one = fast.receipt_of(frame)
            assert one is not None
            found.append((one.message_id, one.state))
        return found

    def rust() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for frame in frames:
            pdu = smpp34.decode(frame)
            _source, _destination, esm_class, text = (
                pdu.source_addr,
                pdu.destination_addr,
                pdu.esm_class,
                pdu.short_message,
            )
            match = _receipt_text(text) if esm_class & 0x3C else None
            assert match is not None
            found.append((match[1].decode(), _states[match[2]]))
        return found

    def python() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for frame in frames:
            pdu = smpp.parse_pdu(frame, client=client, allow_unknown_opt_params=True)
            match = _receipt_text(pdu.short_message)
            assert match is not None
            found.append((match[1].decode(), _states[match[2]]))
        return found

    theirs = {"smpp34": rust, "smpplib": python}
    required = {"smpp34": 1.2, "smpplib": 20.0}
    return Work("deliver_sm receipt to id and state", ours, theirs, required, ONE_PART_NS_MAX)


_USUAL_TEXT: Final = (
    b"id:%(id)d sub:001 dlvrd:001 submit date:2611211000 done date:2611211001 stat:%(stat)b err:%(err)b"
    b" text:Your parcel"
)
_UNUSUAL_TEXT: Final = (
    b"ID: %(id)d, Stat: %(stat)b, Err: %(err)b, Submit date: 2611211000, Done date: 2611211001, Text:"
)


def _receipts(text: bytes = _USUAL_TEXT, *, tlvs: bool = False) -> list[bytes]:
    """`tlvs`: each with receipted_message_id, network_error_code and message_state."""
    frames: list[bytes] = []
    for number, to in enumerate(_numbers(), 1):
        message_id = 1_000_000_000 + number
        delivered = number % 50 != 0
        stat, err = (b"DELIVRD", b"000") if delivered else (b"UNDELIV", b"027")
        pdu = DeliverSm(
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr=to.encode(),
            dest_addr_ton=5,
            destination_addr=SOURCE.encode(),
            esm_class=4,
            short_message=text % {b"id": message_id, b"stat": stat, b"err": err},
        )
        if tlvs:
            pdu.tlvs = [
                (c.TAG_RECEIPTED_MESSAGE_ID, b"%d\0" % message_id),
                (c.TAG_NETWORK_ERROR_CODE, b"\3\0" + (b"\0" if delivered else b"\x1b")),
                (c.TAG_MESSAGE_STATE, b"\2" if delivered else b"\5"),
            ]
        frames.append(encode(pdu, number))
    return frames


def _segment() -> Work:
    """660 characters of Japanese become ten concatenated parts, headers included."""
    _, gsm, _ = _smpplib()
    sentence = "お届け先の変更をご希望の場合は、本日午後六時までにお電話ください。"
    texts = [(f"{number:04d}" + sentence * 30)[:660] for number in range(20)]
    rules = segment.Rules()

    def ours() -> list[int]:
        return [len(segment.fields(segment.segment(text, rules), rules, 7)) for text in texts]

    def python() -> list[int]:
        return [len(gsm.make_parts(text)[0]) for text in texts]

    return Work(
        "segment 660 characters of Japanese",
        ours,
        {"smpplib": python},
        {},
        TEN_JAPANESE_PARTS_NS_MAX,
        messages=len(texts),
    )


def _long() -> list[Work]:
    """Texts cut into parts, headers included; a "message" here is a part."""
    english = "Your parcel arrives today between 14:00 and 16:00. Thanks! "
    turkish = "Kargonuz bugün 14:00 ile 16:00 arasında teslim edilecek, iyi günler. "
    lines = [
        ("a part of GSM 7-bit text of two parts", english * 5, segment.Rules(), LONG_PART_NS_MAX),
        ("a part of GSM 7-bit text of four parts", english * 10, segment.Rules(), LONG_PART_NS_MAX),
        ("a part of GSM 7-bit text of ten parts", english * 24, segment.Rules(), LONG_PART_NS_MAX),
        ("Turkish by its tables, one part", turkish, segment.Rules(languages=(1,)), NATIONAL_NS_MAX),
        ("Turkish, all 13 languages tried, one part", turkish, _all_languages(), NATIONAL_NS_MAX),
        ("a part of Turkish text, all languages tried", turkish * 20, _all_languages(), NATIONAL_NS_MAX),
    ]
    return [_cut(name, text, rules, at_most_ns) for name, text, rules, at_most_ns in lines]


def _all_languages() -> segment.Rules:
    return segment.Rules(languages=tuple(range(1, 14)))


def _cut(name: str, text: str, rules: segment.Rules, at_most_ns: float) -> Work:
    texts = [f"{number:04d} {text}" for number in range(20)]

    def ours() -> list[int]:
        return [len(segment.fields(segment.segment(text, rules), rules, 7)) for text in texts]

    return Work(name, ours, at_most_ns=at_most_ns, messages=sum(ours()))


def _complete() -> list[Work]:
    """The paths that take everything, on messages of one part."""
    receipts, with_tlvs = _receipts(), _receipts(tlvs=True)
    unusual = _receipts(_UNUSUAL_TEXT)
    numbers = [number.encode() for number in _numbers()]
    route = fast.SubmitTemplate(source_addr=SOURCE.encode())
    submits = [route.pdu(number, to, 0, b"x" * 61) for number, to in enumerate(numbers, 1)]
    answers = [encode(SubmitSmResp(message_id=to), number) for number, to in enumerate(numbers, 1)]

    def encoded() -> list[bytes]:
        return [
            encode(SubmitSm(destination_addr=to, short_message=b"x" * 61), number)
            for number, to in enumerate(numbers, 1)
        ]

    lines: list[tuple[str, Contestant]] = [
        ("submit_sm made and encoded, complete path", encoded),
        ("submit_sm decoded, complete path", lambda: [decode(frame) for frame in submits]),
        ("submit_sm_resp decoded, complete path", lambda: [decode(frame) for frame in answers]),
        ("deliver_sm decoded, complete path", lambda: [decode(frame) for frame in receipts]),
        ("receipt, complete path", lambda: [receipt.parse_deliver(frame) for frame in receipts]),
        ("the same with three parameters", lambda: [receipt.parse_deliver(frame) for frame in with_tlvs]),
        ("the same in other words and order", lambda: [receipt.parse_deliver(frame) for frame in unusual]),
    ]
    return [Work(name, ours, at_most_ns=ONE_PART_NS_MAX) for name, ours in lines]


def _alone() -> list[Work]:
    """Steps of the others, for the record."""
    texts, stream = _texts(), b"".join(_receipts())
    return [
        Work("GSM 7-bit, 61 characters", lambda: [gsm7.encode(text) for text in texts]),
        Work("framing of deliver_sm", lambda: framing.split(stream, 70_000)[0]),
    ]


# The measuring


def _measure(works: list[Work], rounds: int) -> list[Line]:
    """All lines, round by round: a machine's speed changes within seconds, and each line gets its share of
    the better ones."""
    measured = [(work, {"": work.ours, **work.theirs}) for work in works]
    for work, contestants in measured:
        results = {name: run() for name, run in contestants.items()}
        for name, result in results.items():
            assert result == results[""], f"{work.name}: {name} does other work"
    loops = [{name: _loops(run) for name, run in contestants.items()} for _, contestants in measured]
    times: list[dict[str, list[float]]] = [{name: [] for name in contestants} for _, contestants in measured]
    for _ in range(rounds):
        for (work, contestants), many, taken in zip(measured, loops, times, strict=True):
            for name, run in contestants.items():
                taken[name].append(_time(run, many[name]) / work.messages * 1e9)
    return [_line(work, taken) for work, taken in zip(works, times, strict=True)]


def _line(work: Work, times: dict[str, list[float]]) -> Line:
    ratios = {
        name: statistics.median(theirs / ours for theirs, ours in zip(times[name], times[""], strict=True))
        for name in work.theirs
    }
    ours_ns = min(times[""])
    ok = all(ratios[name] >= least for name, least in work.required.items())
    if work.at_most_ns:
        ok = ok and ours_ns <= work.at_most_ns
    return Line(
        work.name,
        round(ours_ns, 1),
        {name: round(min(times[name]), 1) for name in work.theirs},
        {name: round(ratio, 2) for name, ratio in ratios.items()},
        work.required,
        ok,
        work.at_most_ns,
    )


def _time(run: Contestant, loops: int) -> float:
    start = time.thread_time()
    for _ in range(loops):
        run()
    return (time.thread_time() - start) / loops


def _loops(run: Contestant) -> int:
    return max(1, round(ROUND_S / _time(run, 1)))
