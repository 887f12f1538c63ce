"""Joint goal and act accuracy of the stock and form bots on recorded dialogues, without a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, List, Sequence

from rasa.shared.core import events
from rasa.shared.core.trackers import DialogueStateTracker, EventVerbosity
from rasa_sdk import Tracker

from benchmarks import form
from benchmarks.stock import GOAL, slots_after
from rasa_hybrid.dialogue import LISTEN, NONE, Dialogue, Turn
from rasa_hybrid.simulation.agents import ReadTurn, certain
from rasa_hybrid.simulation.catalogue import Catalogue
from rasa_hybrid.simulation.flow import slots_of


class StockReader:
    """Follows recorded dialogues with the model of an archive, in this process.

    Args:
        archive: of `rasa train`.
        database: SQLite file with the table `screenings`.
        catalogue: the same screenings, to find what a recorded offer named.
        checks: whether values that the database doesn't have leave a slot as it was.
    """

    def __init__(
        self, archive: Path, database: Path, catalogue: Catalogue, checks: bool = False
    ) -> None:
        from rasa.core.agent import load_agent

        self._agent = asyncio.run(load_agent(str(archive)))
        self._database, self._catalogue, self._checks = database, catalogue, checks

    def read(self, dialogues: Sequence[Dialogue]) -> List[List[ReadTurn]]:
        """For each turn the slots, and the decision before each recorded action."""
        return asyncio.run(self._read_all(dialogues))

    async def _read_all(self, dialogues: Sequence[Dialogue]) -> List[List[ReadTurn]]:
        return [await self._read(dialogue) for dialogue in dialogues]

    def _started(self, id: str) -> DialogueStateTracker:
        started: List[Any] = [events.ActionExecuted("action_session_start")]
        started += [events.SessionStarted(), events.ActionExecuted(LISTEN)]
        assert self._agent.domain is not None
        return DialogueStateTracker.from_events(id, started, slots=self._agent.domain.slots)

    async def _hear(self, tracker: DialogueStateTracker, turn: Turn) -> None:
        """Takes in the user's message."""
        assert turn.user is not None
        text = turn.user.text
        parsed = await self._agent.parse_message(text)
        user = events.UserUttered(text, parsed["intent"], parsed["entities"], parse_data=parsed)
        tracker.update(user, self._agent.domain)

    async def _read(self, dialogue: Dialogue) -> List[ReadTurn]:
        processor, domain = self._agent.processor, self._agent.domain
        assert processor is not None and domain is not None
        tracker = self._started(dialogue.id)
        result = []
        for turn in dialogue.turns:
            await self._hear(tracker, turn)
            for slot in GOAL:
                for value in list(tracker.get_latest_entity_values(slot))[-1:]:
                    tracker.update(events.SlotSet(slot, value), domain)
            state = Tracker.from_dict(tracker.current_state(EventVerbosity.ALL))
            for slot, value in slots_after(state, self._database, self._checks).items():
                tracker.update(events.SlotSet(slot, value), domain)
            goal = {slot: str(tracker.get_slot(slot) or NONE) for slot in GOAL}
            decisions = []
            for position in range(len(turn.actions) + 1):
                here = turn.actions[position] if position < len(turn.actions) else None
                for slot, value in slots_of(here.context if here else turn.closing_context).items():
                    if tracker.get_slot(slot) != value:
                        tracker.update(events.SlotSet(slot, value), domain)
                prediction = processor._predict_next_with_tracker(tracker)
                index = prediction.max_confidence_index
                decisions.append(domain.action_names_or_texts[index])
                if here is not None and here.name == "utter_offer":
                    told = {act.slot: act.value for act in here.acts if act.slot and act.value}
                    offered = next(iter(self._catalogue.find(told)), None)
                    if offered is not None:
                        tracker.update(events.SlotSet("offer_id", offered["id"]), domain)
                tracker.update(events.ActionExecuted(here.name if here else LISTEN), domain)
            result.append(ReadTurn(certain(goal, GOAL), tuple(decisions)))
        return result


class FormReader(StockReader):
    """The same for the form bot: what it tracks. Its decisions are the form's, which can't be led by recorded actions.

    What was asked last, in the recorded dialogue, is the slot that the form asks for.
    """

    async def _read(self, dialogue: Dialogue) -> List[ReadTurn]:
        domain = self._agent.domain
        tracker = self._started(dialogue.id)
        result = []
        for turn in dialogue.turns:
            await self._hear(tracker, turn)
            state = Tracker.from_dict(tracker.current_state(EventVerbosity.ALL))
            news = form.slots_after(state, self._database)
            for slot in GOAL:
                if slot in news:
                    tracker.update(events.SlotSet(slot, news[slot]), domain)
            goal = {slot: str(tracker.get_slot(slot) or NONE) for slot in GOAL}
            result.append(ReadTurn(certain(goal, GOAL), ()))
            for done in turn.actions:
                asked = form.asks(done.name)
                if asked is not None:
                    tracker.update(events.SlotSet("requested_slot", asked), domain)
        return result
