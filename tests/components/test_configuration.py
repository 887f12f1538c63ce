"""What `config.yml` may say of the policy, and what a wrong entry is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.shared.core.domain import Domain
from rasa.shared.data import TrainingType
from rasa.shared.exceptions import InvalidConfigException

from rasa_hybrid.components.configuration import (
    check_configuration,
    check_domain,
    default_configuration,
)
from rasa_hybrid.components.corpus import CorpusFile
from rasa_hybrid.components.nlu import HybridNLU
from rasa_hybrid.components.policy import _has_classifier
from tests.components.running import TABLES


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"epoch": 3}, ["'epoch'", "epochs"]),
        ({"max_history": 5}, ["'max_history'"]),
        ({"epochs": "many"}, ["epochs", "'many'", "whole number"]),
        ({"epochs": 0}, ["epochs", "0", "from 1"]),
        ({"epochs": True}, ["epochs", "True"]),
        ({"dropout": 1.5}, ["dropout", "1.5", "0 to 0.99"]),
        ({"dropout": "0.5"}, ["dropout", "'0.5'", "a number"]),
        ({"embedding_size": 2.5}, ["embedding_size", "2.5"]),
        ({"candidates": "yes"}, ["candidates", "'yes'", "true or false"]),
        ({"preset": "liu2019"}, ["preset", "liu2019", "liu2018"]),
        ({"preset": ["liu2018"]}, ["preset", "liu2018"]),
        ({"goal_slots": "date"}, ["goal_slots", "'date'", "a list of slots"]),
        ({"goal_slots": [1]}, ["goal_slots", "[1]"]),
        ({"dontcare_value": ""}, ["dontcare_value", "''"]),
        ({"corpus": {"path": "x"}}, ["corpus", "a list of paths"]),
        ({"corpus": [{"path": "x", "simulate": 0}]}, ["corpus", "simulate: DIALOGUES"]),
        ({"corpus": [{"path": "x", "dialogues": 3}]}, ["corpus", "'dialogues': 3"]),
        ({"wordings_per_story": 0}, ["wordings_per_story", "from 1"]),
        ({"knowledge_base": "tables.db"}, ["knowledge_base", "'tables.db'", "type"]),
        ({"query_n_best": 0}, ["query_n_best", "from 1"]),
        ({"top_k": "all"}, ["top_k", "'all'"]),
        ({"offer_slots": ["offer"]}, ["offer_slots", "mapping"]),
        ({"offer_slots": {"offer": 3}}, ["offer_slots", "mapping"]),
        ({"offer_actions": "utter_offer"}, ["offer_actions", "a list of actions"]),
        ({"priority": "high"}, ["priority", "'high'"]),
        ({"language": 5}, ["language", "5"]),
        ({"seed": -1}, ["seed", "-1"]),
    ],
)
def test_wrong_entry_names_key_value_and_what_is_allowed(
    entry: Dict[str, Any], named: list
) -> None:
    with pytest.raises(InvalidConfigException) as error:
        check_configuration({**default_configuration(), **entry})
    assert str(error.value).startswith("HybridPolicy: ")
    assert [part for part in named if part not in str(error.value)] == []


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"goal_slots": ["dates"]}, ["goal_slots", "'dates'", "cuisine, date"]),
        ({"goal_slots": ["history"]}, ["goal_slots", "'history'", "list"]),
        (
            {"offer_slots": {"offer_price": "price"}},
            ["offer_slots", "'offer_price'", "offer_restaurant"],
        ),
        ({"offer_actions": ["utter_sell"]}, ["offer_actions", "'utter_sell'"]),
    ],
)
def test_slot_or_action_that_the_domain_lacks_is_named(entry: Dict[str, Any], named: list) -> None:
    text = (
        (TABLES / "domain.yml")
        .read_text()
        .replace("slots:\n", "slots:\n  history: {type: list, mappings: [{type: custom}]}\n", 1)
    )
    domain = Domain.from_yaml(text)
    with pytest.raises(InvalidConfigException) as error:
        check_domain(check_configuration(entry), domain)
    assert [part for part in named if part not in str(error.value)] == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [({"entitys": False}, "entitys: no such key"), ({"intents": "no"}, "intents: 'no'.*true or")],
)
def test_wrong_entry_of_the_nlu_component_is_refused(entry: Dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigException, match=message):
        HybridNLU({**HybridNLU.get_default_config(), **entry}, None)


def test_a_slot_that_is_named_twice_is_one_goal_slot() -> None:
    assert check_configuration({"goal_slots": ["city", "city"]}).goal_slots == ("city",)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], False),
        ([{"name": "FallbackClassifier"}], False),
        ([{"name": "ResponseSelector"}], False),
        ([{"name": "DIETClassifier", "intent_classification": False}], False),
        ([{"name": "DIETClassifier"}], True),
    ],
)
def test_only_what_predicts_intents_counts_as_a_classifier(
    others: List[Dict[str, Any]], expected: bool
) -> None:
    pipeline = [
        {"name": "WhitespaceTokenizer"},
        {"name": "CountVectorsFeaturizer"},
        {"name": "rasa_hybrid.HybridNLU"},
        *others,
    ]
    config = {"pipeline": pipeline, "policies": [{"name": "rasa_hybrid.HybridPolicy"}]}
    graph = DefaultV1Recipe().graph_config_for_recipe(config, {}, TrainingType.BOTH)
    assert _has_classifier(graph.train_schema) is expected


def test_defaults_are_allowed_and_mean_the_default_preset() -> None:
    assert check_configuration(default_configuration()) == check_configuration({})
    assert check_configuration({}).settings.preset == "default"


def test_entry_of_the_project_changes_the_preset() -> None:
    settings = check_configuration({"preset": "liu2018", "dropout": 0.1}).settings
    assert settings.candidates is False
    assert settings.dropout == 0.1


def test_corpus_may_be_a_single_path(tmp_path: Path) -> None:
    assert check_configuration({"corpus": "a.jsonl"}).corpus == (CorpusFile("a.jsonl"),)
