"""What the simulated SMSC learnt for long runs over several carriers: spells, handsets, mixed ids, notes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest
from todoke.bench.handset import Ids
from todoke.bench.population import Population
from todoke.bench.smsc_config import ScenarioError, SmscConfig
from todoke.codecs import constants as c
from todoke.codecs.receipt import canonical_id, id_variants

SPELL = {"after_s": 2.0, "for_s": 3.0, "command_status": "ESME_RSYSERR"}


def test_a_spell_begins_after_the_first_submit_and_ends(world: Callable[..., Any]) -> None:
    here = world(spells=[SPELL])
    here.pass_time(10.0)
    peer = here.bound()
    said: list[int] = []
    for number in range(12):
        answers = peer.submit(number)
        said.append(answers[0].command_status)
        peer.answer(answers)
        here.pass_time(0.5)
    assert said == [0] * 4 + [c.ESME_RSYSERR] * 6 + [0] * 2
    refused = [event for event in here.log.events if event.word == f"refused:0x{c.ESME_RSYSERR:08x}"]
    assert sum(event.number for event in refused) == 6


def test_handsets_away_and_gone_decide_the_receipt(world: Callable[..., Any]) -> None:
    here = world(gone=0.2, away=0.3, away_s=40.0, handsets_seed=5, receipt_delay_s=1.0, early_receipts=1.0)
    peer = here.bound()
    population = Population(5, 0.2, 0.3, 40.0)
    peer.submit(*range(60))
    here.pass_time(1.5)
    early = {part.destination for part in here.log.parts if part.state == "delivered"} - {
        part.destination for part in here.log.parts if population.handset(part.destination.encode()).away_s
    }
    assert early
    for part in here.log.parts:
        handset = population.handset(part.destination.encode())
        assert part.state == ("undeliverable" if handset.gone else "delivered")
    assert here.core.accounts["todoke"].receipts.next_deadline() > here.now + 15.0
    here.pass_time(45.0)
    assert here.core.accounts["todoke"].receipts.next_deadline() > 1e9


def test_a_lost_response_is_noted_with_its_serial(world: Callable[..., Any]) -> None:
    here = world(lost_responses=1.0)
    here.bound().submit(1, 2)
    lost = [event.number for event in here.log.events if event.word == "response_lost"]
    assert lost == [part.serial for part in here.log.parts]


def test_mixed_ids_are_of_every_form_and_each_finds_its_receipt(world: Callable[..., Any]) -> None:
    in_response, in_receipt = Ids("mixed", 1_000_000_000, Random(1)).take(80)
    assert len({*in_response}) == len({*in_receipt}) == 80
    for sent, told in zip(in_response, in_receipt, strict=True):
        ids = {canonical_id(told.decode()), *id_variants(told.decode())}
        assert canonical_id(sent.decode()) in ids
    assert sum(len(each) == 36 for each in in_response) == 10
    assert sum(each.startswith(b"0") for each in in_response) >= 10
    here = world(id_form="mixed")
    pdus = here.bound().submit(*range(8))
    assert len({pdu.message_id for pdu in pdus if hasattr(pdu, "message_id")}) == 8


@pytest.mark.parametrize(
    "settings",
    [
        {"gone": 0.6, "away": 0.6},
        {"away": 1.5},
        {"spells": [SPELL | {"for_s": 0}]},
        {"spells": [SPELL | {"command_status": "ESME_NONSENSE"}]},
    ],
)
def test_what_cannot_be_played_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((ScenarioError, msgspec.ValidationError)):
        msgspec.convert(settings, SmscConfig)
