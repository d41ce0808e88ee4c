from __future__ import annotations

import hashlib
from random import Random

import anyio
import pytest
import trio
import trio.testing
from todoke.bench.smsc_config import SmscConfig
from todoke.bench.smsc_memory import MemorySmsc
from todoke.codecs import framing
from todoke.codecs.constants import DELIVER_SM
from todoke.codecs.pdu import BindTransceiver, DeliverSmResp, Pdu, SubmitSm, decode, encode

DAY_S = 86_400


async def receive(stream: anyio.abc.ByteStream, count: int) -> list[Pdu]:
    buffer = b""
    while True:
        frames, _ = framing.split(buffer, 70_000)
        if len(frames) >= count:
            return [decode(frame) for _, _, _, frame in frames]
        buffer += await stream.receive()


async def bind(smsc: MemorySmsc, more: int = 0) -> tuple[anyio.abc.ByteStream, list[Pdu]]:
    stream = await smsc.connect()
    await stream.send(encode(BindTransceiver(system_id=b"todoke", password=b"secret"), 1))
    answer, *others = await receive(stream, 1 + more)
    assert answer.command_status == 0
    return stream, others


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_both_backends(backend: str) -> None:
    async def main() -> None:
        smsc = MemorySmsc(SmscConfig(), Random(1))
        with pytest.raises(ConnectionRefusedError):
            await smsc.connect()
        async with anyio.create_task_group() as tasks:
            await tasks.start(smsc.run)
            stream, _ = await bind(smsc)
            await stream.send(encode(SubmitSm(destination_addr=b"81", registered_delivery=1), 2))
            response, receipt = await receive(stream, 2)
            await stream.send(encode(DeliverSmResp(), receipt.sequence_number))
            while smsc.core.statistics().waiting:
                await anyio.lowlevel.checkpoint()
            assert response.command_status == 0
            smsc.cut()
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()
            await stream.aclose()
            smsc.refusing = True
            with pytest.raises(ConnectionRefusedError):
                await smsc.connect()
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def test_a_day_of_receipts_passes_in_no_time_and_comes_back_after_a_cut() -> None:
    async def main() -> str:
        smsc = MemorySmsc(SmscConfig(receipt_delay_s=DAY_S, receipt_jitter_s=3_600.0, seed=5), Random(5))
        trace = hashlib.sha256()
        async with anyio.create_task_group() as tasks:
            await tasks.start(smsc.run)
            stream, _ = await bind(smsc)
            await stream.send(
                b"".join(
                    encode(SubmitSm(destination_addr=b"81%d" % n, registered_delivery=1), n)
                    for n in range(2, 52)
                )
            )
            await receive(stream, 50)
            smsc.cut()
            await stream.aclose()
            await anyio.sleep(DAY_S + 3_601)
            stream, receipts = await bind(smsc, more=50)
            for pdu in receipts:
                assert pdu.command_id == DELIVER_SM
                trace.update(encode(pdu, pdu.sequence_number))
            await stream.aclose()
            tasks.cancel_scope.cancel()
        return trace.hexdigest()

    hashes = {trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) for _ in range(2)}
    assert len(hashes) == 1
