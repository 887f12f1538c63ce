"""`make bench`: what was measured is not measured again, and the report says it bot by bot, ratios first."""

import json

import click
import pytest

from benchmarks.__main__ import PARTS, Task, measured, page, planned, report, run

SIZES = {
    "dialogues": 400,
    "epochs": 100,
    "growth": (4000,),
    "recorded": 100,
    "users": 60,
    "messages": 150,
    "clients": 16,
    "played": 640,
    "repetitions": 3,
}


def _trained(bot, seconds, dialogues=400):
    costs = {"processor_seconds": seconds, "peak_memory_MB": 800.0, "archive_MB": 7.0}
    return {"bot": bot, "dialogues": dialogues, **costs}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that prints its argument as a figure and counts how often it ran; it fails for `bad`."""
    (tmp_path / "measuring.py").write_text(
        "import json, pathlib, sys\n"
        "print('not a figure')\n"
        "if sys.argv[1] == 'bad': sys.exit('no such thing')\n"
        "with open(pathlib.Path(__file__).with_name('ran'), 'a') as file: file.write('x')\n"
        "print(json.dumps({'said': sys.argv[1]}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "ran"


def test_what_was_measured_is_kept_unless_it_was_measured_otherwise(module, tmp_path):
    folder = tmp_path / "figures"
    assert not run(Task("one", ("measuring", "a")), folder)
    assert run(Task("one", ("measuring", "a")), folder)
    assert module.read_text() == "x"
    assert measured(folder) == {"one": [{"said": "a"}]}
    assert not run(Task("one", ("measuring", "b")), folder)
    assert measured(folder) == {"one": [{"said": "b"}]}


def test_figures_of_bots_that_learnt_something_else_are_not_theirs(module, tmp_path):
    folder = tmp_path / "figures"
    [*_, serving] = planned(tmp_path, ("serving",), ("hybrid",), SIZES)
    [*_, others] = planned(tmp_path, ("serving",), ("hybrid",), {**SIZES, "dialogues": 8})
    assert serving.name == others.name and serving.command != others.command
    run(Task("one", ("measuring", "a")), folder)
    assert measured(folder, [Task("one", ("measuring", "a"))]) == {"one": [{"said": "a"}]}
    assert measured(folder, [Task("one", ("measuring", "b"))]) == {}


def test_a_measurement_that_fails_names_its_log_and_is_made_again(module, tmp_path):
    folder = tmp_path / "figures"
    with pytest.raises(click.ClickException, match=r"measuring bad failed; see .*one\.log"):
        run(Task("one", ("measuring", "bad")), folder)
    assert "no such thing" in (folder / "one.log").read_text()
    assert measured(folder) == {}


def test_bots_are_trained_before_they_are_measured(tmp_path):
    tasks = list(planned(tmp_path, ("serving",), ("hybrid", "form"), SIZES))
    assert [task.name for task in tasks] == ["train hybrid", "train form", "serving"]
    assert f"--bot=form={tmp_path}/bots-400-100/form/models/form.tar.gz" in tasks[-1].command
    names = [task.name for task in planned(tmp_path, PARTS, ("hybrid",), SIZES)]
    assert names[0] == "speed" and names[-1] == "serving"
    assert {"growth 4000", "read train", "talk extended-test"} <= set(names)


def test_the_report_has_ratios_first():
    serving = {
        "ratios_to_rules_only": {"hybrid": {"p50_ms": 1.25}, "stock": {"p50_ms": 10.0}},
        "figures": {
            "hybrid": {"p50_ms": 12.5},
            "stock": {"p50_ms": 100.0},
            "rules only": {"p50_ms": 10.0},
        },
    }
    read = {
        "bot": "hybrid",
        "dialogues": 2,
        "joint_goal_accuracy": 0.5,
        "intervals": {"joint_goal_accuracy": [0.25, 0.75]},
    }
    tables = list(
        report(
            {
                "train hybrid": [_trained("hybrid", 100.0)],
                "train stock": [_trained("stock", 2500.0)],
                "growth 4000": [_trained("hybrid", 120.0, 4000)],
                "growth 40000": [{**_trained("hybrid", 420.0, 40_000), "epoch_seconds": 250.0}],
                "read train": [read],
                "serving": [serving],
                "speed": [{"machine": "one", "dialogues": 640, "training_a_second": 231.4}],
            }
        )
    )
    first, second, *_ = tables
    assert first.columns == ("", "hybrid", "stock")
    assert first.rows[0] == ("processor seconds", "1", "25")
    assert second.rows == [("p50 ms", "1.25", "10")]
    written = page(tables)
    assert "| processor seconds | 100 | 2,500 |" in written
    assert written.index("| 4,000 |  | 120 |") < written.index("| 40,000 | 250 | 420 |")
    assert "| joint goal accuracy | 0.500 (0.250 to 0.750) |" in written
    assert "| p50 ms | 12.5 | 100 | 10 |" in written
    assert "| training a second | 231 |" in written


def test_a_report_of_nothing_is_empty():
    assert list(report({})) == []
    assert json.dumps(page([])).count("##") == 0
