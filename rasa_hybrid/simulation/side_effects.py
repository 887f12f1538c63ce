"""What the actions of a bot do to the world, simulated without Rasa: a booking that works or is sold out."""
from __future__ import annotations

import zlib
from typing import Dict, List, Optional, Sequence, Tuple

from rasa_hybrid.simulation.catalogue import Entity
from rasa_hybrid.simulation.flow import SystemFlow


class SideEffects:
    """Side effects of the conversations of a batch; the environment and the agent share one.

    What happens depends only on seed, dialogue and entity: doing it twice is doing it once, whatever the batch size.

    Args:
        flow: names the action and its outcomes.
    """

    def __init__(self, flow: SystemFlow) -> None:
        self._completion = flow.completion
        self._keys: List[Tuple[int, int]] = []
        self._done: List[Optional[str]] = []

    def begin(self, keys: Sequence[Tuple[int, int]]) -> None:
        """Fresh conversations.

        Args:
            keys: seed and index of each dialogue.
        """
        self._keys = list(keys)
        self._done = [None] * len(self._keys)

    def outcome(self, conversation: int, entity: Entity) -> str:
        """What the action would lead to."""
        assert self._completion is not None
        seed, index = self._keys[conversation] if conversation < len(self._keys) else (0, conversation)
        point = zlib.crc32(f"{seed} {index} {entity['id']}".encode()) / 2**32
        for outcome, chance in self._completion.chances.items():
            point -= chance
            if point < 0:
                return outcome
        return self._completion.done

    def perform(self, conversation: int, action: str, offered: Optional[Entity]) -> Dict[str, str]:
        """Carries out an action of a conversation.

        Args:
            conversation: its position in the batch.
            action: any action.
            offered: the entity of the offer that stands; without one nothing can be completed.

        Returns:
            The slots that the action sets, empty for actions without side effects.
        """
        if self._completion is None or action != self._completion.action or offered is None:
            return {}
        outcome = self.outcome(conversation, offered)
        if outcome == self._completion.done and conversation < len(self._done):
            self._done[conversation] = offered["id"]
        return {self._completion.slot: outcome}

    def completed(self, conversation: int) -> Optional[str]:
        """Id of the entity for which the conversation's side effect happened, None if it didn't."""
        return self._done[conversation] if conversation < len(self._done) else None
