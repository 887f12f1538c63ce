"""`rasa_hybrid.HybridNLU`: the joint model's understanding, as a component of Rasa's pipeline.

It is not trained: the policy is, and this component shares its model. With the conversation at hand it puts the belief
of the turn into the parse data, and names an intent and entities, so that rules, forms and `rasa shell nlu` work.
"""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Mapping, Optional, Tuple

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.nlu.constants import TOKENS_NAMES
from rasa.nlu.extractors.extractor import EntityExtractorMixin
from rasa.nlu.tokenizers.tokenizer import Token
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.constants import (
    ENTITIES,
    ENTITY_ATTRIBUTE_END,
    ENTITY_ATTRIBUTE_GROUP,
    ENTITY_ATTRIBUTE_ROLE,
    ENTITY_ATTRIBUTE_START,
    ENTITY_ATTRIBUTE_TYPE,
    ENTITY_ATTRIBUTE_VALUE,
    INTENT,
    INTENT_NAME_KEY,
    PREDICTED_CONFIDENCE_KEY,
    TEXT,
)
from rasa.shared.nlu.training_data.message import Message

from rasa_hybrid.components.conversion import HYBRID, LEAST_KEPT
from rasa_hybrid.components.loading import schema_language, shared_runtime
from rasa_hybrid.components.runtime import Runtime
from rasa_hybrid.dialogue import tokenize
from rasa_hybrid.model.reading import Understanding

logger = logging.getLogger(__name__)

_LABELS_IN_RANKING = 10
#: Key of an entity's confidence, as DIET names it.
EXTRACTOR_CONFIDENCE = "confidence_entity"


@DefaultV1Recipe.register(
    [
        DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER,
        DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR,
    ],
    is_trainable=False,
)
class HybridNLU(GraphComponent, IntentClassifier, EntityExtractorMixin):
    """Adds belief, intent and entities of the joint model to messages."""

    @staticmethod
    def get_default_config() -> Dict[str, Any]:
        """Default config (see parent class for full docstring)."""
        return {
            # Add the intent.
            "intents": True,
            # Add the entities.
            "entities": True,
        }

    def __init__(self, config: Dict[str, Any], runtime: Optional[Runtime]) -> None:
        """Makes the component.

        Args:
            config: see `get_default_config`.
            runtime: the policy's model; None if the model has no policy, nothing is added then.

        Raises:
            InvalidConfigException: if a key is unknown or a value impossible.
        """
        allowed = self.get_default_config()
        for key, value in config.items():
            if key not in allowed:
                raise InvalidConfigException(
                    f"HybridNLU: {key}: no such key; allowed: {', '.join(allowed)}."
                )
            if not isinstance(value, bool):
                raise InvalidConfigException(
                    f"HybridNLU: {key}: {value!r} is not allowed; it has to be true or false."
                )
        self.component_config = config
        self._runtime = runtime

    @classmethod
    def create(
        cls,
        config: Dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> HybridNLU:
        """Creates a new component (see parent class for full docstring)."""
        return cls(config, None)

    @classmethod
    def load(
        cls,
        config: Dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> HybridNLU:
        """Finds the policy's model in the graph and shares it (see parent class for full docstring)."""
        from rasa_hybrid.components.configuration import check_configuration
        from rasa_hybrid.components.policy import HybridPolicy

        for node in execution_context.graph_schema.nodes.values():
            if (
                isinstance(node.uses, type)
                and issubclass(node.uses, HybridPolicy)
                and node.resource is not None
            ):
                policy_config = {**node.uses.get_default_config(), **node.config}
                configuration = check_configuration(
                    policy_config, schema_language(execution_context)
                )
                return cls(
                    config,
                    shared_runtime(model_storage, node.resource, execution_context, configuration),
                )
        logger.warning(
            "HybridNLU: this model has no trained HybridPolicy (it was trained with `rasa train nlu`, or the policy is "
            "missing from config.yml): messages get neither intent nor entities from it."
        )
        return cls(config, None)

    def process(
        self, messages: List[Message], tracker: Optional[DialogueStateTracker] = None
    ) -> List[Message]:
        """Adds belief, intent and entities to messages.

        Args:
            messages: to be understood.
            tracker: of the conversation; None or empty outside of one.

        Returns:
            The same messages.
        """
        for message in messages:
            text = message.get(TEXT)
            if self._runtime is None or not text or text.startswith("/"):
                continue
            understanding = self._runtime.understand(text)
            if self.component_config["intents"]:
                self._add_intent(message, understanding)
            if self.component_config["entities"]:
                self._add_tokens(message, text)
                self._add_entities(message, text, understanding)
            message.set(HYBRID, self._parse_data(message, text, tracker), add_to_output=True)
        return messages

    def _parse_data(
        self, message: Message, text: str, tracker: Optional[DialogueStateTracker]
    ) -> Dict[str, Any]:
        assert self._runtime is not None
        if tracker is None:
            tracker = DialogueStateTracker("", None)
        user = self._runtime.reader.utterance(
            text,
            {INTENT: message.get(INTENT) or {}, ENTITIES: message.get(ENTITIES) or []},
            message.get("metadata") or {},
            labelled=False,
        )
        belief = self._runtime.hear(tracker, user)
        return {
            "belief": belief.top(self._runtime.configuration.top_k, LEAST_KEPT),
            "goal": belief.goal(),
            "model_id": self._runtime.name,
        }

    def _add_intent(self, message: Message, understanding: Understanding) -> None:
        ranking = [
            {INTENT_NAME_KEY: name, PREDICTED_CONFIDENCE_KEY: confidence}
            for i, (name, confidence) in enumerate(understanding.intents[:_LABELS_IN_RANKING])
            if i < 2 or confidence >= LEAST_KEPT  # two, as fallbacks ask how far they are apart
        ]
        if ranking:
            message.set(INTENT, ranking[0], add_to_output=True)
            message.set("intent_ranking", ranking, add_to_output=True)

    def _add_tokens(self, message: Message, text: str) -> None:
        """The words of the message where no tokenizer gave any: `rasa test nlu` counts entities by them."""
        assert self._runtime is not None
        if message.get(TOKENS_NAMES[TEXT]) is None:
            ontology = self._runtime.model.encoder.ontology
            words = tokenize(text, ontology.language, ontology.splitter)
            tokens = [Token(text[word.start : word.end], word.start, word.end) for word in words]
            message.set(TOKENS_NAMES[TEXT], tokens)

    def _add_entities(self, message: Message, text: str, understanding: Understanding) -> None:
        found = [self._entity(text, entity) for entity in understanding.entities]
        found = self.add_extractor_name(found)
        message.set(ENTITIES, (message.get(ENTITIES) or []) + found, add_to_output=True)

    def _entity(
        self, text: str, entity: Tuple[str, Optional[str], Optional[str], int, int, float]
    ) -> Dict[str, Any]:
        assert self._runtime is not None
        name, role, group, start, end, confidence = entity
        ontology = self._runtime.model.encoder.ontology
        words = value = text[start:end]
        for slot in (role, name):
            position = ontology.position(slot) if slot else -1
            if position >= 0:
                value = ontology.canonical(position, words)
                break
        if value == words:
            value = self._runtime.synonym(words)
        labelled: Dict[str, Any] = {
            ENTITY_ATTRIBUTE_TYPE: name,
            ENTITY_ATTRIBUTE_START: start,
            ENTITY_ATTRIBUTE_END: end,
            ENTITY_ATTRIBUTE_VALUE: value,
            EXTRACTOR_CONFIDENCE: confidence,
        }
        further: Mapping[str, Optional[str]] = {
            ENTITY_ATTRIBUTE_ROLE: role,
            ENTITY_ATTRIBUTE_GROUP: group,
        }
        labelled.update({key: value for key, value in further.items() if value})
        return labelled
