"""Other languages and other ears: normalisation by `language:`, the pipeline's tokenizer, a recogniser's n-best list."""

from __future__ import annotations

from typing import Any, List

import pytest
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.nlu.tokenizers.tokenizer import Token, Tokenizer
from rasa.shared.nlu.training_data.message import Message

from tests.components import projects
from tests.components.running import Conversation, read_config, run, write_config, write_project


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.MESSAGE_TOKENIZER, is_trainable=False)
class UnderscoreTokenizer(Tokenizer):
    """Words end at underscores, as no rules of ours would have it."""

    @staticmethod
    def get_default_config() -> dict:
        return {
            "intent_tokenization_flag": False,
            "intent_split_symbol": "_",
            "token_pattern": None,
        }

    @classmethod
    def create(
        cls, config: Any, model_storage: Any, resource: Any, execution_context: Any
    ) -> UnderscoreTokenizer:
        return cls(config)

    def tokenize(self, message: Message, attribute: str) -> List[Token]:
        text = message.get(attribute)
        tokens, start = [], 0
        for word in text.replace(" ", "_").split("_"):
            if word:
                tokens.append(Token(word, start))
            start += len(word) + 1
        return tokens


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An agent that speaks German and reads words as `UnderscoreTokenizer` splits them."""
    project = write_project(
        tmp_path_factory.mktemp("german") / "project",
        knowledge_base=None,
        offer_slots={},
        offer_actions=[],
    )
    config = read_config(project)
    config["language"] = "de"
    config["pipeline"].insert(0, {"name": f"{__name__}.UnderscoreTokenizer"})
    write_config(project, config)
    words = [
        ("friday", "Freitag"), ("monday", "Montag"), ("sunday", "Sonntag"), ("tuesday", "Dienstag"),
        ("thai", "thailändisch"), ("italian", "italienisch"), ("french", "französisch"), ("indian", "indisch"),
        ("i want", "ich möchte"), ("please", "bitte"), (" on ", " am "), ("food", "essen"), ("hello", "hallo"),
    ]  # fmt: skip
    for name in ("domain.yml", "data/nlu.yml", "data/stories.yml"):
        text = (project / name).read_text()
        for english, foreign in words:
            text = text.replace(english, foreign)
        (project / name).write_text(text)
    projects.train(project, "config.yml")
    return projects.load_agent(str(project / "models" / "config.tar.gz"))


def test_umlauts_and_case_of_another_language_are_understood(german: Any) -> None:
    user = Conversation(german)
    assert user.say("ich möchte THAILÄNDISCH essen").goal == {"cuisine": "thailändisch"}
    assert user.say("am freitag").goal == {"cuisine": "thailändisch", "date": "Freitag"}
    assert user.slots == {"cuisine": "thailändisch", "date": "Freitag"}


def test_words_are_those_of_the_pipelines_tokenizer(german: Any) -> None:
    assert Conversation(german).say("thailändisch_essen_am_Freitag").goal == {
        "cuisine": "thailändisch",
        "date": "Freitag",
    }
    parse = run(german.parse_message("am_Freitag"))
    assert [(e["entity"], e["start"], e["end"]) for e in parse["entities"]] == [("date", 3, 10)]


def test_hypotheses_of_a_recogniser_change_the_belief(agent: Any) -> None:
    """Two readings of one sound share the probability that the first alone would have."""
    n_best = [{"text": "thai food", "confidence": 0.5}, {"text": "italian food", "confidence": 0.5}]
    alone = Conversation(agent).say("thai food").parse["hybrid"]["belief"]["cuisine"]
    shared = (
        Conversation(agent)
        .say("thai food", {"asr_hypotheses": n_best})
        .parse["hybrid"]["belief"]["cuisine"]
    )
    assert dict(alone)["thai"] > dict(shared)["thai"]
    assert dict(shared)["italian"] > dict(alone).get("italian", 0.0) + 0.05


def test_hypotheses_that_are_no_such_thing_are_left_out(agent: Any) -> None:
    for nonsense in (
        "thai food",
        [1, None],
        [{"confidence": 1.0}],
        {"text": "thai"},
        7,
        [{"text": "x", "confidence": "high"}],
    ):
        said = Conversation(agent).say("thai food", {"asr_hypotheses": nonsense})
        assert said.goal == {"cuisine": "thai"}, nonsense
