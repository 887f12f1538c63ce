"""States of a tracker's history for policies of Rasa that read all of it, `RulePolicy` above all.

For every prediction Rasa makes them anew from the first event on, two or three times a message. Here a tracker remembers
those before its actions, so that only what happened since is read.
"""

from __future__ import annotations

import functools
import operator
from typing import Any, Callable, Dict, List, Optional, Sequence

from rasa.shared.core.domain import Domain, State
from rasa.shared.core.events import (
    ActionExecuted,
    DefinePrevUserUtteredFeaturization,
    Event,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker

#: The attribute of a tracker that has its `_History`.
_HISTORY = "_rasa_hybrid_history"


def remembering(original: Callable) -> Callable:
    """Wraps `Domain.states_for_tracker_history`; trackers of training, and policies that leave rules out, get the original."""

    @functools.wraps(original)
    def states_for_tracker_history(
        self: Domain,
        tracker: DialogueStateTracker,
        omit_unset_slots: bool = False,
        ignore_rule_only_turns: bool = False,
        rule_only_data: Optional[Dict[str, Any]] = None,
    ) -> List[State]:
        if not ignore_rule_only_turns and type(tracker) is DialogueStateTracker:
            events = tracker.applied_events()
            history = getattr(tracker, _HISTORY, None)
            if history is None or not history.continues(self, omit_unset_slots, events):
                history = _History(self, tracker, omit_unset_slots)
            if history.read(events):
                setattr(tracker, _HISTORY, history)
                return history.states()
        states: List[State] = original(
            self, tracker, omit_unset_slots, ignore_rule_only_turns, rule_only_data
        )
        return states

    return states_for_tracker_history


class _History:
    """The states before the actions of a tracker, as far as its events were read."""

    def __init__(self, domain: Domain, tracker: DialogueStateTracker, omit_unset: bool) -> None:
        self._domain, self._omit_unset = domain, omit_unset
        self._tracker = tracker.init_copy()
        self._events: List[Event] = []
        self._states: List[State] = []
        self._states_when_said = 0

    def continues(self, domain: Domain, omit_unset: bool, events: Sequence[Event]) -> bool:
        """Whether these very events come first, and the states are asked for in the same way."""
        return (
            domain is self._domain
            and omit_unset == self._omit_unset
            and len(events) >= len(self._events)
            and all(map(operator.is_, events, self._events))
        )

    def read(self, events: List[Event]) -> bool:
        """Reads the events that are new; False if one changes how a state reads that is remembered."""
        for event in events[len(self._events) :]:
            if isinstance(event, ActionExecuted):
                self._states.append(self._now())
            elif isinstance(event, UserUttered):
                self._states_when_said = len(self._states)
            elif (
                isinstance(event, DefinePrevUserUtteredFeaturization)
                and len(self._states) != self._states_when_said
            ):
                return False
            self._tracker.update(event)
        self._events = events
        return True

    def states(self) -> List[State]:
        """The states before all actions, and the one now; as callers change them, they get copies."""
        return [
            *({kind: dict(of) for kind, of in state.items()} for state in self._states),
            self._now(),
        ]

    def _now(self) -> State:
        return self._domain.get_active_state(self._tracker, self._omit_unset)
