"""Eq. 5 of Liu et al. (2018) to the digit, and what an update changes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from rasa_hybrid.dialogue import LISTEN, Dialogue, Turn, Utterance
from rasa_hybrid.dialogue.episode import Decision, Episode
from rasa_hybrid.learning.reinforce import Reinforcer, leave_one_out, reinforce_losses
from rasa_hybrid.learning.reinforce_settings import PRESETS, ReinforceSettings
from rasa_hybrid.learning.supervised import supervised_losses
from rasa_hybrid.model.batching import collate
from rasa_hybrid.model.network import as_tensors
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import SettingsError
from tests.model.small_worlds import act, bookings, random_weights, tiny_settings


@pytest.fixture(autouse=True)
def without_compiling():
    """Tracing takes longer than everything that such small models compute."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


LN2, LN3 = math.log(2), math.log(3)
PAPER = ReinforceSettings.from_mapping({"preset": "liu2018"})
#: A dialogue of three turns with two actions: pi(a) = 1/4, 3/4, 1/2; it earns -1, -1, -1 + 15.
LOGITS = [[LN3, 0.0], [0.0, LN3], [7.0, 7.0]]
ACTIONS = [1, 1, 0]
RETURNS = (-1 + 0.99 * (-1 + 0.99 * 14), -1 + 0.99 * 14, 14.0)


def losses(settings=PAPER, learnt=(1, 1, 1), advantage=RETURNS, anchor=None, **more):
    batch = {
        "decision_action": np.array(ACTIONS, np.int32),
        "advantage": np.array(advantage, np.float32),
        "learnt": np.array(learnt, np.float32),
        "propensity": np.array([0.25, 0.75, 0.5], np.float32),
        "episodes": np.array(1.0, np.float32),
        **{name: np.array(value, np.float32) for name, value in more.items()},
    }
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = reinforce_losses(
            logits, as_tensors(batch), settings, None if anchor is None else tf.constant(anchor)
        )
    return found, tape.gradient(found.total, logits).numpy()


def test_the_return_of_a_turn_is_what_it_and_the_discounted_following_turns_earned():
    turn = Turn(Utterance("hi"), actions=(act("utter_bye"),))
    decided = (Decision("utter_bye", 0.5, True), Decision(LISTEN, 0.5, True))
    episode = Episode(Dialogue("d", (turn,) * 3), (decided,) * 3, (-1.0, -1.0, 14.0))
    assert episode.returns(0.99) == pytest.approx(RETURNS)
    assert RETURNS[0] == pytest.approx(11.7314)


def test_the_loss_is_minus_the_return_times_the_log_probability_of_what_was_done():
    found, _ = losses()
    expected = -(
        RETURNS[0] * math.log(0.25) + RETURNS[1] * math.log(0.75) + RETURNS[2] * math.log(0.5)
    )
    assert float(found.total) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_a_logit_is_the_return_times_its_probability_less_one_where_it_was_chosen():
    _, gradient = losses()
    chances = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    chosen = np.eye(2)[ACTIONS]
    expected = np.array(RETURNS)[:, None] * (chances - chosen)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_loss_and_gradient_are_averaged_over_dialogues_not_over_turns():
    alone, gradient = losses()
    of_two, halved = losses(episodes=2.0)
    assert float(of_two.total) == pytest.approx(float(alone.total) / 2)
    np.testing.assert_allclose(halved, gradient / 2, rtol=1e-6)


def test_decisions_that_nobody_sampled_have_neither_loss_nor_gradient():
    found, gradient = losses(learnt=(1, 0, 1))
    expected = -(RETURNS[0] * math.log(0.25) + RETURNS[2] * math.log(0.5))
    assert float(found.total) == pytest.approx(expected, rel=1e-5)
    assert not gradient[1].any() and gradient[0].any()


def test_the_entropy_bonus_rewards_doubt():
    settings = replace(PAPER, entropy_bonus=2.0)
    found, _ = losses(settings, advantage=(0, 0, 0))
    of_quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert float(found.total) == pytest.approx(-2.0 * (2 * of_quarter + LN2), rel=1e-5)


def test_the_anchor_is_the_divergence_from_the_supervised_policy():
    settings = replace(PAPER, kl_weight=3.0)
    found, gradient = losses(settings, advantage=(0, 0, 0), anchor=LOGITS)
    assert float(found.total) == pytest.approx(0.0, abs=1e-6) and abs(gradient).max() < 1e-6
    found, _ = losses(settings, advantage=(0, 0, 0), anchor=[[LN3, 0.0], [LN3, 0.0], [7.0, 7.0]])
    apart = 0.75 * math.log(0.75 / 0.25) + 0.25 * math.log(0.25 / 0.75)
    assert float(found.total) == pytest.approx(3.0 * apart, rel=1e-5)


def test_importance_weights_are_clipped_and_have_no_gradient_of_their_own():
    settings = replace(PAPER, importance_clip=2.0)
    same, gradient = losses(settings)
    plain, expected = losses()
    assert float(same.total) == pytest.approx(float(plain.total), rel=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)
    _, gradient = losses(settings, propensity=(0.5, 0.1, 0.5))
    np.testing.assert_allclose(gradient[0], expected[0] / 2, rtol=1e-4)  # 0.25 / 0.5
    np.testing.assert_allclose(gradient[1], expected[1] * 2, rtol=1e-4)  # 0.75 / 0.1, at most 2


def test_the_baseline_of_an_episode_is_what_the_others_earned_from_the_same_turn_on():
    assert leave_one_out([[4.0, 2.0], [8.0], [6.0, 0.0]]) == [[7.0, 0.0], [5.0], [6.0, 2.0]]
    assert leave_one_out([[4.0, 2.0], [8.0]]) == [[8.0, 8.0], [4.0]]
    assert leave_one_out([[4.0, 2.0]]) == [[0.0, 0.0]]


# ------------------------------------------------------------------------------------------------ updates


def world(preset="default"):
    dialogues = bookings(40)
    encoder = prepare(tiny_settings(preset), dialogues)
    return encoder, random_weights(encoder), dialogues


def episodes(encoder, dialogues, sampled=True, preferred="utter_offer"):
    """Recorded dialogues as if a policy had sampled them; those that do what is preferred earn something."""
    most = encoder.settings.actions_per_turn
    made = []
    for dialogue in dialogues:
        decisions = tuple(
            tuple(
                Decision(name, 0.5, sampled)
                for name in [*(a.name for a in turn.actions[:most]), LISTEN]
            )
            for turn in dialogue.turns
        )
        good = sum(a.name == preferred for turn in dialogue.turns for a in turn.actions)
        rewards = (0.0,) * (len(dialogue.turns) - 1) + (15.0 * good - 7.0,)
        made.append(Episode(dialogue, decisions, rewards, bool(good)))
    return made


#: No decision of the policy depends on them.
HEADS = ("intent/", "tags/")


@pytest.mark.parametrize("preset", ["default", "liu2018"])
def test_end_to_end_every_parameter_moves_and_else_only_the_policy_network(preset):
    encoder, weights, dialogues = world(preset)
    batch = episodes(encoder, dialogues[:4])
    for policy_only in (False, True):
        settings = replace(PAPER, policy_only=policy_only)
        reinforcer = Reinforcer(encoder, weights, settings)
        assert reinforcer.update(batch).applied
        moved = {n for n, v in reinforcer.weights().items() if (v != weights[n]).any()}
        policy = {name for name in weights if name.startswith("policy/")}
        expected = {
            name
            for name in (policy if policy_only else weights)
            if not name.startswith(HEADS) and weights[name].size and name not in unused(encoder)
        }
        assert moved == expected


def unused(encoder):
    """Parameters that nothing in these dialogues looks up."""
    names = set()
    if encoder.settings.context and len(encoder.vocabulary.features) == 1:
        names |= {"features", "policy/features"}
    return names


@pytest.mark.parametrize("baseline", ["none", "moving_average", "leave_one_out"])
def test_what_earned_more_becomes_more_probable(baseline):
    encoder, weights, _ = world()
    settings = replace(PAPER, baseline=baseline, learning_rate=0.01)
    reinforcer = Reinforcer(encoder, weights, settings)
    said = [
        Dialogue(str(i), (Turn(Utterance("yes"), actions=(act(name),)),))
        for i, name in enumerate(["utter_offer", "action_book"] * 3)
    ]
    batch = [
        replace(e, decisions=((e.decisions[0][0], Decision(LISTEN)),))
        for e in episodes(encoder, said)
    ]
    assert {e.success for e in batch} == {True, False}
    offered, booked = first_chances(reinforcer, batch)
    for _ in range(4):
        reinforcer.update(batch)
    assert first_chances(reinforcer, batch)[0] > offered
    assert first_chances(reinforcer, batch)[1] < booked


def first_chances(reinforcer, batch):
    """Probabilities of `utter_offer` and `action_book` as the first action."""
    arrays, _ = reinforcer._batch(batch[:1])
    chances = tf.nn.softmax(reinforcer.model(as_tensors(arrays)).action_logits).numpy()[0]
    known = reinforcer.encoder.vocabulary.actions
    return chances[known["utter_offer"]], chances[known["action_book"]]


def test_success_teaches_the_goals_that_are_known_in_hindsight_and_failure_does_not():
    encoder, weights, dialogues = world()
    settings = replace(PAPER, hindsight_weight=1.0, learning_rate=0.01)
    for success in (True, False):
        reinforcer = Reinforcer(encoder, weights, settings)
        # What was done earned nothing more than elsewhere: only the goals are left to learn.
        batch = [
            replace(e, success=success, rewards=(0.0,) * len(e.rewards))
            for e in episodes(encoder, dialogues[:8])
        ]
        before = belief_loss(reinforcer, dialogues[:8])
        for _ in range(5):
            reinforcer.update(batch)
        after = belief_loss(reinforcer, dialogues[:8])
        assert after < 0.8 * before if success else after == before


def belief_loss(reinforcer, dialogues):
    encoder = reinforcer.encoder
    batch = as_tensors(collate(encoder, encoder.dialogues(dialogues)))
    return float(supervised_losses(reinforcer.model(batch), batch, encoder.settings).belief)


def test_updates_see_the_network_under_dropout_if_asked():
    encoder, weights, dialogues = world()
    norms = []
    for dropout in (False, True, True):
        reinforcer = Reinforcer(encoder, weights, replace(PAPER, dropout=dropout))
        norms.append(reinforcer.update(episodes(encoder, dialogues[:4])).gradient_norm)
    assert norms[0] != pytest.approx(norms[1])
    assert norms[1] == norms[2]


def test_importance_weights_are_those_of_the_policy_as_it_acts_under_dropout_too():
    encoder, weights, dialogues = world()
    settings = replace(PAPER, dropout=True, word_dropout=0.5, importance_clip=5.0)
    reinforcer = Reinforcer(encoder, weights, settings)
    batch = episodes(encoder, dialogues[:6])
    arrays = as_tensors(reinforcer._batch(batch)[0])
    chances = tf.nn.softmax(reinforcer.model(arrays).action_logits).numpy()
    taken = iter(chances[np.arange(len(chances)), arrays["decision_action"].numpy()])
    own = [
        replace(
            episode,
            decisions=tuple(
                tuple(replace(decision, propensity=float(next(taken))) for decision in turn)
                for turn in episode.decisions
            ),
        )
        for episode in batch
    ]
    assert reinforcer.update(own).effective_episodes == pytest.approx(6, abs=1e-3)


def test_learning_ends_with_the_average_and_goes_on_with_the_last_weights():
    encoder, weights, dialogues = world()
    reinforcer = Reinforcer(encoder, weights, replace(PAPER, weight_averaging=0.99))
    seen = [weights["policy/bias"]]
    expected = seen[0]
    for k in range(3):
        reinforcer.update(episodes(encoder, dialogues[4 * k : 4 * k + 4]))
        seen.append(reinforcer.model.weights()["policy/bias"])
        kept = (1 + k) / (10 + k)  # the first updates soon outweigh the start
        expected = kept * expected + (1 - kept) * seen[-1]
    assert not np.allclose(seen[-1], expected)
    np.testing.assert_allclose(reinforcer.weights()["policy/bias"], expected, rtol=1e-5)


def test_without_exploration_nothing_is_learnt_and_the_result_says_so():
    encoder, weights, dialogues = world()
    reinforcer = Reinforcer(encoder, weights)
    result = reinforcer.update(episodes(encoder, dialogues[:5], sampled=False))
    assert (result.decisions, result.applied) == (0, False)
    assert all((v == weights[n]).all() for n, v in reinforcer.weights().items())


def test_episodes_of_a_too_different_policy_are_not_learnt_from():
    encoder, weights, dialogues = world()
    settings = replace(PAPER, importance_clip=5.0, least_effective=0.9)
    reinforcer = Reinforcer(encoder, weights, settings)
    batch = episodes(encoder, dialogues[:8])
    unlikely = replace(
        batch[0],
        decisions=tuple(
            tuple(replace(d, propensity=1e-6) for d in turn) for turn in batch[0].decisions
        ),
    )
    result = reinforcer.update([unlikely, *batch[1:]])
    assert not result.applied and result.effective_episodes < 7.2
    assert all((v == weights[n]).all() for n, v in reinforcer.weights().items())


def test_a_run_that_was_interrupted_equals_one_that_was_not(tmp_path):
    encoder, weights, dialogues = world()
    settings = ReinforceSettings(baseline="moving_average", supervised_weight=0.5, batch_size=2)
    batches = [episodes(encoder, dialogues[i : i + 2]) for i in (0, 2, 4)]
    through = Reinforcer(encoder, weights, settings, dialogues[20:])
    for batch in batches:
        through.update(batch)
    stopped = Reinforcer(encoder, weights, settings, dialogues[20:])
    stopped.update(batches[0])
    np.savez(tmp_path / "state.npz", **stopped.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        state = {name: stored[name] for name in stored.files}
    resumed = Reinforcer(encoder, weights, settings, dialogues[20:])
    resumed.restore(state)
    for batch in batches[1:]:
        resumed.update(batch)
    for name, value in through.weights().items():
        np.testing.assert_array_equal(value, resumed.weights()[name], err_msg=name)


def test_the_state_of_another_model_is_an_error():
    encoder, weights, _ = world()
    other, others, _ = world("liu2018")
    with pytest.raises(ValueError, match="another model"):
        Reinforcer(other, others).restore(Reinforcer(encoder, weights).state())


def test_a_turn_has_as_many_decisions_as_the_model_took():
    encoder, weights, dialogues = world()
    [episode] = episodes(encoder, dialogues[:1])
    broken = replace(episode, decisions=((),) * len(episode.decisions))
    with pytest.raises(ValueError, match="one per action, and one to listen"):
        Reinforcer(encoder, weights).update([broken])


@pytest.mark.parametrize(
    "values, message",
    [
        ({"discount": 1.5}, "discount: 1.5 is not allowed; it has to be a number from 0 to 1"),
        ({"batch_size": 2.5}, "whole number"),
        ({"baseline": "best"}, "none, moving_average, leave_one_out"),
        ({"policy_only": "yes"}, "true or false"),
        ({"lr": 1}, "lr: no such setting"),
    ],
)
def test_impossible_settings_are_errors_that_say_what_is_allowed(values, message):
    with pytest.raises(SettingsError, match=message):
        ReinforceSettings.from_mapping(values)


def test_the_papers_preset_has_no_additions():
    assert PAPER.batch_size == 25 and PAPER.discount == 0.99 and PAPER.baseline == "none"
    for name in ("entropy_bonus", "gradient_clip", "kl_weight", "supervised_weight"):
        assert getattr(PAPER, name) == 0
    assert set(PRESETS["liu2018"]) <= set(PAPER.to_dict())
