from __future__ import annotations

import msgspec
import pytest
from todoke.bench import smsc_cost


def test_a_run_measures_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    """The limit itself is for a quiet machine: `python -m todoke.bench.smsc_cost`."""
    code = smsc_cost.main(["--messages", "20000", "--window", "500", "--json"])
    cost = msgspec.json.decode(capsys.readouterr().out, type=smsc_cost.Cost)
    assert 0.5 < cost.cpu_us_per_message < 60
    assert cost.ok == (cost.cpu_us_per_message <= smsc_cost.LIMIT_US) == (code == 0)
