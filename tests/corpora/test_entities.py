from rasa_hybrid.corpora.entities import mark_entities
from rasa_hybrid.dialogue import Dialogue, Entity, Turn, Utterance


def marked(text, goal, **options):
    dialogue = Dialogue("d", (Turn(Utterance(text), goal=goal),))
    return mark_entities(dialogue, **options).turns[0].user.entities


def test_goal_values_are_marked_where_the_user_says_them():
    assert marked("cheap food in the north", {"price": "cheap", "area": "north"}) == (
        Entity("price", "cheap", 0, 5),
        Entity("area", "north", 18, 23),
    )


def test_longer_value_wins_where_two_overlap():
    found = marked("north american food", {"area": "north", "food": "north american"})
    assert found == (Entity("food", "north american", 0, 14),)


def test_synonym_is_marked_as_its_value():
    found = marked(
        "moderately priced", {"price": "moderate"}, forms={"price": {"moderate": ["moderately"]}}
    )
    assert found == (Entity("price", "moderate", 0, 10),)


def test_dontcare_and_unsaid_values_are_not_marked():
    assert marked("i dont care", {"area": "dontcare", "food": "thai"}) == ()


def test_dialogue_with_entities_is_left_alone():
    turn = Turn(
        Utterance("thai food", entities=(Entity("cuisine", "thai", 0, 4),)), goal={"food": "thai"}
    )
    dialogue = Dialogue("d", (turn,))
    assert mark_entities(dialogue) is dialogue
