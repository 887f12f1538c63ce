"""A teacher and the bot, step by step: what is shown, what a correction does, and the stories that stand in the end."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Dict

import pytest
import yaml
from rasa.shared.core.domain import SessionConfig
from rasa.shared.core.events import (
    ActionExecuted,
    ActionReverted,
    Restarted,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)

from rasa_hybrid.components import activity
from rasa_hybrid.components.teaching import TeachingError, TeachingSession
from rasa_hybrid.components.teaching_events import chat
from rasa_hybrid.components.teaching_stories import standing
from rasa_hybrid.corpora.taught import Journal, TaughtCorpus
from rasa_hybrid.dialogue import NONE
from tests.components.running import run


class Lesson:
    """A session whose steps are waited for."""

    def __init__(self, agent: Any, corpus: TaughtCorpus, journal: Any = None) -> None:
        self.session = TeachingSession(agent, f"lesson-{uuid.uuid4().hex}", corpus, journal)

    def __getattr__(self, name: str) -> Any:
        step = getattr(self.session, name)
        return (lambda *a, **k: run(step(*a, **k))) if name in STEPS else step

    @property
    def goal(self) -> Dict[str, str]:
        return {slot.slot: slot.value for slot in self.view().goal if slot.value != NONE}

    @property
    def wanted(self) -> str:
        return self.view().acts[0][0]

    def go_on(self) -> None:
        """Accepts what the bot wants until it listens."""
        while not self.is_listening():
            self.act(self.wanted)

    def say(self, text: str) -> None:
        self.hear(text)
        self.go_on()


STEPS = frozenset(
    "record resume is_listening hear view correct act undo restart tracker message".split()
)


@pytest.fixture
def corpus(tmp_path: Path) -> TaughtCorpus:
    return TaughtCorpus(tmp_path / "data_taught")


@pytest.fixture
def lesson(agent: Any, corpus: TaughtCorpus) -> Lesson:
    return Lesson(agent, corpus)


def steps(lesson: Lesson) -> Any:
    """The steps of the one story that stands."""
    events = run(lesson.session.tracker()).events
    [story], _ = standing(list(events), lesson.domain, "taught")
    return list(story.steps)


def test_intents_are_needed_where_a_rule_names_one(lesson):
    assert lesson.policy.needs_intents is True


def test_nothing_runs_before_the_teacher_says_so(lesson):
    lesson.hear("i want thai food")
    assert not lesson.is_listening()
    assert [e for e in lesson.tracker().applied_events() if isinstance(e, SlotSet)] == []
    view = lesson.view()
    cuisine = next(slot for slot in view.goal if slot.slot == "cuisine")
    assert (cuisine.value, cuisine.changed, cuisine.taught) == ("thai", True, False)
    assert cuisine.probability > 0.5
    assert view.query == {"cuisine": "thai"}
    assert (view.matches, view.remaining) == (3, 3)
    assert view.entities[0]["restaurant"] == "Bangkok"
    assert view.acts[0][0] == "utter_ask_date"
    assert view.acts[0][1] >= view.acts[1][1] > 0
    with pytest.raises(TeachingError, match="It is the bot's turn"):
        lesson.hear("on friday")


def test_an_accepted_action_runs_with_slots_and_metadata_as_in_a_conversation(lesson):
    lesson.hear("thai food on friday")
    lesson.go_on()
    events = [event.as_dict() for event in lesson.tracker().events]
    [offer] = [e for e in events if e.get("name") == "utter_offer" and e["event"] == "action"]
    assert offer["metadata"]["hybrid"]["offered"] == "1"
    assert offer["metadata"]["hybrid"]["summary"] == {"matches": 1, "remaining": 1}
    assert "corrected" not in offer["metadata"]["hybrid"]
    assert {"who": "bot", "text": "How about Bangkok on friday?", "buttons": []} in chat(
        lesson.tracker()
    )
    assert lesson.tracker().get_slot("cuisine") == "thai"


def test_a_corrected_goal_is_in_force_at_once_and_until_the_user_says_otherwise(lesson):
    lesson.say("i want thai food")
    lesson.hear("on friday")
    lesson.correct({"date": "monday"})
    assert lesson.goal == {"cuisine": "thai", "date": "monday"}
    view = lesson.view()
    assert view.query == {"cuisine": "thai", "date": "monday"}
    assert [e["id"] for e in view.entities] == ["2"]
    assert next(s for s in view.goal if s.slot == "date").taught
    lesson.go_on()
    assert lesson.tracker().get_slot("date") == "monday"
    lesson.hear("that sounds good")
    assert lesson.goal == {"cuisine": "thai", "date": "monday"}
    lesson.go_on()
    lesson.hear("i want to come on sunday")
    assert lesson.goal["date"] == "sunday"


def test_several_slots_can_be_corrected_in_a_turn_and_emptied_again(lesson):
    lesson.hear("hello")
    lesson.correct({"cuisine": "italian", "date": "FRIDAY"})
    assert lesson.goal == {"cuisine": "italian", "date": "friday"}
    lesson.correct({"cuisine": "none", "date": "dontcare"})
    assert lesson.goal == {"date": "dontcare"}
    lesson.go_on()
    assert lesson.tracker().get_slot("date") == "dontcare"
    assert lesson.tracker().get_slot("cuisine") is None


@pytest.mark.parametrize(
    ("slot", "value", "message"),
    [
        ("weather", "fine", "'weather' is no goal slot; there are"),
        ("cuisine", "klingon", "cuisine can't be 'klingon'; its values are thai, italian"),
        ("date", " ", "date needs a value"),
    ],
)
def test_a_value_that_a_slot_cant_hold_is_refused(lesson, slot, value, message):
    lesson.hear("hello")
    with pytest.raises(TeachingError, match=message):
        lesson.correct({slot: value})
    assert lesson.goal == {}


def test_the_goal_is_corrected_between_the_message_and_the_first_action(lesson):
    with pytest.raises(TeachingError, match="after the user's next message"):
        lesson.correct({"cuisine": "thai"})
    lesson.hear("hello")
    lesson.act("utter_greet")
    with pytest.raises(TeachingError, match="undo it to correct the goal"):
        lesson.correct({"cuisine": "thai"})
    lesson.undo()
    lesson.correct({"cuisine": "thai"})
    assert lesson.goal == {"cuisine": "thai"}


def test_a_chosen_action_runs_instead_and_the_metadata_says_what_would_have_been_done(lesson):
    lesson.hear("i want thai food")
    assert lesson.wanted == "utter_ask_date"
    said = lesson.act("utter_offer")
    assert said[0]["text"].startswith("How about Bangkok on")
    action = [e for e in lesson.tracker().events if isinstance(e, ActionExecuted)][-1]
    hybrid = action.metadata["hybrid"]
    assert hybrid["corrected"]["action"] == "utter_ask_date"
    assert 0 < hybrid["corrected"]["probability"] <= 1
    assert (hybrid["source"], hybrid["offered"]) == ("teacher", "1")
    with pytest.raises(TeachingError, match="no action 'utter_nonsense'"):
        lesson.act("utter_nonsense")


def test_a_bot_that_tries_things_out_does_not_while_it_is_taught(lesson):
    lesson.hear("i want thai food")
    true = lesson.view().acts
    assert 0 < true[1][1] < true[0][1] < 1
    activity.explore(activity.Exploration(is_on=True, temperature=50.0, floor=0.5))
    try:
        assert [lesson.view().acts for _ in range(5)] == [true] * 5
        lesson.act(true[0][0])
    finally:
        activity.explore(None)
    action = [e for e in lesson.tracker().events if isinstance(e, ActionExecuted)][-1]
    assert action.metadata["hybrid"]["sampled"] is False
    assert "corrected" not in action.metadata["hybrid"]


def test_undo_takes_back_actions_offers_and_messages_one_by_one(lesson):
    lesson.say("i want thai food")
    lesson.hear("on friday")
    lesson.act("utter_offer")
    assert lesson.tracker().get_slot("offer_restaurant") == "Bangkok"
    lesson.undo()
    assert lesson.tracker().get_slot("offer_restaurant") is None
    assert lesson.wanted == "utter_offer"
    lesson.undo()
    assert lesson.is_listening()
    assert lesson.tracker().latest_message.text == "i want thai food"
    lesson.undo()
    assert not lesson.is_listening()
    lesson.undo()
    lesson.undo()
    assert lesson.is_listening()
    assert lesson.undo() is False


def test_a_story_has_what_stands_and_nothing_twice(lesson):
    lesson.say("i want thai food")
    lesson.hear("on friday")
    lesson.act("utter_ask_date")
    lesson.undo()
    lesson.undo()
    lesson.hear("[maybe](date) the day after")
    lesson.correct({"date": "monday"})
    lesson.correct({"date": "tuesday"})
    lesson.act("utter_offer")
    lesson.undo()
    lesson.act("utter_no_match")
    lesson.act("action_listen")
    lesson.hear("this turn is not finished")
    written = steps(lesson)
    intent = written[3].pop("intent")
    assert intent in lesson.domain.intents
    assert written == [
        {"intent": "inform", "user": "i want [thai](cuisine) food"},
        {"slot_was_set": {"cuisine": "thai"}},
        {"action": "utter_ask_date"},
        {"user": "[maybe] (date) the day after"},
        {"slot_was_set": {"date": "tuesday"}},
        {"action": "utter_no_match"},
    ]


def test_an_entity_that_the_teacher_contradicts_is_no_label(lesson):
    lesson.hear("i want thai food on friday")
    lesson.correct({"cuisine": "none"})
    lesson.go_on()
    assert steps(lesson)[0]["user"] == "i want thai food on [friday](date)"


def test_an_entity_that_is_the_value_of_another_slot_is_no_label(agent):
    entities = [
        {"entity": "date", "value": value, "start": start, "end": start + len(value)}
        for value, start in (("friday", 0), ("italian", 11))
    ]
    events = [
        UserUttered("friday but italian", {"name": "inform"}, entities),
        SlotSet("date", "friday"),
        SlotSet("cuisine", "italian"),
        ActionExecuted("utter_offer"),
        ActionExecuted("action_listen"),
    ]
    [story], _ = standing(events, agent.domain, "taught")
    assert story.steps[0]["user"] == "[friday](date) but italian"


def fork(lesson: Lesson, before: str) -> None:
    """What `rasa interactive` does to go on before a message: it restarts, and repeats the events up to there."""

    async def repeat() -> None:
        processor = lesson.agent.processor
        tracker = await processor.get_tracker(lesson.session.conversation)
        last = max(i for i, e in enumerate(tracker.events) if getattr(e, "text", None) == before)
        for event in [Restarted(), *list(tracker.events)[:last]]:
            tracker = await processor.get_tracker(lesson.session.conversation)
            tracker.update(event, lesson.domain)
            await processor.save_tracker(tracker)
            await lesson.session.record()

    run(repeat())


def test_both_branches_of_a_fork_become_stories_and_nothing_is_told_twice(lesson, corpus):
    lesson.hear("i want thai food")
    lesson.correct({"cuisine": "italian"})
    lesson.go_on()
    lesson.say("on friday")
    fork(lesson, before="on friday")
    lesson.say("on monday")
    path = lesson.finish()
    said = [
        [step["user"] for step in story["steps"] if "user" in step]
        for story in yaml.safe_load(path.read_text())["stories"]
    ]
    first = "i want thai food"
    assert said == [[first, "on [friday](date)"], [first, "on [monday](date)"]]
    [correction] = (corpus.directory / "corrections.jsonl").read_text().splitlines()
    assert json.loads(correction)["taught"] == "italian"


def test_a_new_session_loses_nothing_of_the_one_before(agent, lesson, corpus, monkeypatch):
    lesson.say("i want thai food")
    expired = SessionConfig(session_expiration_time=1e-9, carry_over_slots=True)
    monkeypatch.setattr(agent.processor.domain, "session_config", expired)
    lesson.hear("on friday")
    monkeypatch.undo()
    lesson.go_on()
    assert [e.text for e in lesson.tracker().events if isinstance(e, UserUttered)] == ["on friday"]
    lesson.close()
    [path] = corpus.unfinished()
    journal = Journal(path)
    said = [event["text"] for event in journal.events if event["event"] == "user"]
    assert said == ["i want thai food", "on friday"]
    times = [(event["event"], event["timestamp"]) for event in journal.events]
    assert len(times) == len(set(times))


def test_a_restart_begins_a_story_and_one_that_another_goes_on_with_is_left_out(agent):
    greeting = [UserUttered("hello", {"name": "greet"}), ActionExecuted("utter_greet")]
    listen = ActionExecuted("action_listen")
    bye = [UserUttered("bye", {"name": "bye"}), ActionExecuted("utter_bye"), listen]
    events = [listen, *greeting, listen, Restarted(), listen, *greeting, listen, *bye]
    stories, _ = standing([*events, Restarted(), listen, *bye], agent.domain, "taught")
    assert [story.name for story in stories] == ["taught", "taught, 2"]
    assert [[s.get("user") for s in story.steps if "user" in s] for story in stories] == [
        ["hello", "bye"],
        ["bye"],
    ]


def test_reverted_turns_do_not_reach_a_story(agent):
    listen = ActionExecuted("action_listen")
    events = [
        listen,
        UserUttered("hello", {"name": "bye"}),
        UserUtteranceReverted(),
        listen,
        UserUttered("hello", {"name": "greet"}),
        ActionExecuted("utter_bye"),
        ActionReverted(),
        ActionExecuted("utter_greet"),
        listen,
    ]
    [story], _ = standing(events, agent.domain, "taught")
    assert list(story.steps) == [{"intent": "greet", "user": "hello"}, {"action": "utter_greet"}]


def test_the_corpus_gets_the_story_and_what_was_corrected(lesson, corpus):
    lesson.hear("i want thai food")
    lesson.correct({"cuisine": "french"})
    lesson.correct({"cuisine": "italian"})
    lesson.act("utter_no_match")
    lesson.act("action_listen")
    path = lesson.finish(rating=4)
    assert path == corpus.directory / f"{path.stem}.yml"
    assert "utter_no_match" in path.read_text()
    lines = (corpus.directory / "corrections.jsonl").read_text().splitlines()
    goal, action, rating = [json.loads(line) for line in lines]
    assert {k: goal[k] for k in ("kind", "turn", "text", "slot", "believed", "taught")} == {
        "kind": "goal",
        "turn": 1,
        "text": "i want thai food",
        "slot": "cuisine",
        "believed": "thai",
        "taught": "italian",
    }
    assert 0.5 < goal["probability"] <= 1
    assert goal["model_id"] == lesson.agent.model_id
    assert (action["would_have"], action["taught"]) == ("utter_ask_date", "utter_no_match")
    assert (rating["kind"], rating["rating"]) == ("rating", 4)
    assert corpus.unfinished() == []


def test_what_a_conversation_had_before_it_was_taught_is_no_part_of_the_story(agent, corpus):
    earlier = Lesson(agent, corpus)
    earlier.say("i want thai food")
    earlier.close()
    later = TeachingSession(agent, earlier.session.conversation, corpus)
    lesson = Lesson.__new__(Lesson)
    lesson.session = later
    run(later.begin())
    lesson.say("on friday")
    path = lesson.finish()
    assert "on [friday](date)" in path.read_text()
    assert "thai" not in path.read_text().replace("cuisine", "")
    [unfinished] = corpus.unfinished()
    again = Lesson(agent, corpus, Journal(unfinished))
    again.resume()
    assert again.is_listening()
    assert again.finish().read_text().count("user:") == 1


def test_every_step_is_on_disk_and_a_broken_off_dialogue_goes_on_where_it_was(
    agent, lesson, corpus
):
    lesson.say("i want thai food")
    lesson.hear("on friday")
    lesson.correct({"date": "monday"})
    on_disk = lesson.session._journal.path.read_text().splitlines()
    assert len(on_disk) == 1 + len(lesson.tracker().events)
    assert json.loads(on_disk[-1])["metadata"]["hybrid"]["source"] == "teacher"
    lesson.close()  # what a killed process does
    [path] = corpus.unfinished()
    again = Lesson(agent, corpus, Journal(path))
    again.resume()
    assert not again.is_listening()
    assert again.goal == {"cuisine": "thai", "date": "monday"}
    again.go_on()
    assert again.tracker().get_slot("cuisine") == "thai"
    again.finish()
    assert len(list(corpus.directory.glob("*.yml"))) == 1
    assert corpus.unfinished() == []
