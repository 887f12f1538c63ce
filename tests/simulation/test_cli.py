import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from rasa_hybrid.commands import main
from rasa_hybrid.corpora import read_jsonl


def run(*arguments, ok=True):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert (result.exit_code == 0) == ok, result.output
    return result.output


def test_simulate_writes_a_corpus_that_reads_back(movie_project, tmp_path):
    out = tmp_path / "corpus.jsonl"
    shown = run(
        "simulate", "--project", movie_project, "--dialogues", 20, "--seed", 3, "--out", out
    )
    dialogues = list(read_jsonl(out))
    assert len(dialogues) == 20
    assert {d.metadata["surface"] for d in dialogues} == {"train"}
    assert "average turns" in shown
    again = tmp_path / "again.jsonl"
    run(
        "simulate",
        "--project",
        movie_project,
        "--dialogues",
        20,
        "--seed",
        3,
        "--batch-size",
        3,
        "--out",
        again,
    )
    assert again.read_bytes() == out.read_bytes()


def test_simulate_json_is_one_object(movie_project, tmp_path):
    arguments = ("--project", movie_project, "--dialogues", 10, "--surface", "extended-test")
    result = json.loads(run("simulate", *arguments, "--out", tmp_path / "c.jsonl", "--json"))
    assert result["dialogues"] == 10 and result["surface"] == "extended-test"
    assert 0 < result["acts"]["inform"] < 1


def test_simulate_writes_rasa_training_data(movie_project, tmp_path):
    run(
        "simulate",
        "--project",
        movie_project,
        "--dialogues",
        5,
        "--format",
        "rasa",
        "--out",
        tmp_path / "data",
    )
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"stories.yml", "nlu.yml"}


def test_evaluate_the_expert(movie_project, tmp_path):
    worst, out = tmp_path / "worst.txt", tmp_path / "dialogues.jsonl"
    result = json.loads(
        run(
            *("evaluate", "--project", movie_project, "--model", "expert", "--dialogues", 50),
            *("--surface", "extended-teach", "--worst", worst, "--out", out, "--json"),
        )
    )
    keys = "dialogues success_rate success_rate_interval average_turns average_turns_successful average_reward"
    keys += " joint_goal_accuracy slot_accuracy act_accuracy surface seed seconds"
    assert set(keys.split()) <= set(result)
    assert result["dialogues"] == 50
    assert result["joint_goal_accuracy"] == result["act_accuracy"] == 1.0
    assert "user  " in worst.read_text(encoding="utf-8")
    assert len(out.read_text(encoding="utf-8").splitlines()) == 50


def test_evaluate_on_a_corpus(movie_project, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    run("simulate", "--project", movie_project, "--dialogues", 20, "--out", corpus)
    result = json.loads(
        run(
            "evaluate",
            "--project",
            movie_project,
            "--model",
            "expert",
            "--corpus",
            corpus,
            "--json",
        )
    )
    assert result["joint_goal_accuracy"] == result["act_accuracy"] == 1.0
    assert result["success_rate"] is None


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["simulate", "--surface", "nowhere", "--out", "x"], "no surface forms 'nowhere'"),
        (["simulate", "--profile", "angry", "--out", "x"], "no profile 'angry'"),
        (["evaluate"], "Name either --model or --url"),
        (["evaluate", "--url", "http://127.0.0.1:9", "--dialogues", "1"], "does not answer"),
    ],
)
def test_errors_say_what_is_wrong_without_a_stack_trace(movie_project, arguments, words):
    output = run(arguments[0], "--project", movie_project, *arguments[1:], ok=False)
    assert words in output
    assert "Traceback" not in output


def test_simulation_needs_neither_tensorflow_nor_rasa_nor_the_model():
    code = (
        "import sys, rasa_hybrid.commands, rasa_hybrid.simulation, rasa_hybrid.simulation.rasa_server, "
        "rasa_hybrid.simulation.m2m_surface, rasa_hybrid.evaluation.interaction\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'rasa') or m.startswith("
        "('rasa_hybrid.model', 'rasa_hybrid.learning', 'rasa_hybrid.components'))]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
