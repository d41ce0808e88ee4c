from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from todoke.bench.audit import Audit, Auditor, audit, main_audit
from todoke.bench.audit_files import Accepted, Reported, ToldFormatError, read_told
from todoke.bench.smsc_config import STATES
from todoke.bench.smsc_log import AcceptedPart, FileLog, LogRecord, ReceiptAnswered


def part(
    serial: int, to: str, crc: int = 7, state: str = "delivered", registered: int = 1, time: float = 0.0
):
    return AcceptedPart(
        time, "todoke", 1, serial, f"s{serial}", f"s{serial}", "Todoke", to, 0, 0, registered, crc, b"", state
    )


def answered(*serials: int) -> list[ReceiptAnswered]:
    return [ReceiptAnswered(1.0, serial) for serial in serials]


def judge(told: list[Accepted | Reported], seen: list[LogRecord], **options: Any) -> Audit:
    return audit(told, seen, **options)


def kinds(verdict: Audit) -> dict[str, int]:
    """What is not zero among the things that go wrong."""
    names = ["lost", "doubled", "unreported", "open", "mismatched", "conflicting", "refs_split", "unclaimed"]
    return {name: count for name in names if (count := getattr(verdict, name))}


ONE = Accepted("m1", "+8190", 1, "r1")
TWO_PARTS = Accepted("m1", "+8190", 2, "r1")


def test_a_run_without_faults() -> None:
    told = [
        ONE,
        Accepted("m2", "+8191", 2, "r2"),
        Reported("m1", "delivered"),
        Reported("m2", "undeliverable"),
    ]
    seen = [part(1, "8190"), part(2, "8191", 1), part(3, "8191", 2, "undeliverable"), *answered(1, 2, 3)]
    verdict = judge(told, seen)
    assert verdict.ok
    assert kinds(verdict) == {}
    assert (verdict.accepted, verdict.parts_expected, verdict.parts_seen) == (2, 3, 3)
    assert verdict.states == {"delivered": 1, "undeliverable": 1}


@pytest.mark.parametrize(
    ("told", "seen", "expected"),
    [
        # Nothing reached an SMSC, nothing was reported.
        ([ONE], [], {"lost": 1}),
        # One part of two did.
        ([TWO_PARTS], [part(1, "8190"), *answered(1)], {"lost": 1}),
        # The same part twice is not two parts.
        ([TWO_PARTS], [part(1, "8190"), part(2, "8190")], {"lost": 1, "doubled": 1}),
        # Failed before it was sent, and said so.
        ([ONE, Reported("m1", "expired")], [], {}),
        ([ONE, Reported("m1", "cancelled")], [], {}),
        # Said to be delivered, but never sent.
        ([ONE, Reported("m1", "delivered")], [], {"mismatched": 1}),
        # The SMSC's receipt was answered, and the application never heard of it.
        ([ONE], [part(1, "8190"), *answered(1)], {"unreported": 1}),
        # The SMSC has not answered for it.
        ([ONE], [part(1, "8190")], {"open": 1}),
        # An intermediate state settles nothing.
        ([ONE], [part(1, "8190", state="accepted"), *answered(1)], {"open": 1}),
        # No receipt was asked: "sent" is the report.
        ([ONE], [part(1, "8190", registered=0)], {"unreported": 1}),
        ([ONE, Reported("m1", "sent")], [part(1, "8190", registered=0)], {}),
        ([ONE, Reported("m1", "sent")], [part(1, "8190")], {"mismatched": 1}),
        # Two copies of one part.
        (
            [ONE, Reported("m1", "delivered")],
            [part(1, "8190"), part(2, "8190"), *answered(1, 2)],
            {"doubled": 1},
        ),
        # Two parts for a message of one.
        ([ONE, Reported("m1", "delivered")], [part(1, "8190", 1), part(2, "8190", 2)], {"doubled": 1}),
        # Reports that disagree with the receipts.
        (
            [ONE, Reported("m1", "delivered")],
            [part(1, "8190", state="expired"), *answered(1)],
            {"mismatched": 1},
        ),
        (
            [ONE, Reported("m1", "rejected")],
            [part(1, "8190", state="expired"), *answered(1)],
            {"mismatched": 1},
        ),
        ([ONE, Reported("m1", "unknown")], [part(1, "8190"), *answered(1)], {"mismatched": 1}),
        ([ONE, Reported("m1", "unknown")], [part(1, "8190")], {}),
        ([ONE, Reported("m1", "fine")], [part(1, "8190"), *answered(1)], {"mismatched": 1}),
        (
            [TWO_PARTS, Reported("m1", "delivered")],
            [part(1, "8190", 1), part(2, "8190", 2, "undeliverable"), *answered(1, 2)],
            {"mismatched": 1},
        ),
        # Two finals.
        (
            [ONE, Reported("m1", "unknown"), Reported("m1", "delivered")],
            [part(1, "8190"), *answered(1)],
            {"conflicting": 1},
        ),
        # What nobody was told of.
        ([], [part(1, "8190")], {"unclaimed": 1}),
        ([Reported("m9", "delivered")], [], {"unclaimed": 1}),
        # One reference, two ids.
        (
            [ONE, Accepted("m2", "+8190", 1, "r1"), Reported("m1", "rejected"), Reported("m2", "rejected")],
            [],
            {"refs_split": 1},
        ),
    ],
)
def test_what_can_go_wrong(
    told: list[Accepted | Reported], seen: list[LogRecord], expected: dict[str, int]
) -> None:
    verdict = judge(told, seen)
    assert kinds(verdict) == expected
    assert verdict.ok == (not expected)
    assert len(verdict.broken) == len(expected)


def test_corrections_and_repeated_events_are_no_faults() -> None:
    told = [
        ONE,
        ONE,
        Reported("m1", "expired"),
        Reported("m1", "expired"),
        Reported("m1", "delivered", correction=True, possibly_doubled=True),
    ]
    verdict = judge(told, [part(1, "8190"), *answered(1)])
    assert verdict.ok
    assert (verdict.accepted, verdict.corrections, verdict.repeated_events) == (1, 1, 1)
    assert (verdict.possibly_doubled, verdict.states) == (1, {"delivered": 1})


def test_doubt_explains_so_many_copies_and_no_more() -> None:
    told = [ONE, Reported("m1", "delivered")]
    seen = [part(1, "8190"), part(2, "8190"), part(3, "8190"), *answered(1)]
    assert judge(told, seen, doubt_allowed=2).ok
    assert judge(told, seen, doubt_allowed=1).broken == ["2 doubled, 1 allowed"]


def test_while_the_engine_works_open_is_no_fault() -> None:
    told = [ONE, Accepted("m2", "8191", 1)]
    verdict = judge(told, [part(1, "8190")], open_allowed=True)
    assert verdict.ok
    assert verdict.open == 2


def test_checksums_tell_messages_to_one_number_apart() -> None:
    told = [
        Accepted("m1", "+8190", 1, payload_crcs=[11]),
        Accepted("m2", "+8190", 2, payload_crcs=[21, 22]),
        Reported("m1", "delivered"),
        Reported("m2", "delivered"),
    ]
    assert judge(told, [part(1, "8190", 11), part(2, "8190", 22), part(3, "8190", 21), *answered(1, 2, 3)]).ok
    verdict = judge(told, [part(1, "8190", 11), part(2, "8190", 11), part(3, "8190", 21), *answered(1, 2, 3)])
    assert kinds(verdict) == {"doubled": 1, "mismatched": 1}
    assert verdict.examples["mismatched"] == ["m2"]


def test_without_checksums_messages_to_one_number_are_counted_together() -> None:
    told = [
        Accepted("m1", "8190"),
        Accepted("m2", "8190"),
        Accepted("m3", "8190"),
        Reported("m1", "delivered"),
    ]
    verdict = judge(told, [part(1, "8190"), part(2, "8190"), *answered(1, 2)])
    assert kinds(verdict) == {"lost": 1, "unreported": 1}
    assert verdict.ambiguous == 3
    assert kinds(judge(told, [part(n, "8190") for n in range(1, 5)])) == {"doubled": 1, "open": 2}


def test_several_logs_keep_their_serials_apart() -> None:
    auditor = Auditor()
    auditor.told([ONE, Accepted("m2", "8191"), Reported("m1", "delivered"), Reported("m2", "unknown")])
    auditor.seen([part(1, "8190"), *answered(1)])
    auditor.seen([part(1, "8191")])
    assert auditor.verdict().ok


def test_the_contracted_rate() -> None:
    told = [Accepted(f"m{n}", f"81{n}", 1) for n in range(20)] + [
        Reported(f"m{n}", "unknown") for n in range(20)
    ]
    seen = [part(n + 1, f"81{n}", time=n * 0.1) for n in range(20)]
    assert judge(told, seen).peak_parts_per_s == 10
    assert judge(told, seen, rate_allowed=10).ok
    assert judge(told, seen, rate_allowed=9).broken == ["10 parts in one second, 9 allowed"]


def test_files_in_an_exit_code_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, log = tmp_path / "told.jsonl", tmp_path / "smsc.log"
    told.write_text(
        '{"message_id":"m1","ref":"r","parts":1,"to":"+8190","other":1}\n'
        '{"event":"report","cursor":"1","message_id":"m1","state":"delivered"}\n'
        '{"event":"received","cursor":"2","from":"+81","to":"1","text":"x"}\n'
        '{"message_id":"m2","to":"+81'
    )
    writer = FileLog(log, 0.0, "sim")
    entry = (b"1", b"1", b"\0\0\0", b"\1\x018190\0", 0, 0, 1, 5, b"", STATES.index("delivered"))
    writer.accepted(1.0, "todoke", 1, 1, [entry])
    writer.answered(2.0, [1])
    writer.close()
    assert main_audit([told], [log]) == 0
    assert "every promise kept" in capsys.readouterr().out
    told.write_text('{"message_id":"m1","ref":"r","parts":1,"to":"+8190"}\n')
    assert main_audit([told], [log], json=True) == 1
    verdict = msgspec.json.decode(capsys.readouterr().out)
    assert (verdict["ok"], verdict["unreported"], verdict["examples"]) == (False, 1, {"unreported": ["m1"]})


@pytest.mark.parametrize("line", ['{"message_id":1}', "{", '{"ref":"x"}', '["a"]'])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "told").write_text(f'{{"message_id":"m","to":"1"}}\n{line}\n')
    with pytest.raises(ToldFormatError, match="line 2"):
        list(read_told(tmp_path / "told"))
