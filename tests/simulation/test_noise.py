import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rasa_hybrid.simulation import Environment, Expert, SideEffects, load_simulator
from rasa_hybrid.simulation.noise import WordNoise, edit_distance

VOCABULARY = (
    "ticket tickets thicket for four fore friday fried monday movie move two too tomorrow".split()
)
words = st.lists(st.sampled_from(VOCABULARY), max_size=6)


@given(words, words)
def test_edit_distance_is_a_metric(first, second):
    distance = edit_distance(first, second)
    assert distance == edit_distance(second, first)
    assert (distance == 0) == (first == second)
    assert abs(len(first) - len(second)) <= distance <= max(len(first), len(second))


@given(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8), st.integers(0, 1000))
def test_without_noise_what_is_said_is_heard(said, seed):
    text = " ".join(said)
    assert WordNoise(VOCABULARY).hear(text, 0, 0, np.random.default_rng(seed)) == (text, ())


@given(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8), st.integers(0, 1000))
def test_something_is_always_heard_and_the_list_is_a_distribution(said, seed):
    best, hypotheses = WordNoise(VOCABULARY, n_best=4).hear(
        " ".join(said), 0.9, 0.1, np.random.default_rng(seed)
    )
    assert best and hypotheses[0].text == best
    assert len({h.text for h in hypotheses}) == len(hypotheses) <= 4
    weights = [h.confidence for h in hypotheses]
    assert abs(sum(weights) - 1) < 0.01 and weights == sorted(weights, reverse=True)


def test_words_are_taken_for_similar_ones():
    noise = WordNoise(VOCABULARY)
    assert noise.similar("ticket")[0] in {"tickets", "thicket"}
    assert "monday" not in noise.similar("two")


def test_noise_changes_what_is_heard_but_not_what_was_meant(movie_project):
    simulator = load_simulator(
        movie_project, noise={"word_drop": 0.1, "word_confusion": 0.1, "n_best": 3}
    )
    side_effects = SideEffects(simulator.flow)
    expert = Expert(simulator.flow, simulator.catalogue, side_effects)
    played = list(Environment(simulator, expert, side_effects).rollouts(40, seed=1))
    assert sum(r.success for r in played) >= 36
    utterances = [t.user for r in played for t in r.dialogue.turns]
    assert all(u.hypotheses and u.hypotheses[0].text == u.text for u in utterances)
    garbled = [
        u
        for u in utterances
        if not u.entities and any(a.value not in (None, "dontcare") for a in u.acts)
    ]
    assert garbled  # a text that was changed carries no spans


@given(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8), st.integers(0, 1000))
def test_strange_words_have_the_letters_of_others_and_spare_values(said, seed):
    text = " ".join(["2", *said])
    rng = np.random.default_rng(seed)
    value = 2, 2 + len(said[0])
    heard = WordNoise.estrange(text, [value], 1.0, rng)
    assert heard[value[0] : value[1]] == said[0] and heard[:2] == "2 "
    assert [sorted(word) for word in heard.split()] == [sorted(word) for word in text.split()]
    assert WordNoise.estrange(text, [], 0.0, rng) == text


def test_users_with_strange_words_keep_their_values_and_where_they_stand(movie_project):
    simulator = load_simulator(movie_project, noise={"word_strange": 0.5})
    side_effects = SideEffects(simulator.flow)
    expert = Expert(simulator.flow, simulator.catalogue, side_effects)
    played = list(Environment(simulator, expert, side_effects).rollouts(20, seed=1))
    said = [turn.user for rollout in played for turn in rollout.dialogue.turns]
    assert (
        not set(" ".join(user.text.lower() for user in said).split()) <= simulator.surfaces.words()
    )
    places = [user.text[e.start : e.end].lower() for user in said for e in user.entities]
    assert {"saturday", "two"} & set(places)
