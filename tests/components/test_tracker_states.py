"""A tracker that remembers its states gives those that Rasa makes of all events."""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Tuple

from hypothesis import given
from hypothesis import strategies as st
from rasa.shared.core.domain import Domain, State
from rasa.shared.core.events import (
    ActionExecuted,
    ActionReverted,
    ActiveLoop,
    AllSlotsReset,
    BotUttered,
    DefinePrevUserUtteredFeaturization,
    Event,
    Restarted,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)
from rasa.shared.core.generator import TrackerWithCachedStates
from rasa.shared.core.trackers import DialogueStateTracker

from rasa_hybrid.components import policy, tracker_states

assert policy  # installs what is tested

DOMAIN_YAML = """
intents: [greet, inform]
entities: [city]
slots:
  city: {type: text, mappings: [{type: custom}]}
  kind: {type: categorical, values: [a, b], initial_value: a, mappings: [{type: custom}]}
  unseen: {type: any, influence_conversation: false, mappings: [{type: custom}]}
responses: {utter_ok: [{text: ok}]}
actions: [action_book]
forms: {form: {required_slots: [city]}}
"""
DOMAIN, OTHER = Domain.from_yaml(DOMAIN_YAML), Domain.from_yaml(DOMAIN_YAML)

EVENTS: Dict[str, Event] = {
    "greet": UserUttered("hi", {"name": "greet"}),
    "inform": UserUttered("rome", {"name": "inform"}, [{"entity": "city", "value": "rome"}]),
    "text": UserUttered("rome"),
    "intent counts": DefinePrevUserUtteredFeaturization(False),
    "words count": DefinePrevUserUtteredFeaturization(True),
    "listen": ActionExecuted("action_listen"),
    "ok": ActionExecuted("utter_ok"),
    "hidden": ActionExecuted("action_book", hide_rule_turn=True),
    "form": ActionExecuted("form"),
    "city": SlotSet("city", "rome"),
    "no city": SlotSet("city", None),
    "kind": SlotSet("kind", "b"),
    "reset": AllSlotsReset(),
    "loop": ActiveLoop("form"),
    "no loop": ActiveLoop(None),
    "bot": BotUttered("ok"),
    "undo": ActionReverted(),
    "rewind": UserUtteranceReverted(),
    "restart": Restarted(),
}
#: What happens between the predictions of a policy.
messages = st.lists(st.lists(st.sampled_from(sorted(EVENTS)), max_size=5), max_size=6)


def stock(tracker: DialogueStateTracker, *arguments: Any) -> List[State]:
    made: Any = Domain.states_for_tracker_history.__wrapped__  # type: ignore[attr-defined]
    states: List[State] = made(DOMAIN, tracker, *arguments)
    return states


def trackers() -> Tuple[DialogueStateTracker, DialogueStateTracker]:
    return (
        DialogueStateTracker("one", DOMAIN.slots),
        DialogueStateTracker("two", DOMAIN.slots),
    )


@given(messages, st.booleans())
def test_states_are_those_that_rasa_makes_however_a_tracker_grows(
    groups: List[List[str]], omit_unset: bool
) -> None:
    ours, theirs = trackers()
    for group in groups:
        for name in group:
            ours.update(copy.deepcopy(EVENTS[name]))
            theirs.update(copy.deepcopy(EVENTS[name]))
        for _ in range(2):  # the second time nothing has happened
            states = DOMAIN.states_for_tracker_history(ours, omit_unset)
            assert states == stock(theirs, omit_unset)
        assert DOMAIN.states_for_tracker_history(ours, not omit_unset) == stock(
            theirs, not omit_unset
        )


USUAL = ["listen", "inform", "city", "intent counts", "ok", "bot", "listen", "greet", "ok"]


def grown(names: List[str]) -> DialogueStateTracker:
    tracker, _ = trackers()
    for name in names:
        tracker.update(copy.deepcopy(EVENTS[name]))
    return tracker


def test_only_what_happened_since_is_read(monkeypatch: Any) -> None:
    tracker = grown(USUAL)
    DOMAIN.states_for_tracker_history(tracker)
    read: List[str] = []
    update = DialogueStateTracker.update

    def counted(self: DialogueStateTracker, event: Event, *others: Any) -> None:
        read.append(event.type_name)
        update(self, event, *others)

    tracker.update(EVENTS["bot"])
    monkeypatch.setattr(DialogueStateTracker, "update", counted)
    DOMAIN.states_for_tracker_history(tracker)
    assert read == ["bot"]


def test_what_a_policy_does_to_its_states_is_not_remembered() -> None:
    tracker = grown(USUAL)
    expected = stock(grown(USUAL))
    for _ in range(3):
        states = DOMAIN.states_for_tracker_history(tracker)
        assert states == expected
        for state in states:  # as `_choose_last_user_input` does
            state.get("user", {}).pop("intent", None)
            state.clear()


def test_another_domain_reads_the_tracker_anew() -> None:
    tracker = grown(USUAL)
    first = DOMAIN.states_for_tracker_history(tracker)
    assert OTHER.states_for_tracker_history(tracker) == first
    assert getattr(tracker, tracker_states._HISTORY)._domain is OTHER


def test_policies_without_rules_and_training_are_left_to_rasa() -> None:
    tracker = grown([*USUAL, "hidden"])
    assert DOMAIN.states_for_tracker_history(tracker, True, True) == stock(tracker, True, True)
    training = TrackerWithCachedStates("three", DOMAIN.slots, domain=DOMAIN)
    for name in USUAL:
        training.update(EVENTS[name])
    assert DOMAIN.states_for_tracker_history(training) == stock(training)
    assert not hasattr(tracker, tracker_states._HISTORY)
    assert not hasattr(training, tracker_states._HISTORY)
