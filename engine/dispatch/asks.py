"""What one process asks of another that has a block in hand: to cancel a message.

A question is a field of `{c}:asks`; whoever has the block in hand answers it in `{c}:answers`, after its
journal says so. No question waits for ever: who asked gives up after a time, and both keys end by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio

from ..clock import Clock
from ..ledger.keys import CarrierKeys
from ..ledger.port import Stage, StoreUnavailable
from .runs import Run

ASKS_TTL_S: Final = 60
ANSWER_LOOK_S: Final = 0.2


class Asks:
    """The questions of one account: both ends. Owns its stage; one call at a time."""

    def __init__(
        self,
        keys: CarrierKeys,
        stage: Stage,
        clock: Clock,
        *,
        runs: Callable[[], dict[str, Run]],
        cancel: Callable[[Run, int, Callable[[bool], None]], None],
    ) -> None:
        self._keys = keys
        self._stage = stage
        self._clock = clock
        self._runs = runs
        self._cancel = cancel
        self._lock = anyio.Lock()
        self._answers: list[tuple[bytes, bool]] = []

    async def ask_to_cancel(self, block_id: str, index: int) -> None:
        """Have whoever has this block in hand cancel a message of it; see `answer`. Raises StoreError."""
        field = _field(block_id, index)
        async with self._lock:
            await self._stage.commit(
                [
                    ("HDEL", self._keys.answers, field),
                    ("HSET", self._keys.asks, field, b"cancel"),
                    ("EXPIRE", self._keys.asks, ASKS_TTL_S),
                ]
            )

    async def answer(self, block_id: str, index: int, patience_s: float) -> bool | None:
        """Whether it was cancelled; None: nobody has answered within `patience_s`. Raises StoreError."""
        field = _field(block_id, index)
        until = self._clock.monotonic() + patience_s
        while self._clock.monotonic() < until:
            await anyio.sleep(ANSWER_LOOK_S)
            async with self._lock:
                (answer,) = await self._stage.read([("HGET", self._keys.answers, field)])
                if answer is not None:
                    await self._stage.commit([("HDEL", self._keys.answers, field)])
                    return bool(answer == b"1")
        return None

    async def take_back(self, block_id: str, index: int) -> None:
        """No answer is waited for any more. Raises StoreError."""
        async with self._lock:
            await self._stage.commit([("HDEL", self._keys.asks, _field(block_id, index))])

    async def look(self, asked: Sequence[bytes]) -> None:
        """Take up what is asked (the fields of `{c}:asks`) of blocks in hand here, and tell the answers known
        so far. Raises StoreError.
        """
        if not (asked or self._answers):
            return
        async with self._lock:
            await self._tell()
            taken: list[bytes] = []
            for field in asked[::2]:
                block_id, _, index = field.decode().rpartition(".")
                run = self._runs().get(block_id)
                if run is not None:
                    taken.append(field)
                    self._cancel(run, int(index), self._answerer(field))
            if taken:
                await self._stage.commit([("HDEL", self._keys.asks, *taken)])
        if taken:
            await anyio.sleep(ANSWER_LOOK_S)  # a turn of the recorder
            async with self._lock:
                await self._tell()

    def _answerer(self, field: bytes) -> Callable[[bool], None]:
        return lambda done: self._answers.append((field, done))

    async def _tell(self) -> None:
        if not self._answers:
            return
        answers = list(self._answers)
        pairs: list[Any] = [each for field, done in answers for each in (field, b"1" if done else b"0")]
        done = await self._stage.commit(
            [("HSET", self._keys.answers, *pairs), ("EXPIRE", self._keys.answers, ASKS_TTL_S)]
        )
        if done is None:
            raise StoreUnavailable("nothing was watched")
        del self._answers[: len(answers)]


def _field(block_id: str, index: int) -> bytes:
    return f"{block_id}.{index}".encode()
