"""x"""
from __future__ import annotations
from todoke_tests_kit import House, node_config, run

def test_a_message_goes_out_and_its_receipt_comes_back() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("hello")
        assert [sent.text for sent in bind.seen] == ["hello"]
        bind.answer("A1")
        await house.settle()
        assert (await house.query(mid))["state"] == "submitted"
        bind.receipt("A1")
        await house.settle()
        assert bind.delivers == [(1, 0)]
        assert await house.states() == [(mid, "delivered")]
        assert house.grants() == 0
        await house.later(700)
        assert house.left_over() == {}
    run(story)
