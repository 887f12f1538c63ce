import numpy as np

from rasa_hybrid.corpora.substitution import ValueSubstitution, open_ended
from rasa_hybrid.dialogue import Dialogue, DialogueAct, Entity, SystemAction, Turn, Utterance

FILMS = [
    f"{a} {b}"
    for a in ("red", "blue", "green", "last")
    for b in ("moon", "river", "queen", "train")
]


def talk(film, number="1"):
    text = f"two for {film} please"
    user = Utterance(text, entities=(Entity("film", film, 8, 8 + len(film)),))
    offer = SystemAction(
        "offer", (DialogueAct("confirm", "film", film), DialogueAct("request", "time"))
    )
    yes = Utterance(f"yes {film} at 6 pm", entities=(Entity("film", film, 4, 4 + len(film)),))
    return Dialogue(
        "d",
        (
            Turn(user, goal={"film": film}, actions=(offer,)),
            Turn(yes, goal={"film": film, "time": "6 pm"}),
        ),
        goal={"film": film},
    )


CORPUS = [talk(film) for film in FILMS]


def test_slot_is_open_ended_if_other_dialogues_have_new_values():
    assert open_ended(CORPUS[:3], CORPUS[3:]) == ["film"]
    assert open_ended(CORPUS, CORPUS[3:]) == []


def test_value_is_replaced_in_words_acts_and_goals_alike():
    copy = ValueSubstitution(CORPUS, ["film"], {"film": ["the whale"]}).substitute(
        CORPUS[0], np.random.default_rng(0)
    )
    first, second = copy.turns
    assert first.user.text == "two for the whale please"
    assert second.user.text == "yes the whale at 6 pm"
    assert (
        second.user.text[second.user.entities[0].start : second.user.entities[0].end] == "the whale"
    )
    assert first.actions[0].acts == (
        DialogueAct("confirm", "film", "the whale"),
        DialogueAct("request", "time"),
    )
    assert [turn.goal["film"] for turn in copy.turns] == ["the whale"] * 2
    assert second.goal["time"] == "6 pm"
    assert copy.goal == {"film": "the whale"}


def test_values_are_made_up_without_a_catalogue_and_a_seed_repeats_them():
    substitution = ValueSubstitution(CORPUS, ["film"])
    copies = [substitution.substitute(CORPUS[0], np.random.default_rng(5)) for _ in range(2)]
    assert copies[0] == copies[1]
    film = copies[0].goal["film"]
    assert film not in FILMS and film in copies[0].turns[0].user.text


def test_value_that_nobody_says_stays():
    silent = Dialogue("d", (Turn(Utterance("that one"), goal={"film": "red moon"}),))
    assert (
        ValueSubstitution(CORPUS, ["film"]).substitute(silent, np.random.default_rng(0)) is silent
    )


def test_value_of_another_slot_gives_way_to_a_known_one_now_and_then():
    corpus = [*CORPUS, *(talk("red moon", "2") for _ in range(2))]
    substitution = ValueSubstitution(corpus, [])
    films = {
        substitution.substitute(CORPUS[0], np.random.default_rng(seed)).goal["film"]
        for seed in range(20)
    }
    assert len(films) > 3 and films <= set(FILMS)


def test_made_up_values_do_not_end_with_a_word_that_people_say_around_values():
    substitution = ValueSubstitution(CORPUS, ["film"])
    rng = np.random.default_rng(0)
    films = [substitution.substitute(CORPUS[0], rng).goal["film"] for _ in range(300)]
    words = {word for film in films for word in film.split()}
    assert not {film.split()[-1] for film in films} & {"please", "yes"}
    assert words & {"moon", "queen"} and words & {"two", "for"} and "please" in words


def test_made_up_values_are_like_titles_whatever_the_known_ones_are():
    """As long ones, with words that are said elsewhere inside, with marks and with numbers."""
    substitution = ValueSubstitution(CORPUS, ["film"])
    rng = np.random.default_rng(0)
    films = [substitution.substitute(CORPUS[0], rng).goal["film"] for _ in range(800)]
    inner = [word for film in films for word in film.split()[1:-1]]
    assert max(len(film.split()) for film in films) >= 8
    assert {"to", "the", "you", "and"} <= set(inner)
    assert any("'s" in film for film in films) and any(":" in film for film in films)
    assert any(film[0].isdigit() for film in films)
    copy = substitution.substitute(CORPUS[0], np.random.default_rng(0))
    for turn in copy.turns:
        for entity in turn.user.entities if turn.user else ():
            assert turn.user.text[entity.start : entity.end] == entity.value
