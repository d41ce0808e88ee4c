"""A small SMSC on smpp34's Rust server.

    smpp34_server.py

It takes every submit_sm and sends its receipt, as TLVs alone. It asks for no password (the library has none
to ask for). Command: unbind (to every bind).
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading

import smpp34
from peer_server import commands, tell, text_of

ESM_CLASS_RECEIPT = 4
MESSAGE_STATE_DELIVERED = b"\2"
ids = itertools.count(1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def listening() -> tuple[smpp34.Server, int]:
    """The server takes a port and does not say which it got for 0."""
    for _ in range(20):
        port = free_port()
        server = smpp34.Server("127.0.0.1", port, system_id="smpp34")
        try:
            await server.start()
        except smpp34.SmppError:
            continue
        return server, port
    raise SystemExit("no free port")


async def submitted(event: smpp34.SubmitSmEvent, esmes: dict[int, smpp34.Esme]) -> None:
    message_id = f"{next(ids):x}-smpp34"
    tell(
        "submit",
        to=event.destination_addr,
        **{"from": event.source_addr},
        registered_delivery=event.registered_delivery,
        data_coding=event.data_coding,
        **text_of(bytes(event.short_message), event.esm_class, event.data_coding),
    )
    event.accept(message_id)
    receiver = next(esme for esme in esmes.values() if esme.can_receive)
    delivered = receiver.deliver_sm(
        event.source_addr,
        source_addr=event.destination_addr,
        source_addr_ton=1,
        source_addr_npi=1,
        dest_addr_ton=0,
        esm_class=ESM_CLASS_RECEIPT,
        tlvs=[
            smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, message_id.encode() + b"\0"),
            smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, MESSAGE_STATE_DELIVERED),
        ],
    )
    try:
        status = (await delivered).command_status
    except smpp34.SmppError as error:
        # "ESME_RSYSERR (0x00000008)"
        status = int(str(error).rpartition("(")[2].rstrip(")"), 16)
    tell("receipt_answered", status=status)


async def main() -> None:
    esmes: dict[int, smpp34.Esme] = {}
    loop = asyncio.get_running_loop()
    server, port = await listening()
    tell("listening", port=port)

    async def unbind() -> None:
        for esme in list(esmes.values()):
            await esme.unbind()

    def act(word: str) -> None:
        assert word == "unbind"
        asyncio.run_coroutine_threadsafe(unbind(), loop)

    threading.Thread(target=commands, args=(act,), daemon=True).start()
    tasks = set()
    while True:
        match await server.next():
            case smpp34.Esme() as esme:
                esmes[esme.session_id] = esme
                tell("bound", system_id=esme.system_id)
            case smpp34.SubmitSmEvent() as event:
                task = asyncio.create_task(submitted(event, esmes))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            case smpp34.Unbound() as gone:
                esmes.pop(gone.session_id, None)
                tell("unbind")
            case other:
                tell("error", detail=repr(other))


asyncio.run(main())
