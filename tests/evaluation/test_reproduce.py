"""The commands that learn from simulated users, and the report of the paper's experiments, on a tiny model."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from click.testing import CliRunner

from rasa_hybrid.commands import main
from rasa_hybrid.corpora import read_jsonl
from rasa_hybrid.dialogue import Dialogue
from rasa_hybrid.evaluation import experiment as experiments
from rasa_hybrid.evaluation import reproduce as reproducing
from rasa_hybrid.evaluation.comparisons import comparisons
from rasa_hybrid.evaluation.curves import interact
from rasa_hybrid.evaluation.experiment import Experiment, stages
from rasa_hybrid.evaluation.intervals import paired_interval
from rasa_hybrid.evaluation.reproduce import development_file, training_file
from rasa_hybrid.learning.simulated import TrainedModel, train_on_simulator
from rasa_hybrid.model.checkpoint import load_model, save
from rasa_hybrid.model.settings import SettingsError
from rasa_hybrid.simulation import load_simulator
from tests.model.small_worlds import TINY, tiny_settings

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "restaurant_search"
KEYS = (
    "dialogues success_rate success_rate_interval average_turns average_turns_successful average_reward "
    "joint_goal_accuracy slot_accuracy act_accuracy surface seed seconds"
).split()


@pytest.fixture(scope="module", autouse=True)
def without_compiling():
    """Tracing takes longer than everything that such small models compute."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def run(*arguments, ok=True):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert (result.exit_code == 0) == ok, result.output
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("base") / "model"
    settings = tiny_settings(epochs=1, least_steps=1)
    save(directory, *train_on_simulator(load_simulator(PROJECT), settings, 16))
    return directory


@pytest.mark.parametrize("command", ["teach", "reinforce"])
def test_the_commands_write_model_and_curve_and_print_what_evaluate_prints(
    command, model, tmp_path
):
    out = tmp_path / "learnt"
    arguments = ["--project", PROJECT, "--model", model, "--episodes", 4, "--out", out]
    arguments += ["--surface", "train", "--measure-surface", "train", "--measure-dialogues", 2]
    arguments += ["--earlier", 4, "--word-strange", 1, "--seed", 3, "--json"]
    small = ["--set", "steps=1", "--set", "update_every=2"]
    arguments += small if command == "teach" else ["--set", "batch_size=2", "--policy-only"]
    result = run(command, *arguments)
    printed = json.loads(result.stdout.splitlines()[-1])
    assert set(KEYS) <= set(printed) and printed["seed"] == 3
    # The users that tell how good it is are others than those that it learnt from, and easier to understand.
    users = load_simulator(PROJECT, "train")
    told = interact(TrainedModel(*load_model(out)), users, 10, 2**31 - 1).to_dict()
    assert printed["joint_goal_accuracy"] == pytest.approx(told["joint_goal_accuracy"])
    assert {"before", "after"} <= set(printed)
    if command == "teach":
        taught = read_jsonl(tmp_path / "learnt.run" / "taught.jsonl")
        said = {word for d in taught for t in d.turns if t.user for word in t.user.text.split()}
        assert said - users.surfaces.words()
    assert (tmp_path / "learnt.run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "learnt.run" / "curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["dialogues"] for row in rows] == ["0", "2", "4"]
    before, after = load_model(model)[1], load_model(out)[1]
    assert (before["policy/kernel"] != after["policy/kernel"]).any()
    assert (before["dialogue/kernel"] != after["dialogue/kernel"]).any() == (command == "teach")
    evaluated = run(
        "evaluate", "--project", PROJECT, "--model", out, "--dialogues", 10, "--seed", 3, "--json"
    )
    assert set(KEYS) <= set(json.loads(evaluated.stdout))


def test_another_model_or_other_earlier_dialogues_are_another_run(model, tmp_path):
    other = tmp_path / "other"
    settings = tiny_settings(epochs=2, least_steps=1)
    save(other, *train_on_simulator(load_simulator(PROJECT), settings, 16))
    base = ["reinforce", "--project", PROJECT, "--episodes", 2, "--out", tmp_path / "learnt"]
    base += ["--surface", "train", "--measure-surface", "train", "--measure-dialogues", 2]
    run(*base, "--model", model, "--earlier", 4)
    refused = run(*base, "--model", other, "--earlier", 4, ok=False).output
    assert "holds a run with model = " in refused
    refused = run(*base, "--model", model, "--earlier", 2, ok=False).output
    assert "holds a run with earlier = " in refused
    refused = run(*base, "--model", model, "--earlier", 4, "--word-strange", 1, ok=False).output
    assert "holds a run with noise = " in refused
    run(*base, "--model", model, "--earlier", 4)


def test_impossible_requests_say_what_to_do(model, tmp_path):
    arguments = ["--project", PROJECT, "--model", model, "--episodes", 2]
    arguments += ["--surface", "train", "--measure-surface", "train"]
    result = run("teach", *arguments, "--out", tmp_path / "x.tar.gz", ok=False)
    assert "use a name without .tar.gz" in result.output
    result = run("reinforce", *arguments, "--out", tmp_path / "x", "--set", "baseline=x", ok=False)
    assert "none, moving_average, leave_one_out" in result.output


@pytest.fixture
def experiment(tmp_path):
    content = {
        "name": "tiny",
        "differences": ["All of it is tiny."],
        "model": {**TINY, "subword_buckets": 20, "epochs": 1, "least_steps": 1},
        "supervised_dialogues": 8,
        "taught": [2, 4],
        "imitation": {"update_every": 2, "steps": 1, "batch_size": 2},
        "earlier": 2,
        "reinforced_dialogues": 2,
        "reinforce": {"batch_size": 2},
        "measure_every": 2,
        "measure_dialogues": 2,
        "final_dialogues": 3,
    }
    path = tmp_path / "experiment.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_an_experiment_writes_its_report_and_goes_on_after_a_kill(
    experiment, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    arguments = ["--project", PROJECT, "--out", out, "--experiment", experiment, "--seeds", 1]
    arguments += ["--teach-surface", "train", "--test-surface", "train", "--json", "--jobs", 1]
    learn, begun = experiments.Laboratory._learn, []

    def killed(laboratory, stage):
        begun.append(stage.name)
        if begun.count("SL+RL") == 1 and stage.name == "SL+RL":
            raise KeyboardInterrupt
        return learn(laboratory, stage)

    monkeypatch.setattr(experiments.Laboratory, "_learn", killed)
    run("reproduce", *arguments, ok=False)
    result = run("reproduce", *arguments)
    planned = [stage.name for stage in stages(Experiment.read(experiment))]
    assert sorted(begun) == sorted([*planned, "SL+RL"]), "no stage was run twice"
    printed = json.loads(result.stdout.splitlines()[-1])
    assert {row["stage"] for row in printed["stages"]} == set(planned)
    report = (out / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 9 and 'src="http' not in report
    for words in ("Table 2", "Figure 3", "Figure 6", "All of it is tiny.", "commit"):
        assert words in report
    written = (out / "report.md").read_text()
    for picture in out.glob("*.png"):
        assert f"]({picture.name})" in written
    with open(out / "curves.csv", newline="") as file:
        assert {row["run"] for row in csv.DictReader(file)} == {p for p in planned if p != "SL"}
    changed = yaml.safe_load(experiment.read_text())
    experiment.write_text(yaml.safe_dump({**changed, "earlier": 3}))
    assert "earlier = 2, not 3" in run("reproduce", *arguments, ok=False).output


def test_differences_are_of_the_figures_in_the_tables_and_users_are_drawn_not_seeds():
    def result(stage, seed, successes, joint_goals):
        final = {"successes": successes, "joint_goals": joint_goals}
        return {
            "stage": stage,
            "seed": seed,
            "final": dict.fromkeys(("train", "teach", "test"), final),
        }

    results = [
        result("SL", 0, [0, 0, 1, 1], [(1, 2), (0, 2), (2, 4), (1, 2)]),
        result("SL+RL", 0, [1, 0, 1, 1], [(2, 2), (0, 1), (4, 4), (3, 3)]),
        result("SL", 1, [0, 0, 0, 1], [(1, 1), (1, 1), (1, 1), (1, 1)]),
        result("SL+RL", 1, [1, 1, 1, 0], [(1, 2), (1, 2), (1, 2), (1, 2)]),
    ]
    success, *_, belief = [
        row
        for row in comparisons(results, Experiment(taught=()))
        if row["difference"] == "SL+RL - SL" and row["surface"] != "train"
    ]
    assert success["mean"] == pytest.approx(3 / 8) and success["per_seed"] == [0.25, 0.5]
    # With the users the differences are 1, .5, .5 and -.5, which four draws have on average.
    assert success["interval"] == pytest.approx([-0.25, 0.875], abs=0.13)
    assert belief["figure"] == "joint goal accuracy"
    assert belief["per_seed"] == pytest.approx([9 / 10 - 4 / 10, 1 / 2 - 1])
    assert belief["mean"] == pytest.approx(0.0)


def test_seeds_that_are_copies_of_one_another_do_not_make_an_interval_narrower():
    rng = np.random.default_rng(0)
    turns = rng.integers(3, 12, 400)
    right = [rng.binomial(turns, share) for share in (0.7, 0.6)]
    one = paired_interval([(right[0], turns)], [(right[1], turns)])
    three = paired_interval([(right[0], turns)] * 3, [(right[1], turns)] * 3)
    assert one == pytest.approx(three)
    spread = np.std(right[0] - right[1]) / turns.mean() / 20
    assert one[1] - one[0] == pytest.approx(4 * spread, rel=0.15)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "experiments").glob("*.yml")), ids=str
)
def test_experiments_are_readable_and_say_how_they_differ(path):
    experiment = Experiment.read(path)
    assert experiment.name == path.stem and experiment.differences


def test_the_full_experiment_is_what_runs_without_a_file():
    described = Experiment.read(ROOT / "benchmarks" / "experiments" / "full.yml")
    assert {**described.to_dict(), "differences": ()} == Experiment().to_dict()


def test_reinforce_from_scratch_can_be_left_out():
    names = [stage.name for stage in stages(Experiment(taught=(5,), scratch=False))]
    assert names == ["SL", "SL+IL5", "SL+IL5+RL", "SL+RL", "SL+RL policy only"]
    assert [s.name for s in stages(Experiment(taught=(5,)))] == [*names, "RL"]


def test_mistakes_in_an_experiment_name_file_and_key(tmp_path):
    path = tmp_path / "e.yml"
    for content, message in (
        ("taugth: [1]", "taugth: no such key"),
        ("taught: [5, 5]", "has to rise"),
        ("reinforce: {discount: 2}", "discount: 2 is not allowed"),
        ("scratch: 0", "scratch: 0 is not allowed"),
        ("taught: 500", "taught: 500 is not allowed; it has to be a list"),
        ("differences: abc", "differences: 'abc' is not allowed"),
        ("noise: [1]", "noise: .1. is not allowed; it has to be keys and values"),
        ("noise: {words: 1}", "noise: words: no such key; allowed: word_drop"),
        ("noise: {word_strange: 2}", "noise: word_strange: 2 is not allowed"),
        ("- 1", "keys and values are expected"),
    ):
        path.write_text(content)
        with pytest.raises(SettingsError, match=message) as error:
            Experiment.read(path)
        assert str(path) in str(error.value)


def test_a_tracker_for_table_1_is_trained_again_for_other_files_or_seeds(tmp_path, monkeypatch):
    trained = []

    def tracking(plan, splits, seeds, tell):
        trained.append(list(seeds))
        return {"joint_goal_accuracy": len(trained), "reliability": []}

    monkeypatch.setattr(reproducing, "run_tracking", tracking)
    monkeypatch.setattr(reproducing, "read_dataset", lambda *_: [])
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.json").write_text(name)

    def table(test, seeds):
        files = {"m2m": str(tmp_path / test)}
        found = reproducing._table_1(tmp_path, Experiment(), files, seeds, print)
        return found["m2m"]["joint_goal_accuracy"]

    assert [table("dev.json", [0]), table("dev.json", [0])] == [1, 1]
    assert [table("dev.json", [0, 1]), table("test.json", [0, 1])] == [2, 3]
    (tmp_path / "train.json").write_text("other dialogues")
    assert table("test.json", [0, 1]) == 4
    assert trained == [[0], [0, 1], [0, 1], [0, 1]]


def test_a_tracker_for_table_1_is_chosen_by_the_development_file_or_by_a_tenth(
    tmp_path, monkeypatch
):
    split = []
    names = {
        f"{name}.json": [Dialogue(f"{name} {i}", ()) for i in range(20)]
        for name in ("train", "dev", "test")
    }

    def tracking(plan, splits, seeds, tell):
        split.append([len(part) for part in (splits.train, splits.dev, splits.test)])
        split.append([part[0].id for part in (splits.train, splits.dev, splits.test)])
        return {"reliability": []}

    monkeypatch.setattr(reproducing, "run_tracking", tracking)
    monkeypatch.setattr(reproducing, "read_dataset", lambda _, path, *__: names[Path(path).name])
    for name in names:
        (tmp_path / name).write_text(name)
    reproducing._table_1(tmp_path, Experiment(), {"m2m": str(tmp_path / "test.json")}, [0], print)
    reproducing._table_1(tmp_path, Experiment(), {"m2m": str(tmp_path / "dev.json")}, [0], print)
    assert split == [
        [20, 20, 20],
        ["train 0", "dev 0", "test 0"],
        [18, 2, 20],
        ["train 2", "train 0", "dev 0"],
    ]
    assert development_file(tmp_path / "test2.json") is None


def test_a_tracker_for_table_1_is_trained_on_the_file_beside(tmp_path):
    shutil.copy(__file__, tmp_path / "train.json")
    assert training_file(tmp_path / "test.json") == tmp_path / "train.json"
    with pytest.raises(ValueError, match="there is no train2.json"):
        training_file(tmp_path / "test2.json")
