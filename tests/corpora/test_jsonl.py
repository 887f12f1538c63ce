"""The project's own corpus format: what is written is read back, and a bad line is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_hybrid.corpora import read_jsonl
from rasa_hybrid.corpora.jsonl import (
    CorpusError,
    dialogue_from_json,
    dialogue_to_json,
    write_jsonl,
)
from rasa_hybrid.dialogue import (
    Dialogue,
    DialogueAct,
    Entity,
    Hypothesis,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
GOALS = st.dictionaries(TEXT, TEXT, max_size=2)
ACTS = st.lists(st.builds(DialogueAct, TEXT, st.none() | TEXT, st.none() | TEXT), max_size=2).map(
    tuple
)
COUNTS = st.none() | st.integers(0, 9)
TEXTS = st.lists(TEXT, max_size=2).map(tuple)
UTTERANCES = st.builds(
    Utterance,
    text=TEXT,
    hypotheses=st.lists(
        st.builds(Hypothesis, TEXT, st.floats(0, 1, allow_nan=False)), max_size=2
    ).map(tuple),
    intent=st.none() | TEXT,
    entities=st.lists(
        st.builds(
            Entity,
            TEXT,
            TEXT,
            st.integers(-1, 9),
            st.integers(-1, 9),
            st.none() | TEXT,
            st.none() | TEXT,
        ),
        max_size=2,
    ).map(tuple),
    acts=ACTS,
)
ACTIONS = st.builds(
    SystemAction, name=TEXT, acts=ACTS, context=TEXTS, text=st.none() | TEXT, learn=st.booleans()
)
OVERRIDES = st.builds(Override, TEXT, TEXT, TEXT, st.integers(0, 3), st.none() | TEXT)
TURNS = st.builds(
    Turn,
    user=st.none() | UTTERANCES,
    goal=st.none() | GOALS,
    summary=st.builds(ResultSummary, COUNTS, COUNTS),
    overrides=st.lists(OVERRIDES, max_size=2).map(tuple),
    actions=st.lists(ACTIONS, max_size=2).map(tuple),
    closing_context=TEXTS,
    expert=st.none() | TEXTS,
)
DIALOGUES = st.builds(
    Dialogue,
    id=TEXT,
    turns=st.lists(TURNS, max_size=3).map(tuple),
    goal=st.none() | GOALS,
    weight=st.floats(0, 10),
    metadata=st.dictionaries(TEXT, st.integers() | TEXT | st.booleans(), max_size=2),
    complete=st.booleans(),
)


@settings(deadline=None)
@given(dialogue=DIALOGUES)
def test_a_dialogue_survives_a_round_trip_through_json(dialogue):
    assert dialogue_from_json(json.loads(json.dumps(dialogue_to_json(dialogue)))) == dialogue


@settings(deadline=None, max_examples=20)
@given(dialogues=st.lists(DIALOGUES, max_size=3))
def test_a_corpus_survives_a_round_trip_through_a_file(tmp_path_factory, dialogues):
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    assert write_jsonl(path, dialogues) == len(dialogues)
    assert list(read_jsonl(path)) == dialogues
    assert len(path.read_text(encoding="utf-8").split("\n")) == len(dialogues) + 1


@pytest.mark.parametrize("weight", [-1, "NaN", "Infinity"])
def test_a_weight_that_no_loss_can_have_is_refused(weight):
    with pytest.raises(ValueError, match="weight"):
        dialogue_from_json({"id": "1", "turns": [], "weight": weight})


def test_the_example_of_the_documentation_is_read_as_it_says():
    lines = dialogue_from_json(
        json.loads(
            """
            {"id": "17", "goal": {"date": "friday"}, "turns": [
              {"actions": [{"name": "utter_greet", "acts": [["greeting"]]}]},
              {"user": {"text": "hi, friday please", "acts": [["inform", "date", "friday"]]},
               "goal": {"date": "friday"}, "summary": {"matches": 4, "remaining": 4},
               "actions": [{"name": "utter_request_time", "acts": [["request", "time"]]}]}]}
            """
        )
    )
    assert lines == Dialogue(
        id="17",
        goal={"date": "friday"},
        turns=(
            Turn(actions=(SystemAction("utter_greet", (DialogueAct("greeting"),)),)),
            Turn(
                user=Utterance(
                    "hi, friday please", acts=(DialogueAct("inform", "date", "friday"),)
                ),
                goal={"date": "friday"},
                summary=ResultSummary(4, 4),
                actions=(SystemAction("utter_request_time", (DialogueAct("request", "time"),)),),
            ),
        ),
    )


def test_only_what_differs_from_the_defaults_is_written():
    turn = Turn(Utterance("hi"), actions=(SystemAction("utter_greet"),))
    assert dialogue_to_json(Dialogue("1", (turn, Turn()))) == {
        "id": "1",
        "turns": [{"user": {"text": "hi"}, "actions": [{"name": "utter_greet"}]}, {}],
    }


def test_people_can_read_and_write_the_file_in_their_own_script(tmp_path):
    path = tmp_path / "corpus.jsonl"
    write_jsonl(path, [Dialogue("1", (Turn(Utterance("東京でお願いします")),))])
    assert "東京でお願いします" in path.read_text(encoding="utf-8")


def test_empty_lines_are_skipped_and_numbers_become_texts(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('\n{"id": 7, "turns": [{"goal": {"num_tickets": 2, "date": null}}]}\n\n')
    assert list(read_jsonl(path)) == [Dialogue("7", (Turn(goal={"num_tickets": "2"}),))]


GOOD = '{"id": "1", "turns": []}'


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "broken JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "not a dialogue"),
        ("3", "not a dialogue"),
        ('{"id": "2"}', "turns"),
        ('{"id": "2", "turns": [], "gaol": {}}', "unknown key 'gaol' in a dialogue; allowed: "),
        ('{"id": "2", "turns": [{"usr": {}}]}', "unknown key 'usr' in a turn; allowed: "),
        ('{"id": "2", "turns": [{"user": {"text": 3}}]}', "`text` of a user's utterance"),
        ('{"id": "2", "turns": [{"user": {"txt": ""}}]}', "unknown key 'txt' in a user"),
        ('{"id": "2", "turns": [{"actions": [{"acts": []}]}]}', "name"),
        ('{"id": "2", "turns": [{"actions": [{"name": "a", "act": []}]}]}', "in a action"),
        ('{"id": "2", "turns": [{"summary": {"match": 1}}]}', "in a summary"),
        ('{"id": "2", "turns": [{"summary": {"matches": "many"}}]}', "many"),
        ('{"id": "2", "turns": [{"overrides": [["date"]]}]}', "not a dialogue"),
        (
            '{"id": "2", "turns": [{"expert": "utter_greet"}]}',
            "`expert` of a turn has to be a list",
        ),
        ('{"id": "2", "turns": "none"}', "not a dialogue"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(tmp_path, line, complaint):
    path = tmp_path / "corpus.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        list(read_jsonl(path))
    assert str(caught.value).startswith(f"{path}:2: ")
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(CorpusError, match="missing.jsonl: the corpus can't be opened"):
        list(read_jsonl(tmp_path / "missing.jsonl"))
    (tmp_path / "binary.jsonl").write_bytes(GOOD.encode() + b"\n\xff\xfe\x00")
    with pytest.raises(CorpusError, match="binary.jsonl: not UTF-8 text"):
        list(read_jsonl(tmp_path / "binary.jsonl"))


def test_dialogues_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(f"{GOOD}\nbroken\n")
    dialogues = read_jsonl(path)
    assert next(dialogues).id == "1"
    with pytest.raises(CorpusError):
        next(dialogues)
