"""`rasa_hybrid.HybridPolicy`: understanding, state tracking and policy as one trained model, in the place of a policy.

Equations 1 to 4 of Liu et al. (2018) live in `rasa_hybrid.model`; this module is their life in Rasa.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple
from weakref import WeakSet

import numpy as np
import rasa.shared.utils.cli
from rasa.core.policies.policy import Policy, PolicyPrediction
from rasa.core.policies.rule_policy import RulePolicy
from rasa.engine.graph import ExecutionContext
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.graph_components.providers.responses_provider import Responses
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActionExecutionRejected,
    Event,
    SlotSet,
)
from rasa.shared.core.generator import TrackerWithCachedStates
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.exceptions import InvalidConfigException, RasaException
from rasa.shared.nlu.training_data.training_data import TrainingData

import rasa_hybrid
from rasa_hybrid.components import activity, rasa_internals
from rasa_hybrid.components.activity import Exploration, session_begun
from rasa_hybrid.components.configuration import (
    PolicyConfiguration,
    check_configuration,
    check_domain,
    check_offers,
    default_configuration,
)
from rasa_hybrid.components.conversion import (
    HYBRID,
    KNOWLEDGE_BASE,
    LEAST_KEPT,
    MODEL,
    TEACHER,
    TrackerReader,
    Wordings,
    domain_facts,
    placeholders,
    slot_value,
    utterance_of,
)
from rasa_hybrid.components.corpus import make_missing
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
from rasa_hybrid.components.runtime import Runtime, TurnState
from rasa_hybrid.components.tokenizer import splitter_of
from rasa_hybrid.dialogue import DONTCARE, TAUGHT, DomainFacts
from rasa_hybrid.knowledge import (
    GuardedKnowledgeBase,
    KnowledgeBaseError,
    choices,
    knowledge_base_from_config,
)
from rasa_hybrid.knowledge.base import ID
from rasa_hybrid.model import checkpoint
from rasa_hybrid.model.embeddings import with_vectors
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.exploration import exploring_policy
from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.warm_start import warm_start

logger = logging.getLogger(__name__)


class UnusableModelError(RasaException):
    """A trained model that can't be loaded; Rasa's commands print the message without a stack trace."""


@DefaultV1Recipe.register(
    DefaultV1Recipe.ComponentType.POLICY_WITHOUT_END_TO_END_SUPPORT, is_trainable=True
)
class HybridPolicy(Policy):
    """Tracks the user's goal and chooses the next action with one joint model."""

    @staticmethod
    def get_default_config() -> Dict[str, Any]:
        """Default config (see parent class for full docstring)."""
        return default_configuration()

    @staticmethod
    def required_packages() -> List[str]:
        """Any extra python dependencies required for this component to run."""
        return ["tensorflow", "numpy"]

    @classmethod
    def fingerprint_addon(cls, config: Dict[str, Any]) -> Optional[str]:
        """What training depends on beside the graph: our code, the corpora, word vectors, the knowledge base's schema."""
        digest = hashlib.sha256()
        package = Path(rasa_hybrid.__file__).parent
        for module in sorted(package.rglob("*.py")):
            digest.update(module.relative_to(package).as_posix().encode())
            digest.update(module.read_bytes())
        known = default_configuration()
        try:
            configuration = check_configuration(
                {**known, **{k: config[k] for k in config if k in known}}
            )
        except InvalidConfigException:  # the constructor says it, where Rasa shows it to the user
            return digest.hexdigest()
        make_missing(configuration.corpus)
        paths = [file.path for file in configuration.corpus]
        for path in (*paths, configuration.settings.embeddings, configuration.warm_start):
            if path is not None:
                digest.update(Path(path).read_bytes() if Path(path).is_file() else b"missing")
        if configuration.knowledge_base is not None:
            knowledge_base = _knowledge_base(configuration, ())
            digest.update(knowledge_base.config_fingerprint().encode())
            knowledge_base.close()
        return digest.hexdigest()

    def __init__(
        self,
        config: Dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        runtime: Optional[Runtime] = None,
        trained: Optional[Tuple[Any, Mapping[str, np.ndarray]]] = None,
    ) -> None:
        """Makes the policy and checks its configuration.

        Raises:
            InvalidConfigException: if a key is unknown or a value impossible.
        """
        super().__init__(config, model_storage, resource, execution_context)
        self._execution_context = execution_context
        schema = execution_context.graph_schema
        self.configuration = check_configuration(
            config, schema_language(execution_context), _has_classifier(schema)
        )
        self.runtime = runtime
        self._trained = trained
        #: Whether this model or another policy decides by the intents of messages with words.
        self.needs_intents = True
        self._rng = np.random.default_rng()

    def train(
        self,
        training_trackers: List[TrackerWithCachedStates],
        domain: Domain,
        responses: Responses,
        training_data: Optional[TrainingData] = None,
        **kwargs: Any,
    ) -> Resource:
        """Trains the joint model on stories, NLU examples and corpora (see parent class for full docstring).

        Args:
            training_trackers: of stories and rules.
            domain: of the project.
            responses: of the domain; the slots in them tell what an action says to the user.
            training_data: NLU examples; None in `rasa train core`.
            **kwargs: of other components.

        Returns:
            The resource that holds the trained model.
        """
        from rasa_hybrid.components.progress import epochs_on_stderr
        from rasa_hybrid.learning.supervised import SupervisedTrainer
        from rasa_hybrid.model.network import initial_weights

        configuration = self.configuration
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
        knowledge_base = self._knowledge_base(goal_slots)
        check_offers(configuration, knowledge_base.columns if knowledge_base else None)
        examples = training_data.intent_examples if training_data else []
        wordings = Wordings(examples)
        stories = story_dialogues(configuration, reader, trackers, wordings, knowledge_base)
        corpus = [
            facts.harmonise(dialogue) for dialogue in corpus_dialogues(configuration, goal_slots)
        ]
        dialogues = stories + corpus
        taught = [story for story in stories if story.metadata.get(TAUGHT)]
        if goal_slots:
            rules = [t for t in training_trackers if getattr(t, "is_rule_tracker", False)]
            dialogues += digressions(configuration, dialogues, rules, wordings)
        if not dialogues:
            raise InvalidConfigException(
                "HybridPolicy: there is nothing to learn from: the project has no stories "
                "(rules are not enough), and `corpus` names no dialogues. Write stories or remove the policy."
            )
        utterances = [
            utterance for utterance in map(utterance_of, examples) if utterance is not None
        ]
        warn_about_data(dialogues, goal_slots, wordings, bool(training_data))
        settings = configuration.settings
        with_unknown = bool(goal_slots and settings.candidates)
        if self._trained is not None:
            encoder, weights = self._trained
            encoder = type(encoder)(
                replace(settings, preset=encoder.settings.preset),
                encoder.vocabulary,
                encoder.ontology,
            )
            warn_about_new_labels(encoder, dialogues)
            if taught:
                encoder, dialogues = rehearsal(
                    configuration, encoder, dialogues, taught, with_unknown
                )
                with_unknown = False
        else:
            listed = listed_values(
                facts, goal_slots, training_data, knowledge_base, configuration.dontcare_value
            )
            splitter = splitter_of(self._execution_context)
            actions = [name for name in domain.action_names_or_texts if is_own(name)]
            vectors = word_vectors(configuration)
            encoder = prepare(
                settings, dialogues, utterances, listed, actions, splitter, words=vectors
            )
            shapes = parameter_shapes(settings, sizes_of(encoder.vocabulary, encoder.ontology))
            weights = with_vectors(
                initial_weights(shapes, settings.seed), encoder.vocabulary, vectors
            )
            if configuration.warm_start is not None:
                weights = self._warm_start(encoder, weights, configuration.warm_start)
        if with_unknown:
            dialogues = dialogues + unknown_answers(configuration, dialogues, encoder)
        trainer = SupervisedTrainer(encoder, weights)
        with epochs_on_stderr(trainer.epochs(len(dialogues), len(utterances))) as progress:
            epochs = trainer.fit(dialogues, utterances, progress)
        for last in epochs[-1:]:
            logger.info(
                f"HybridPolicy: learnt {len(dialogues)} dialogues and {len(utterances)} NLU examples; at the end "
                f"{last.joint_goal_accuracy:.1%} of the goals and {last.action_accuracy:.1%} of the actions were right."
            )
        synonyms = (
            {k.lower(): v for k, v in training_data.entity_synonyms.items()}
            if training_data
            else {}
        )
        extra = {
            "facts": facts.to_dict(),
            "goal_slots": list(goal_slots),
            "synonyms": synonyms,
            "offer_slots": dict(configuration.offer_slots),
            "offer_actions": list(configuration.offer_actions),
            "dontcare_value": configuration.dontcare_value,
        }
        with self._model_storage.write_to(self._resource) as path:
            checkpoint.save(path, encoder, trainer.model.weights(), extra)
        return self._resource

    @staticmethod
    def loaded(model_id: str) -> Optional[HybridPolicy]:
        """The policy of a model that is loaded in this process, None if there is none."""
        loaded = (p for p in _LOADED if p.runtime is not None and p.runtime.name == model_id)
        return next(loaded, None)

    def taught_prediction(
        self,
        tracker: DialogueStateTracker,
        domain: Domain,
        action: str,
        corrected: Mapping[str, Any],
    ) -> PolicyPrediction:
        """The prediction of an action that a teacher chose, with the slots that go with it.

        Args:
            tracker: before the action.
            domain: of the project.
            action: that the teacher chose.
            corrected: what would have been done, for the metadata.
        """
        assert self.runtime is not None
        self.runtime.use_domain(domain)
        state = self.runtime.turn(tracker)
        chances = self.runtime.decide(state)
        preferred = {
            "action": self.runtime.actions[int(np.argmax(chances))],
            "propensity": float(chances.max()),
            "sampled": False,
        }
        offer, events = self._before(action, tracker, domain, state)
        taught = {"source": TEACHER, "corrected": corrected}
        prediction = PolicyPrediction.for_action_name(
            domain,
            action,
            action_metadata={HYBRID: {**self._known(state), **preferred, **offer, **taught}},
        )
        if not state.turn.actions:
            prediction.events += self._belief_events(tracker, state)
        prediction.events += events
        return prediction

    def predict_action_probabilities(
        self,
        tracker: DialogueStateTracker,
        domain: Domain,
        rule_only_data: Optional[Dict[str, Any]] = None,
        **kwargs: Any,
    ) -> PolicyPrediction:
        """Predicts the next action (see parent class for full docstring).

        The first prediction after a user's message carries the changed belief as `SlotSet` events.
        """
        probabilities = self._default_predictions(domain)
        if self.runtime is None:
            return self._prediction(probabilities)
        self.runtime.use_domain(domain)
        activity.note(tracker.sender_id, session_begun(tracker.events) or 0.0)
        state = self.runtime.turn(tracker)
        chances = _without_rejected(self.runtime.decide(state), self.runtime.actions, tracker)
        if self.configuration.shadow:
            return self._shadow(probabilities, state, chances)
        indices = {name: i for i, name in enumerate(domain.action_names_or_texts)}
        names = self.runtime.actions
        best = chosen = int(np.argmax(chances))
        tried = chances
        exploration = self._exploration()
        if exploration is not None:
            tried = self._exploring(chances, indices, exploration)
            chosen = int(self._rng.choice(len(tried), p=tried))
            if names[chosen] in indices:
                # Only what was drawn is offered, so that its propensity is the true one. Rules still win.
                probabilities[indices[names[chosen]]] = 1.0
        else:
            for name, chance in zip(names, chances):
                if name in indices:
                    probabilities[indices[name]] = float(chance)
        known = self._known(state)
        decision: Dict[str, Any] = {
            "action": names[chosen],
            "propensity": float(tried[chosen]),
            "sampled": False,
        }
        if exploration is not None:
            decision["sampled"] = bool(tried[chosen] < 1.0)
            decision["greedy"] = names[best]
        prediction = JointPrediction(
            probabilities,
            self.__class__.__name__,
            self.priority,
            events=[] if state.turn.actions else self._belief_events(tracker, state),
            others_metadata={**known, "shadow": decision},
            before=lambda action: self._before(action, tracker, domain, state),
        )
        offer, prediction.optional_events = prediction.before(names[chosen])
        prediction.action_metadata = {HYBRID: {**known, **decision, **offer}}
        return prediction

    def _shadow(
        self, probabilities: List[float], state: TurnState, chances: np.ndarray
    ) -> PolicyPrediction:
        """No vote, no slots: only what the tracker keeps with the action that another policy chooses."""
        assert self.runtime is not None
        best = int(np.argmax(chances))
        decision = {
            "action": self.runtime.actions[best],
            "propensity": float(chances[best]),
            "sampled": False,
        }
        return JointPrediction(
            probabilities,
            self.__class__.__name__,
            self.priority,
            others_metadata={**self._known(state), "shadow": decision},
            before=lambda action: ({}, []),
        )

    def _warm_start(
        self, encoder: Encoder, weights: Mapping[str, np.ndarray], path: str
    ) -> Dict[str, np.ndarray]:
        """The weights of an earlier model wherever they fit; says what was taken over."""
        try:
            earlier, known, _ = checkpoint.load_archive(path, splitter_of(self._execution_context))
        except checkpoint.CheckpointError as error:
            raise InvalidConfigException(f"HybridPolicy: warm_start: {error}") from error
        started = warm_start(encoder, weights, earlier, known)
        for line in started.taken:
            rasa.shared.utils.cli.print_info(f"HybridPolicy starts from {path}: {line}")
        return started.weights

    def _exploration(self) -> Optional[Exploration]:
        """How to explore: as the channel says, else as the configuration says; None: not at all."""
        said = activity.exploration()
        if said is not None:
            return said if said.is_on else None
        configuration = self.configuration
        if not configuration.exploration:
            return None
        return Exploration(
            True,
            configuration.exploration_temperature,
            configuration.exploration_floor,
            configuration.never_explored,
        )

    def _exploring(
        self, chances: np.ndarray, known: Mapping[str, int], exploration: Exploration
    ) -> np.ndarray:
        """Probabilities with which actions of the domain are tried."""
        assert self.runtime is not None
        names = self.runtime.actions
        possible = np.array([name in known for name in names])
        if possible.any():
            chances = np.where(possible, chances, 0.0)
        return exploring_policy(
            chances, names, exploration.temperature, exploration.floor, exploration.never
        )

    @classmethod
    def load(
        cls,
        config: Dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> HybridPolicy:
        """Loads a trained policy, to predict or to be fine-tuned (see parent class for full docstring)."""
        policy = cls(config, model_storage, resource, execution_context)
        if execution_context.is_finetuning:
            with model_storage.read_from(resource) as path:
                encoder, weights, _ = _load_checkpoint(path, execution_context)
            policy._trained = (encoder, weights)
        else:
            policy.runtime = shared_runtime(
                model_storage, resource, execution_context, policy.configuration
            )
            policy.needs_intents = policy.runtime.configuration.settings.pipeline or (
                _others_need_intents(execution_context, model_storage)
            )
            _LOADED.add(policy)
            rasa_internals.install_teaching()
        return policy

    def _knowledge_base(self, goal_slots: Sequence[str]) -> Optional[GuardedKnowledgeBase]:
        if self.configuration.knowledge_base is None:
            return None
        return _knowledge_base(self.configuration, goal_slots)

    def _belief_events(self, tracker: DialogueStateTracker, state: TurnState) -> List[Event]:
        """The changed belief as slots: those that nobody else fills, or that the configuration names."""
        assert self.runtime is not None
        facts, events = self.runtime.facts, []
        required = set(facts.forms.get(state.reading.loop or "", ()))
        for slot in self.runtime.goal_slots:
            slot_facts = facts.slots.get(slot)
            if slot_facts is None or slot in required:
                continue
            if not slot_facts.custom and self.configuration.goal_slots is None:
                continue
            best = state.belief.best(slot)
            held = tracker.get_slot(slot)
            dontcare = self.configuration.dontcare_value
            if best == (DONTCARE if held == dontcare else facts.text(slot, held)):
                continue
            try:
                value = slot_value(slot_facts, best, dontcare)
            except ValueError:
                logger.debug(f"The slot {slot!r} can't hold {best!r}.")
                continue
            source = {"source": MODEL, "probability": state.belief.probability(slot, best)}
            events.append(SlotSet(slot, value, metadata={HYBRID: source}))
        return events

    def _before(
        self, action: str, tracker: DialogueStateTracker, domain: Domain, state: TurnState
    ) -> Tuple[Dict[str, Any], List[Event]]:
        """What an action offers, as metadata of it, and the slots that have to be filled before it runs."""
        metadata: Dict[str, Any] = {}
        filled: Dict[str, Optional[str]] = {}
        if action in self.configuration.offer_actions:
            entity = state.next_offer()
            if entity is not None:
                metadata["offered"] = entity[ID]
                for slot, column in self.configuration.offer_slots.items():
                    filled[slot] = entity.get(column)
        if self.configuration.choice_slots and state.entities:
            said = placeholders(domain.responses.get(action) or ())
            for slot, column in self.configuration.choice_slots.items():
                if slot in said:
                    filled[slot] = ", ".join(choices(state.entities, column))
        return metadata, [
            SlotSet(slot, value, metadata={HYBRID: {"source": KNOWLEDGE_BASE}})
            for slot, value in filled.items()
            if tracker.get_slot(slot) != value
        ]

    def _known(self, state: TurnState) -> Dict[str, Any]:
        """What the tracker keeps of the state in which an action was chosen: model, belief, query and its answer."""
        assert self.runtime is not None
        metadata: Dict[str, Any] = {
            "model_id": self.runtime.name,
            "belief": state.belief.top(self.configuration.top_k, LEAST_KEPT),
        }
        if state.query is not None:
            metadata["query"] = dict(state.query)
            metadata["summary"] = {
                "matches": state.summary.matches,
                "remaining": state.summary.remaining,
            }
        return metadata


class JointPrediction(PolicyPrediction):
    """Our prediction, and what belongs to the action whichever policy chooses it.

    Args:
        *args: of `PolicyPrediction`.
        others_metadata: what the tracker keeps with an action that another policy chose; `shadow` in it is what this
            one would have done.
        before: for an action, further metadata and the events that go before it.
        **kwargs: of `PolicyPrediction`.
    """

    def __init__(
        self,
        *args: Any,
        others_metadata: Mapping[str, Any],
        before: Callable[[str], Tuple[Dict[str, Any], List[Event]]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.before = before
        self._others_metadata = others_metadata

    def complete(self, winner: PolicyPrediction, domain: Domain) -> None:
        """Puts into another policy's winning prediction what the tracker has to keep, and its offer."""
        action = domain.action_names_or_texts[int(np.argmax(winner.probabilities))]
        offer, events = self.before(action)
        metadata = {**self._others_metadata, **offer}
        winner.action_metadata = {**(winner.action_metadata or {}), HYBRID: metadata}
        winner.events = [*winner.events, *events]


#: Policies that were loaded to act, as long as somebody uses them; a model may be loaded more than once.
_LOADED: WeakSet[HybridPolicy] = WeakSet()

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
            encoder, weights, extra = _load_checkpoint(path, execution_context)
            goal_slots = tuple(extra["goal_slots"])
            configuration = replace(configuration, settings=encoder.settings)
            knowledge_base = None
            if configuration.knowledge_base is not None:
                knowledge_base = _knowledge_base(configuration, goal_slots, must_answer=False)
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


def _load_checkpoint(
    path: Path, execution_context: ExecutionContext
) -> Tuple[Any, Dict[str, np.ndarray], Dict[str, Any]]:
    """A checkpoint of ours, or the sentence that says what is wrong with it."""
    try:
        return checkpoint.load(path, splitter_of(execution_context))
    except checkpoint.CheckpointError as error:
        raise UnusableModelError(f"HybridPolicy: {error}") from error


def _others_need_intents(execution_context: ExecutionContext, model_storage: ModelStorage) -> bool:
    """Whether another policy than ours looks at intents: any that learns, or a rule that names one."""
    for node in execution_context.graph_schema.nodes.values():
        if not isinstance(node.uses, type) or not issubclass(node.uses, Policy):
            continue
        if issubclass(node.uses, HybridPolicy):
            continue
        if not issubclass(node.uses, RulePolicy) or node.resource is None:
            return True
        with model_storage.read_from(node.resource) as path:
            rules = [file.read_text(encoding="utf-8") for file in sorted(path.glob("*.json"))]
        if not rules or any('\\"intent\\"' in text for text in rules):
            return True
    return False


def schema_language(execution_context: ExecutionContext) -> Optional[str]:
    """The project's language, as far as the graph tells it."""
    for node in execution_context.graph_schema.nodes.values():
        language = node.config.get("language") if node.config else None
        if isinstance(language, str):
            return language
    return None


def _has_classifier(schema: Any) -> bool:
    """Whether a pipeline predicts intents apart from our model."""
    from rasa_hybrid.components.nlu import HybridNLU

    return any(
        isinstance(node.uses, type)
        and issubclass(node.uses, IntentClassifier)
        and not issubclass(node.uses, HybridNLU)
        for node in schema.nodes.values()
    )


def _knowledge_base(
    configuration: PolicyConfiguration, goal_slots: Sequence[str], must_answer: bool = True
) -> GuardedKnowledgeBase:
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


def _without_rejected(
    chances: np.ndarray, actions: Sequence[str], tracker: DialogueStateTracker
) -> np.ndarray:
    """The probabilities without the action that has just refused to run, as Rasa's ensemble takes it out too."""
    last = next(
        (
            e
            for e in reversed(tracker.events)
            if isinstance(e, (ActionExecutionRejected, ActionExecuted))
        ),
        None,
    )
    if isinstance(last, ActionExecutionRejected) and last.action_name in actions:
        chances = chances.copy()
        chances[list(actions).index(last.action_name)] = 0.0
        chances /= max(float(chances.sum()), 1e-12)
    return chances


rasa_internals.install(HybridPolicy, JointPrediction)
