"""What the actions of a bot do to the world, simulated without Rasa: a booking that works or is sold out."""

from __future__ import annotations

import hashlib
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

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
        self._slots: List[Dict[str, str]] = []
        self._done: List[Optional[str]] = []

    def begin(self, keys: Sequence[Tuple[int, int]]) -> None:
        """Fresh conversations.

        Args:
            keys: seed and index of each dialogue.
        """
        self._keys = list(keys)
        self._slots = [{} for _ in self._keys]
        self._done = [None] * len(self._keys)

    def foresee(self, conversation: int, action: str, offered: Optional[Entity]) -> Dict[str, str]:
        """The slots that an action would set, empty for actions without side effects.

        Args:
            conversation: its position in the batch.
            action: any action.
            offered: the entity of the offer that stands; without one nothing can be completed.
        """
        if self._completion is None or action != self._completion.action or offered is None:
            return {}
        seed, index = self._keys[conversation]
        digest = hashlib.blake2b(f"{seed} {index} {offered['id']}".encode(), digest_size=4).digest()
        point = int.from_bytes(digest, "big") / 2**32
        for outcome, chance in self._completion.chances.items():
            point -= chance
            if point < 0:
                return {self._completion.slot: outcome}
        return {self._completion.slot: self._completion.done}

    def perform(self, conversation: int, action: str, offered: Optional[Entity]) -> Dict[str, str]:
        """Carries out an action and returns the slots that it sets; arguments as for `foresee`."""
        changes = self.foresee(conversation, action, offered)
        if changes:
            self.record(conversation, changes, offered)
        return changes

    def record(
        self, conversation: int, slots: Mapping[str, str], offered: Optional[Entity]
    ) -> None:
        """Takes note of what side effects have set, also of those that happen in a running server."""
        self._slots[conversation].update(slots)
        if (
            self._completion is not None
            and slots.get(self._completion.slot) == self._completion.done
        ):
            self._done[conversation] = offered["id"] if offered is not None else ""

    def slots(self, conversation: int) -> Dict[str, str]:
        """What side effects have set in a conversation so far (a copy)."""
        return dict(self._slots[conversation])

    def completed(self, conversation: int) -> Optional[str]:
        """Id of the entity for which the side effect happened, None if it didn't."""
        return self._done[conversation]
