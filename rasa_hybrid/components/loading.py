"""A trained model of ours as Rasa's components find it: read once, from where Rasa unpacks it, and shared by all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np
from rasa.engine.graph import ExecutionContext
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.exceptions import InvalidConfigException, RasaException

from rasa_hybrid.components.configuration import PolicyConfiguration
from rasa_hybrid.components.runtime import Runtime
from rasa_hybrid.components.tokenizer import splitter_of
from rasa_hybrid.dialogue import DomainFacts
from rasa_hybrid.knowledge import (
    GuardedKnowledgeBase,
    KnowledgeBaseError,
    knowledge_base_from_config,
)
from rasa_hybrid.model import checkpoint


class UnusableModelError(RasaException):
    """A trained model that can't be loaded; Rasa's commands print the message without a stack trace."""


#: Runtimes by the directory that they were loaded from, so that policy and NLU share one model.
_RUNTIMES: Dict[str, Runtime] = {}


def shared_runtime(
    model_storage: ModelStorage,
    resource: Resource,
    execution_context: ExecutionContext,
    configuration: PolicyConfiguration,
) -> Runtime:
    """The runtime of a trained policy, the same one for every component of a loaded model."""
    with model_storage.read_from(resource) as path:
        key = str(path)
        if key not in _RUNTIMES:
            encoder, weights, extra = load_checkpoint(path, execution_context)
            goal_slots = tuple(extra["goal_slots"])
            configuration = replace(configuration, settings=encoder.settings)
            knowledge_base = None
            if configuration.knowledge_base is not None:
                knowledge_base = open_knowledge_base(configuration, goal_slots, must_answer=False)
            runtime = Runtime(
                encoder,
                weights,
                DomainFacts.from_dict(extra["facts"]),
                goal_slots,
                configuration,
                knowledge_base,
                execution_context.model_id or "",
                extra.get("synonyms"),
            )
            _RUNTIMES.clear()  # directories of earlier loads are gone
            _RUNTIMES[key] = runtime
        return _RUNTIMES[key]


def served_runtime() -> Optional[Runtime]:
    """The runtime of the model that was loaded last; None if it has no policy of ours."""
    return next(iter(_RUNTIMES.values()), None)


def load_checkpoint(
    path: Path, execution_context: ExecutionContext
) -> Tuple[Any, Dict[str, np.ndarray], Dict[str, Any]]:
    """A checkpoint of ours, or the sentence that says what is wrong with it."""
    try:
        return checkpoint.load(path, splitter_of(execution_context))
    except checkpoint.CheckpointError as error:
        raise UnusableModelError(f"HybridPolicy: {error}") from error


def open_knowledge_base(
    configuration: PolicyConfiguration, goal_slots: Sequence[str], must_answer: bool = True
) -> GuardedKnowledgeBase:
    """The knowledge base of a configuration that has one.

    Raises:
        InvalidConfigException: if it can't be opened.
    """
    assert configuration.knowledge_base is not None
    try:
        return knowledge_base_from_config(
            configuration.knowledge_base,
            language=configuration.settings.language,
            slots=goal_slots or None,
            must_answer=must_answer,
        )
    except KnowledgeBaseError as error:
        raise InvalidConfigException(f"HybridPolicy: {error}") from error


def schema_language(execution_context: ExecutionContext) -> Optional[str]:
    """The project's language, as far as the graph tells it."""
    for node in execution_context.graph_schema.nodes.values():
        language = node.config.get("language") if node.config else None
        if isinstance(language, str):
            return language
    return None
