"""Teaching and REINFORCE with simulated users: what is learnt from whom, and that a killed run loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from rasa_hybrid.corpora import read_jsonl
from rasa_hybrid.dialogue import LISTEN, DomainFacts
from rasa_hybrid.learning.agent import agent_of, with_known_values
from rasa_hybrid.learning.imitation import ImitationSettings
from rasa_hybrid.learning.practice import (
    FeedbackPractice,
    PracticeError,
    TeachingPractice,
    episode_of,
    practise,
)
from rasa_hybrid.learning.reinforce import Reinforcer
from rasa_hybrid.learning.reinforce_settings import ReinforceSettings
from rasa_hybrid.learning.simulated import TrainedModel, supervised_corpus, train_on_simulator
from rasa_hybrid.learning.taught import taught
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.network import as_tensors
from rasa_hybrid.model.settings import SettingsError
from rasa_hybrid.simulation import Environment, SideEffects, load_simulator
from tests.model.small_worlds import tiny_settings

PROJECT = Path(__file__).parents[2] / "examples" / "restaurant_search"
QUICK = {"epochs": 1, "least_steps": 1, "learning_rate": 0.01}


@pytest.fixture(scope="module", autouse=True)
def without_compiling():
    """Tracing takes longer than everything that such small models compute."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def restaurants():
    return load_simulator(PROJECT)


@pytest.fixture(scope="module", params=["default", "liu2018"])
def model(request, restaurants):
    return train_on_simulator(restaurants, tiny_settings(request.param, **QUICK), 16)


@pytest.fixture(scope="module")
def corpus(restaurants, model):
    return supervised_corpus(restaurants, DomainFacts.from_dict(model.extra["facts"]), 8, 1)


def rollouts(model, simulator, count=12, label=True):
    effects = SideEffects(simulator.flow)
    acting = ActingModel(with_known_values(model.encoder, simulator), model.weights)
    agent = agent_of(acting, model.extra, simulator, effects, np.random.default_rng(5))
    return list(Environment(simulator, agent, effects, label=label).rollouts(count, 7))


def test_the_teacher_labels_what_the_agent_did_and_the_right_goal_is_what_is_asked_for(
    model, restaurants
):
    mistaken = 0
    for rollout in rollouts(model, restaurants):
        dialogue = taught(rollout)
        assert [turn.actions for turn in dialogue.turns] == [t.actions for t in rollout.turns]
        for turn, agent in zip(dialogue.turns, rollout.turns):
            assert turn.summary.matches == len(restaurants.catalogue.find(turn.goal))
            assert len(turn.expert) == len(agent.actions) + 1
            mistaken += turn.summary != agent.summary
    assert mistaken, "the model is bad enough to ask for the wrong thing"


def test_labels_of_decisions_are_the_teachers_and_the_past_is_what_was_done(model, restaurants):
    encoder = with_known_values(model.encoder, restaurants)
    names = encoder.vocabulary.actions.names
    most = encoder.settings.actions_per_turn
    for rollout in rollouts(model, restaurants):
        for k, turn in enumerate(encoder.dialogue(taught(rollout))):
            labels = [names[d.action] for d in turn.decisions]
            # A turn that was cut off for its length has no decision to listen.
            assert labels == list(rollout.expert[k][: len(labels)])
            assert all(d.weight == 1.0 for d in turn.decisions)
            done = [encoder.vocabulary.actions[a.name] for a in rollout.turns[k].actions]
            assert [list(d.taken) for d in turn.decisions] == [
                done[:j] for j in range(len(turn.decisions))
            ]
            assert len(turn.decisions) <= max(most, 1) + 1


def test_goal_only_teaching_learns_no_action(model, restaurants):
    encoder = with_known_values(model.encoder, restaurants)
    for rollout in rollouts(model, restaurants, 4):
        turns = encoder.dialogue(taught(rollout, goal_only=True))
        assert all(d.weight == 0.0 for turn in turns for d in turn.decisions)
        assert any(label > 0 for turn in turns for label in turn.labels)


def test_reinforce_mixes_taught_dialogues_in_with_the_labels_of_their_teacher(model, restaurants):
    encoder = with_known_values(model.encoder, restaurants)
    lessons = [taught(rollout) for rollout in rollouts(model, restaurants)]
    mixed = Reinforcer(encoder, model.weights, ReinforceSettings(), lessons)._supervised
    names, mistaken = encoder.vocabulary.actions.names, 0
    for lesson, turns in zip(lessons, mixed):
        for turn, learnt in zip(lesson.turns, turns):
            labels = [names[d.action] for d in learnt.decisions]
            assert labels == list(turn.expert[: len(labels)])
            mistaken += labels != done_in(turn)[: len(labels)]
    assert mistaken, "the model is bad enough to do the wrong thing"


def test_the_network_gives_a_sampled_action_the_probability_that_it_was_drawn_with(
    model, restaurants
):
    encoder = with_known_values(model.encoder, restaurants)
    episodes = [episode_of(r) for r in rollouts(model, restaurants, 8, label=False)]
    assert all(turn[-1].action == LISTEN for e in episodes for turn in e.decisions)
    reinforcer = Reinforcer(encoder, model.weights, ReinforceSettings(supervised_weight=0.0))
    batch, _ = reinforcer._batch(episodes)
    chances = tf.nn.softmax(reinforcer.model(as_tensors(batch)).action_logits)
    again = tf.gather(chances, batch["decision_action"], batch_dims=1).numpy()
    learnt = batch["learnt"] > 0
    assert learnt.mean() > 0.5
    np.testing.assert_allclose(again[learnt], batch["propensity"][learnt], atol=1e-5)


def done_in(turn):
    return [*(action.name for action in turn.actions), LISTEN]


def teaching(model, simulator, corpus, **changes):
    settings = ImitationSettings(
        update_every=2, steps=2, batch_size=4, **{"learning_rate": 0.01, **changes}
    )
    return TeachingPractice(model, simulator, settings, corpus)


def feedback(model, simulator, corpus, **changes):
    chosen = {"batch_size": 2, "baseline": "moving_average", "supervised_weight": 0.1, **changes}
    return FeedbackPractice(model, simulator, ReinforceSettings(**chosen), corpus)


def points(model, done):
    return [{"dialogues": done, "sum": float(sum(np.abs(w).sum() for w in model.weights.values()))}]


class Killed(Exception):
    pass


@pytest.mark.parametrize("model", ["default"], indirect=True)
@pytest.mark.parametrize("way", [teaching, feedback])
def test_a_run_that_was_killed_ends_as_one_that_was_not(restaurants, model, corpus, tmp_path, way):
    through, rows = practise(way(model, restaurants, corpus), 6, tmp_path / "through", points, 4)

    def kill(done, figures):
        if done == 6:
            raise Killed

    with pytest.raises(Killed):
        practise(way(model, restaurants, corpus), 6, tmp_path / "killed", points, 4, kill)
    if way is teaching:  # it was being written at that moment
        with open(tmp_path / "killed" / "taught.jsonl", "a") as file:
            file.write('{"id": "')
    resumed, again = practise(way(model, restaurants, corpus), 6, tmp_path / "killed", points, 4)
    assert again == rows and [row["dialogues"] for row in rows] == [0, 4, 6]
    for name, value in through.weights.items():
        np.testing.assert_array_equal(value, resumed.weights[name], err_msg=name)
    assert through.encoder.vocabulary == resumed.encoder.vocabulary
    moved = [n for n, v in through.weights.items() if not np.array_equal(v, _grown(model, n, v))]
    assert "policy/kernel" in moved
    with pytest.raises(PracticeError, match="seed = 42, not 43"):
        practise(way(model, restaurants, corpus, seed=43), 6, tmp_path / "killed", points, 4)


def _grown(model: TrainedModel, name: str, like: np.ndarray) -> np.ndarray:
    return model.weights[name][: len(like)] if like.ndim else model.weights[name]


def test_taught_dialogues_are_a_corpus_on_disk_and_bring_new_words(model, tmp_path, corpus):
    movies = load_simulator(PROJECT)
    practice = teaching(model, movies, corpus)
    learnt, _ = practise(practice, 4, tmp_path, points, 100)
    written = list(read_jsonl(tmp_path / "taught.jsonl"))
    assert len(written) == 4 and all(t.expert for d in written for t in d.turns)
    before, after = model.encoder.vocabulary.words, learnt.encoder.vocabulary.words
    assert after.names[: len(before)] == before.names
    assert len(learnt.weights["words"]) == len(after)


def test_the_teacher_leads_as_many_dialogues_as_beta_says(model, restaurants, corpus, tmp_path):
    practice = teaching(model, restaurants, corpus, beta=1.0, beta_decay=0.0)
    practise(practice, 4, tmp_path, points, 100)
    led = [
        all(name == label for turn in d.turns for name, label in zip(done_in(turn), turn.expert))
        for d in read_jsonl(tmp_path / "taught.jsonl")
    ]
    assert led[:2] == [True, True] and not all(led)


@pytest.mark.parametrize("model", ["default"], indirect=True)
def test_what_results_lies_between_the_model_to_begin_with_and_the_trained_one(
    restaurants, model, corpus
):
    learnt = {}
    for share in (0.0, 0.25, 1.0):
        practice = teaching(model, restaurants, corpus, interpolation=share)
        practice.batch(0, 2)
        learnt[share] = practice.model().weights
    for name, trained in learnt[1.0].items():
        start = learnt[0.0][name]
        known = _grown(model, name, start)
        np.testing.assert_array_equal(start[: len(known)] if start.ndim else start, known)
        np.testing.assert_allclose(learnt[0.25][name], 0.75 * start + 0.25 * trained, atol=1e-6)
    assert not np.array_equal(learnt[1.0]["policy/kernel"], learnt[0.0]["policy/kernel"])


def test_training_anew_on_the_aggregate_is_another_way_to_update(restaurants, model, corpus):
    practice = teaching(model, restaurants, corpus, retrain_epochs=1)
    assert practice.batch(0, 2)["loss"] > 0
    assert set(practice.model().weights) == set(model.weights)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"beta": 2}, "beta: 2 is not allowed"),
        ({"steps": 0.5}, "whole number"),
        ({"goal_only": 1}, "true or false"),
        ({"rate": 1}, "rate: no such setting"),
    ],
)
def test_impossible_settings_of_teaching_are_errors(values, message):
    with pytest.raises(SettingsError, match=message):
        ImitationSettings.from_mapping(values)


def test_episodes_of_a_greedy_agent_are_not_learnt_from(model, restaurants):
    [rollout] = rollouts(model, restaurants, 1, label=False)
    greedy = episode_of(rollout, sampled=False)
    assert not any(d.sampled for turn in greedy.decisions for d in turn)
    assert replace(greedy, model_id="x").model_id == "x"
