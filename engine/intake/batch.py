"""Submits that arrived together become one call to the node, and its answer becomes one answer each. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..messages import Accepted, Refusal, Valid
from .requests import Submission
from .validate import validate


class Batch:
    """The checked messages of one or more submits, one behind the other.

    `indexes` of the first submit are its own; those of the next begin where its `count` ends, and so on.
    """

    def __init__(self, submissions: Sequence[Submission], now_ms: int) -> None:
        self.submissions = submissions
        self.messages: list[Valid] = []
        self.indexes: list[int] = []
        self._refused: list[list[Refusal]] = []
        self._ends: list[int] = []
        base = 0
        for submission in submissions:
            valid, kept, refused = validate(submission.messages, submission.indexes, now_ms)
            self.messages += valid
            self.indexes += kept if base == 0 else [base + index for index in kept]
            self._refused.append(submission.refused + refused)
            self._ends.append(len(self.messages))
            base += submission.count

    def refuse_all(self, code: str, detail: str, retry_after_s: float | None) -> list[Refusal]:
        """What the node would have said had it refused every message."""
        return [
            Refusal(index, message.ref, None, code, detail, retry_after_s)
            for index, message in zip(self.indexes, self.messages, strict=True)
        ]

    def share_out(
        self, accepted: list[Accepted], refused: list[Refusal]
    ) -> list[tuple[list[Accepted], list[Refusal]]]:
        """What each submit is answered, in order; `accepted` is in the order of `messages`.

        Raises ValueError if the node did not answer for each message once: nothing may be told then.
        """
        refused_at = {refusal.index: refusal for refusal in refused}
        if len(accepted) + len(refused_at) != len(self.messages) or len(refused_at) != len(refused):
            raise ValueError(f"{len(accepted)} accepted, {len(refused)} refused of {len(self.messages)}")
        answers: list[tuple[list[Accepted], list[Refusal]]] = []
        start = taken = base = 0
        for submission, end, refusals in zip(self.submissions, self._ends, self._refused, strict=True):
            count = end - start
            if refused_at:
                for index in self.indexes[start:end]:
                    refusal = refused_at.pop(index, None)
                    if refusal is not None:
                        refusal.index = index - base
                        refusals.append(refusal)
                        count -= 1
            if len(refusals) > 1:
                refusals.sort(key=_index)
            answers.append((accepted[taken : taken + count], refusals))
            taken += count
            start = end
            base += submission.count
        if refused_at:
            raise ValueError(f"refused messages that were not submitted: indexes {sorted(refused_at)[:5]}")
        return answers


def _index(refusal: Refusal) -> int:
    return refusal.index
