import textwrap
from dataclasses import replace

import numpy as np
import pytest

from rasa_hybrid.dialogue import DONTCARE, DialogueAct, SystemAction, normalise
from rasa_hybrid.simulation import (
    Environment,
    Expert,
    SideEffects,
    load_simulator,
    self_play,
    track,
)
from rasa_hybrid.simulation.agents import certain
from rasa_hybrid.simulation.rewards import Rewards


def rollouts(simulator, count, seed=0, batch_size=64, agent=None, label=False):
    side_effects = SideEffects(simulator.flow)
    agent = (agent or (lambda effects: Expert(simulator.flow, simulator.catalogue, effects)))(
        side_effects
    )
    return list(
        Environment(simulator, agent, side_effects, label).rollouts(count, seed, batch_size)
    )


@pytest.fixture(scope="module")
def played(movies):
    return rollouts(movies, 400, seed=1)


def test_expert_succeeds(played):
    assert sum(rollout.success for rollout in played) >= 0.97 * len(played)


def test_dialogues_are_as_long_as_those_of_the_paper(played):
    assert 8.0 <= np.mean([len(rollout.dialogue.turns) for rollout in played]) <= 8.8


def test_same_seed_gives_the_same_dialogues_whatever_the_batch_size(movies):
    one, other = (list(self_play(movies, 40, seed=7, batch_size=size)) for size in (1, 17))
    assert one == other
    assert one[25:] == list(self_play(movies, 15, seed=7, first=25))
    assert one != list(self_play(movies, 40, seed=8))


def test_labels_follow_from_what_the_user_did(played):
    for rollout in played:
        goal = {}
        for turn_ in rollout.dialogue.turns:
            goal = track(goal, turn_.user.acts)
            assert turn_.goal == goal


def test_success_means_that_the_label_is_the_goal_and_the_offer_fits(movies, played):
    for rollout in played:
        if not rollout.success:
            continue
        last = rollout.dialogue.turns[-1]
        assert {s: normalise(v) for s, v in last.goal.items()} == {
            s: normalise(v) for s, v in rollout.dialogue.goal.items()
        }
        offer = [turn_.offered for turn_ in rollout.turns if turn_.offered][-1]
        wanted = {s: v for s, v in rollout.dialogue.goal.items() if s in offer and v != DONTCARE}
        assert {s: offer[s] for s in wanted} == wanted
        assert int(offer["seats"]) >= int(rollout.dialogue.goal["num_tickets"])


def test_values_are_found_where_they_are_marked(played):
    marked = 0
    for rollout in played:
        for turn_ in rollout.dialogue.turns:
            text = turn_.user.text
            for entity in turn_.user.entities:
                marked += 1
                said = normalise(text[entity.start : entity.end])
                assert said and (
                    set(said.split()) & set(normalise(entity.value).split())
                    or entity.name == "date"
                )
    assert marked > 1000


def test_everything_that_can_happen_does(played):
    done = {tuple(action.name for action in t.actions) for r in played for t in r.dialogue.turns}
    assert {
        ("utter_no_match",),
        ("utter_cancelled",),
        ("utter_cannot_help", "utter_request_movie"),
        ("action_book_tickets", "utter_sold_out"),
        ("utter_select_movie",),
        ("utter_greet",),
    } <= done
    said = {act.act for r in played for t in r.dialogue.turns for act in t.user.acts}
    assert {
        "negate",
        "request_alternatives",
        "repeat",
        "request",
        "cancel",
        "out_of_domain",
    } <= said


def test_expert_agrees_with_itself(movies):
    for rollout in rollouts(movies, 60, seed=3, label=True):
        for turn_, right, advice in zip(rollout.dialogue.turns, rollout.expert, rollout.advice):
            assert right == (*(action.name for action in turn_.actions), "action_listen")
            assert advice == turn_.actions


# ------------------------------------------------------------------------------------------ other agents, rewards


class Wrapped:
    """The expert with something broken."""

    def __init__(self, simulator, side_effects, change):
        self.expert = Expert(simulator.flow, simulator.catalogue, side_effects)
        self.change, self.slots = change, simulator.slots

    def begin(self, count):
        self.expert.begin(count)

    def respond(self, utterances):
        return {
            i: self.change(turn_, self.slots)
            for i, turn_ in self.expert.respond(utterances).items()
        }


def wrong_belief(turn_, slots):
    goal = dict(turn_.belief.goal())
    if "date" in goal:
        goal["date"] = "monday" if goal["date"] != "monday" else "friday"
    return replace(turn_, belief=certain(goal, slots))


def test_a_wrong_belief_is_no_success_even_if_the_booking_is_right(movies):
    played = rollouts(
        movies, 30, agent=lambda effects: Wrapped(movies, effects, wrong_belief), label=True
    )
    assert not any(rollout.success for rollout in played)
    assert {rollout.ended for rollout in played} <= {"left", "gave_up"}
    # The labels are the expert's all the same.
    assert all(
        t.goal == a.belief.goal() or "date" in t.goal
        for r in played
        for t, a in zip(r.dialogue.turns, r.turns)
    )


def test_who_never_confirms_reaches_the_limit_or_loses_the_user(movies):
    def mute(turn_, slots):
        kept = tuple(
            action
            for action in turn_.actions
            if action.name not in ("utter_confirm", "action_book_tickets")
        )
        return replace(turn_, actions=kept)

    played = rollouts(movies, 30, agent=lambda effects: Wrapped(movies, effects, mute))
    assert not any(rollout.success for rollout in played)
    assert max(len(rollout.dialogue.turns) for rollout in played) <= movies.max_turns


def test_offers_that_do_not_fit_are_refused_and_corrected(movies):
    def misleading(turn_, slots):
        acts = lambda action: tuple(  # noqa: E731
            DialogueAct(a.act, a.slot, "3:33 am") if a.slot == "time" and a.act == "offer" else a
            for a in action.acts
        )
        return replace(
            turn_, actions=tuple(SystemAction(a.name, acts(a), a.context) for a in turn_.actions)
        )

    played = rollouts(movies, 30, agent=lambda effects: Wrapped(movies, effects, misleading))
    for rollout in played:
        heard_wrong = False
        for turn_ in rollout.dialogue.turns:
            said = {act.act for act in turn_.user.acts}
            if heard_wrong:
                assert "affirm" not in said
            wanted = rollout.dialogue.goal["time"]
            heard_wrong = wanted != DONTCARE and any(
                a.act == "offer" for x in turn_.actions for a in x.acts
            )


def test_user_understands_an_agent_that_names_its_acts_otherwise(movies):
    def renamed(turn_, slots):
        acts = lambda action: tuple(  # noqa: E731
            replace(a, act="tell") for a in action.acts if action.name == "utter_offer"
        )
        return replace(
            turn_, actions=tuple(SystemAction(a.name, acts(a), a.context) for a in turn_.actions)
        )

    usual = rollouts(movies, 40)
    other = rollouts(movies, 40, agent=lambda effects: Wrapped(movies, effects, renamed))
    assert [[t.user for t in r.dialogue.turns] for r in other] == [
        [t.user for t in r.dialogue.turns] for r in usual
    ]


def test_reward_is_15_for_success_0_for_failure_and_minus_1_a_turn(played):
    for rollout in played:
        assert len(rollout.rewards) == len(rollout.dialogue.turns)
        assert rollout.rewards[:-1] == (-1.0,) * (len(rollout.rewards) - 1)
        assert rollout.rewards[-1] == (14.0 if rollout.success else -1.0)


def test_reward_terms_are_configured_and_added_by_module_path(restaurant_project, monkeypatch):
    (restaurant_project / "cost.py").write_text(
        textwrap.dedent(
            """
            def words(turn):
                return len(turn.user.text.split())
            """
        )
    )
    monkeypatch.syspath_prepend(str(restaurant_project))
    path = restaurant_project / "simulator/simulator.yml"
    path.write_text(
        path.read_text()
        + "\nrewards:\n  success: 20\n  turn: -2\n  cost.words: -0.1\n  query: -0.5\n"
    )
    simulator = load_simulator(restaurant_project)
    for rollout in rollouts(simulator, 20):
        words = sum(len(t.user.text.split()) for t in rollout.dialogue.turns)
        goals = [t.goal for t in rollout.dialogue.turns]
        queries = sum(bool(goal) and goal != before for before, goal in zip([{}, *goals], goals))
        expected = 20 * rollout.success - 2 * len(goals) - 0.1 * words - 0.5 * queries
        assert sum(rollout.rewards) == pytest.approx(expected)


def test_default_rewards_are_those_of_the_paper():
    assert [(name, weight) for name, _, weight in Rewards().terms] == [
        ("success", 15),
        ("failure", 0),
        ("turn", -1),
    ]


def test_second_domain_needs_no_code(restaurants):
    played = rollouts(restaurants, 200)
    assert sum(rollout.success for rollout in played) >= 0.97 * len(played)
    assert {r.profile for r in played} == {"hungry", "choosy", "chatty"}


# ---------------------------------------------------------------------------------------------- kinds of users


def only(simulator, **parameters):
    """The simulator with one profile."""
    profile = replace(simulator.profiles[0], name="tried", **parameters)
    return type(simulator)(
        list(simulator.goals.slots.values()),
        simulator.flow,
        simulator.catalogue,
        simulator.goals,
        [profile],
        simulator.voice,
        simulator.spoken,
        simulator.rewards,
        simulator.max_turns,
    )


def share(simulator, act, count=150):
    acts = [
        a.act
        for r in rollouts(simulator, count, seed=5)
        for t in r.dialogue.turns
        for a in t.user.acts
    ]
    return acts.count(act) / count


def told(rollouts_):
    turns = [t for r in rollouts_ for t in r.dialogue.turns]
    return [sum(a.act == "inform" for a in t.user.acts) for t in turns]


def test_verbose_users_tell_more_at_once_and_need_fewer_turns(movies):
    terse = rollouts(only(movies, verbosity=0.0, opening=0.0), 100)
    verbose = rollouts(only(movies, verbosity=0.7, opening=0.7), 100)
    assert max(told(verbose)) >= 4
    assert np.mean([len(r.turns) for r in verbose]) < np.mean([len(r.turns) for r in terse]) - 2


@pytest.mark.parametrize(
    "parameter, act, low, high",
    [
        ("politeness", "greeting", 0.0, 1.0),
        ("out_of_domain", "out_of_domain", 0.0, 0.4),
        ("curiosity", "request", 0.0, 1.0),
        ("misunderstanding", "repeat", 0.0, 0.5),
        ("giving_up", "cancel", 0.0, 0.2),
        ("pickiness", "request_alternatives", 0.0, 1.0),
    ],
)
def test_profile_parameters_do_what_they_say(movies, parameter, act, low, high):
    few = share(only(movies, **{parameter: low}), act, 80)
    many = share(only(movies, **{parameter: high}), act, 80)
    assert many > few + 0.2


def test_changes_of_mind_change_the_goal(movies):
    def changes(simulator):
        count = 0
        for rollout in rollouts(simulator, 100):
            goal = {}
            for t in rollout.dialogue.turns:
                count += any(goal.get(s, v) != v for s, v in t.goal.items())
                goal = t.goal
        return count

    calm = {"self_correction": 0.0, "misunderstanding": 0.0}
    assert (
        changes(only(movies, change_of_mind=1.0, **calm))
        > changes(only(movies, change_of_mind=0.0, **calm)) + 60
    )


def test_impatient_users_give_up_sooner(movies):
    def mute(turn_, slots):
        return replace(turn_, actions=())

    def turns(patience):
        simulator = only(movies, patience=patience)
        played = rollouts(simulator, 20, agent=lambda effects: Wrapped(simulator, effects, mute))
        assert {r.ended for r in played} == {"gave_up"}
        return np.mean([len(r.turns) for r in played])

    assert turns(2) + 2 <= turns(5)


def test_misspoken_values_are_put_right(movies):
    played = rollouts(only(movies, self_correction=0.5, change_of_mind=0.0), 60)
    assert sum(r.success for r in played) >= 0.9 * len(played)
    changed = sum(
        any(before.goal.get(s, v) != v for s, v in after.goal.items())
        for r in played
        for before, after in zip(r.dialogue.turns, r.dialogue.turns[1:])
    )
    assert changed >= 20
