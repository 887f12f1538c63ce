"""From stories, NLU examples and corpora to a trained joint model: what `HybridPolicy` does when Rasa trains.

Labelled dialogues are made by `lessons`; equations and updates are in `model` and `learning`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import rasa.shared.utils.cli
from rasa.engine.graph import ExecutionContext
from rasa.graph_components.providers.responses_provider import Responses
from rasa.shared.core.domain import Domain
from rasa.shared.core.generator import TrackerWithCachedStates
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.training_data.training_data import TrainingData

from rasa_hybrid.components.configuration import PolicyConfiguration, check_domain, check_offers
from rasa_hybrid.components.conversion import TrackerReader
from rasa_hybrid.components.facts import domain_facts
from rasa_hybrid.components.lessons import (
    corpus_dialogues,
    digressions,
    goal_slots_of,
    is_own,
    listed_values,
    rehearsal,
    story_dialogues,
    unknown_answers,
    warn_about_data,
    warn_about_new_labels,
    word_vectors,
)
from rasa_hybrid.components.loading import open_knowledge_base
from rasa_hybrid.components.progress import epochs_on_stderr
from rasa_hybrid.components.tokenizer import splitter_of
from rasa_hybrid.components.wordings import Wordings, utterance_of
from rasa_hybrid.dialogue import TAUGHT
from rasa_hybrid.dialogue.memory import objects_that_stay
from rasa_hybrid.dialogue.normalise import Splitter
from rasa_hybrid.learning.supervised import SupervisedTrainer
from rasa_hybrid.model import checkpoint
from rasa_hybrid.model.embeddings import with_vectors
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import initial_weights
from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.warm_start import warm_start

logger = logging.getLogger(__name__)


class Learnt(NamedTuple):
    """A trained model, as a checkpoint keeps it."""

    encoder: Encoder
    weights: Dict[str, np.ndarray]
    extra: Dict[str, Any]


def learn(
    configuration: PolicyConfiguration,
    execution_context: ExecutionContext,
    training_trackers: Sequence[TrackerWithCachedStates],
    domain: Domain,
    responses: Responses,
    training_data: Optional[TrainingData] = None,
    earlier: Optional[Tuple[Encoder, Mapping[str, np.ndarray]]] = None,
) -> Learnt:
    """Trains the joint model.

    Args:
        configuration: of the policy.
        execution_context: of the training.
        training_trackers: of stories and rules.
        domain: of the project.
        responses: of the domain; the slots in them tell what an action says to the user.
        training_data: NLU examples; None in `rasa train core`.
        earlier: encoder and weights of the model that is fine-tuned; None for a new one.

    Raises:
        InvalidConfigException: if the configuration does not fit domain or knowledge base, or there is nothing to learn from.
    """
    check_domain(configuration, domain)
    facts = domain_facts(
        domain, configuration.offer_slots, responses.data, configuration.choice_slots
    )
    trackers = [
        t
        for t in training_trackers
        if not t.is_augmented and not getattr(t, "is_rule_tracker", False)
    ]
    goal_slots = goal_slots_of(configuration, domain, trackers)
    reader = TrackerReader(
        facts, goal_slots, configuration.settings.pipeline, configuration.dontcare_value
    )
    knowledge_base = None
    if configuration.knowledge_base is not None:
        knowledge_base = open_knowledge_base(configuration, goal_slots)
    check_offers(configuration, knowledge_base.columns if knowledge_base else None)
    examples = training_data.intent_examples if training_data else []
    wordings = Wordings(examples)
    stories = story_dialogues(configuration, reader, trackers, wordings, knowledge_base)
    with objects_that_stay():
        read = corpus_dialogues(configuration, goal_slots)
        corpus = [facts.harmonise(dialogue) for dialogue in read]
    dialogues = stories + corpus
    known = set(domain.action_names_or_texts)
    for dialogue in corpus:
        done = {action.name for turn in dialogue.turns for action in turn.actions}
        right = {name for turn in dialogue.turns for name in turn.expert or ()}
        for name in sorted(done | right):
            if name not in known:
                raise InvalidConfigException(
                    f"HybridPolicy: corpus: dialogue {dialogue.id!r} has the action {name!r}, which the domain lacks."
                )
    taught = [story for story in stories if story.metadata.get(TAUGHT)]
    if goal_slots:
        rules = [t for t in training_trackers if getattr(t, "is_rule_tracker", False)]
        dialogues += digressions(configuration, dialogues, rules, wordings)
    if not dialogues:
        raise InvalidConfigException(
            "HybridPolicy: there is nothing to learn from: the project has no stories "
            "(rules are not enough), and `corpus` names no dialogues. Write stories or remove the policy."
        )
    utterances = [utterance for utterance in map(utterance_of, examples) if utterance is not None]
    warn_about_data(dialogues, goal_slots, wordings, bool(training_data))
    settings = configuration.settings
    with_unknown = bool(goal_slots and settings.candidates)
    if earlier is not None:
        encoder, weights = earlier
        encoder = type(encoder)(
            replace(settings, preset=encoder.settings.preset),
            encoder.vocabulary,
            encoder.ontology,
        )
        warn_about_new_labels(encoder, dialogues)
        if taught:
            encoder, dialogues = rehearsal(configuration, encoder, dialogues, taught, with_unknown)
            with_unknown = False
    else:
        listed = listed_values(
            facts, goal_slots, training_data, knowledge_base, configuration.dontcare_value
        )
        splitter = splitter_of(execution_context)
        actions = [name for name in domain.action_names_or_texts if is_own(name)]
        vectors = word_vectors(configuration)
        encoder = prepare(settings, dialogues, utterances, listed, actions, splitter, words=vectors)
        shapes = parameter_shapes(settings, sizes_of(encoder.vocabulary, encoder.ontology))
        weights = with_vectors(initial_weights(shapes, settings.seed), encoder.vocabulary, vectors)
        if configuration.warm_start is not None:
            weights = _warm_start(encoder, weights, configuration.warm_start, splitter)
    if with_unknown:
        dialogues = dialogues + unknown_answers(configuration, dialogues, encoder)
    trainer = SupervisedTrainer(encoder, weights)
    with epochs_on_stderr(trainer.epochs(len(dialogues), len(utterances))) as (show, move):
        epochs = trainer.fit(dialogues, utterances, show, within=move)
    for last in epochs[-1:]:
        logger.info(
            f"HybridPolicy: learnt {len(dialogues)} dialogues and {len(utterances)} NLU examples; at the end "
            f"{last.joint_goal_accuracy:.1%} of the goals and {last.action_accuracy:.1%} of the actions were right. "
            f"An epoch took {last.seconds:,.1f} seconds."
        )
    synonyms = (
        {k.lower(): v for k, v in training_data.entity_synonyms.items()} if training_data else {}
    )
    extra = {
        "facts": facts.to_dict(),
        "goal_slots": list(goal_slots),
        "synonyms": synonyms,
        "offer_slots": dict(configuration.offer_slots),
        "offer_actions": list(configuration.offer_actions),
        "dontcare_value": configuration.dontcare_value,
    }
    return Learnt(encoder, trainer.model.weights(), extra)


def _warm_start(
    encoder: Encoder,
    weights: Mapping[str, np.ndarray],
    path: str,
    splitter: Optional[Splitter],
) -> Dict[str, np.ndarray]:
    """The weights of an earlier model wherever they fit; says what was taken over."""
    try:
        earlier, known, _ = checkpoint.load_archive(path, splitter)
    except checkpoint.CheckpointError as error:
        raise InvalidConfigException(f"HybridPolicy: warm_start: {error}") from error
    started = warm_start(encoder, weights, earlier, known)
    for line in started.taken:
        rasa.shared.utils.cli.print_info(f"HybridPolicy starts from {path}: {line}")
    return started.weights
