import json

import pytest

from rasa_hybrid.simulation import SimulatorError, load_simulator
from rasa_hybrid.simulation.m2m_surface import m2m_surfaces
from rasa_hybrid.simulation.templates import format_key

SLOTS = ("movie", "theatre_name", "date", "time", "num_tickets")


def turn(text, acts=(), spans=(), state=None, system=()):
    """Spans are (slot, first token, one past the last)."""
    return {
        "user_acts": [{"type": act} for act in acts],
        "user_utterance": {
            "text": text,
            "tokens": text.split(),
            "slots": [
                {"slot": slot, "start": start, "exclusive_end": end} for slot, start, end in spans
            ],
        },
        "dialogue_state": [{"slot": slot, "value": value} for slot, value in (state or {}).items()],
        "system_acts": [dict(zip(("type", "slot"), act)) for act in system],
        "system_utterance": {"text": "", "tokens": [], "slots": []},
    }


@pytest.fixture
def corpus(tmp_path):
    def write(*turns):
        path = tmp_path / "people.json"
        first = dict(turns[0])
        del first["system_acts"], first["system_utterance"]
        path.write_text(json.dumps([{"dialogue_id": "d1", "turns": [first, *turns[1:]]}]))
        return path

    return write


def templates(path, slots=SLOTS):
    return {(format_key(key), template.text) for key, template in m2m_surfaces(path, slots).source}


OPENING = turn("get me into up please", spans=[("movie", 3, 4)], state={"movie": "up"})


def test_spans_become_slots_and_acts_become_ours(corpus):
    path = corpus(
        OPENING,
        turn(
            "i ' d go friday , ok ?",
            ["INFORM"],
            [("date", 4, 5)],
            {"movie": "up", "date": "friday"},
            [("REQUEST", "date")],
        ),
        turn(
            "friday",
            ["INFORM"],
            [("date", 0, 1)],
            {"movie": "up", "date": "friday"},
            [("REQUEST", "date")],
        ),
        turn("cheers , bye", ["THANK_YOU", "GOOD_BYE"], (), {"movie": "up", "date": "friday"}),
        turn("come again ?", ["CANT_UNDERSTAND"], (), {"movie": "up", "date": "friday"}),
    )
    assert templates(path) == {
        ("inform(movie) + start", "get me into {movie:plain} please"),
        ("inform(date)", "i'd go {date:plain}, ok?"),
        ("inform(date) after request(date)", "{date:plain}"),
        ("good_bye + thank_you", "cheers, bye"),
        ("repeat", "come again?"),
    }


def test_indifference_is_learnt_as_an_answer(corpus):
    path = corpus(
        OPENING,
        turn(
            "whenever", ["INFORM"], (), {"movie": "up", "time": "dontcare"}, [("REQUEST", "time")]
        ),
    )
    assert ("inform(time=dontcare) after request(time)", "whenever") in templates(path)


def test_what_says_more_than_is_marked_is_left_out(corpus):
    path = corpus(
        OPENING,
        turn(
            "two seats for friday", ["INFORM"], [("date", 3, 4)], {"movie": "up", "date": "friday"}
        ),
        turn("at noon", ["INFORM"], (), {"movie": "up", "date": "friday", "time": "noon"}),
        turn("up or friday", ["INFORM"], [("date", 2, 3)], {"movie": "up", "date": "friday"}),
    )
    assert templates(path) == {("inform(movie) + start", "get me into {movie:plain} please")}


def test_slots_that_the_domain_lacks_are_left_out(corpus):
    path = corpus(OPENING, turn("hi", ["GREETING"], (), {"movie": "up"}))
    assert templates(path, slots=("date",)) == {("greeting", "hi")}


def test_file_that_is_no_corpus_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "people.json"
    path.write_text("{}")
    with pytest.raises(SimulatorError, match=r"people\.json"):
        m2m_surfaces(path, SLOTS)


def test_a_simulator_speaks_with_these_words_and_ours_for_the_rest(movie_project, corpus):
    path = corpus(OPENING, turn("yessir", ["AFFIRM"], (), {"movie": "up"}, [("CONFIRM", "movie")]))
    simulator = load_simulator(movie_project, str(path))
    assert simulator.surfaces.name == "m2m-people"
    assert {t.text for t in simulator.surfaces._lookup((("affirm", "", ""),), frozenset())[0]} == {
        "yessir"
    }
    assert simulator.surfaces._lookup((("cancel", "", ""),), frozenset())[0]
