"""Joint goal and act accuracy of the stock bot on recorded dialogues, without a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, List, Sequence

from rasa.shared.core import events
from rasa.shared.core.trackers import DialogueStateTracker, EventVerbosity
from rasa_sdk import Tracker

from benchmarks.stock import GOAL, slots_after
from rasa_hybrid.dialogue import LISTEN, NONE, Dialogue
from rasa_hybrid.simulation.agents import ReadTurn, certain
from rasa_hybrid.simulation.catalogue import Catalogue
from rasa_hybrid.simulation.flow import slots_of


class StockReader:
    """Follows recorded dialogues with the model of an archive, in this process.

    Args:
        archive: of `rasa train`.
        database: SQLite file with the table `screenings`.
        catalogue: the same screenings, to find what a recorded offer named.
    """

    def __init__(self, archive: Path, database: Path, catalogue: Catalogue) -> None:
        from rasa.core.agent import load_agent

        self._agent = asyncio.run(load_agent(str(archive)))
        self._database, self._catalogue = database, catalogue

    def read(self, dialogues: Sequence[Dialogue]) -> List[List[ReadTurn]]:
        """For each turn the slots, and the decision before each recorded action."""
        return asyncio.run(self._read_all(dialogues))

    async def _read_all(self, dialogues: Sequence[Dialogue]) -> List[List[ReadTurn]]:
        return [await self._read(dialogue) for dialogue in dialogues]

    async def _read(self, dialogue: Dialogue) -> List[ReadTurn]:
        processor, domain = self._agent.processor, self._agent.domain
        assert processor is not None and domain is not None
        started: List[Any] = [events.ActionExecuted("action_session_start")]
        started += [events.SessionStarted(), events.ActionExecuted(LISTEN)]
        tracker = DialogueStateTracker.from_events(dialogue.id, started, slots=domain.slots)
        result = []
        for turn in dialogue.turns:
            assert turn.user is not None
            parsed = await self._agent.parse_message(turn.user.text)
            user = events.UserUttered(
                turn.user.text, parsed["intent"], parsed["entities"], parse_data=parsed
            )
            tracker.update(user, domain)
            for slot in GOAL:
                for value in list(tracker.get_latest_entity_values(slot))[-1:]:
                    tracker.update(events.SlotSet(slot, value), domain)
            state = Tracker.from_dict(tracker.current_state(EventVerbosity.ALL))
            for slot, value in slots_after(state, self._database).items():
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
