import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from rasa_hybrid.corpora.heard import heard_values, misheard_share
from rasa_hybrid.corpora.noise import (
    NoiseSettings,
    RecogniserNoise,
)
from rasa_hybrid.dialogue import Dialogue, DialogueAct, Entity, SystemAction, Turn, Utterance

SAID = """i want a table for us in the garden|a table in the kitchen please|the garden please
is there a table by the window|no the kitchen is fine|thank you goodbye|a table by the door please
do you have a table in the cellar|the seller said the garden|what about the window|yes please|thank you""".replace(
    "\n", "|"
).split("|")


def spoken(*texts, goal=None):
    return Dialogue("d", tuple(Turn(Utterance(text), goal=goal or {}) for text in texts))


@pytest.fixture(scope="module")
def noise():
    return RecogniserNoise.from_dialogues([spoken(*SAID)] * 5)


def word_errors(noise, texts, seed=0):
    rng = np.random.default_rng(seed)
    errors = [
        Levenshtein.distance(text.split(), noise.corrupt(text, rng).split()) for text in texts
    ]
    return np.array(errors), np.array([len(text.split()) for text in texts])


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.3])
def test_word_error_rate_is_about_the_one_that_was_asked_for(rate):
    noise = RecogniserNoise.from_dialogues([spoken(*SAID)] * 5, rate=rate)
    errors, words = word_errors(noise, SAID[:4] * 500)
    assert errors.sum() / words.sum() == pytest.approx(rate, rel=0.25)


def test_errors_come_together_so_that_many_utterances_are_right(noise):
    errors, words = word_errors(noise, SAID[:4] * 500)
    independent = np.mean((1 - errors.sum() / words.sum()) ** words)
    assert np.mean(errors == 0) > 1.5 * independent


def test_no_noise_leaves_the_normalised_words():
    noise = RecogniserNoise({"six": 1}, rate=0.0)
    rng = np.random.default_rng(0)
    assert noise.corrupt("Six PM, don't!", rng) == "6:00pm dont"
    assert [h.text for h in noise.n_best("yes", rng, 3)] == ["yes"]


def test_same_generator_same_errors(noise):
    first, _ = word_errors(noise, SAID, seed=3)
    again, _ = word_errors(RecogniserNoise.from_dialogues([spoken(*SAID)] * 5), SAID, seed=3)
    assert first.tolist() == again.tolist()


def test_words_that_are_heard_come_from_the_vocabulary(noise):
    rng = np.random.default_rng(1)
    vocabulary = {word for text in SAID for word in text.split()}
    heard = {word for text in SAID * 50 for word in noise.corrupt(text, rng).split()}
    assert heard <= vocabulary


def test_similar_sounds_are_confused_more_than_others(noise):
    rng = np.random.default_rng(2)
    heard = [noise.corrupt("cellar", rng) for _ in range(2000)]
    assert heard.count("seller") > 3 * heard.count("window")


def test_short_words_are_dropped_more_than_long_ones(noise):
    rng = np.random.default_rng(4)
    heard = [noise.corrupt("a kitchen", rng).split() for _ in range(1000)]
    dropped = [sum(word not in words for words in heard) for word in ("a", "kitchen")]
    assert dropped[0] > 1.2 * dropped[1]


def test_silence_is_sometimes_heard_as_words(noise):
    rng = np.random.default_rng(5)
    heard = [noise.corrupt("", rng) for _ in range(500)]
    assert 0.2 < np.mean([text != "" for text in heard]) < 0.6


def test_n_best_list_is_distinct_ordered_and_weighted(noise):
    rng = np.random.default_rng(6)
    lists = [noise.n_best("a table by the window", rng, 4) for _ in range(50)]
    assert sum(len(hypotheses) == 4 for hypotheses in lists) > 40  # the others were lost as a whole
    for hypotheses in lists:
        assert len({h.text for h in hypotheses}) == len(hypotheses)
        confidences = [h.confidence for h in hypotheses]
        assert confidences == sorted(confidences, reverse=True)
        assert sum(confidences) == pytest.approx(1.0)


def test_n_best_list_often_holds_what_the_first_misses(noise):
    rng = np.random.default_rng(7)
    lists = [noise.n_best("the garden please", rng, 5) for _ in range(500)]
    first = np.mean([hypotheses[0].text == "the garden please" for hypotheses in lists])
    any_of = np.mean(["the garden please" in [h.text for h in hypotheses] for hypotheses in lists])
    assert any_of > first + 0.1


def test_best_hypothesis_is_distributed_as_a_single_one(noise):
    rng = np.random.default_rng(8)
    text = "a table in the kitchen please"
    single = np.mean([noise.corrupt(text, rng) == text for _ in range(1000)])
    best = np.mean([noise.n_best(text, rng, 3)[0].text == text for _ in range(1000)])
    assert best == pytest.approx(single, abs=0.06)


def turn(text, place=None, *acts):
    return Turn(
        Utterance(text) if text is not None else None,
        goal={"place": place} if place else {},
        actions=(SystemAction("said", tuple(DialogueAct(*act) for act in acts)),) if acts else (),
    )


@pytest.mark.parametrize(
    "reaction, taken_for",
    [
        ([("impl-conf", "place", "garden")], "garden"),
        ([("expl-conf", "place", "cellar")], "cellar"),
        ([("request", "place")], "none"),
        ([("request", "time")], None),
        ([("select", "place", "cellar"), ("select", "place", "garden")], "garden"),
    ],
)
def test_acts_show_what_the_system_heard(reaction, taken_for):
    dialogue = Dialogue("d", (turn("the garden", "garden", *reaction), turn("thanks", "garden")))
    assert heard_values(dialogue)[0].get("place") == taken_for


def test_system_that_keeps_to_the_old_value_did_not_hear_the_new_one():
    turns = (
        turn("the garden", "garden", ("canthelp", "place", "garden")),
        turn("the cellar then", "cellar", ("canthelp", "place", "garden")),
    )
    assert heard_values(Dialogue("d", turns))[1] == {"place": "none"}


def test_value_that_has_to_be_said_again_was_not_heard():
    turns = (
        turn("the garden", "garden", ("reqmore",)),
        turn("i said the garden", "garden", ("offer", "place", "garden")),
    )
    assert [found["place"] for found in heard_values(Dialogue("d", turns))] == ["none", "garden"]


def test_share_of_misheard_values_tells_spoken_dialogues_from_typed_ones():
    understood = turn("the garden", "garden", ("offer", "place", "garden"))
    mistaken = turn("the garden", "garden", ("expl-conf", "place", "cellar"))
    dialogues = [Dialogue("d", (each,)) for each in (understood, understood, understood, mistaken)]
    assert misheard_share(dialogues) == 0.25
    assert misheard_share([]) == 0.0


def lost(noise, *reaction):
    """Share of copies in which the value is gone from the words."""
    dialogue = Dialogue(
        "d", (turn("the garden please", "garden", *reaction), turn("yes", "garden"))
    )
    copies = [noise.corrupt_dialogue(dialogue, np.random.default_rng(i)) for i in range(400)]
    return np.mean(["garden" not in copy.turns[0].user.text for copy in copies]), copies


def test_copies_follow_what_the_system_heard(noise):
    understood, _ = lost(noise, ("offer", "place", "garden"))
    unknown, _ = lost(noise, ("reqmore",))
    asked_again, _ = lost(noise, ("request", "place"))
    mistaken, copies = lost(noise, ("expl-conf", "place", "cellar"))
    assert understood < unknown < asked_again < mistaken
    assert np.mean(["cellar" in copy.turns[0].user.text for copy in copies]) > 0.5


def test_copy_keeps_goals_actions_and_the_entities_that_were_heard():
    noise = RecogniserNoise({"garden": 1}, rate=0.0)
    entity = Entity("place", "park", 5, 11)  # what was said is found again, not the value
    user = Utterance("The  garden!", entities=(entity,), acts=(DialogueAct("inform"),))
    action = SystemAction("offer", (DialogueAct("offer", "place", "garden"),))
    dialogue = Dialogue("d", (Turn(), Turn(user, goal={"place": "garden"}, actions=(action,))))
    copy = noise.corrupt_dialogue(dialogue, np.random.default_rng(0), n_best=2)
    assert copy.turns[0] == dialogue.turns[0]
    heard = copy.turns[1]
    assert (heard.goal, heard.actions) == (dialogue.turns[1].goal, dialogue.turns[1].actions)
    assert heard.user.text == heard.user.hypotheses[0].text == "the garden"
    assert heard.user.text[heard.user.entities[0].start : heard.user.entities[0].end] == "garden"
    assert heard.user.acts == ()


def test_button_presses_are_not_misheard(noise):
    press = Dialogue("d", (Turn(Utterance("", intent="affirm"), goal={}),))
    assert noise.corrupt_dialogue(press, np.random.default_rng(0)) == press


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"rate: 1\.5"):
        RecogniserNoise({"a": 1}, rate=1.5)
    with pytest.raises(ValueError, match="no word"):
        RecogniserNoise({})


def test_vocabulary_of_one_word_can_only_be_dropped():
    noise = RecogniserNoise({"a": 1}, rate=0.9, settings=NoiseSettings(insertions=0.0))
    rng = np.random.default_rng(0)
    assert {noise.corrupt("a", rng) for _ in range(100)} == {"a", ""}
