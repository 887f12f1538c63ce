import json

import pytest

from rasa_hybrid.corpora import CorpusError, read_m2m
from rasa_hybrid.dialogue import DialogueAct

DIALOGUE = {
    "dialogue_id": "movies_1",
    "turns": [
        {
            "dialogue_state": [{"slot": "movie", "value": "the red kettle"}],
            "user_acts": [],
            "user_intents": ["BUY_MOVIE_TICKETS"],
            "user_utterance": {
                "text": "i ' d like to see the red kettle",
                "tokens": "i ' d like to see the red kettle".split(),
                "slots": [{"slot": "movie", "start": 6, "exclusive_end": 9}],
            },
        },
        {
            "system_acts": [
                {"type": "CONFIRM", "slot": "movie", "value": "the red kettle"},
                {"type": "REQUEST", "slot": "time"},
            ],
            "system_utterance": {
                "text": "the red kettle , when ?",
                "tokens": "the red kettle , when ?".split(),
                "slots": [{"slot": "movie", "start": 0, "exclusive_end": 3}],
            },
            "dialogue_state": [
                {"slot": "movie", "value": "the red kettle"},
                {"slot": "time", "value": "6:00 pm"},
                {"slot": "date", "value": "dontcare"},
            ],
            "user_acts": [{"type": "AFFIRM"}, {"type": "INFORM"}],
            "user_utterance": {
                "text": "yes , 6 pm any day",
                "tokens": "yes , 6 pm any day".split(),
                "slots": [{"slot": "time", "start": 2, "exclusive_end": 4}],
            },
        },
    ],
}


def changed(turn, **fields):
    turns = [dict(t) for t in DIALOGUE["turns"]]
    turns[turn].update(fields)
    return {**DIALOGUE, "turns": turns}


def read(tmp_path, *records, **options):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    return read_m2m(path, **options)


def test_system_side_follows_the_user_before_it(tmp_path):
    (dialogue,) = read(tmp_path, DIALOGUE)
    first, last = dialogue.turns
    (action,) = first.actions
    assert action.name == "confirm(movie)+request(time)"
    assert action.acts == (
        DialogueAct("confirm", "movie", "the red kettle"),
        DialogueAct("request", "time"),
    )
    assert action.text == "the red kettle , when ?"
    assert last.actions == () and not dialogue.complete


def test_goal_is_the_dialogue_state(tmp_path):
    (dialogue,) = read(tmp_path, DIALOGUE)
    assert dialogue.turns[0].goal == {"movie": "the red kettle"}
    assert dialogue.turns[1].goal == {
        "movie": "the red kettle",
        "time": "6:00 pm",
        "date": "dontcare",
    }


def test_values_in_the_words_are_entities_spelled_as_in_the_goal(tmp_path):
    (dialogue,) = read(tmp_path, DIALOGUE)
    (movie,) = dialogue.turns[0].user.entities
    (time,) = dialogue.turns[1].user.entities
    assert dialogue.turns[0].user.text[movie.start : movie.end] == "the red kettle"
    assert dialogue.turns[1].user.text[time.start : time.end] == "6 pm"
    assert (time.name, time.value) == ("time", "6:00 pm")


def test_users_acts_get_the_values_that_the_words_mark(tmp_path):
    (dialogue,) = read(tmp_path, DIALOGUE)
    assert dialogue.turns[0].user.acts == (DialogueAct("inform", "movie", "the red kettle"),)
    assert dialogue.turns[1].user.acts == (
        DialogueAct("affirm"),
        DialogueAct("inform", "time", "6:00 pm"),
    )


def test_refused_value_is_not_informed(tmp_path):
    refusal = changed(1, user_acts=[{"type": "NEGATE", "slot": "time"}])
    (dialogue,) = read(tmp_path, refusal)
    assert dialogue.turns[1].user.acts == (DialogueAct("negate", "time", "6:00 pm"),)


def test_tokens_that_do_not_stand_in_the_text_replace_it(tmp_path):
    words = {
        "text": "6PM",
        "tokens": ["6", "pm"],
        "slots": [{"slot": "time", "start": 0, "exclusive_end": 2}],
    }
    (dialogue,) = read(tmp_path, changed(1, user_utterance=words))
    assert dialogue.turns[1].user.text == "6 pm"
    assert (dialogue.turns[1].user.entities[0].start, dialogue.turns[1].user.entities[0].end) == (
        0,
        4,
    )


def test_empty_utterance_stays_a_turn(tmp_path):
    silence = {"text": "", "tokens": [], "slots": []}
    (dialogue,) = read(tmp_path, changed(1, user_utterance=silence))
    assert dialogue.turns[1].user.text == ""


def test_bot_may_speak_first_and_last(tmp_path):
    words = {"text": "hello", "tokens": ["hello"], "slots": []}
    first = changed(0, system_acts=[{"type": "GREETING"}], system_utterance=words)
    first["turns"].append({"system_acts": [{"type": "GOOD_BYE"}], "system_utterance": words})
    (dialogue,) = read(tmp_path, first)
    assert dialogue.turns[0].user is None and dialogue.turns[0].actions[0].name == "greeting"
    assert dialogue.turns[-1].actions[0].name == "good_bye" and dialogue.complete


@pytest.mark.parametrize(
    "record, complaint",
    [
        (
            changed(1, dialogue_state=[{"slot": "colour", "value": "red"}]),
            "turn 1: unknown slot 'colour'",
        ),
        (
            changed(
                1,
                user_utterance={
                    "text": "a",
                    "tokens": ["a"],
                    "slots": [{"slot": "time", "start": 0, "exclusive_end": 2}],
                },
            ),
            "turn 1: the span [0, 2) of time is outside of 1 tokens",
        ),
        (changed(1, user_utterance={"text": 3}), "`text` has to be a string, not 3"),
        (changed(1, system_acts=3), "not an M2M dialogue"),
        (
            changed(1, dialogue_state=[{"slot": "date", "value": ["friday"]}]),
            "turn 1: a value has to be text or a number, not ['friday']",
        ),
        (
            changed(1, system_acts=[{"type": "OFFER", "slot": "date", "value": {"day": 5}}]),
            "turn 1: a value has to be text or a number, not {'day': 5}",
        ),
        ({**DIALOGUE, "turns": []}, "there are no turns"),
        ({"dialogue_id": "movies_1"}, "not an M2M dialogue (KeyError: 'turns')"),
    ],
)
def test_error_names_file_and_dialogue(tmp_path, record, complaint):
    with pytest.raises(CorpusError) as error:
        read(tmp_path, record)
    assert "train.json: dialogue movies_1" in str(error.value)
    assert complaint in str(error.value)


def test_missing_dialogue_state_is_an_error_where_labels_are_needed(tmp_path):
    unlabelled = changed(1)
    del unlabelled["turns"][1]["dialogue_state"]
    with pytest.raises(CorpusError, match="turn 1: the label `dialogue_state` is missing"):
        read(tmp_path, unlabelled)
    (dialogue,) = read(tmp_path, unlabelled, require_labels=False)
    assert dialogue.turns[1].goal is None


def test_file_that_is_no_list_is_an_error(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"x\.json: a list of dialogues is expected, not dict"):
        read_m2m(path)
