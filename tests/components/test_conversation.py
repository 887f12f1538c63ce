"""Conversations with a trained bot: what it tracks, what it keeps of each turn, and who else may set its slots."""

from __future__ import annotations

import json
from typing import Any, List

import pytest
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActionReverted,
    AllSlotsReset,
    FollowupAction,
    Restarted,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)
from rasa.shared.core.trackers import DialogueStateTracker

from rasa_hybrid.components.conversion import TrackerReader
from rasa_hybrid.components.facts import domain_facts
from rasa_hybrid.components.loading import served_runtime
from rasa_hybrid.dialogue import Override
from tests.components.running import Conversation, best_values, run


@pytest.fixture()
def user(agent: Any) -> Conversation:
    """A user who has said nothing yet."""
    return Conversation(agent)


def test_bot_asks_for_what_it_lacks_then_offers_from_the_knowledge_base_and_reserves(
    user: Conversation,
) -> None:
    assert user.say("hello").actions == ["utter_greet"]
    assert user.say("i want thai food").actions == ["utter_ask_date"]
    assert user.slots == {"cuisine": "thai"}
    offer = user.say("on friday")
    assert offer.actions == ["utter_offer"]
    assert offer.replies == ["How about Bangkok on friday?"]
    assert user.slots == {"cuisine": "thai", "date": "friday", "offer_restaurant": "Bangkok"}
    assert user.say("yes please").actions == ["action_reserve", "utter_reserved"]


def test_user_who_refuses_an_offer_gets_the_next_entity_of_the_queue(user: Conversation) -> None:
    assert user.say("italian food on friday").replies == ["How about Roma on friday?"]
    assert user.say("something else please").replies == ["How about Napoli on friday?"]


def test_offer_starts_again_after_the_wish_changed(user: Conversation) -> None:
    user.say("italian food on friday")
    assert user.say("rather on monday").replies == ["How about Roma on monday?"]


def test_anything_is_fine_becomes_the_dontcare_value_and_constrains_nothing(
    user: Conversation,
) -> None:
    user.say("on friday")
    offer = user.say("anything is fine")
    assert user.slots["cuisine"] == "dontcare"
    assert offer.decisions[0]["query"] == {"date": "friday"}
    assert offer.decisions[0]["summary"] == {"matches": 5, "remaining": 5}


@pytest.mark.parametrize("answer", ["mexican", "zorblax", "kebab with onions"])
def test_an_answer_of_unknown_words_changes_no_goal(user: Conversation, answer: str) -> None:
    assert user.say("on friday").actions == ["utter_ask_cuisine"]
    assert user.say(answer).goal == {"date": "friday"}


def test_metadata_of_each_action_holds_belief_propensity_query_and_model(
    user: Conversation, agent: Any
) -> None:
    user.say("hello")
    first = user.say("thai food on friday").decisions[0]
    assert first["action"] == "utter_offer"
    assert 0.5 < first["propensity"] <= 1.0
    assert first["sampled"] is False
    assert first["model_id"] == agent.model_id
    assert best_values(first["belief"]) == {"cuisine": "thai", "date": "friday"}
    assert all(len(values) <= 5 for values in first["belief"].values())
    assert sum(p for _, p in first["belief"]["cuisine"]) == pytest.approx(1.0, abs=1e-3)
    assert first["query"] == {"cuisine": "thai", "date": "friday"}
    assert first["summary"] == {"matches": 1, "remaining": 1}
    assert first["offered"] == "1"


def test_parse_data_of_each_message_holds_belief_and_goal(user: Conversation) -> None:
    user.say("i want thai food")
    parse = user.say("on friday").parse
    assert parse["intent"]["name"] == "inform"
    assert [(e["entity"], e["value"]) for e in parse["entities"]] == [("date", "friday")]
    assert parse["hybrid"]["goal"] == {"cuisine": "thai", "date": "friday"}
    assert best_values(parse["hybrid"]["belief"]) == {"cuisine": "thai", "date": "friday"}


def test_parse_outside_of_a_conversation_tracks_that_message_alone(agent: Any) -> None:
    parse = run(agent.parse_message("on friday"))
    assert parse["hybrid"]["goal"] == {"date": "friday"}


def test_slot_events_name_the_model_or_the_knowledge_base_as_their_source(
    user: Conversation,
) -> None:
    events = user.say("thai food on friday").events
    sources = {
        e["name"]: e["metadata"]["hybrid"]["source"]
        for e in events
        if e["event"] == "slot" and "metadata" in e
    }
    assert sources == {"cuisine": "model", "date": "model", "offer_restaurant": "knowledge_base"}


def test_slots_are_set_before_the_first_action_of_the_turn_and_only_when_they_change(
    user: Conversation,
) -> None:
    first = [e["event"] for e in user.say("i want thai food").events]
    assert first.index("slot", first.index("user")) < first.index("action", first.index("user"))
    again = user.say("on friday").events
    assert [e["name"] for e in again if e["event"] == "slot"] == ["date", "offer_restaurant"]


# --- what others set -------------------------------------------------------------------------------


def test_button_payload_sets_slots_that_stay_in_force(user: Conversation) -> None:
    user.say("i want thai food")
    pressed = user.say('/inform{"date": "friday"}')
    assert pressed.actions == ["utter_offer"]
    assert user.slots["date"] == "friday"
    assert user.say("something else please").goal == {"cuisine": "thai", "date": "friday"}


def test_button_payload_alone_begins_a_conversation(user: Conversation) -> None:
    assert user.say("/greet").actions == ["utter_greet"]
    assert user.say('/inform{"cuisine": "thai", "date": "monday"}').actions == ["utter_offer"]
    assert user.slots == {"cuisine": "thai", "date": "monday", "offer_restaurant": "Bangkok"}


def test_slot_of_a_custom_action_in_a_rule_is_in_force_until_the_user_says_otherwise(
    user: Conversation,
) -> None:
    assert user.say("the same as last time").actions == ["action_recall", "utter_noted"]
    assert user.slots == {"cuisine": "italian"}
    offer = user.say("on friday")
    assert offer.goal == {"cuisine": "italian", "date": "friday"}
    assert offer.decisions[0]["query"] == {"cuisine": "italian", "date": "friday"}
    assert user.say("rather thai").goal == {"cuisine": "thai", "date": "friday"}
    assert user.slots["cuisine"] == "thai"


def test_custom_action_beats_what_the_model_tracked(user: Conversation) -> None:
    user.say("i want thai food")
    user.say("the same as last time")
    assert user.slots["cuisine"] == "italian"
    assert user.say("on friday").goal == {"cuisine": "italian", "date": "friday"}


def test_what_an_action_set_is_seen_by_the_next_decision_as_in_training(
    agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = served_runtime()
    runtime.use_domain(agent.domain)
    events = [
        UserUttered("thai food on friday"),
        SlotSet("cuisine", "thai"),
        SlotSet("date", "friday"),
        ActionExecuted("action_recall"),
        SlotSet("cuisine", "french"),
        SlotSet("date", None),
    ]
    tracker = DialogueStateTracker.from_events("anna", events, agent.domain.slots)
    state = runtime.turn(tracker)
    shown: List[Any] = []
    monkeypatch.setattr(runtime.model, "decide", lambda *inputs: shown.append(inputs) or [None])
    runtime.decide(state)
    tracker.update(ActionExecuted("action_listen"), agent.domain)
    [_, _, _, [context], _] = shown[0]
    assert context == runtime.reader.story(tracker).turns[-1].closing_context
    assert context == ("slot:cuisine=french",)


def test_external_slot_is_in_force_until_the_user_says_otherwise(user: Conversation) -> None:
    user.say("hello")
    user.post(SlotSet("cuisine", "french"))
    assert user.say("on friday").goal == {"cuisine": "french", "date": "friday"}
    assert user.say("rather thai").goal == {"cuisine": "thai", "date": "friday"}


def test_initial_value_of_a_slot_is_in_force_from_the_beginning() -> None:
    domain = Domain.from_yaml(
        "slots: {cuisine: {type: text, initial_value: thai, mappings: [{type: custom}]}}"
    )
    tracker = DialogueStateTracker("anna", domain.slots)
    tracker.update(UserUttered("hello"))
    turns = (
        TrackerReader(domain_facts(domain), ["cuisine"], pipeline=False)
        .live(tracker)
        .dialogue.turns
    )
    assert [(turn.user and turn.user.text, turn.overrides) for turn in turns] == [
        (None, (Override("cuisine", "thai", "action"),)),
        ("hello", ()),
    ]


def test_external_slot_before_any_message_counts(user: Conversation) -> None:
    user.post(SlotSet("date", "friday"))
    assert user.say("i want thai food").goal == {"cuisine": "thai", "date": "friday"}


def test_value_that_an_action_rejects_is_not_proposed_again_until_the_user_says_it_again(
    user: Conversation,
) -> None:
    user.say("thai food on monday")
    assert user.slots["date"] == "monday"
    user.say("check whether you are open")
    assert "date" not in user.slots
    for text in ("sure", "i want thai food", "rather italian"):
        said = user.say(text)
        assert "date" not in said.goal, text
        assert "date" not in user.slots, text
    assert user.say("monday please").goal["date"] == "monday"
    assert user.slots["date"] == "monday"


def test_user_overrules_a_rule_in_the_very_next_message(user: Conversation) -> None:
    user.say("on friday")
    user.say("the same as last time")
    assert user.say("rather thai").goal == {"cuisine": "thai", "date": "friday"}


def test_words_that_only_a_rule_answers_change_no_goal(user: Conversation) -> None:
    for text in (
        "the same as last time",
        "let me tell you how many we are",
        "bye",
        "check whether you are open",
    ):
        assert Conversation(user.agent).say(text).parse["hybrid"]["goal"] == {}, text
    user.say("thai food on friday")
    for text in ("bye", "check whether you are open"):
        assert user.say(text).parse["hybrid"]["goal"] == {"cuisine": "thai", "date": "friday"}, text


def test_an_offer_leaves_the_answer_of_the_knowledge_base_as_it_was_for_its_turn(
    user: Conversation,
) -> None:
    offer = user.say("i want thai food on friday")
    # As in training: the decision to listen after the offer is taken with the same answer as the offer.
    assert offer.actions[-1] == "utter_offer" and len(offer.decisions) > 1
    assert {json.dumps(decision["summary"]) for decision in offer.decisions} == {
        json.dumps(offer.decisions[0]["summary"])
    }
    # What was offered counts from the next turn on.
    before, after = offer.decisions[0]["summary"], user.say("hm").decisions[0]["summary"]
    assert after == {"matches": before["matches"], "remaining": before["remaining"] - 1}


def test_all_slots_reset_empties_the_goal(user: Conversation) -> None:
    user.say("i want thai food")
    user.say("check whether you are open")  # no day is known: the action resets all slots
    assert user.slots == {}
    assert user.say("on friday").goal == {"date": "friday"}


def test_external_reset_empties_the_goal(user: Conversation) -> None:
    user.say("thai food on friday")
    user.post(AllSlotsReset())
    assert user.say("on monday").goal == {"date": "monday"}


def test_restart_begins_anew(user: Conversation) -> None:
    user.say("thai food on friday")
    user.say("/restart")
    assert user.slots == {}
    assert user.say("on monday").goal == {"date": "monday"}
    user.post(Restarted())
    assert user.say("i want thai food").goal == {"cuisine": "thai"}


def test_new_session_carries_slots_over(
    user: Conversation, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.say("thai food on friday")
    with monkeypatch.context() as later:
        later.setattr(agent.processor, "_has_session_expired", lambda tracker: True)
        back = user.say("hello")
    assert "session_started" in [e["event"] for e in back.events]
    assert back.goal == {"cuisine": "thai", "date": "friday"}
    assert user.slots["cuisine"] == "thai"
    assert user.say("rather on monday").goal == {"cuisine": "thai", "date": "monday"}


def test_reverted_message_was_never_said(user: Conversation) -> None:
    user.say("i want thai food")
    user.say("on friday")
    user.post(UserUtteranceReverted())
    said = user.say("monday please")
    assert said.goal == {"cuisine": "thai", "date": "monday"}
    assert said.decisions[0]["summary"] == {"matches": 1, "remaining": 1}


def test_reverted_offer_is_offered_again(user: Conversation) -> None:
    user.say("italian food on friday")
    user.post(ActionReverted(), ActionReverted())  # action_listen, then utter_offer
    assert user.go_on().replies == ["How about Roma on friday?"]


# --- forms -----------------------------------------------------------------------------------------


def test_form_fills_its_slot_and_the_policy_goes_on_afterwards(user: Conversation) -> None:
    user.say("i want thai food")
    assert user.say("let me tell you how many we are").replies == ["For how many?"]
    assert user.say("4").actions[:2] == ["details_form", "utter_noted"]
    assert user.slots["people"] == 4.0
    assert user.say("on friday").goal == {"cuisine": "thai", "date": "friday"}


def test_form_asks_again_when_its_validator_rejects(user: Conversation) -> None:
    user.say("let me tell you how many we are")
    again = user.say("77")
    assert again.replies == ["For how many?"]
    assert "people" not in user.slots
    user.say("7")
    assert user.slots["people"] == 7.0


# --- unusual courses -------------------------------------------------------------------------------


def test_bot_may_act_before_anybody_said_anything(user: Conversation) -> None:
    begun = user.go_on()
    assert len(begun.actions) <= 10
    assert user.say("thai food on friday").goal == {"cuisine": "thai", "date": "friday"}


def test_prediction_without_any_event_works(agent: Any) -> None:
    tracker = DialogueStateTracker("nobody", agent.domain.slots)
    prediction = run(_predict(agent, tracker))
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-3)


async def _predict(agent: Any, tracker: Any) -> Any:
    return agent.processor._predict_next_with_tracker(tracker)


def test_followup_action_runs_and_is_part_of_the_turn(user: Conversation) -> None:
    user.say("i want thai food")
    user.post(FollowupAction("utter_noted"))
    said = user.go_on()
    assert said.actions[0] == "utter_noted"
    assert user.say("on friday").goal == {"cuisine": "thai", "date": "friday"}


def test_action_of_another_policy_leaves_the_goal_alone(user: Conversation) -> None:
    user.say("i want thai food")
    assert user.say("bye").actions == ["utter_bye"]
    assert user.say("on friday").goal == {"cuisine": "thai", "date": "friday"}


def test_decisions_do_not_hang_on_what_the_process_remembers(agent: Any) -> None:
    """A worker that sees the conversation for the first time tracks and decides the same."""
    from rasa_hybrid.components.loading import _RUNTIMES

    (runtime,) = _RUNTIMES.values()
    texts = [
        "italian food on friday",
        "the same as last time",
        "something else please",
        "rather on monday",
    ]
    remembering, forgetful = Conversation(agent), Conversation(agent)
    for text in texts:
        runtime._conversations.clear()
        expected, found = remembering.say(text), forgetful.say(text)
        assert found.actions == expected.actions
        for one, other in zip(found.decisions, expected.decisions):
            ours, theirs = one.get("shadow", one), other.get("shadow", other)
            assert ours["propensity"] == pytest.approx(theirs["propensity"], abs=1e-6)
            for slot, values in one["belief"].items():
                assert dict(values) == pytest.approx(dict(other["belief"][slot]), abs=1e-6)


def test_messages_without_words_are_survived(user: Conversation) -> None:
    for text in ("", " ", "?!", "/nonsense", "/inform", "/inform{}", "\U0001f600", "x" * 3000):
        user.say(text)
    assert user.say("thai food on friday").goal == {"cuisine": "thai", "date": "friday"}
