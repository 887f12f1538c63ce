import copy
import json
import math
from pathlib import Path

import pytest

from rasa_hybrid.corpora import CorpusError, read_dstc2
from rasa_hybrid.dialogue import DialogueAct

DIALOGUE = {
    "user": [["a cheap place please"], ["tv_noise in the centre"], ["sil"]],
    "bot": [
        ["Hello , welcome to the Teapot restaurant system? How may I help you?"],
        ["What part of town do you have in mind?"],
        ["the blue teapot is a nice place in the centre of town and the prices are cheap"],
    ],
    "goal": [
        {"area": "null", "food": "null", "price range": "cheap"},
        {"area": "centre", "food": "null", "price range": "cheap"},
        {"area": "centre", "food": "dontcare", "price range": "cheap"},
    ],
    "index": 4,
}


def read(tmp_path, *records, **options):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    return read_dstc2(path, **options)


def test_prompt_of_the_bot_follows_the_user_before_it(tmp_path):
    (dialogue,) = read(tmp_path, DIALOGUE)
    first, second, third, last = dialogue.turns
    assert first.user is None and first.goal is None
    assert first.actions[0].acts == (DialogueAct("welcomemsg"),)
    assert second.user.text == "a cheap place please"
    assert [action.name for action in second.actions] == ["request(area)"]
    assert third.actions[0].name == "inform(area)+inform(price range)+offer(name)"
    assert last.actions == () and not dialogue.complete


def test_goal_leaves_out_slots_without_a_value(tmp_path):
    (dialogue,) = read(tmp_path, DIALOGUE)
    assert dialogue.turns[1].goal == {"price range": "cheap"}
    assert dialogue.turns[3].goal == {"area": "center", "food": "dontcare", "price range": "cheap"}


def test_marks_of_transcribers_are_no_words_and_an_utterance_may_be_empty(tmp_path):
    (dialogue,) = read(tmp_path, DIALOGUE)
    assert dialogue.turns[2].user.text == "in the center"
    assert dialogue.turns[3].user.text == ""


def test_empty_and_absent_recogniser_output_is_an_empty_utterance(tmp_path):
    (dialogue,) = read(tmp_path, {**DIALOGUE, "user": [[""], [], None]})
    assert [turn.user.text for turn in dialogue.turns[1:]] == ["", "", ""]


def test_several_texts_of_a_user_turn_are_an_n_best_list(tmp_path):
    (dialogue,) = read(tmp_path, {**DIALOGUE, "user": [["cheap", "sheep"], ["x"], ["y"]]})
    assert [h.text for h in dialogue.turns[1].user.hypotheses] == ["cheap", "sheep"]
    assert dialogue.turns[1].user.text == "cheap"
    assert dialogue.turns[2].user.hypotheses == ()


def test_last_prompt_without_an_answer_completes_the_dialogue(tmp_path):
    bot = [*DIALOGUE["bot"], ["Can I help you with anything else?"]]
    (dialogue,) = read(tmp_path, {**DIALOGUE, "bot": bot})
    assert dialogue.complete
    assert dialogue.turns[-1].actions[0].name == "reqmore"


def test_words_of_a_prompt_are_kept(tmp_path):
    (dialogue,) = read(tmp_path, {**DIALOGUE, "bot": [["Beep"], ["Boop"], ["Bip"]]})
    action = dialogue.turns[0].actions[0]
    assert (action.name, action.acts, action.text) == ("other", (), "Beep")


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"goal": DIALOGUE["goal"][:2]}, "2 goals do not fit 3 utterances"),
        ({"goal": [*DIALOGUE["goal"][:2], None]}, "user turn 2: the goal label is missing"),
        (
            {"goal": [{"colour": "red"}] * 3},
            "unknown slot 'colour'; known: area, food, price range",
        ),
        ({"goal": [{"area": 3}] * 3}, "the value of area has to be text, not 3"),
        ({"bot": DIALOGUE["bot"][:1]}, "1 utterances of the bot do not fit 3"),
        ({"user": [[1], ["a"], ["b"]]}, "an utterance has to be text, not 1"),
        ({"user": [], "goal": []}, "the user says nothing"),
        ({"user": 3}, "not a DSTC2 dialogue"),
        (
            {"user": [{"text": "cheap"}, "a", "b"]},
            "an utterance has to be text or a list of texts, not {'text': 'cheap'}",
        ),
        ({"bot": [7, "a", "b"]}, "an utterance has to be text or a list of texts, not 7"),
    ],
)
def test_error_names_file_and_dialogue(tmp_path, change, complaint):
    with pytest.raises(CorpusError) as error:
        read(tmp_path, DIALOGUE, {**DIALOGUE, **change})
    assert "train.json: dialogue number 1" in str(error.value)
    assert complaint in str(error.value)


def test_missing_goals_are_allowed_where_no_labels_are_needed(tmp_path):
    unlabelled = {key: value for key, value in DIALOGUE.items() if key != "goal"}
    with pytest.raises(CorpusError, match="labels are missing"):
        read(tmp_path, unlabelled)
    (dialogue,) = read(tmp_path, unlabelled, require_labels=False)
    assert all(turn.goal is None for turn in dialogue.turns)


def test_broken_json_names_file_and_line(tmp_path):
    path = tmp_path / "dev.json"
    path.write_text('[\n{"user": ]', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"dev\.json:2: broken JSON"):
        read_dstc2(path)
    with pytest.raises(CorpusError, match="can't be opened"):
        read_dstc2(tmp_path / "nowhere.json")


LOG = {
    "session-id": "call-1",
    "turns": [
        {
            "turn-index": 0,
            "output": {"transcript": "Hello", "dialog-acts": [{"act": "welcomemsg", "slots": []}]},
            "input": {
                "live": {
                    "asr-hyps": [
                        {"asr-hyp": "cheap food", "score": -0.5},
                        {"asr-hyp": "chip food", "score": -2.0},
                    ]
                }
            },
        },
        {
            "turn-index": 1,
            "output": {
                "transcript": "What part of town do you want?",
                "dialog-acts": [
                    {"act": "request", "slots": [["slot", "area"]]},
                    {"act": "impl-conf", "slots": [["pricerange", "cheap"]]},
                    {"act": "inform", "slots": [["count", 7]]},
                ],
            },
            "input": {"live": {"asr-hyps": []}},
        },
    ],
}
LABEL = {
    "turns": [
        {
            "goal-labels": {"pricerange": "cheap", "name": "the blue teapot"},
            "transcription": "noise cheap food",
            "semantics": {"json": [{"act": "inform", "slots": [["pricerange", "cheap"]]}]},
        },
        {
            "goal-labels": {"pricerange": "cheap", "area": "centre"},
            "transcription": "the centre",
            "semantics": {"json": []},
        },
    ],
    "task-information": {"goal": {"constraints": [["pricerange", "cheap"], ["area", "centre"]]}},
}


@pytest.fixture
def archive(tmp_path):
    call = tmp_path / "data" / "Mar00" / "call-1"
    call.mkdir(parents=True)
    (call / "log.json").write_text(json.dumps(LOG), encoding="utf-8")
    (call / "label.json").write_text(json.dumps(LABEL), encoding="utf-8")
    lists = tmp_path / "scripts" / "config"
    lists.mkdir(parents=True)
    (lists / "small.flist").write_text("Mar00/call-1\n\n", encoding="utf-8")
    return tmp_path


def test_original_layout_has_acts_and_n_best_lists(archive):
    (dialogue,) = read_dstc2(archive / "data")
    first, second, last = dialogue.turns
    assert dialogue.id == "call-1"
    assert dialogue.goal == {"price range": "cheap", "area": "center"}
    assert first.actions[0].name == "welcomemsg"
    assert second.user.text == "cheap food"
    assert [h.text for h in second.user.hypotheses] == ["cheap food", "chip food"]
    assert second.user.hypotheses[0].confidence == pytest.approx(math.exp(-0.5))
    assert second.user.acts == (DialogueAct("inform", "price range", "cheap"),)
    assert second.goal == {"price range": "cheap"}
    assert set(second.actions[0].acts) == {
        DialogueAct("request", "area"),
        DialogueAct("impl-conf", "price range", "cheap"),
        DialogueAct("inform", "count", "7"),
    }
    assert last.user.text == "" and last.goal["area"] == "center"


def test_original_layout_as_transcribed(archive):
    (dialogue,) = read_dstc2(archive / "data", words="transcribed")
    assert [turn.user.text for turn in dialogue.turns[1:]] == ["cheap food", "the center"]
    assert dialogue.turns[1].user.hypotheses == ()


def test_file_list_finds_the_calls_of_the_archive(archive):
    file_list = archive / "scripts" / "config" / "small.flist"
    assert read_dstc2(file_list) == read_dstc2(archive / "data")
    assert read_dstc2(file_list, data=archive / "data") == read_dstc2(archive / "data")
    with pytest.raises(CorpusError, match="is in none of "):
        read_dstc2(file_list, data=archive)


def test_call_without_labels_is_an_error_that_names_it(archive):
    call = archive / "data" / "Mar00" / "call-1"
    (call / "label.json").unlink()
    with pytest.raises(CorpusError, match=r"call-1: label\.json is missing"):
        read_dstc2(archive / "data")
    (dialogue,) = read_dstc2(archive / "data", require_labels=False)
    assert dialogue.turns[1].goal is None


def test_call_with_unknown_slot_or_broken_log_is_named(archive):
    call = archive / "data" / "Mar00" / "call-1"
    broken = {"turns": [{**turn, "goal-labels": {"colour": "red"}} for turn in LABEL["turns"]]}
    (call / "label.json").write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"call-1: user turn 0: unknown slot 'colour'"):
        read_dstc2(archive / "data")
    (call / "log.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"log\.json:1: broken JSON"):
        read_dstc2(archive / "data")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_no_number_is_an_error(archive, score):
    log = copy.deepcopy(LOG)
    log["turns"][0]["input"]["live"]["asr-hyps"][1]["score"] = score
    (archive / "data" / "Mar00" / "call-1" / "log.json").write_text(json.dumps(log))
    with pytest.raises(CorpusError, match="call-1: the score of a hypothesis has to be a number"):
        read_dstc2(archive / "data")


def test_file_list_that_is_not_utf_8_is_named(archive):
    file_list = archive / "scripts" / "config" / "latin.flist"
    file_list.write_bytes(b"Mar00/caf\xe9\n")
    with pytest.raises(CorpusError, match=r"latin\.flist: not UTF-8 text \(byte 9\)"):
        read_dstc2(file_list)


def test_json_that_is_nested_too_deeply_is_an_error(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(CorpusError, match=r"deep\.json: lists or objects are nested too deeply"):
        read_dstc2(path)


def test_directory_without_calls_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match="no call"):
        read_dstc2(tmp_path)


def test_values_of_labels_may_be_spelled_in_any_case(tmp_path):
    goals = [{"area": "NULL", "food": "Don't Care", "price range": "Cheap"}]
    record = {"user": ["cheap food"], "bot": ["hello", "fine"], "goal": goals}
    path = tmp_path / "test.json"
    path.write_text(json.dumps([record]), encoding="utf-8-sig")
    [dialogue] = read_dstc2(path)
    assert dialogue.turns[1].goal == {"food": "dontcare", "price range": "cheap"}


def test_a_file_list_right_below_the_root_says_where_it_looked(tmp_path, monkeypatch):
    path = tmp_path / "a.flist"
    path.write_text("call\n")
    monkeypatch.setattr(Path, "resolve", lambda self: Path("/a.flist"))
    with pytest.raises(CorpusError, match="the call call is in none of /data"):
        read_dstc2(path)
