"""Where the values of goal slots occur in an utterance."""

from __future__ import annotations

import json
from typing import Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_hybrid.dialogue import DONTCARE, NONE, Token, tokenize
from rasa_hybrid.model.candidates import Match, Ontology, SlotValues

FILMS = ("Cinema Paradiso", "A Man Called Ove", "Star Wars", "Moana", "Ten")
THEATRES = ("Paradiso", "Camera 3", "Roxy")
TIMES = ("6:00 pm", "6:30 pm", "11:00 am")
ONTOLOGY = Ontology(
    {
        "movie": SlotValues(dict.fromkeys(FILMS, ())),
        "theatre_name": SlotValues(dict.fromkeys(THEATRES, ())),
        "time": SlotValues(dict.fromkeys(TIMES, ())),
        "date": SlotValues({"saturday": ("the weekend",), "friday": ("fri",)}),
        "num_tickets": SlotValues({"2": (), "4": ("double date",)}, kind="number"),
        "vip": SlotValues({"true": (), "false": ()}, kind="bool", closed=("true", "false")),
    }
)

Found = Dict[str, List[Tuple[str, str, float]]]


def occurrences(text: str, ontology: Ontology = ONTOLOGY) -> Found:
    """Of each slot the values that occur with the words they occur as and their coverage."""
    tokens = tokenize(text, ontology.language, ontology.splitter)
    found: Found = {}
    for match in ontology.matches(tokens):
        words = text[tokens[match.start].start : tokens[match.end - 1].end]
        row = (match.value, words, round(match.coverage, 2))
        found.setdefault(ontology.slots[match.slot], []).append(row)
    return found


def test_a_whole_value_is_found_whatever_its_case_and_punctuation():
    assert occurrences("I want to see STAR-WARS!") == {"movie": [("Star Wars", "STAR-WARS", 1.0)]}


def test_a_distinctive_part_is_found_with_the_share_that_was_said():
    assert occurrences("that film about ove") == {"movie": [("A Man Called Ove", "ove", 0.25)]}
    assert occurrences("man called ove please") == {
        "movie": [("A Man Called Ove", "man called ove", 0.75)]
    }


@pytest.mark.parametrize(("text", "found"), [("moon light", 1), ("mo onlight", 0), ("moon", 0)])
def test_a_compound_may_be_said_in_two_words(text, found):
    ontology = Ontology({"movie": SlotValues({"Moonlight": ()})})
    matches = ontology.matches(tokenize(text))
    assert [(m.value, m.start, m.end, m.coverage) for m in matches] == [
        ("Moonlight", 0, 2, 1.0)
    ] * found


@pytest.mark.parametrize("text", ["a good film", "i called you", "of the in a", "camera"])
def test_common_words_are_no_parts_of_values(text):
    found = occurrences(text)
    assert all(len(words) > 3 for rows in found.values() for _, words, _ in rows)


def test_a_part_that_many_values_share_means_none_of_them():
    def screens(count):
        return Ontology(
            {"screen": SlotValues({f"Regal {chr(97 + i)}xx": () for i in range(count)})}
        )

    tokens = tokenize("regal")
    assert [match.sharing for match in screens(3).matches(tokens)] == pytest.approx([1 / 3] * 3)
    assert screens(4).matches(tokens) == []


def test_a_synonym_stands_for_its_value():
    assert occurrences("on fri or at the weekend") == {
        "date": [("friday", "fri", 1.0), ("saturday", "the weekend", 1.0)]
    }
    assert ONTOLOGY.canonical(ONTOLOGY.position("date"), "The Weekend") == "saturday"


def test_the_own_name_of_a_value_wins_over_a_synonym_of_another():
    ontology = Ontology({"dish": SlotValues({"soup": ("chowder",), "chowder": ()})})
    assert ontology.canonical(0, "Chowder") == "chowder"


@pytest.mark.parametrize(
    ("text", "value", "coverage"),
    [
        ("6:30 pm", "6:30 pm", 1.0),
        ("six thirty pm", "6:30 pm", 1.0),
        ("18:30", "6:30 pm", 1.0),
        ("half past six in the evening", "6:30 pm", 1.0),
        ("half past six", "6:30 pm", 0.7),
        ("6:30", "6:30 pm", 0.7),
        ("6 o'clock", "6:00 pm", 0.7),
        ("around 6", "6:00 pm", 0.4),
        ("11 am", "11:00 am", 1.0),
    ],
)
def test_a_clock_time_is_found_however_it_is_said(text, value, coverage):
    [(found, _, share)] = occurrences(text)["time"]
    assert (found, share) == (value, coverage)


def test_the_other_half_of_the_day_is_another_time():
    assert "time" not in occurrences("6:30 am")


def test_a_word_that_may_be_a_film_or_a_theatre_is_found_as_both():
    assert occurrences("paradiso") == {
        "movie": [("Cinema Paradiso", "paradiso", 0.5)],
        "theatre_name": [("Paradiso", "paradiso", 1.0)],
    }


def test_a_number_may_mean_a_film_a_time_or_the_tickets():
    assert occurrences("ten") == {
        "movie": [("Ten", "ten", 1.0)],
        "num_tickets": [("10", "ten", 1.0)],
    }
    assert set(occurrences("6")) == {"time", "num_tickets"}


def test_the_longest_occurrence_of_a_slot_hides_what_lies_inside_of_it():
    assert occurrences("cinema paradiso") == {
        "movie": [("Cinema Paradiso", "cinema paradiso", 1.0)],
        "theatre_name": [("Paradiso", "paradiso", 1.0)],
    }
    assert occurrences("cinema paradiso, not star wars")["movie"] == [
        ("Cinema Paradiso", "cinema paradiso", 1.0),
        ("Star Wars", "star wars", 1.0),
    ]


def test_a_number_slot_takes_any_number_and_counts_a_listed_one_once():
    assert occurrences("twelve tickets")["num_tickets"] == [("12", "twelve", 1.0)]
    assert occurrences("two tickets")["num_tickets"] == [("2", "two", 1.0)]
    assert ONTOLOGY.canonical(ONTOLOGY.position("num_tickets"), "twelve") == "12"


def test_a_possessive_of_a_value_is_the_value():
    assert occurrences("saturday's show")["date"] == [("saturday", "saturday's", 1.0)]


def test_true_and_false_are_never_read_off_the_words():
    assert "vip" not in occurrences("is that true or false")


def test_an_utterance_without_values_has_none():
    assert occurrences("") == occurrences("hello there") == {}


def test_two_listed_spellings_of_one_value_are_one_candidate():
    ontology = ONTOLOGY.with_values({"movie": ["star wars", "STAR WARS"], "time": ["6 pm"]})
    assert occurrences("star wars at 6 pm", ontology) == occurrences("star wars at 6 pm")
    assert ontology.canonical(0, "star wars") == "Star Wars"


def test_a_value_added_later_is_found_and_the_first_ontology_stays_as_it_was():
    assert "movie" not in occurrences("zorblax returns")
    ontology = ONTOLOGY.with_values({"movie": ["Zorblax Returns"], "no_such_slot": ["x"]})
    assert occurrences("zorblax returns", ontology)["movie"] == [
        ("Zorblax Returns", "zorblax returns", 1.0)
    ]
    assert "movie" not in occurrences("zorblax returns")
    assert ontology.slots == ONTOLOGY.slots


@pytest.mark.parametrize(
    ("slot", "spelling", "value"),
    [
        ("movie", "star wars", "Star Wars"),
        ("time", "18:00", "6:00 pm"),
        ("date", "Friday", "friday"),
        ("movie", "Some New Film", "Some New Film"),
        ("movie", NONE, NONE),
        ("movie", DONTCARE, DONTCARE),
    ],
)
def test_a_value_has_one_spelling_if_it_is_listed(slot, spelling, value):
    assert ONTOLOGY.canonical(ONTOLOGY.position(slot), spelling) == value


def test_spellings_of_a_value_that_is_not_listed_have_a_common_key():
    assert ONTOLOGY.key(0, "some new film!") == ONTOLOGY.key(0, "Some New Film")
    assert ONTOLOGY.key(0, "star wars") == ONTOLOGY.key(0, "Star Wars") == "Star Wars"


def test_a_slot_that_is_none_has_no_position():
    assert ONTOLOGY.position("colour") == -1


def test_an_ontology_survives_a_round_trip_through_json():
    read = Ontology.from_dict(json.loads(json.dumps(ONTOLOGY.to_dict())))
    assert read.to_dict() == ONTOLOGY.to_dict()
    text = "two for paradiso at 6 on the weekend"
    assert occurrences(text, read) == occurrences(text)


def test_values_are_found_in_a_script_without_spaces():
    ontology = Ontology({"city": SlotValues({"東京": (), "京都": ()})}, language="ja")
    found = [match.value for match in ontology.matches(tokenize("明日は京都へ", "ja"))]
    assert found == ["京都"]


class CountedWord(str):
    """A word that counts how often a dictionary looks for it, or for words that it is part of."""

    lookups = 0

    def __hash__(self) -> int:
        CountedWord.lookups += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def letters(number: int) -> str:
    return "".join(chr(97 + number // 26**place % 26) for place in range(4))


@pytest.fixture(scope="module")
def many_values() -> Ontology:
    """Two slots with 5,000 values of three words each."""
    return Ontology(
        {
            slot: SlotValues({f"{letters(i)} of {letters(i % 97)}ville": () for i in range(5000)})
            for slot in ("movie", "theatre_name")
        }
    )


@pytest.mark.parametrize("length", [24, 96])
def test_with_thousands_of_values_each_word_is_looked_up_a_few_times_at_most(many_values, length):
    title = f"{letters(7)} of {letters(7)}ville"
    words = ["i", "want", "to", "see", *title.split(), "please"]
    said = [CountedWord(words[i % len(words)]) for i in range(length)]
    tokens = [Token(word, i, i + 1) for i, word in enumerate(said)]
    CountedWord.lookups = 0
    found = many_values.matches(tokens)
    assert {(match.slot, match.value, match.coverage) for match in found} == {
        (slot, title, 1.0) for slot in range(2)
    }
    # Each word begins a phrase or none, and the title's are followed to their ends.
    assert CountedWord.lookups <= 2 * length


WORDS = st.sampled_from("star wars man ove cinema paradiso the of 6 30 pm 2 roxy x".split())
TITLES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


def naive(ontology: Ontology, values: List[str], words: List[str]) -> List[Tuple[str, int, int]]:
    """Whole occurrences of values, by comparing every stretch of words with every value."""
    normal = {ontology.normalise(value): ontology.canonical(0, value) for value in values}
    return [
        (normal[" ".join(words[start:end])], start, end)
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
        if " ".join(words[start:end]) in normal
    ]


@settings(deadline=None)
@given(values=st.lists(TITLES, min_size=1, max_size=5), text=st.lists(WORDS, max_size=8))
def test_every_whole_value_is_found_unless_a_longer_match_covers_it(values, text):
    ontology = Ontology({"movie": SlotValues(dict.fromkeys(values, ()))}, language="de")
    tokens = tokenize(" ".join(text), "de")
    found = ontology.matches(tokens)
    whole = {(m.value, m.start, m.end) for m in found if m.coverage == 1.0}
    every = set(naive(ontology, values, [token.text for token in tokens]))
    assert whole <= every
    for _, start, end in every - whole:
        assert any(
            m.start <= start and end <= m.end and m.end - m.start > end - start for m in found
        )


@settings(deadline=None)
@given(values=st.lists(TITLES, min_size=1, max_size=6), text=st.lists(WORDS, max_size=8))
def test_matches_lie_in_the_utterance_in_order_and_are_never_counted_twice(values, text):
    ontology = Ontology(
        {
            "movie": SlotValues(dict.fromkeys(values, ())),
            "number": SlotValues(dict.fromkeys(values[:2], ()), kind="number"),
        }
    )
    tokens = tokenize(" ".join(text))
    found = ontology.matches(tokens)
    places = [(m.start, m.end, m.slot) for m in found]
    assert places == sorted(places)
    assert len({(m.slot, m.value, m.start, m.end) for m in found}) == len(found)
    for match in found:
        assert 0 <= match.start < match.end <= len(tokens)
        assert 0 < match.coverage <= 1 and 0 < match.sharing <= 1
        assert isinstance(match, Match)
        said = " ".join(token.text for token in tokens[match.start : match.end])
        assert match.coverage < 1.0 or ontology.canonical(match.slot, said) == match.value
