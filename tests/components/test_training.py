"""`rasa train` in its forms, its cache, and what it says of data that can't be learnt from."""

from __future__ import annotations

import json
import logging
import shutil
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pytest
import yaml
from rasa.core.policies.memoization import MemoizationPolicy
from rasa.core.policies.rule_policy import RulePolicy
from rasa.core.policies.ted_policy import TEDPolicy
from rasa.engine.graph import ExecutionContext, GraphSchema, SchemaNode
from rasa.engine.storage.resource import Resource
from rasa.graph_components.providers.training_tracker_provider import TrainingTrackerProvider
from rasa.model_training import train as train_project
from rasa.model_training import train_core, train_nlu
from rasa.shared.core.training_data.story_writer.yaml_story_writer import YAMLStoryWriter
from rasa.shared.exceptions import InvalidConfigException, RasaException
from rasa.shared.importers.importer import TrainingDataImporter

import rasa_hybrid
from rasa_hybrid import HybridPolicy
from rasa_hybrid.dialogue import Dialogue, SystemAction, Turn, Utterance
from rasa_hybrid.learning import supervised
from tests.components import projects
from tests.components.running import (
    Conversation,
    add_rows,
    configure,
    copy_trained,
    read_config,
    run,
    write_config,
    write_project,
)

#: Enough to be a model, not to be a good one.
TINY: Dict[str, Any] = {"least_steps": 1, "epochs": 1, "wordings_per_story": 1}


@pytest.fixture()
def project(tmp_path: Path) -> Path:
    """A copy of the project with a training that only takes a step."""
    return write_project(tmp_path / "project", **TINY)


@pytest.fixture()
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> List[supervised.SupervisedTrainer]:
    """The trainings of a test, none of which changes a weight: what is trained on is the question.

    The modules that the fingerprint reads are a copy, which a test may change.
    """
    trainings: List[supervised.SupervisedTrainer] = []

    def remember(
        self: Any, dialogues: Any, utterances: Any = (), progress: Any = None, **told: Any
    ) -> List[Any]:
        self.dialogues, self.utterances = list(dialogues), list(utterances)
        trainings.append(self)
        return []

    monkeypatch.setattr(supervised.SupervisedTrainer, "fit", remember)
    package = tmp_path / "installed" / "rasa_hybrid"
    installed = Path(rasa_hybrid.__file__).parent
    shutil.copytree(installed, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(rasa_hybrid, "__file__", str(package / "__init__.py"))
    return trainings


def train(project: Path, augmentation: int = 0, **arguments: Any) -> Any:
    """`rasa train` in a project."""
    projects._quiet_rasa()
    return train_project(
        domain=str(project / "domain.yml"),
        config=str(project / "config.yml"),
        training_files=[str(project / "data")],
        output=str(project / "models"),
        core_additional_arguments={"augmentation_factor": augmentation},
        **arguments,
    )


def weights_of(archive: str, destination: Path) -> Dict[str, np.ndarray]:
    """The weights in an archive."""
    with tarfile.open(archive) as tar:
        tar.extractall(destination)
    (path,) = (destination / "components").glob("*HybridPolicy*/weights.npz")
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


# --- the cache -------------------------------------------------------------------------------------


def test_second_training_is_restored_from_the_cache(project: Path, steps: list) -> None:
    train(project)
    train(project)
    assert len(steps) == 1


def test_new_rows_of_the_knowledge_base_do_not_train_again_but_a_new_column_does(
    project: Path, steps: list
) -> None:
    import sqlite3

    train(project)
    add_rows(project, (11, "Athena", "greek", "saturday"))
    train(project)
    assert len(steps) == 1
    with sqlite3.connect(project / "tables.db") as connection:
        connection.execute("ALTER TABLE tables ADD COLUMN price TEXT")
    train(project)
    assert len(steps) == 2


def test_settings_of_the_knowledge_base_train_again(project: Path, steps: list) -> None:
    train(project)
    config = read_config(project)
    config["policies"][0]["knowledge_base"]["order_by"] = ["restaurant"]
    write_config(project, config)
    train(project)
    assert len(steps) == 2


def test_corpus_file_trains_again_when_it_changes(project: Path, steps: list) -> None:
    corpus = project / "corpus.jsonl"
    corpus.write_text(_record("one", "thai please", {"cuisine": "thai"}))
    configure(project, corpus=[str(corpus)])
    train(project)
    train(project)
    assert len(steps) == 1
    corpus.write_text(corpus.read_text() + _record("two", "french please", {"cuisine": "french"}))
    train(project)
    assert len(steps) == 2
    assert {"one", "two"} <= {dialogue.id for dialogue in steps[1].dialogues}


def test_change_of_any_module_of_ours_trains_again(project: Path, steps: list) -> None:
    train(project)
    with (Path(rasa_hybrid.__file__).parent / "dialogue" / "normalise.py").open("a") as file:
        file.write("# changed\n")
    train(project)
    assert len(steps) == 2


def _record(name: str, text: str, goal: Dict[str, str]) -> str:
    import tempfile

    from rasa_hybrid.corpora import write_jsonl

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.jsonl"
        turn = Turn(user=Utterance(text), goal=goal, actions=(SystemAction("utter_ask_date"),))
        write_jsonl(path, [Dialogue(name, (turn,))])
        return path.read_text()


# --- the forms of `rasa train` ---------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", [0, 5])
def test_augmentation_does_not_change_what_is_learnt(
    project: Path, steps: list, augmentation: int
) -> None:
    train(project, augmentation)
    (training,) = steps
    stories = [dialogue for dialogue in training.dialogues if ", then " not in dialogue.id]
    assert len(stories) == 8


def test_augmented_stories_are_made_only_for_policies_that_learn_from_them(project: Path) -> None:
    def trackers(*policies: Any) -> List[Any]:
        nodes = {
            str(i): SchemaNode({"training_trackers": "training_tracker_provider"}, p, "", "", {})
            for i, p in enumerate(policies)
        }
        context = ExecutionContext(GraphSchema(nodes))
        config = {**TrainingTrackerProvider.get_default_config(), "augmentation_factor": 5}
        provider = TrainingTrackerProvider.create(config, None, Resource(""), context)
        importer = TrainingDataImporter.load_from_config(
            str(project / "config.yml"), str(project / "domain.yml"), [str(project / "data")]
        )
        return provider.provide(importer.get_stories(), importer.get_domain())

    def own(found: List[Any]) -> List[str]:
        """The trackers of the stories as they are written."""
        written = [t.export_stories(YAMLStoryWriter()) for t in found if not t.is_augmented]
        return sorted(text.split("steps:")[1] for text in written)

    few, many = (
        trackers(HybridPolicy, RulePolicy, MemoizationPolicy),
        trackers(TEDPolicy, HybridPolicy),
    )
    assert any(tracker.is_augmented for tracker in many)
    assert not any(tracker.is_augmented for tracker in few)
    assert own(few) == own(many)


def test_some_dialogues_break_off_with_unknown_words_that_change_no_goal(
    project: Path, steps: list
) -> None:
    train(project)
    (training,) = steps
    answers = [d for d in training.dialogues if d.id.endswith(", then unknown words")]
    assert answers
    for answer in answers:
        *before, last = answer.turns
        goals = [turn.goal for turn in before if turn.goal is not None]
        assert not answer.complete and not last.actions
        assert (
            last.overrides
            or any(turn.overrides for turn in before)
            or last.goal == (goals[-1] if goals else {})
        )
        assert not training.encoder.utterance(last.user).matches


def test_same_seed_gives_the_same_weights(project: Path, tmp_path: Path, uncompiled: None) -> None:
    first = train(project, force_training=True).model
    second = train(project, force_training=True).model
    one, other = weights_of(first, tmp_path / "1"), weights_of(second, tmp_path / "2")
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_train_core_needs_no_nlu_data(project: Path, steps: list) -> None:
    train_core(
        str(project / "domain.yml"),
        str(project / "config.yml"),
        str(project / "data"),
        str(project / "models"),
    )
    (training,) = steps
    assert training.utterances == []
    assert len([dialogue for dialogue in training.dialogues if ", then " not in dialogue.id]) == 8


def test_train_core_without_any_nlu_file(project: Path, steps: list) -> None:
    (project / "data" / "nlu.yml").unlink()
    train(project)
    assert len(steps) == 1


def test_train_nlu_gives_a_pass_through_with_one_warning(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = train_nlu(
        str(project / "config.yml"),
        str(project / "data"),
        str(project / "models"),
        domain=str(project / "domain.yml"),
    )
    assert archive is not None
    with caplog.at_level(logging.WARNING, logger="rasa_hybrid"):
        agent = projects.load_agent(archive)
        parse = run(agent.parse_message("thai food"))
        run(agent.parse_message("on friday"))
    assert parse["intent"] == {"name": None, "confidence": 0.0}
    assert parse["entities"] == []
    assert "hybrid" not in parse
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("rasa_hybrid")]
    assert len(warnings) == 1
    assert "rasa train nlu" in warnings[0]


def test_finetuning_goes_on_with_the_weights(project: Path, steps: list) -> None:
    configure(project, least_steps=100)
    base = train(project).model
    first = steps[0].model.weights()
    with (project / "data" / "nlu.yml").open("a") as file:
        file.write("  - intent: greet\n    examples: |\n      - howdy\n")
    stories = yaml.safe_load((project / "data" / "stories.yml").read_text())
    stories["stories"].append(
        {
            "story": "new",
            "steps": [
                {"intent": "greet"},
                {"action": "utter_greet"},
                {"intent": "deny"},
                {"action": "utter_bye"},
            ],
        }
    )
    (project / "data" / "stories.yml").write_text(yaml.safe_dump(stories))
    tuned = train(project, model_to_finetune=base, finetuning_epoch_fraction=0.5)
    assert tuned.model is not None
    assert len(steps) == 2
    assert steps[1].settings.least_steps == 50
    for name, values in steps[1].model.weights().items():
        np.testing.assert_array_equal(values, first[name], err_msg=name)
    assert len(steps[1].dialogues) > len(steps[0].dialogues)


def test_finetuning_on_taught_dialogues_takes_so_many_updates(project: Path, steps: list) -> None:
    config = read_config(project)
    config["importers"] = [{"name": "rasa_hybrid.TaughtDataImporter"}]
    write_config(project, config)
    configure(project, finetune_steps=8, batch_size=4)
    base = train(project).model
    taught = yaml.safe_load((project / "data" / "stories.yml").read_text())
    taught["stories"] = taught["stories"][-1:]
    taught["stories"][0]["steps"][3]["user"] = "whenever you like"
    (project / "data_taught").mkdir()
    (project / "data_taught" / "lesson.yml").write_text(yaml.safe_dump(taught))
    train(project, model_to_finetune=base)
    training = steps[1]
    batches = -(-len(training.dialogues) // training.settings.batch_size)
    assert batches * training.epochs(len(training.dialogues)) == 8
    said = [turn.user.text for d in training.dialogues for turn in d.turns if turn.user is not None]
    assert "whenever you like" in said
    assert any(d.id.endswith(", then unknown words") for d in training.dialogues)


def test_finetuning_with_a_new_action_is_refused_by_rasa(project: Path, steps: list) -> None:
    base = train(project).model
    domain = project / "domain.yml"
    domain.write_text(
        domain.read_text().replace("responses:\n", 'responses:\n  utter_new: [{text: "New."}]\n')
    )
    with pytest.raises(InvalidConfigException, match="domain"):
        train(project, model_to_finetune=base)
    assert len(steps) == 1


# --- knowledge base while serving ------------------------------------------------------------------


def test_new_rows_are_understood_and_offered_without_training(
    tables: Path, actions_url: str, tmp_path: Path
) -> None:
    project = tmp_path / "tables"
    agent = projects.load_agent(str(copy_trained(tables, project)), actions_url)
    user = Conversation(agent)
    user.say("hello")
    add_rows(project, (11, "Athena", "greek", "saturday"), (12, "Athena", "thai", "wednesday"))
    assert user.say("thai food on wednesday").replies == ["How about Athena on wednesday?"]
    assert user.say("rather on saturday").goal == {"cuisine": "thai", "date": "saturday"}


# --- data that can't be learnt from ----------------------------------------------------------------


def test_project_without_stories_and_corpus_is_refused_in_a_sentence(project: Path) -> None:
    (project / "data" / "stories.yml").unlink()
    with pytest.raises(InvalidConfigException, match="nothing to learn from"):
        train(project)


def test_goal_slot_that_no_story_sets_is_named(
    project: Path, steps: list, caplog: pytest.LogCaptureFixture
) -> None:
    configure(project, goal_slots=["cuisine", "date", "people"])
    with caplog.at_level(logging.WARNING, logger="rasa_hybrid"):
        train(project)
    (message,) = [r.getMessage() for r in caplog.records if "goal slot" in r.getMessage()]
    assert "'people'" in message


def test_an_annotated_synonym_is_a_way_to_say_its_value_and_no_value_of_its_own(
    project: Path, steps: list
) -> None:
    with (project / "data" / "nlu.yml").open("a") as file:
        file.write(
            "  - synonym: thai\n    examples: |\n      - siamese\n"
            "  - intent: inform\n    examples: |\n      - [Siamese](cuisine) dishes\n"
        )
    train(project)
    ontology = steps[0].encoder.ontology
    cuisine = ontology.position("cuisine")
    assert ontology.canonical(cuisine, "siamese") == "thai"
    assert not {"siamese", "Siamese"} & set(ontology.values["cuisine"].values)


def test_intent_of_a_story_without_examples_is_named_with_its_story(
    project: Path, steps: list, caplog: pytest.LogCaptureFixture
) -> None:
    nlu = yaml.safe_load((project / "data" / "nlu.yml").read_text())
    nlu["nlu"] = [example for example in nlu["nlu"] if example["intent"] != "deny"]
    (project / "data" / "nlu.yml").write_text(yaml.safe_dump(nlu))
    with caplog.at_level(logging.WARNING, logger="rasa_hybrid"):
        train(project)
    (message,) = [r.getMessage() for r in caplog.records if "no example" in r.getMessage()]
    assert "'deny'" in message
    assert "'all at once, and refused'" in message


def test_corpus_that_labels_another_slot_is_refused(project: Path) -> None:
    corpus = project / "corpus.jsonl"
    corpus.write_text(_record("strange", "thai please", {"price": "cheap"}))
    configure(project, corpus=[str(corpus)])
    with pytest.raises(InvalidConfigException) as error:
        train(project)
    assert "'strange'" in str(error.value)
    assert "'price'" in str(error.value)
    assert "cuisine, date" in str(error.value)


def test_a_taught_corpus_is_learnt_with_the_labels_of_its_teacher(
    project: Path, steps: list
) -> None:
    corpus = project / "corpus.jsonl"
    record = json.loads(_record("taught", "thai please", {"cuisine": "thai"}))
    record["turns"][0]["expert"] = ["utter_ask_cuisine", "action_listen"]
    corpus.write_text(json.dumps(record) + "\n")
    configure(project, corpus=[str(corpus)])
    train(project)
    (training,) = steps
    [lesson] = [dialogue for dialogue in training.dialogues if dialogue.id == "taught"]
    [turn] = training.encoder.dialogue(lesson)
    names = training.encoder.vocabulary.actions.names
    assert [names[d.action] for d in turn.decisions] == ["utter_ask_cuisine", "action_listen"]


@pytest.mark.parametrize(
    "turn", [{"actions": [{"name": "utter_typo"}]}, {"expert": ["utter_typo", "action_listen"]}]
)
def test_corpus_with_an_action_that_the_domain_lacks_is_refused(project: Path, turn: Any) -> None:
    corpus = project / "corpus.jsonl"
    record = json.loads(_record("strange", "thai please", {"cuisine": "thai"}))
    record["turns"][0].update(turn)
    corpus.write_text(json.dumps(record) + "\n")
    configure(project, corpus=[str(corpus)])
    with pytest.raises(InvalidConfigException, match="'strange'.*'utter_typo'"):
        train(project)


def test_damaged_corpus_is_named_with_its_line(project: Path) -> None:
    corpus = project / "corpus.jsonl"
    corpus.write_text(_record("good", "thai please", {"cuisine": "thai"}) + '{"id": \n')
    configure(project, corpus=[str(corpus)])
    with pytest.raises(InvalidConfigException) as error:
        train(project)
    assert "corpus.jsonl:2" in str(error.value)


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"corpus": ["nowhere.jsonl"]}, ["corpus", "nowhere.jsonl"]),
        (
            {"knowledge_base": {"type": "memory", "path": "nowhere.csv"}},
            ["knowledge_base", "nowhere.csv"],
        ),
        ({"knowledge_base": {"type": "sqll"}}, ["knowledge_base", "'sqll'", "sql"]),
        ({"embeddings": "nowhere.txt"}, ["embeddings", "nowhere.txt", "existing file"]),
        ({"goal_slots": ["day"]}, ["goal_slots", "'day'"]),
        ({"offer_slots": {"offer_restaurant": "name"}}, ["offer_slots", "'name'", "restaurant"]),
    ],
)
def test_entry_that_leads_nowhere_stops_the_training_in_a_sentence(
    project: Path, entry: Dict[str, Any], named: List[str]
) -> None:
    config = read_config(project)
    config["policies"][0].update(entry)
    write_config(project, config)
    with pytest.raises(InvalidConfigException) as error:
        train(project)
    assert [part for part in named if part not in str(error.value)] == []


# --- archives --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("weights.npz", "damaged or missing"),
        ("model.json", "damaged or missing"),
        ("manifest.json", "no model of rasa_hybrid"),
        (None, "schema 99"),
    ],
)
def test_damaged_or_foreign_resource_is_refused_in_a_sentence(
    archive: Path, tmp_path: Path, damage: Optional[str], said: str
) -> None:
    unpacked = tmp_path / "unpacked"
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked)
    (resource,) = (unpacked / "components").glob("*HybridPolicy*")
    if damage:
        (resource / damage).write_bytes(b"nonsense")
    else:
        manifest = json.loads((resource / "manifest.json").read_text())
        (resource / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    damaged = tmp_path / "damaged.tar.gz"
    with tarfile.open(damaged, "w:gz") as tar:
        for path in sorted(unpacked.iterdir()):
            tar.add(path, path.name)
    with pytest.raises(RasaException, match=said):
        projects.load_agent(str(damaged))
