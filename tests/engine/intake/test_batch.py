"""Several submits, one call, one answer each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.intake.batch import Batch
from todoke.engine.intake.requests import Submission
from todoke.engine.messages import Accepted, Refusal, SubmitMessage

FATES = st.sampled_from(["accepted", "node", "checked", "decoded"])


def submission(fates: list[str], name: int) -> Submission:
    """A submit whose messages end as told; refs are `<name>-<index>`."""
    made = Submission(name, [], [], [], len(fates))
    indexes: list[int] = []
    for index, fate in enumerate(fates):
        ref = f"{name}-{index}"
        if fate == "decoded":
            made.refused.append(Refusal(index, ref, "x", "unknown_key", ""))
            continue
        indexes.append(index)
        made.messages.append(SubmitMessage("+819012345678", "" if fate == "checked" else fate, ref=ref))
    made.indexes = indexes
    return made


@given(st.lists(st.lists(FATES, max_size=6), min_size=1, max_size=5))
def test_everyone_is_answered_for_their_own(plan: list[list[str]]) -> None:
    batch = Batch([submission(fates, name) for name, fates in enumerate(plan)], 0)
    accepted = [
        Accepted(message.ref, f"id-{message.ref}", 1)
        for message in batch.messages
        if message.text == "accepted"
    ]
    refused = [
        Refusal(index, message.ref, "to", "no_route", "")
        for index, message in zip(batch.indexes, batch.messages, strict=True)
        if message.text == "node"
    ]
    answers = batch.share_out(accepted, refused[::-1])
    assert len(answers) == len(plan)
    for name, (fates, (taken, turned_down)) in enumerate(zip(plan, answers, strict=True)):
        assert [each.ref for each in taken] == [
            f"{name}-{index}" for index, fate in enumerate(fates) if fate == "accepted"
        ]
        assert [(each.index, each.ref) for each in turned_down] == [
            (index, f"{name}-{index}") for index, fate in enumerate(fates) if fate != "accepted"
        ]


@given(st.lists(st.lists(FATES, max_size=6), min_size=1, max_size=5))
def test_refuse_all(plan: list[list[str]]) -> None:
    batch = Batch([submission(fates, name) for name, fates in enumerate(plan)], 0)
    answers = batch.share_out([], batch.refuse_all("unavailable", "away", 1.5))
    for fates, (taken, turned_down) in zip(plan, answers, strict=True):
        assert taken == []
        assert [each.index for each in turned_down] == list(range(len(fates)))


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        ([], []),
        ([Accepted("0-0", "a", 1)], []),
        ([Accepted("0-0", "a", 1)] * 3, []),
        ([Accepted("0-0", "a", 1)], [Refusal(7, None, None, "internal", "")]),
        ([], [Refusal(0, None, None, "internal", "")] * 2),
    ],
)
def test_a_node_that_lost_count_is_not_believed(accepted: list[Accepted], refused: list[Refusal]) -> None:
    with pytest.raises(ValueError, match=r"accepted|not submitted"):
        Batch([submission(["accepted", "accepted"], 0)], 0).share_out(accepted, refused)
