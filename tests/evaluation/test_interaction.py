from dataclasses import replace

import numpy as np
import pytest

from rasa_hybrid.dialogue import (
    Belief,
    Dialogue,
    DialogueAct,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.evaluation.interaction import InteractionReport, corpus_report
from rasa_hybrid.evaluation.intervals import bootstrap_interval, wilson_interval
from rasa_hybrid.simulation import AgentTurn, Rollout
from rasa_hybrid.simulation.agents import ReadTurn

SLOTS = ("date", "time")


def belief(**values):
    return Belief({slot: ((values.get(slot, "none"), 0.9),) for slot in SLOTS})


def rollout(beliefs, goals, actions, expert, success=True, profile="calm", name="d"):
    turns, agent = [], []
    for goal, believed, names in zip(goals, beliefs, actions):
        done = tuple(SystemAction(n, (DialogueAct("request", "date"),)) for n in names)
        turns.append(Turn(user=Utterance("on friday"), goal=goal, actions=done))
        agent.append(AgentTurn(believed, ResultSummary(), done))
    rewards = (-1.0,) * (len(turns) - 1) + (14.0 if success else -1.0,)
    return Rollout(
        Dialogue(name, tuple(turns), {"date": "friday"}),
        tuple(agent),
        rewards,
        success,
        "success" if success else "limit",
        profile,
        tuple(map(tuple, expert)),
    )


GOOD = rollout(
    [belief(date="friday"), belief(date="friday", time="6:00 pm")],
    [{"date": "friday"}, {"date": "friday", "time": "6 pm"}],
    [["ask"], ["book", "done"]],
    [["ask", "action_listen"], ["book", "done", "action_listen"]],
    name="good",
)
BAD = rollout(
    [belief(date="monday"), belief(), belief(date="friday")],
    [{"date": "friday"}] * 3,
    [["ask"], [], ["book"]],
    [["ask", "action_listen"], ["ask"], ["ask", "action_listen"]],
    success=False,
    profile="wild",
    name="bad",
)


@pytest.fixture
def report():
    report = InteractionReport(SLOTS)
    for one in (GOOD, BAD, GOOD):
        report.add(one)
    return report


def test_figures_are_those_counted_by_hand(report):
    result = report.to_dict()
    assert result["dialogues"] == 3
    assert result["success_rate"] == pytest.approx(2 / 3)
    assert result["success_rate_interval"] == list(wilson_interval(2, 3))
    assert result["average_turns"] == pytest.approx(7 / 3)
    assert result["average_turns_successful"] == 2
    assert result["average_reward"] == pytest.approx((13 + 13 - 3) / 3)
    assert result["joint_goal_accuracy"] == pytest.approx(5 / 7)  # "6 pm" is "6:00 pm"
    assert result["slot_accuracy"] == {"date": pytest.approx(5 / 7), "time": 1.0}
    # Decisions with their closing action_listen: 5 right in each good dialogue, 3 of 5 in the bad one.
    assert result["act_accuracy"] == pytest.approx(13 / 15)
    assert result["ended"] == {"success": 2, "limit": 1}


def test_profiles_are_told_apart(report):
    profiles = report.to_dict()["profiles"]
    assert profiles["calm"]["success_rate"] == 1.0 and profiles["calm"]["dialogues"] == 2
    assert profiles["wild"]["joint_goal_accuracy"] == pytest.approx(1 / 3)


def test_worst_dialogue_comes_first_and_shows_what_was_wrong(report):
    worst = report.worst()
    assert len(worst) == 3
    assert worst[0].startswith("bad")
    assert "! date: believed monday (0.90), said friday" in worst[0]
    assert "! expert: ask" in worst[0]
    assert "! expert goes on: ask" in worst[0]
    assert "!" not in worst[1]


def test_only_the_worst_are_kept():
    report = InteractionReport(SLOTS, keep_worst=1)
    for one in (GOOD, BAD, GOOD, GOOD):
        report.add(one)
    assert [text.split()[0] for text in report.worst()] == ["bad"]


def test_report_on_nothing_knows_nothing():
    result = InteractionReport(SLOTS).to_dict()
    assert result["success_rate"] is None and result["average_turns"] is None


def test_recorded_dialogues_are_followed(report):
    read = [
        [ReadTurn(turn.belief, right) for turn, right in zip(one.turns, one.expert)]
        for one in (GOOD, BAD)
    ]
    result = corpus_report(SLOTS, [GOOD.dialogue, BAD.dialogue], read)
    assert result["joint_goal_accuracy"] == pytest.approx(3 / 5)
    assert result["act_accuracy"] == pytest.approx(8 / 10)
    assert result["success_rate"] is None


def test_in_taught_dialogues_the_teacher_is_right():
    taught = [
        replace(turn, expert=tuple(names)) for turn, names in zip(BAD.dialogue.turns, BAD.expert)
    ]
    read = [[ReadTurn(turn.belief, ("ask", "ask")) for turn in BAD.turns]]
    result = corpus_report(SLOTS, [replace(BAD.dialogue, turns=tuple(taught))], read)
    assert result["act_accuracy"] == pytest.approx(3 / 5)


def test_of_an_agent_without_decisions_only_the_belief_is_told():
    read = [[ReadTurn(turn.belief, ()) for turn in one.turns] for one in (GOOD, BAD)]
    result = corpus_report(SLOTS, [GOOD.dialogue, BAD.dialogue], read)
    assert result["joint_goal_accuracy"] == pytest.approx(3 / 5)
    assert result["act_accuracy"] is None and result["intervals"]["act_accuracy"] is None


def test_bootstrap_interval_of_a_mean_is_about_two_standard_errors_wide():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)


def test_bootstrap_interval_of_a_ratio_counts_dialogues_and_not_turns():
    # All turns of a dialogue are right or all are wrong: 50 independent units, not 500.
    right = np.array([10, 0] * 25)
    low, high = bootstrap_interval(right, np.full(50, 10))
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 50**0.5, rel=0.2)


def test_bootstrap_repeats_and_knows_when_there_is_nothing():
    assert bootstrap_interval([1, 2, 3]) == bootstrap_interval([1, 2, 3])
    assert bootstrap_interval([]) is None
    assert bootstrap_interval([0.0], [0.0]) is None
