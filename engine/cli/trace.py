"""`todoke trace`: a running node's PDUs as they pass."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from ...codecs import constants as c
from ...codecs.describe import Row, describe
from ..messages import hidden_number
from .errors import EXIT_FAILED, EXIT_OK, UsageError
from .node import ConfigOption, JsonOption, SocketOption, node_errors, socket_path
from .pdu import Shower, ShownPdu

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages import TracedPdu
    from .pcap import PcapFile

    Receive = Callable[[float], tuple[list[TracedPdu], int]]

ARROWS = {"sent": "->", "received": "<-"}
LOOK_S = 3600.0
"""Without --seconds: how long one wait is; there are as many as it takes."""


class ShownTraced(msgspec.Struct):
    """One line of `--json`: what passed when (Unix seconds), which way, over which bind and which of its
    sessions, and the PDU's rows as `todoke pdu --json` has them.
    """

    at: float
    direction: str
    bind: str
    session: int
    name: str
    command_id: int | None
    command_status: int | None
    sequence_number: int | None
    octets: int
    wrong: bool
    rows: list[Row]


def trace(
    carrier: str,
    /,
    *,
    bind: int | None = None,
    command: Annotated[list[str] | None, Parameter(negative="")] = None,
    limit: int | None = None,
    seconds: float | None = None,
    full: Annotated[bool, Parameter(negative="")] = False,
    show_text: Annotated[bool, Parameter(negative="")] = False,
    pcap: Path | None = None,
    socket: SocketOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Show the PDUs of a carrier as they pass, a line each, until Ctrl-C.

    For an operator: the node's own uid, or root. Addresses and texts are masked; passwords never leave the
    node. What comes faster than it is read is left out and counted: the node never waits.

    Parameters
    ----------
    carrier
        Name of the [[carrier]].
    bind
        Only the bind of this number, from 1.
    command
        Only PDUs of this command, such as submit_sm; may be given again.
    limit
        End after so many PDUs.
    seconds
        End after so long.
    full
        Field by field.
    show_text
        Show addresses and texts.
    pcap
        Write the PDUs to this new file too, as a capture for Wireshark, tshark and `todoke pdu`. Addresses
        and texts stand in it as they are: needs --show-text.
    """
    for name in command or ():
        if name not in c.COMMAND_NAMES.values():
            raise UsageError(f"trace: no command {name!r}; such as submit_sm, deliver_sm_resp")
    if pcap is not None and not show_text:
        raise UsageError("trace: a capture holds addresses and texts as they are: --pcap needs --show-text")
    from ..client_trace import SyncTrace

    with node_errors(), SyncTrace(socket_path(socket, config), carrier, bind=bind, commands=command) as pdus:
        file = _capture(pcap)
        watcher = _Watcher(full, show_text, json, limit, file)
        try:
            watcher.run(pdus.receive, seconds)
        except KeyboardInterrupt:
            pass
        finally:
            if file is not None:
                file.close()
    sys.stdout.flush()
    print(watcher.summary(), file=sys.stderr)
    return EXIT_FAILED if watcher.away else EXIT_OK


def _capture(path: Path | None) -> PcapFile | None:
    from .pcap import PcapFile

    try:
        return None if path is None else PcapFile(path)
    except OSError as error:
        raise UsageError(f"trace: cannot write {path}: {error.strerror or error}") from None


class _Watcher:
    def __init__(
        self, full: bool, show_text: bool, json: bool, limit: int | None, file: PcapFile | None
    ) -> None:
        self.full = full
        self.show_text = show_text
        self.json = json
        self.left = sys.maxsize if limit is None else limit
        self.file = file
        self.shower = Shower(show_text, None, None, None, json)
        self.shown = self.lost = 0
        self.away = False

    def run(self, receive: Receive, seconds: float | None) -> None:
        """Until the limit, the time or the node is at its end."""
        from ..client import NodeAway

        end_at = None if seconds is None else time.monotonic() + seconds
        while self.left > 0:
            wait_s = LOOK_S if end_at is None else end_at - time.monotonic()
            if wait_s <= 0:
                return
            try:
                pdus, lost = receive(wait_s)
            except TimeoutError:
                continue
            except NodeAway:
                self.away = True
                return
            for pdu in pdus[: self.left]:
                self.show(pdu)
            if lost:
                self.lost += lost
                if not self.json:
                    print(f"-- {lost:,} PDUs came faster than they were read: not shown")
            sys.stdout.flush()

    def show(self, pdu: TracedPdu) -> None:
        self.left -= 1
        self.shown += 1
        if self.file is not None:
            self.file.write(pdu)
        found = self.shower.describe(pdu.octets)
        if self.json:
            shown = ShownTraced(
                pdu.at, pdu.direction, pdu.bind, pdu.session, found.name, found.command_id,
                found.command_status, found.sequence_number, found.octets, found.wrong, found.rows,
            )  # fmt: skip
            print(msgspec.json.encode(shown).decode())
        elif self.full:
            where = (pdu.bind, "SMSC") if pdu.direction == "sent" else ("SMSC", pdu.bind)
            one = ShownPdu(
                found.name, found.command_id, found.command_status, found.sequence_number, found.octets, 0,
                pdu.at, *where, None, found.wrong, found.rows,
            )  # fmt: skip
            print(self.shower.for_people(one))
        else:
            print(line_of(pdu, self.show_text))

    def summary(self) -> str:
        lost = f", {self.lost:,} came too fast to be shown" if self.lost else ""
        away = "; the node went away" if self.away else ""
        return f"{self.shown:,} PDUs{lost}{away}"


def line_of(pdu: TracedPdu, show_text: bool) -> str:
    """Time, direction, bind, command, sequence_number, command_status, addresses, ids, length."""
    found = describe(pdu.octets, show_text=True)
    when = datetime.fromtimestamp(pdu.at, UTC).strftime("%H:%M:%S.%f")
    words = [f"{when}  {ARROWS[pdu.direction]} {pdu.bind}  {found.name:16}"]
    if found.sequence_number is not None:
        words.append(f"sequence {found.sequence_number}")
    if (
        found.command_id is not None
        and found.command_id & c.RESPONSE_BIT
        and found.command_status is not None
    ):
        status = found.command_status
        words.append(c.STATUS_NAMES.get(status, f"command_status 0x{status:08X}"))
    if not found.refused:
        values = {row.name: row.value for row in found.rows if row.value and row.value != "''"}
        for name, said in (("source_addr", "from"), ("destination_addr", "to")):
            if name in values:
                address = values[name].strip("'")
                words.append(f"{said} {address if show_text else hidden_number(address)}")
        if "message_id" in values:
            words.append(f"id {values['message_id']}")
        if "stat" in values:
            words.append(values["stat"].strip("'"))
    words.append(f"{found.octets} octets")
    if found.wrong:
        words.append(f"! {next(row.problem for row in found.rows if row.problem)}")
    return "  ".join(words)
