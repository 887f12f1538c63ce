"""`rasa_hybrid.HybridPolicy`: understanding, state tracking and policy as one trained model, in the place of a policy.

Equations 1 to 4 of Liu et al. (2018) live in `rasa_hybrid.model`; this module is their life in Rasa. What happens when Rasa
trains is in `training`, and how a trained model is found in `loading`.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple
from weakref import WeakSet

import numpy as np
from rasa.core.policies.policy import Policy, PolicyPrediction
from rasa.core.policies.rule_policy import RulePolicy
from rasa.engine.graph import ExecutionContext
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.graph_components.providers.responses_provider import Responses
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.nlu.classifiers.fallback_classifier import FallbackClassifier
from rasa.nlu.selectors.response_selector import ResponseSelector
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import (
    ActionExecuted,
    ActionExecutionRejected,
    Event,
    SlotSet,
)
from rasa.shared.core.generator import TrackerWithCachedStates
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.nlu.training_data.training_data import TrainingData

import rasa_hybrid
from rasa_hybrid.components import activity, rasa_internals
from rasa_hybrid.components.activity import Exploration, session_begun
from rasa_hybrid.components.configuration import check_configuration, default_configuration
from rasa_hybrid.components.conversion import HYBRID, KNOWLEDGE_BASE, LEAST_KEPT, MODEL, TEACHER
from rasa_hybrid.components.corpus import make_missing
from rasa_hybrid.components.facts import placeholders, slot_value
from rasa_hybrid.components.loading import (
    load_checkpoint,
    open_knowledge_base,
    schema_language,
    shared_runtime,
)
from rasa_hybrid.components.runtime import Runtime, TurnState
from rasa_hybrid.dialogue import DONTCARE
from rasa_hybrid.knowledge import choices
from rasa_hybrid.knowledge.base import ID
from rasa_hybrid.model import checkpoint
from rasa_hybrid.model.exploration import exploring_policy

logger = logging.getLogger(__name__)


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
            knowledge_base = open_knowledge_base(configuration, ())
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
        from rasa_hybrid.components.training import learn  # it loads TensorFlow

        if schema_language(self._execution_context) is None and not self.config.get("language"):
            logger.warning(
                "HybridPolicy: Rasa does not tell the project's language where there are no NLU examples; it is taken "
                "as English. Set `language` of HybridPolicy if it is another one."
            )
        learnt = learn(
            self.configuration,
            self._execution_context,
            training_trackers,
            domain,
            responses,
            training_data,
            self._trained,
        )
        with self._model_storage.write_to(self._resource) as path:
            checkpoint.save(path, learnt.encoder, learnt.weights, learnt.extra)
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
            decision["explored"] = True
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
                encoder, weights, _ = load_checkpoint(path, execution_context)
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


def _has_classifier(schema: Any) -> bool:
    """Whether a pipeline predicts intents apart from our model; what is an IntentClassifier by inheritance alone does not."""
    from rasa_hybrid.components.nlu import HybridNLU

    return any(
        isinstance(node.uses, type)
        and issubclass(node.uses, IntentClassifier)
        and not issubclass(node.uses, (HybridNLU, FallbackClassifier, ResponseSelector))
        and (node.config or {}).get("intent_classification", True)
        for node in schema.nodes.values()
    )


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
