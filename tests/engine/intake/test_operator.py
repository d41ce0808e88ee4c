"""An operator's requests on the real socket: who may make them, how they are spelt, who reads too slowly."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from todoke.engine.client import Client, Refused
from todoke.engine.dispatch.tracing import TRACED_PDUS_MAX, Trace
from todoke.engine.intake.errors import BadValue, RequestError
from todoke.engine.intake.frames import Spelling
from todoke.engine.intake.requests import (
    CarrierRequest,
    HeldRequest,
    TraceRequest,
    decode_patiently,
    decode_request,
)
from todoke.engine.intake.server import Intake
from todoke.engine.messages import TracedPdu

UID = os.getuid()
PDU = bytes(16)


class FakeDesk:
    """Says what it was asked."""

    def __init__(self) -> None:
        self.trace = Trace(None, None)
        self.left = 0

    async def carrier(self, act: str, name: str | None, value: float | None, by: str) -> dict[str, Any]:
        if value == 13:
            raise BadValue("not 13")
        return {"carriers": [], "asked": [act, name, value, by]}

    async def held(self, act: str, carrier: str | None, message_id: str | None, by: str) -> dict[str, Any]:
        return {"held": 0, "asked": [act, carrier, message_id, by]}

    def watch(
        self, carrier: str, bind: int | None, commands: list[str] | None, by: str
    ) -> tuple[Trace, Callable[[], None]]:
        def leave() -> None:
            self.left += 1

        return self.trace, leave


@asynccontextmanager
async def served(
    path: Path, fake: ModuleType, desk: FakeDesk, operators: Any, apps: Any
) -> AsyncIterator[None]:
    intake = Intake(fake.FakeNode(), desk=desk, operators=operators)
    async with anyio.create_task_group() as tasks:
        await tasks.start(lambda *, task_status: intake.serve(path, apps, task_status=task_status))
        yield
        tasks.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="t-")) / "run" / "todoke.sock"


@pytest.mark.anyio
async def test_an_operator_is_answered_and_named(path: Path, fake: ModuleType) -> None:
    async with served(path, fake, FakeDesk(), {UID}, {UID: "billing"}), Client(path) as client:
        assert (await client.carrier("rate", "docomo", 5))["asked"] == ["rate", "docomo", 5.0, f"uid {UID}"]
        assert (await client.held("drop", None, "m"))["asked"] == ["drop", None, "m", f"uid {UID}"]
        with pytest.raises(Refused, match="value: out_of_range: not 13"):
            await client.carrier("rate", "docomo", 13)
        assert (await client.status())["queued"] == 0


@pytest.mark.anyio
@pytest.mark.parametrize("operators", [set(), {UID + 1}])
async def test_an_app_that_is_no_operator_is_not(path: Path, fake: ModuleType, operators: Any) -> None:
    desk = FakeDesk()
    async with served(path, fake, desk, operators, {UID: "billing"}), Client(path) as client:
        for asked in (client.carrier("list"), client.carrier("pause", "docomo"), client.held("drop")):
            with pytest.raises(Refused, match="not_allowed"):
                await asked
        with pytest.raises(Refused, match="not_allowed"):
            await client._ask("trace", carrier="docomo")
        assert (await client.submit_one({"to": "+819012340001", "text": "x"})).parts == 1


@pytest.mark.anyio
async def test_an_operator_without_an_app_may_not_speak_for_one(path: Path, fake: ModuleType) -> None:
    async with served(path, fake, FakeDesk(), {UID}, {UID + 1: "billing"}), Client(path) as client:
        assert "asked" in await client.carrier("list")
        assert "queued" in await client.status()
        for asked in (client.query("m-1"), client.cancel("m-1"), client.ack("c-1")):
            with pytest.raises(Refused, match="not_allowed"):
                await asked
        with pytest.raises(Refused, match="not_allowed"):
            await client.submit([{"to": "+819012340001", "text": "x"}])
        with pytest.raises(Refused, match="not_allowed"):
            async with client.subscribe() as events:
                await events.receive()


@pytest.mark.anyio
@pytest.mark.parametrize("spelling", ["json", "msgpack"])
async def test_who_reads_too_slowly_loses_and_is_told(path: Path, fake: ModuleType, spelling: Any) -> None:
    desk = FakeDesk()
    number = 3 * TRACED_PDUS_MAX
    async with served(path, fake, desk, {UID}, {UID: "billing"}):
        async with await anyio.connect_unix(path) as stream:
            body = {"op": "trace", "id": 7, "carrier": "docomo"}
            packed = msgspec.msgpack.encode(body)
            frame = msgspec.json.encode(body) + b"\n"
            await stream.send(frame if spelling == "json" else len(packed).to_bytes(4, "big") + packed)
            buffer = bytearray()
            seen = lost = 0

            async def hear() -> Any:
                while True:
                    if spelling == "json":
                        line, found, rest = bytes(buffer).partition(b"\n")
                        if found:
                            buffer[:] = rest
                            return msgspec.json.decode(line)
                    elif len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
                        answer = msgspec.msgpack.decode(bytes(buffer[4:end]))
                        del buffer[:end]
                        return answer
                    buffer.extend(await stream.receive())

            with anyio.fail_after(30):
                assert await hear() == {"id": 7, "carrier": "docomo", "pdus": [], "lost": 0}
                pdu = TracedPdu(1.0, "sent", "docomo-1", 1, PDU * 20)
                for n in range(number):
                    desk.trace.put(pdu)
                    if n % 1000 == 0:
                        await (
                            anyio.lowlevel.checkpoint()
                        )  # the carrier goes on: nothing here waits for the reader
                while seen + lost < number:
                    answer = await hear()
                    assert answer["id"] == 7
                    seen += len(answer["pdus"])
                    lost += answer["lost"]
        assert seen + lost == number
        assert lost > 0
        assert seen >= TRACED_PDUS_MAX // 2
        with anyio.fail_after(5):
            while not desk.left:  # noqa: ASYNC110  what ends the trace is the connection's end
                await anyio.sleep(0.001)


GOOD = [
    ({"op": "carrier", "act": "list"}, CarrierRequest("list")),
    ({"op": "carrier", "act": "rate", "name": "au", "value": 5}, CarrierRequest("rate", "au", 5.0)),
    ({"op": "held", "act": "drop", "message_id": "m"}, HeldRequest("drop", None, "m")),
    (
        {"op": "trace", "carrier": "au", "bind": 2, "commands": ["submit_sm"]},
        TraceRequest("au", 2, ["submit_sm"]),
    ),
]
WRONG = [
    ({"op": "carrier"}, "act", "missing"),
    ({"op": "carrier", "act": "stop"}, "act", "wrong_type"),
    ({"op": "carrier", "act": "rate", "name": 5}, "name", "wrong_type"),
    ({"op": "carrier", "act": "rate", "name": "au", "value": "5"}, "value", "wrong_type"),
    ({"op": "held", "act": "list", "force": True}, "force", "unknown_key"),
    ({"op": "trace"}, "carrier", "missing"),
    ({"op": "trace", "carrier": "au", "commands": "submit_sm"}, "commands", "wrong_type"),
]


@pytest.mark.parametrize(("body", "request_"), GOOD)
@pytest.mark.parametrize("decode", [decode_request, decode_patiently])
def test_both_ways_read_the_same(body: Any, request_: Any, decode: Any) -> None:
    assert decode(msgspec.json.encode(body), "json", 100) == request_
    assert decode(msgspec.msgpack.encode(body), "msgpack", 100) == request_


SPELLINGS: dict[Spelling, Callable[[Any], bytes]] = {
    "json": msgspec.json.encode,
    "msgpack": msgspec.msgpack.encode,
}


@pytest.mark.parametrize(("body", "field", "code"), WRONG)
def test_what_is_wrong_is_named(body: Any, field: str, code: str) -> None:
    for spelling, encode in SPELLINGS.items():
        with pytest.raises(RequestError) as caught:
            decode_request(encode(body), spelling, 100)
        assert (caught.value.field, caught.value.code) == (field, code)
