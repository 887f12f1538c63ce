import re

import pytest
import yaml

from rasa_hybrid.dialogue import Dialogue, Turn, Utterance
from rasa_hybrid.simulation import self_play
from rasa_hybrid.simulation.rasa_export import write_rasa


@pytest.fixture(scope="module")
def exported(movies, tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    dialogues = list(self_play(movies, 100, seed=2))
    assert write_rasa(directory, dialogues, movies.synonyms()) == 100
    stories = yaml.safe_load((directory / "stories.yml").read_text(encoding="utf-8"))["stories"]
    nlu = yaml.safe_load((directory / "nlu.yml").read_text(encoding="utf-8"))["nlu"]
    return dialogues, stories, nlu


def test_stories_hold_words_labels_and_actions_in_order(exported):
    dialogues, stories, _ = exported
    for dialogue, story in zip(dialogues, stories):
        texts = [step["user"] for step in story["steps"] if "user" in step]
        assert texts == [turn.user.text for turn in dialogue.turns]
        actions = [step["action"] for step in story["steps"] if "action" in step]
        assert actions == [action.name for turn in dialogue.turns for action in turn.actions]
        goal = {}
        for step in story["steps"]:
            for pair in step.get("slot_was_set", ()):
                goal.update(pair)
        goal.pop("booking_status", None)
        assert {s: v for s, v in goal.items() if v is not None} == dialogue.turns[-1].goal


def test_booking_status_stands_right_after_the_booking(exported):
    _, stories, _ = exported
    seen = set()
    for story in stories:
        for before, step in zip(story["steps"], story["steps"][1:]):
            if before.get("action") == "action_book_tickets":
                seen.add(step["slot_was_set"][0]["booking_status"])
    assert seen == {"booked", "sold_out"}


def test_names_are_those_of_the_domain(exported, movie_project):
    domain = yaml.safe_load((movie_project / "domain.yml").read_text(encoding="utf-8"))
    _, stories, nlu = exported
    steps = [step for story in stories for step in story["steps"]]
    assert {step["intent"] for step in steps if "intent" in step} <= set(domain["intents"])
    assert {step["action"] for step in steps if "action" in step} <= {
        *domain["responses"],
        *domain["actions"],
    }
    assert {entry["intent"] for entry in nlu if "intent" in entry} <= set(domain["intents"])


def test_examples_mark_the_values_and_synonyms_lead_back_to_them(exported):
    _, _, nlu = exported
    inform = next(entry for entry in nlu if entry.get("intent") == "inform")["examples"]
    assert re.search(r"\[[^]]+\]\((movie|date|time|theatre_name|num_tickets)\)", inform)
    assert '"entity": "time"' in inform
    synonyms = {entry["synonym"]: entry["examples"] for entry in nlu if "synonym" in entry}
    assert "- fri\n" in synonyms["friday"] and "- six in the evening" in synonyms["6:00 pm"]


def test_utterance_without_an_intent_is_an_error_that_names_the_dialogue(tmp_path):
    dialogue = Dialogue("d7", (Turn(user=Utterance("hm")),))
    with pytest.raises(ValueError, match="d7"):
        write_rasa(tmp_path, [dialogue])
