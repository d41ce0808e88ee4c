"""query_sm: what an SMSC says of a part whose receipt did not come (SMPP 3.4 section 4.8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, Protocol

import anyio

from ...codecs import constants as c
from ...codecs import pdu
from ...codecs.errors import CodecError
from ...codecs.receipt import FINAL_STATES, STATES, Receipt
from ..config import CarrierConfig
from ..ledger.blocks import Entry
from ..session.errors import SessionError
from ..session.events import ResponseItem
from .bodies import sender_address

_header = Struct(">4I").pack

GRACE_S: Final = 1.0
"""Beyond response_timeout_s, when the bind gives the question up itself."""


class AskedBind(Protocol):
    """What a question needs of a bind."""

    @property
    def window_free(self) -> int: ...

    def request(self, command_id: int, body: bytes, token: Any) -> None: ...


class Question:
    """The token of one query_sm."""

    __slots__ = ("answered", "command_status", "content")

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.command_status = -1
        self.content = b""

    def answer(self, command_status: int, content: bytes) -> None:
        """The SMSC's answer, its body whole; -1: there will be none."""
        self.command_status = command_status
        self.content = content
        self.answered.set()


class Inquirer:
    """Asks over whichever bind of the account has room."""

    def __init__(self, config: CarrierConfig, binds: Callable[[], Sequence[AskedBind]]) -> None:
        self._config = config
        self._binds = binds
        self.asked = 0
        self.under_way = 0

    async def ask(self, message_id: str, entry: Entry) -> Receipt | None:
        """What became of the part that got this message_id, as a receipt would tell it.

        A state that is not final is a receipt too. None: the SMSC did not answer, or does not know.
        """
        bind = next((each for each in self._binds() if each.window_free > 0), None)
        if bind is None:
            return None
        config = self._config
        ton, npi, sender = sender_address(entry.sender or config.sender, config.sender_ton, config.sender_npi)
        query = pdu.QuerySm(
            message_id=message_id.encode("latin-1"),
            source_addr_ton=ton,
            source_addr_npi=npi,
            source_addr=sender,
        )
        question = Question()
        self.asked += 1
        self.under_way += 1
        try:
            bind.request(c.QUERY_SM, pdu.encode(query, 1)[c.HEADER_OCTETS :], question)
            with anyio.move_on_after(config.response_timeout_s + GRACE_S):
                await question.answered.wait()
        except (SessionError, CodecError):
            return None
        finally:
            self.under_way -= 1
        return _read(question, message_id, entry)

    def take_answers(self, items: list[ResponseItem]) -> list[ResponseItem]:
        """Hand the answers to query_sm on; returns the others."""
        others: list[ResponseItem] = []
        for item in items:
            if type(item[0]) is Question:
                item[0].answer(item[2], item[3])
            else:
                others.append(item)
        return others

    def take_doubts(self, tokens: list[Any]) -> list[Any]:
        """These will not be answered: hand on what are questions; returns the others."""
        for token in tokens:
            if type(token) is Question:
                token.answer(-1, b"")
        return [token for token in tokens if type(token) is not Question]


def _read(question: Question, message_id: str, entry: Entry) -> Receipt | None:
    if question.command_status != c.ESME_ROK:
        return None
    frame = _header(c.HEADER_OCTETS + len(question.content), c.QUERY_SM_RESP, 0, 1) + question.content
    try:
        answer = pdu.decode(frame)
    except CodecError:
        return None
    assert isinstance(answer, pdu.QuerySmResp)
    state = STATES.get(answer.message_state)
    if state is None:
        return None
    err = str(answer.error_code) if answer.error_code and state in FINAL_STATES else ""
    return Receipt(message_id, "", state, err, None, (), entry.to, "", answer.final_date.decode("latin-1"))
