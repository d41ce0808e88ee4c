"""A small SMSC whose every PDU is read and written by smpplib, which has a client but no server.

    smpplib_server.py PASSWORD

It takes every submit_sm and sends its receipt as text. Commands: enquire_link, unbind (both to every bind).
"""

from __future__ import annotations

import itertools
import socket
import sys
import threading

from peer_server import commands, tell, text_of
from smpplib import consts, smpp
from smpplib.client import SimpleSequenceGenerator

ESM_CLASS_RECEIPT = 4
"""smpplib has no name for it."""
BINDS = ("bind_transceiver", "bind_transmitter", "bind_receiver")
RECEIPT = "id:{} sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 stat:DELIVRD err:000 text:"
ids = itertools.count(1)
connections: list[Connection] = []


class Connection:
    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.sequence = SimpleSequenceGenerator()
        self.bound = ""
        self.lock = threading.Lock()

    def next_sequence(self) -> int:
        """What smpplib wants of a client when it makes a request."""
        return self.sequence.next_sequence()

    def send(self, command: str, **fields: object) -> None:
        with self.lock:
            pdu = smpp.make_pdu(command, client=self, **fields)
            if "sequence" in fields:
                pdu.sequence = fields["sequence"]
            self.stream.sendall(pdu.generate())

    def run(self) -> None:
        read = self.stream.makefile("rb")
        while length := read.read(4):
            octets = length + read.read(int.from_bytes(length, "big") - 4)
            self.on(smpp.parse_pdu(octets, client=self, allow_unknown_opt_params=False))
            if self.bound == "unbound":
                break
        self.stream.close()
        tell("closed")

    def on(self, pdu: object) -> None:
        command, sequence = pdu.command, pdu.sequence
        if command in BINDS:
            good = pdu.password.decode() == sys.argv[1]
            status = consts.SMPP_ESME_ROK if good else consts.SMPP_ESME_RINVPASWD
            self.bound = command if good else ""
            tell("bound" if good else "refused", bind=command, system_id=pdu.system_id.decode())
            self.send(f"{command}_resp", sequence=sequence, status=status, system_id="smpplib")
        elif command == "submit_sm":
            self.submitted(pdu)
        elif command == "enquire_link":
            tell("enquire_link")
            self.send("enquire_link_resp", sequence=sequence)
        elif command == "unbind":
            tell("unbind")
            self.send("unbind_resp", sequence=sequence)
            self.bound = "unbound"
        elif command == "deliver_sm_resp":
            tell("receipt_answered", status=pdu.status)
        elif command == "unbind_resp":
            tell("unbind_resp")
            self.bound = "unbound"
        elif command == "enquire_link_resp":
            tell("enquire_link_resp")
        else:
            tell("error", detail=f"unexpected {command}")

    def submitted(self, pdu: object) -> None:
        message_id = f"{next(ids):08X}"
        to, sender = pdu.destination_addr.decode(), pdu.source_addr.decode()
        tell(
            "submit",
            to=to,
            **{"from": sender},
            registered_delivery=pdu.registered_delivery,
            data_coding=pdu.data_coding,
            **text_of(pdu.short_message, pdu.esm_class, pdu.data_coding),
        )
        self.send("submit_sm_resp", sequence=pdu.sequence, message_id=message_id)
        receiver = next(one for one in connections if one.bound in ("bind_transceiver", "bind_receiver"))
        receiver.send(
            "deliver_sm",
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr=to,
            dest_addr_ton=0,
            dest_addr_npi=1,
            destination_addr=sender,
            esm_class=ESM_CLASS_RECEIPT,
            short_message=RECEIPT.format(message_id).encode(),
        )


def act(word: str) -> None:
    for one in connections:
        if one.bound in BINDS:
            one.send(word)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=commands, args=(act,), daemon=True).start()
    tell("listening", port=listener.getsockname()[1])
    while True:
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.append(Connection(stream))
        threading.Thread(target=connections[-1].run, daemon=True).start()


main()
