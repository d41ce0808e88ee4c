"""A node started again with another configuration, messages waiting."""

from __future__ import annotations

import pytest
from todoke_tests_lab import WINDOW, Lab
from todoke_tests_site import PASSWORD, until


@pytest.mark.fault(55)
def test_fault_55_a_carrier_is_taken_out_under_its_messages(lab: Lab) -> None:
    """Killed in full flight, and another account in its place. What waits under the old name is said, and
    goes when that is there again, although no route leads to it, with fewer binds and a smaller window.
    """
    lab.smsc(accounts={"todoke": PASSWORD, "other": PASSWORD})
    node = lab.node(binds=2)
    lab.send(node)
    lab.in_flight(node)
    before = node.config
    node.kill()
    node.killed()
    node.start(name="other", system_id="other")
    (found,) = node.site.status()["stranded"]["carriers"]
    assert found["name"] == "docomo"
    assert found["queued"] > 0
    assert "'docomo' is configured no more" in node.site.errors()
    after = node.config
    lab.send(node, 100)
    until(lambda: node.site.carrier("other")["counts"]["sent"] >= 100, node.site.errors)
    node.stop()
    old = before[: before.index("[redis]")].replace("binds = 2\n", "").replace("window = 20", "window = 5")
    node.config = old + after + '[[route]]\ncarriers = ["other"]\n'
    node.start()
    assert node.site.status()["stranded"]["carriers"] == []
    assert lab.end(node, doubt=4 * WINDOW).states == {"delivered": 400}
