"""Beside Rasa's own components: other policies, fallbacks, another pipeline."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Iterator

import pytest
from rasa.core.policies.ted_policy import TEDPolicy
from rasa.model_training import train as train_project

from tests.components import projects
from tests.components.running import (
    Conversation,
    eagerly,
    read_config,
    run,
    write_config,
    write_project,
)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An agent of the project with every policy of Rasa and both fallbacks."""
    project = write_project(tmp_path_factory.mktemp("crowded") / "project")
    config = read_config(project)
    config["pipeline"].append(
        {"name": "FallbackClassifier", "threshold": 0.7, "ambiguity_threshold": 0.05}
    )
    rule = config["policies"].pop()
    config["policies"][0]["priority"] = 2
    config["policies"] += [
        {"name": "MemoizationPolicy", "max_history": 4},
        {
            "name": "TEDPolicy",
            "epochs": 1,
            "number_of_transformer_layers": {"dialogue": 1},
            "constrain_similarities": True,
            # Heeded when it is loaded, not when it is trained.
            "run_eagerly": True,
        },
        rule,
    ]
    write_config(project, config)
    domain = project / "domain.yml"
    domain.write_text(
        domain.read_text()
        .replace("intents: [", "intents: [nlu_fallback, out_of_scope, ")
        .replace(
            "responses:\n",
            "responses:\n  utter_default: [{text: Sorry.}]\n  utter_ask_rephrase: [{text: Please say it differently.}]\n",
        )
    )
    (project / "data" / "rules.yml").write_text(
        (project / "data" / "rules.yml").read_text()
        + """
  - rule: ask again what was not understood
    steps:
      - intent: nlu_fallback
      - action: action_two_stage_fallback
      - active_loop: action_two_stage_fallback
"""
    )
    compiled_training = TEDPolicy.run_training

    def eager_training(self: TEDPolicy, *arguments: Any) -> None:
        """One epoch takes less than compiling it."""
        with eagerly():
            compiled_training(self, *arguments)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as raised:
        patch.setattr(TEDPolicy, "run_training", eager_training)
        warnings.simplefilter("always")
        archive = train_project(
            domain=str(project / "domain.yml"),
            config=str(project / "config.yml"),
            training_files=[str(project / "data")],
            output=str(project / "models"),
            core_additional_arguments={"augmentation_factor": 0},
        ).model
    assert [w for w in raised if "priorit" in str(w.message)] == []
    with projects.action_server(project) as url:
        yield projects.load_agent(archive, url)


def test_every_policy_of_rasa_may_stand_beside_ours(crowded: Any) -> None:
    user = Conversation(crowded)
    assert user.say("hello").actions == ["utter_greet"]
    assert user.say("i want thai food").actions == ["utter_ask_date"]
    assert user.slots == {"cuisine": "thai"}
    assert user.say("on friday").actions == ["utter_offer"]
    assert user.say("bye").actions == ["utter_bye"]


def test_offer_that_another_policy_makes_is_filled_and_kept(crowded: Any) -> None:
    user = Conversation(crowded)
    user.say("hello")
    user.say("i want thai food")
    said = user.say("on friday")
    chosen = [e for e in said.events if e.get("name") == "utter_offer"]
    assert "MemoizationPolicy" in chosen[0]["policy"]
    offered = user.slots["offer_restaurant"]
    assert said.replies == [f"How about {offered} on friday?"]
    metadata = chosen[0]["metadata"]["hybrid"]
    assert metadata["offered"] and "propensity" not in metadata
    assert metadata["shadow"]["propensity"] > 0


def test_two_stage_fallback_begins_where_our_confidence_is_low(
    crowded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = run(crowded.parse_message("on friday"))
    assert parse["intent"]["name"] == "inform"
    assert parse["intent_ranking"][0]["name"] == "inform"
    from rasa_hybrid.model.acting import ActingModel

    understand = ActingModel.understand

    def unsure(self: Any, utterances: Any) -> Any:
        from dataclasses import replace

        return [
            replace(u, intents=tuple((n, 1 / len(u.intents)) for n, _ in u.intents))
            for u in understand(self, utterances)
        ]

    monkeypatch.setattr(ActingModel, "understand", unsure)
    said = Conversation(crowded).say("qwertz uiop")
    assert said.parse["intent"]["name"] == "nlu_fallback"
    assert "action_two_stage_fallback" in said.actions


def test_core_fallback_of_the_rule_policy_competes_with_our_probability(
    agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rasa's `action_default_fallback` has its threshold as confidence: a flat distribution of ours loses."""
    import numpy as np

    from rasa_hybrid.components.runtime import Runtime

    monkeypatch.setattr(Runtime, "decide", lambda self, state: np.full(len(self.actions), 1 / 50))
    user = Conversation(agent)
    assert user.say("hello").actions == ["action_default_fallback"]


def test_pipeline_of_the_project_may_stay(tmp_path: Path) -> None:
    """With lighter components than DIET, which `test_drop_in` has."""
    project = write_project(tmp_path / "project")
    config = read_config(project)
    config["pipeline"] = [
        {"name": "WhitespaceTokenizer"},
        {"name": "CountVectorsFeaturizer"},
        {"name": "LexicalSyntacticFeaturizer"},
        {"name": "LogisticRegressionClassifier"},
        {"name": "CRFEntityExtractor"},
    ]
    write_config(project, config)
    projects.train(project, "config.yml")
    user = Conversation(projects.load_agent(str(project / "models" / "config.tar.gz")))
    first = user.say("i want thai food")
    assert "hybrid" not in first.parse
    assert first.goal == {"cuisine": "thai"}
    assert first.actions == ["utter_ask_date"]
    assert user.say("on friday").goal == {"cuisine": "thai", "date": "friday"}
    assert user.slots["date"] == "friday"
