import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_hybrid.dialogue import normalise
from rasa_hybrid.simulation.spoken_values import number_in_words, spoken_values

hours, minutes = st.integers(1, 12), st.sampled_from([0, 10, 15, 20, 30, 45, 55])


def forms(kind, values, further=None, others=()):
    return {
        value: set(spoken.any) | set(spoken.plain)
        for value, spoken in spoken_values(kind, values, further or {}, others).items()
    }


@given(hours, minutes, st.sampled_from(["am", "pm"]))
def test_every_way_to_say_a_time_means_that_time(hour, minute, half):
    value = f"{hour}:{minute:02d} {half}"
    said = forms("clock", [value])[value]
    assert value in said and len(said) >= 3
    assert {normalise(form) for form in said} == {normalise(value)}


def test_times_are_said_as_people_do():
    assert {"6 pm", "six pm", "18:00", "six in the evening", "six o'clock in the evening"} <= forms(
        "clock", ["6:00 pm"]
    )["6:00 pm"]
    assert {"7.15 pm", "quarter past seven in the evening"} <= forms("clock", ["7:15 pm"])[
        "7:15 pm"
    ]
    assert "quarter to ten at night" in forms("clock", ["9:45 pm"])["9:45 pm"]


@given(st.integers(0, 99))
def test_number_words_are_numbers_to_the_normalisation(number):
    assert normalise(number_in_words(number)) == str(number)


def test_weekdays_are_shortened_and_pointed_at():
    assert {"friday", "fri", "this friday"} <= forms("weekday", ["friday"])["friday"]


TITLES = [
    "The Glass Orchard",
    "Starfall: First Contact",
    "Starfall: The Long Way Home",
    "The Quiet Machine",
    "Aurora",
]


def test_titles_are_said_in_part():
    said = forms("title", TITLES)
    assert {"Glass Orchard", "Glass"} & said["The Glass Orchard"]
    assert "Quiet Machine" in said["The Quiet Machine"]


def test_part_of_a_title_never_means_another_one():
    said = forms("title", [*TITLES, "Return of the Quiet Machine"])
    assert said["The Quiet Machine"] == {"The Quiet Machine"}
    assert "Starfall" not in said["Starfall: First Contact"]
    for value, own in said.items():
        for other, theirs in said.items():
            assert value == other or not own & theirs


def test_part_of_a_title_that_is_also_a_value_of_another_slot_is_not_said():
    said = forms("title", ["Aurora Picture House"], others=["Aurora"])
    assert "Aurora" not in said["Aurora Picture House"]


def test_configured_forms_are_said_too():
    assert forms("plain", ["centre"], {"centre": ["city centre"]})["centre"] == {
        "centre",
        "city centre",
    }


@pytest.mark.parametrize("kind", ["plain", "number", "weekday", "clock", "title"])
def test_canonical_spelling_is_always_among_the_forms(kind):
    values = ["two of a kind", "someday", "7"]
    assert all(value in said for value, said in forms(kind, values).items())
