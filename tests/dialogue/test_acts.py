"""Turns and dialogues as people read them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rasa_hybrid.dialogue import (
    NONE,
    Dialogue,
    DialogueAct,
    SystemAction,
    Turn,
    Utterance,
    goal_value,
    without_none,
)


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (DialogueAct("greeting"), "greeting()"),
        (DialogueAct("request", "date"), "request(date)"),
        (DialogueAct("confirm", "date", "friday"), "confirm(date=friday)"),
    ],
)
def test_an_act_reads_as_in_the_paper(act, text):
    assert str(act) == text


def test_a_transcript_shows_who_said_what_and_the_goal_so_far():
    request = SystemAction("utter_request_date", (DialogueAct("request", "date"),))
    dialogue = Dialogue(
        "1",
        (
            Turn(actions=(SystemAction("utter_greet"),)),
            Turn(Utterance("two tickets"), goal={"num_tickets": "2"}, actions=(request,)),
            Turn(Utterance("", intent="deny"), goal={}),
        ),
    )
    assert dialogue.transcript().splitlines() == [
        "  bot utter_greet",
        "user  two tickets    [num_tickets=2]",
        "  bot utter_request_date    request(date)",
        "user  deny",
    ]


def test_a_slot_that_a_goal_does_not_mention_is_none():
    assert goal_value({"date": "friday"}, "date") == "friday"
    assert goal_value({"date": "friday"}, "movie") == NONE
    assert without_none({"date": "friday", "movie": NONE, "time": None}) == {"date": "friday"}


@pytest.mark.process
def test_the_vocabulary_of_dialogues_needs_neither_tensorflow_nor_rasa():
    code = (
        "import sys, rasa_hybrid.dialogue, rasa_hybrid.corpora.jsonl; "
        "print({'tensorflow', 'rasa', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
