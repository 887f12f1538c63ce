"""Taught dialogues in `rasa train`: with the project's data, beside other importers, and what can't be used."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path

import pytest
import yaml
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.importers.importer import TrainingDataImporter

from rasa_hybrid.components import rasa_internals
from rasa_hybrid.components.conversion import TAUGHT_SOURCE
from tests.components.running import TABLES, read_config, write_config

TAUGHT = """
version: "3.1"
stories:
- story: {name}
  steps:
  - intent: inform
    user: |-
      surprise me with the kitchen
  - slot_was_set:
    - cuisine: dontcare
  - action: {action}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project `tables` with the importer in its configuration."""
    shutil.copytree(TABLES, tmp_path / "project")
    use_importers(tmp_path / "project", {"name": "rasa_hybrid.TaughtDataImporter"})
    return tmp_path / "project"


def use_importers(project, *entries):
    config = read_config(project)
    config["importers"] = list(entries)
    write_config(project, config)


def teach(project, name="a taught dialogue", action="utter_ask_date", folder="data_taught"):
    (project / folder).mkdir(exist_ok=True)
    file = project / folder / f"{name.replace(' ', '_')}.yml"
    file.write_text(TAUGHT.format(name=name, action=action))
    return file


def load(project):
    return TrainingDataImporter.load_from_config(
        str(project / "config.yml"), str(project / "domain.yml"), [str(project / "data")]
    )


def names(importer):
    return sorted(step.block_name for step in importer.get_stories().story_steps)


OWN = sorted(
    story["story"]
    for story in yaml.safe_load((TABLES / "data" / "stories.yml").read_text())["stories"]
) + sorted(
    rule["rule"] for rule in yaml.safe_load((TABLES / "data" / "rules.yml").read_text())["rules"]
)


def test_without_taught_dialogues_a_project_is_as_it_was(project):
    importer = load(project)
    assert names(importer) == sorted(OWN)
    assert "utter_offer" in importer.get_domain().action_names_or_texts
    assert importer.get_config()["policies"][0]["name"] == "rasa_hybrid.HybridPolicy"


def test_taught_dialogues_join_the_projects_own_and_say_where_they_are_from(project):
    file = teach(project)
    importer = load(project)
    assert names(importer) == sorted([*OWN, "a taught dialogue"])
    sources = [s.source_name for s in importer.get_stories().story_steps]
    assert [s for s in sources if s.startswith(TAUGHT_SOURCE)] == [f"{TAUGHT_SOURCE}{file}"]
    assert "surprise me with the kitchen" in {
        m.get("text") for m in importer.get_nlu_data().intent_examples
    }


def test_beside_other_importers_it_adds_taught_dialogues_only(project):
    teach(project, folder="lessons")
    use_importers(
        project,
        {"name": "RasaFileImporter"},
        {"name": "rasa_hybrid.TaughtDataImporter", "taught": "lessons"},
    )
    importer = load(project)
    assert names(importer) == sorted([*OWN, "a taught dialogue"])
    examples = [m.get("text") for m in importer.get_nlu_data().intent_examples]
    assert examples.count("hello") == 1


def test_a_taught_folder_inside_of_the_data_is_read_once(project):
    (project / "data" / "taught").mkdir()
    teach(project, folder="data/taught")
    use_importers(project, {"name": "rasa_hybrid.TaughtDataImporter", "taught": "data/taught"})
    assert names(load(project)).count("a taught dialogue") == 1


def test_a_dialogue_that_contradicts_a_rule_is_named_and_left_out(project):
    teach(project, "good one")
    teach(project, "another good one", action="utter_ask_cuisine")
    bad = (
        TAUGHT.format(name="bad one", action="utter_ask_cuisine")
        .replace("inform", "bye")
        .replace("surprise me with the kitchen", "bye")
    )
    (project / "data_taught" / "bad.yml").write_text(bad)
    with pytest.warns(
        UserWarning, match=r"'bad one' in .*bad.yml is left out: it contradicts a rule"
    ):
        found = names(load(project))
    assert found == sorted([*OWN, "good one", "another good one"])


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("utter_ask_date", "utter_gone", "action 'utter_gone'"),
        ("cuisine: dontcare", "kitchen: dontcare", "slot 'kitchen'"),
        ("inform", "tell", "intent 'tell'"),
    ],
)
def test_a_dialogue_that_names_what_the_domain_has_not_is_left_out(project, old, new, what):
    file = teach(project)
    file.write_text(file.read_text().replace(old, new))
    with pytest.warns(UserWarning, match=f"is left out: the domain has no {what}"):
        assert names(load(project)) == sorted(OWN)


def test_what_was_taught_changes_the_fingerprint_of_the_training_data(project):
    before = load(project).get_stories().fingerprint()
    assert load(project).get_stories().fingerprint() == before
    file = teach(project)
    taught = load(project).get_stories().fingerprint()
    assert taught != before
    file.write_text(file.read_text().replace("dontcare", "thai"))
    assert load(project).get_stories().fingerprint() not in (before, taught)


def test_on_another_rasa_interactive_is_left_alone_with_one_warning(monkeypatch, caplog):
    changed = types.ModuleType("rasa.core.training.interactive")
    changed.send_event = original = lambda endpoint, conversation, event: None
    monkeypatch.setitem(sys.modules, changed.__name__, changed)
    for _ in range(2):
        rasa_internals.install_teaching()
    assert changed.send_event is original
    [record] = caplog.records
    assert "it works as in stock Rasa, without questions about the goal" in record.getMessage()
    assert "_validate_nlu" in record.getMessage()


def test_a_folder_that_is_none_is_an_error(project):
    use_importers(project, {"name": "rasa_hybrid.TaughtDataImporter", "taught": 3})
    with pytest.raises(InvalidConfigException, match="taught: 3 is not allowed"):
        load(project)
