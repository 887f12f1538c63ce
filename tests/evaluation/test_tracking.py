import json

import pytest

from rasa_hybrid.dialogue import Belief, Dialogue, DialogueAct, SystemAction, Turn, Utterance
from rasa_hybrid.evaluation.intervals import Proportion, wilson_interval
from rasa_hybrid.evaluation.tracking import calibration, mentioned_slots, score_tracking, summarise

SLOTS = ("area", "time")


def user(goal, *acts):
    return Turn(Utterance("...", acts=tuple(acts)), goal=goal)


def belief(area=("none", 1.0), time=("none", 1.0)):
    return Belief({"area": (area,), "time": (time,)})


def score(goals, beliefs, **options):
    dialogue = Dialogue("d", tuple(user(goal) for goal in goals))
    return score_tracking([(dialogue, beliefs)], SLOTS, **options)


def test_slot_and_joint_accuracy_count_all_user_turns():
    goals = [{}, {"area": "north"}, {"area": "north", "time": "noon"}, {"area": "south"}]
    beliefs = [
        belief(),
        belief(area=("north", 0.9)),
        belief(area=("north", 0.9)),
        belief(area=("dontcare", 0.5)),
    ]
    result = score(goals, beliefs)
    assert result.turns == 4
    assert result.slots["area"] == Proportion(3, 4)
    assert result.slots["time"] == Proportion(3, 4)
    assert result.joint == Proportion(2, 4)


def test_turn_before_the_user_speaks_is_not_scored():
    greeting = Turn(actions=(SystemAction("utter_greet"),))
    dialogue = Dialogue("d", (greeting, user({"area": "north"})))
    result = score_tracking([(dialogue, [belief(area=("north", 1.0))])], SLOTS)
    assert result.joint == Proportion(1, 1)


def test_values_are_compared_after_normalisation():
    goals = [{"area": "the North", "time": "6:00 pm"}]
    assert score(goals, [belief(("The north!", 0.9), ("6 p.m.", 0.9))]).joint == Proportion(1, 1)
    assert score(goals, [belief(("north", 0.9), ("6 pm", 0.9))]).joint == Proportion(0, 1)


def test_dontcare_is_not_none():
    assert score([{"area": "dontcare"}], [belief()]).slots["area"] == Proportion(0, 1)


def test_unlabelled_turns_are_left_out_and_counted():
    result = score([None, {}], [belief(area=("x", 1.0)), belief()])
    assert (result.turns, result.unlabelled, result.joint) == (1, 1, Proportion(1, 1))


def test_schedule_2_counts_a_slot_from_its_first_mention_on():
    goals = [{}, {"area": "north"}, {"area": "north"}, {}]
    beliefs = [belief(), belief(), belief(area=("north", 1.0)), belief()]
    result = score(goals, beliefs)
    assert result.schedule2_slots["area"] == Proportion(2, 3)
    assert result.schedule2_slots["time"] == Proportion(0, 0)
    assert result.schedule2_joint == Proportion(2, 3)
    assert result.joint == Proportion(3, 4)


def test_system_mentions_a_slot_with_a_value_not_with_a_question():
    def says(act):
        return SystemAction("a", (act,))

    dialogue = Dialogue(
        "d",
        (
            Turn(actions=(says(DialogueAct("request", "area")),)),
            Turn(Utterance("hm"), goal={}, actions=(says(DialogueAct("offer", "area", "west")),)),
            user({}),
            user({}, DialogueAct("deny", "time", "noon")),
        ),
    )
    assert mentioned_slots(dialogue, SLOTS) == [set(), {"area"}, {"area", "time"}]


def test_expected_calibration_error_by_hand():
    result = calibration([(0.95, True), (0.85, True), (0.85, False), (0.15, False)], bins=10)
    # |0.95 - 1| * 1/4 + |0.85 - 0.5| * 2/4 + |0.15 - 0| * 1/4
    assert result.expected_error == pytest.approx(0.225)
    assert [row.count for row in result.bins] == [0, 1, 0, 0, 0, 0, 0, 0, 2, 1]
    assert result.bins[8].accuracy == 0.5


def test_certainty_falls_into_the_last_bin():
    result = calibration([(1.0, True), (1.0000001, True), (0.0, False)], bins=4)
    assert [row.count for row in result.bins] == [1, 0, 0, 2]


def test_joint_confidence_is_the_product_over_slots():
    goals = [{"area": "north", "time": "noon"}]
    result = score(goals, [belief(("north", 0.5), ("noon", 0.8))])
    assert result.joint_calibration.expected_error == pytest.approx(0.6)
    assert result.calibration.expected_error == pytest.approx((0.5 + 0.2) / 2)
    assert result.slot_calibration["area"].expected_error == pytest.approx(0.5)


def test_wilson_interval_by_hand():
    # Wilson's interval of 8 of 10 at 95 %: 0.4902, 0.9433
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="impossible"):
        wilson_interval(3, 2)


def test_summary_gives_mean_and_deviation_over_seeds():
    goals = [{"area": "north"}] * 4
    right, wrong = belief(area=("north", 1.0)), belief()
    scores = [score(goals, [right] * n + [wrong] * (4 - n)) for n in (2, 3, 4)]
    summary = summarise(scores)
    assert summary["turns"] == 4
    assert summary["joint_goal_accuracy"]["mean"] == pytest.approx(0.75)
    assert summary["joint_goal_accuracy"]["std"] == pytest.approx(0.25)
    assert summary["joint_goal_accuracy"]["per_seed"] == [0.5, 0.75, 1.0]
    assert summary["joint_goal_accuracy"]["interval"] == list(wilson_interval(3, 4))
    assert summary["slot_accuracy"]["area"]["mean"] == pytest.approx(0.75)
    assert summary["schedule2"]["slot_accuracy"]["time"] == {"mean": None, "std": None}
    json.dumps(summary, allow_nan=False)


def test_one_seed_has_no_deviation():
    assert summarise([score([{}], [belief()])])["joint_goal_accuracy"]["std"] == 0.0


def test_scores_of_different_corpora_are_not_averaged():
    with pytest.raises(ValueError, match="not of the same corpus"):
        summarise([score([{}], [belief()]), score([{}, {}], [belief(), belief()])])
    with pytest.raises(ValueError, match="no scores"):
        summarise([])


@pytest.mark.parametrize(
    "beliefs, complaint",
    [
        ([], "Dialogue d: 0 beliefs do not fit 1 user turns"),
        (
            [Belief({"area": (("none", 1.0),)})],
            "Dialogue d: .* no distribution for the slot 'time'",
        ),
    ],
)
def test_beliefs_that_do_not_fit_are_named(beliefs, complaint):
    with pytest.raises(ValueError, match=complaint):
        score([{}], beliefs)


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="no labelled user turn"):
        score([None], [belief()])
