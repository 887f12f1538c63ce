"""Between the parts of turns, which block the event loop, other requests are next."""

from __future__ import annotations

import asyncio
from typing import List

from rasa_hybrid.components.channel_replies import Breaks, Replies

PASSES = 2
"""Of the event loop, in which a request is answered: as many as the shortest break has on the busiest machine."""


def test_a_request_is_answered_before_the_second_of_several_turns_goes_on() -> None:
    happened: List[str] = []

    async def turn(name: str, breaks: Breaks) -> None:
        replies = Replies(breaks)
        await replies.send_text_message("anna", f"{name} says hello")
        happened.append(name)
        assert replies.messages == [{"recipient_id": "anna", "text": f"{name} says hello"}]

    async def request() -> None:
        for _ in range(PASSES):
            await asyncio.sleep(0)
        happened.append("request")

    async def all_at_once() -> None:
        async def settled(at_most: float) -> None:
            happened.append("break")

        breaks = Breaks(settled)
        await asyncio.gather(*(turn(name, breaks) for name in "abc"), request())

    asyncio.run(all_at_once())
    turns = [name for name in happened if name != "request"]
    assert turns == ["break", "a", "break", "b", "break", "c"]  # after each break only one goes on
    assert happened.index("request") < happened.index("b")


def test_feedback_that_waits_is_committed_before_a_turn_goes_on() -> None:
    happened: List[str] = []

    async def commit(at_most: float) -> None:
        assert at_most < 0.05  # what is said is not kept waiting by a store that hangs
        await asyncio.sleep(0.001)
        happened.append("committed")

    async def turns() -> None:
        breaks = Breaks(commit)
        for name in "ab":
            await breaks.take()
            happened.append(name)

    asyncio.run(turns())
    assert happened == ["committed", "a", "committed", "b"]
