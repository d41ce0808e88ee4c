"""The load client against a node of a few lines, which can refuse, be silent, and go away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from todoke.bench.audit_files import Accepted, Reported, read_told
from todoke.bench.load import Load, LoadConfig, LoadResult
from todoke.bench.load_wire import destination, text_of


class Node:
    """Accepts, and reports at once. `refuse(message)` may say (code, retry_after_s); `cut_at` closes
    everything when the so manieth message comes, before it is answered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refuse: Callable[[dict[str, Any]], tuple[str, float] | None] = lambda message: None
        self.cut_at = 0
        self.seen = 0
        self.ids: dict[str, str] = {}
        self.texts: list[str] = []
        self.acked = 0
        self.open = 0
        self.idle = asyncio.Event()
        self.events: list[dict[str, Any]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.listener: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.open += 1
        self.idle.clear()
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                self.handle(msgspec.msgpack.decode(await reader.readexactly(length)), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            if not self.open:
                self.idle.set()
            writer.close()

    def write(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        octets = msgspec.msgpack.encode(body)
        writer.write(len(octets).to_bytes(4, "big") + octets)

    def handle(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if request["op"] == "subscribe":
            self.listener = writer
            self.tell()
        elif request["op"] == "ack":
            self.acked = int(request["cursor"])
        else:
            self.seen += len(request["messages"])
            if self.cut_at and self.seen >= self.cut_at:
                self.cut_at = 0
                for each in self.writers:
                    each.close()
                return
            self.submit(request, writer)

    def submit(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        accepted: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for index, message in enumerate(request["messages"]):
            refusal = self.refuse(message)
            if refusal is not None:
                code, after = refusal
                refused.append(
                    {"index": index, "ref": message["ref"], "field": None, "code": code, "detail": ""}
                )
                refused[-1]["retry_after_s"] = after
                continue
            ref = message["ref"]
            known = ref in self.ids
            message_id = self.ids.setdefault(ref, f"id-{ref}")
            accepted.append(
                {"ref": ref, "message_id": message_id, "parts": 1} | ({"duplicate": True} if known else {})
            )
            if not known:
                self.texts.append(message["text"])
                report = {"event": "report", "cursor": str(len(self.events) + 1), "message_id": message_id}
                self.events.append(report | {"ref": ref, "state": "delivered", "possibly_doubled": False})
        self.write(writer, {"id": request["id"], "accepted": accepted, "refused": refused})
        self.tell()

    def tell(self) -> None:
        if self.listener is not None and self.events[self.acked :] and not self.listener.is_closing():
            self.write(self.listener, {"events": self.events[self.acked :]})


def run(
    tmp_path: Path, prepare: Callable[[Node], None] = lambda node: None, **fields: Any
) -> tuple[LoadResult, Node]:
    path = tmp_path / "sock"

    async def main() -> tuple[LoadResult, Node]:
        node = Node(path)
        prepare(node)
        server = await asyncio.start_unix_server(node.serve, path)
        load = Load(
            LoadConfig(**({"socket": str(path), "messages": 250, "batch": 20, "quiet_s": 5.0} | fields))
        )
        result = await load.run()
        load.write_told(tmp_path / "told")
        async with asyncio.timeout(10.0):
            await node.idle.wait()  # what the client wrote last is still being read
        server.close()
        return result, node

    return asyncio.run(main())


def test_everything_is_accepted_reported_and_acknowledged(tmp_path: Path) -> None:
    result, node = run(tmp_path)
    assert (result.accepted, result.reported, result.states) == (250, 250, {"delivered": 250})
    assert result.accept_ms.count == result.report_ms.count == 250
    assert result.started <= result.accepted_at
    assert node.acked == 250
    assert len(set(node.texts)) == 250
    assert {len(text) for text in node.texts} == {61}
    told = list(read_told(tmp_path / "told"))
    assert Accepted("id-r0", destination(0), 1, "r0") in told
    assert sum(isinstance(line, Reported) for line in told) == 250


def test_destinations_differ_and_texts_carry_their_number() -> None:
    assert len({destination(number) for number in range(100_000)}) == 100_000
    assert all(len(destination(number)) == 13 for number in (0, 1, 99_999_999))
    assert text_of(7, "") != text_of(8, "")
    assert text_of(7, "荷物") == "00000007 荷物"


def test_what_was_not_answered_is_submitted_again_with_its_reference(tmp_path: Path) -> None:
    result, node = run(tmp_path, lambda node: setattr(node, "cut_at", 100), in_flight=60)
    assert (result.accepted, result.reported) == (250, 250)
    assert result.reconnects >= 1
    assert 0 < result.submitted_again <= 60
    assert len(node.ids) == 250


def test_what_is_refused_for_now_is_submitted_later(tmp_path: Path) -> None:
    refused: set[str] = set()

    def once(message: dict[str, Any]) -> tuple[str, float] | None:
        if message["ref"] in ("r3", "r77") and message["ref"] not in refused:
            refused.add(message["ref"])
            return "queue_full", 0.01
        return None

    result, _ = run(tmp_path, lambda node: setattr(node, "refuse", once))
    assert (result.accepted, result.put_off, result.refused) == (250, 2, {})


def test_what_is_refused_for_good_is_counted(tmp_path: Path) -> None:
    def never(message: dict[str, Any]) -> tuple[str, float] | None:
        return ("invalid_number", 0.0) if message["ref"] == "r5" else None

    result, _ = run(tmp_path, lambda node: setattr(node, "refuse", never))
    assert (result.accepted, result.reported, result.refused) == (249, 249, {"invalid_number": 1})


def test_an_open_loop_keeps_its_rate_and_counts_from_the_due_time(tmp_path: Path) -> None:
    result, _ = run(tmp_path, messages=100, batch=10, rate=200.0)
    assert result.accepted == 100
    assert 0.4 <= result.accepted_at - result.started < 3.0


def test_one_at_a_time(tmp_path: Path) -> None:
    result, node = run(tmp_path, messages=5, one_at_a_time=True, pause_s=0.0)
    assert (result.accepted, result.reported, node.acked) == (5, 5, 5)


def test_a_backlog_waits_for_reports(tmp_path: Path) -> None:
    def silent(node: Node) -> None:
        node.tell = lambda: None  # type: ignore[method-assign]  # this node's alone

    result, node = run(tmp_path, silent, backlog=40, quiet_s=0.3)
    assert (result.accepted, result.reported, len(node.ids)) == (40, 0, 40)


def test_what_may_have_been_sent_twice_is_told_as_such(tmp_path: Path) -> None:
    def doubtful(node: Node) -> None:
        def tell() -> None:
            if node.events:
                node.events[0]["possibly_doubled"] = True
            Node.tell(node)

        node.tell = tell  # type: ignore[method-assign]  # this node's alone

    run(tmp_path, doubtful, messages=20, batch=20)
    lines = [line for line in read_told(tmp_path / "told") if isinstance(line, Reported)]
    assert [line.message_id for line in lines if line.possibly_doubled] == ["id-r0"]


@pytest.mark.parametrize("word", ["report", "correction"])
def test_a_second_event_for_a_message_is_told_on(tmp_path: Path, word: str) -> None:
    def twice(node: Node) -> None:
        def more(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
            Node.submit(node, request, writer)
            node.events.append(
                node.events[0] | {"event": word, "cursor": str(len(node.events) + 1), "state": "expired"}
            )
            node.tell()

        node.submit = more  # type: ignore[method-assign]  # this node's alone

    run(tmp_path, twice, messages=20)
    lines = [line for line in read_told(tmp_path / "told") if isinstance(line, Reported)]
    assert lines[-1] == Reported("id-r0", "expired", word == "correction")
