from rasa_hybrid.corpora.synonyms import find_synonyms
from rasa_hybrid.dialogue import Dialogue, DialogueAct, SystemAction, Turn, Utterance


def dialogue(*turns, asked=()):
    first = Turn(actions=(SystemAction("asked", tuple(asked)),))
    return Dialogue("d", (first, *(Turn(Utterance(text), goal=goal) for text, goal in turns)))


def test_words_that_go_with_a_value_that_is_not_said_are_its_synonym():
    corpus = [dialogue(("a moderately priced table", {"price": "moderate"}))] * 3
    corpus += [
        dialogue(("a priced table", {"price": "cheap"}), ("a table", {"price": "cheap"}))
    ] * 3
    assert find_synonyms(corpus) == {"price": {"moderate": ("moderately",)}}


def test_words_that_are_nothing_like_the_value_need_more_evidence():
    few = [dialogue(("downtown", {"area": "center"}))] * 3
    assert find_synonyms(few) == {}
    assert find_synonyms(few * 4) == {"area": {"center": ("downtown",)}}


def test_words_that_go_with_many_values_are_no_synonym():
    corpus = [dialogue(("the usual please", {"area": area})) for area in ("north", "south") * 10]
    assert find_synonyms(corpus) == {}


def test_values_that_the_system_has_just_said_explain_themselves():
    offer = DialogueAct("offer", "film", "the long name of a film")
    corpus = [dialogue(("yes that name", {"film": "the long name of a film"}), asked=[offer])] * 12
    assert find_synonyms(corpus) == {}


def test_long_values_that_are_said_need_no_synonym():
    name = "the long name of a film"
    corpus = [dialogue((f"i want {name} please", {"film": name}))] * 12
    assert find_synonyms(corpus) == {}


def test_any_value_has_no_synonyms_and_slots_can_be_chosen():
    corpus = [dialogue(("whatever", {"area": "dontcare", "price": "moderat"}))] * 12
    assert find_synonyms(corpus, slots=["area"]) == {}
