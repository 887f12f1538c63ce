"""The private parts of Rasa that we touch, all of them, installed only on the version they were written for.

Functions of `rasa interactive` are replaced by those of `components.interactive`. `rasa train core` makes a graph without
NLU data, and the policy's argument `training_data` would have no provider: the recipe then leaves that argument out. When
another policy wins, Rasa forgets what ours knows of the turn: the ensemble then keeps it with the action. Where no policy
learns from augmented stories, none are made, and stories stay that differ only in values which Rasa's policies do not see. With every answer of a custom action Rasa checks that its own schema is one,
which blocks the server for longer than the rest of a message takes: answers are compared with a schema that was checked
once. For every event of a tracker that is loaded Rasa goes through all classes of events to find the one of its name, a
sixth of a message's time: what was found is remembered. For each run of a model's graph Rasa has dask plan it anew:
nodes are called when another one needs them. Several times a message Rasa goes through all events of a tracker to undo
what was reverted: where nothing was, they are taken as they are. For every state of a tracker that a policy reads, for
every action and every message Rasa copies all slots by way of pickle's protocol, and for every message it builds an empty
domain to see whether the model's is one: slots are copied by their `__dict__`, and the empty domain is remembered; a
tracker remembers the states that policies read. A turn of our channel has a break after the message is understood. On
another version of Rasa all of this is as in stock Rasa.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import logging
import sys
from typing import Any, Callable, Dict, List, Optional, Sequence, Type

import rasa
from jsonschema.validators import validator_for
from rasa.core.actions.action import RemoteAction
from rasa.core.channels.channel import UserMessage
from rasa.core.policies.ensemble import DefaultPolicyPredictionEnsemble
from rasa.core.policies.memoization import AugmentedMemoizationPolicy, MemoizationPolicy
from rasa.core.policies.policy import PolicyPrediction
from rasa.core.policies.rule_policy import RulePolicy
from rasa.core.processor import MessageProcessor
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.runner.dask import DaskGraphRunner
from rasa.graph_components.providers.training_tracker_provider import TrainingTrackerProvider
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import Event, UserUttered
from rasa.shared.core.generator import TrackerWithCachedStates, TrainingDataGenerator
from rasa.shared.core.slots import Slot
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.shared.core.training_data.structures import StoryGraph

from rasa_hybrid.components import tracker_states
from rasa_hybrid.components.activity import BEGINNINGS
from rasa_hybrid.components.channel_replies import Replies

logger = logging.getLogger(__name__)

#: The version whose private parts these are.
RASA_VERSION = "3.6.21"
_MARK = "_rasa_hybrid"


def install(policy: Type[GraphComponent], prediction: Type[PolicyPrediction]) -> None:
    """Lets a policy that asks for NLU data be trained without any, and its predictions be completed when others win.

    Args:
        policy: the class whose `training_data` is optional.
        prediction: the class of its predictions; `complete(winner, domain)` of one is called if another one wins.
    """
    needs = _original(DefaultV1Recipe, "_get_needs_from_args", ["self", "component", "fn_name"])
    if needs is not None:
        _replace(DefaultV1Recipe, needs, _needs_without_missing_nlu_data(needs, policy))
    expected = ["self", "predictions", "tracker", "domain"]
    combine = _original(DefaultPolicyPredictionEnsemble, "combine_predictions", expected)
    if combine is not None:
        _replace(DefaultPolicyPredictionEnsemble, combine, _completing(combine, prediction))
    validate = _original(RemoteAction, "_validate_action_result", ["self", "result"])
    if validate is not None:
        _replace(RemoteAction, validate, _with_one_schema(validate))
    resolve = _original(Event, "resolve_by_type", ["type_name", "default"])
    if resolve is not None:
        _replace(Event, resolve, _remembering(resolve), staticmethod)
    run = _original(DaskGraphRunner, "run", ["self", "inputs", "targets"])
    if run is not None:
        _replace(DaskGraphRunner, run, _without_plan(run))
    applied = _original(DialogueStateTracker, "applied_events", ["self"])
    if applied is not None:
        _replace(DialogueStateTracker, applied, _taken_as_they_are(applied))
    is_empty = _original(Domain, "is_empty", ["self"])
    if is_empty is not None:
        _replace(Domain, is_empty, _with_one_empty_domain(is_empty))
        Slot.__copy__ = _CopyOfSlots()
    expected = ["self", "tracker", "omit_unset_slots", "ignore_rule_only_turns", "rule_only_data"]
    states = _original(Domain, "states_for_tracker_history", expected)
    if states is not None:
        _replace(Domain, states, tracker_states.remembering(states))
    expected = ["self", "message", "tracker", "only_output_properties"]
    parse = _original(MessageProcessor, "parse_message", expected)
    if parse is not None:
        _replace(MessageProcessor, parse, _with_break(parse))
    expected = ["config", "model_storage", "resource", "execution_context"]
    create = _original(TrainingTrackerProvider, "create", expected)
    if create is not None:
        _replace(TrainingTrackerProvider, create, _without_unused_augmentation(create, policy))
    provide = _original(TrainingTrackerProvider, "provide", ["self", "story_graph", "domain"])
    if provide is not None:
        _replace(TrainingTrackerProvider, provide, _with_all_stories(provide))


def _original(owner: type, name: str, parameters: Sequence[str]) -> Optional[Callable]:
    """The method to wrap; None if that was done before, or with a warning if it is not the one we know."""
    method = getattr(owner, name, None)
    if getattr(method, _MARK, False):
        return None
    if (
        rasa.__version__ != RASA_VERSION
        or method is None
        or list(inspect.signature(method).parameters) != list(parameters)
    ):
        logger.warning(
            f"rasa_hybrid was written for Rasa {RASA_VERSION}, this is {rasa.__version__}: "
            f"{owner.__name__}.{name} stays as it is. `rasa train core` may fail, and offers that "
            "other policies make are not kept; everything else works as it does in Rasa."
        )
        return None
    return method


def _replace(
    owner: type, original: Callable, wrapper: Callable, kind: Callable = lambda method: method
) -> None:
    setattr(wrapper, _MARK, True)
    setattr(owner, original.__name__, kind(wrapper))


def _needs_without_missing_nlu_data(original: Callable, policy: Type[GraphComponent]) -> Callable:
    @functools.wraps(original)
    def needs_without_missing_nlu_data(
        self: DefaultV1Recipe, component: Type[GraphComponent], fn_name: str
    ) -> Dict[str, str]:
        needs = original(self, component, fn_name)
        if (
            fn_name == "train"
            and isinstance(component, type)
            and issubclass(component, policy)
            and not _uses_nlu(self)
        ):
            needs.pop("training_data", None)
        return needs

    return needs_without_missing_nlu_data


#: Policies of Rasa that leave augmented trackers out.
_WITHOUT_AUGMENTED = (RulePolicy, MemoizationPolicy, AugmentedMemoizationPolicy)


def _without_unused_augmentation(original: Callable, policy: Type[GraphComponent]) -> Callable:
    """The provider of training trackers, which spares the augmented ones if all who get them leave them out.

    It then also keeps stories that only values tell apart. The graph's configuration stays what it was, so that `--finetune` takes models of both kinds.
    """

    @functools.wraps(original)
    def create(
        config: Dict[str, Any],
        model_storage: Any,
        resource: Any,
        execution_context: ExecutionContext,
    ) -> TrainingTrackerProvider:
        learners = [
            node.uses
            for node in execution_context.graph_schema.nodes.values()
            if "training_tracker_provider" in node.needs.values()
        ]
        if all(
            learner in _WITHOUT_AUGMENTED or issubclass(learner, policy) for learner in learners
        ):
            return _AllStoriesProvider({**config, "augmentation_factor": 0})
        return original(config, model_storage, resource, execution_context)

    return create


class _AllStories(TrainingDataGenerator):
    """Takes no stories for the same that differ in values of entities and slots."""

    def _remove_duplicate_story_end_trackers(
        self, trackers: List[TrackerWithCachedStates]
    ) -> List[TrackerWithCachedStates]:
        if any(tracker.is_rule_tracker for tracker in trackers):
            return super()._remove_duplicate_story_end_trackers(trackers)
        unique = []
        for tracker in trackers:
            # The hash of `UserUttered` leaves out what its entities are.
            said = [repr(e.entities) for e in tracker.events if isinstance(e, UserUttered)]
            hashed = hash((*tracker.events, *said))
            if hashed not in self.hashed_featurizations:
                self.hashed_featurizations.add(hashed)
                unique.append(tracker)
        return unique


class _AllStoriesProvider(TrainingTrackerProvider):
    """Provides `_AllStories`; Rasa's graph calls `provide` of the class that its schema names, not this one's."""


def _with_all_stories(original: Callable) -> Callable:
    @functools.wraps(original)
    def provide(
        self: TrainingTrackerProvider, story_graph: StoryGraph, domain: Domain
    ) -> List[TrackerWithCachedStates]:
        if isinstance(self, _AllStoriesProvider):
            return _AllStories(story_graph, domain, **self._config).generate()
        trackers: List[TrackerWithCachedStates] = original(self, story_graph, domain)
        return trackers

    return provide


def _without_plan(original: Callable) -> Callable:
    """Runs a trained graph by calling its nodes; what trains has hooks, and results that dask frees as soon as it can."""

    @functools.wraps(original)
    def run(
        self: DaskGraphRunner,
        inputs: Optional[Dict[str, Any]] = None,
        targets: Optional[List[str]] = None,
    ) -> Dict[str, Any]:
        schema, nodes = self._graph_schema, self._instantiated_nodes
        wanted = targets or schema.target_names
        is_known = nodes.keys().isdisjoint(inputs or ()) and nodes.keys() >= set(wanted)
        if not is_known or any(node._hooks for node in nodes.values()):
            return original(self, inputs, targets)
        results: Dict[str, Any] = {name: (name, value) for name, value in (inputs or {}).items()}

        def result(name: str) -> Any:
            if name not in results:
                if name not in nodes:
                    return name  # an input that is not given: as dask does
                results[name] = nodes[name](*map(result, schema.nodes[name].needs.values()))
            return results[name]

        return dict(map(result, wanted))

    return run


#: Names of events that change nothing of what was before them.
_PLAIN = frozenset(
    "action action_execution_rejected agent bot cancel_reminder entities followup pause reminder reset_slots resume slot user "
    "user_featurization".split()
)


def _taken_as_they_are(original: Callable) -> Callable:
    """Where nothing is reverted and no loop runs, all events since the session's begin apply."""

    @functools.wraps(original)
    def applied_events(self: DialogueStateTracker) -> List[Event]:
        names = [event.type_name for event in self.events]
        other = set(names) - _PLAIN
        if other - BEGINNINGS:
            applied: List[Event] = original(self)
            return applied
        begun = 0
        if other:
            begun = max(i for i, name in enumerate(names, 1) if name in BEGINNINGS)
        return list(itertools.islice(self.events, begun, None))

    return applied_events


def _with_break(original: Callable) -> Callable:
    @functools.wraps(original)
    async def parse_message(
        self: MessageProcessor,
        message: UserMessage,
        tracker: Optional[DialogueStateTracker] = None,
        only_output_properties: bool = True,
    ) -> Dict[str, Any]:
        parsed: Dict[str, Any] = await original(self, message, tracker, only_output_properties)
        if isinstance(message.output_channel, Replies):
            await message.output_channel.breaks.take()
        return parsed

    return parse_message


_INTERACTIVE_MODULE = "rasa.core.training.interactive"
#: Its functions with their parameters; ours have the name without `_` in front.
_INTERACTIVE = {
    "_serve_application": "app file_importer skip_visualization conversation_id port",
    "start_visualization": "image_path port",
    "record_messages": "endpoint file_importer conversation_id max_message_limit skip_visualization",
    "send_event": "endpoint conversation_id evt",
    "send_action": "endpoint conversation_id action_name policy confidence is_new_action",
    "_validate_user_text": "latest_message endpoint conversation_id",
    "_validate_nlu": "intents endpoint conversation_id",
    "_correct_wrong_nlu": "corrected_nlu events endpoint conversation_id",
    "_predict_till_next_listen": "endpoint conversation_id conversation_ids plot_file",
    "_undo_latest": "conversation_id endpoint",
    "_write_data_to_file": "conversation_id endpoint",
    "_write_stories_to_file": "export_story_path events domain",
    "_write_nlu_to_file": "export_nlu_path events",
    "_write_domain_to_file": "domain_path events old_domain",
}
#: Functions that ours call.
_CALLED = {
    "_ask_questions": "questions conversation_id endpoint is_abort",
    "latest_user_message": "events",
    "_collect_messages": "events",
    "_collect_actions": "events",
    "_intents_from_messages": "messages",
    "_entities_from_messages": "messages",
}


def install_teaching(early: bool = False) -> None:
    """Lets `rasa interactive` teach.

    Args:
        early: even before the process has loaded `rasa interactive`, which may never happen.
    """
    if early:
        importlib.import_module(_INTERACTIVE_MODULE)
    it: Any = sys.modules.get(_INTERACTIVE_MODULE)
    if it is None or getattr(it, _MARK, False):
        return
    setattr(it, _MARK, True)
    changed = [
        name
        for name, parameters in {**_INTERACTIVE, **_CALLED}.items()
        if not inspect.isfunction(getattr(it, name, None))
        or list(inspect.signature(getattr(it, name)).parameters) != parameters.split()
    ]
    if rasa.__version__ != RASA_VERSION or changed:
        logger.warning(
            f"rasa_hybrid was written for `rasa interactive` of Rasa {RASA_VERSION}, this is {rasa.__version__}"
            f"{', changed: ' + ', '.join(changed) if changed else ''}: it works as in stock Rasa, without questions "
            "about the goal."
        )
        return
    from rasa_hybrid.components import interactive

    for name in _INTERACTIVE:
        setattr(it, name, _replaced(it, name, getattr(interactive, name.lstrip("_"))))


def _replaced(it: Any, name: str, ours: Callable) -> Callable:
    original = getattr(it, name)

    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(original).bind(*args, **kwargs)
        return ours(original, it, *bound.args, **bound.kwargs)

    return replaced


def _uses_nlu(recipe: Any) -> bool:
    return bool(getattr(recipe, "_use_nlu", True))


def _completing(original: Callable, kind: Type[PolicyPrediction]) -> Callable:
    @functools.wraps(original)
    def combine_predictions(
        self: DefaultPolicyPredictionEnsemble,
        predictions: List[PolicyPrediction],
        tracker: DialogueStateTracker,
        domain: Domain,
    ) -> PolicyPrediction:
        winner: PolicyPrediction = original(self, predictions, tracker, domain)
        for prediction in predictions:
            if isinstance(prediction, kind) and prediction.policy_name != winner.policy_name:
                prediction.complete(winner, domain)
        return winner

    return combine_predictions


def _with_one_schema(original: Callable) -> Callable:
    schema = RemoteAction.action_response_format_spec()
    validator = validator_for(schema)(schema)

    @functools.wraps(original)
    def validate_action_result(self: RemoteAction, result: Dict[str, Any]) -> bool:
        return validator.is_valid(result) or original(
            self, result
        )  # whose error says what is wrong

    return validate_action_result


def _remembering(original: Callable) -> Callable:
    found: Dict[str, Type[Event]] = {}

    @functools.wraps(original)
    def resolve_by_type(
        type_name: str, default: Optional[Type[Event]] = None
    ) -> Optional[Type[Event]]:
        event = found.get(type_name)
        if event is None:
            event = original(type_name, default)
            if event is not None and event.type_name == type_name:  # it is not the default
                found[type_name] = event
        return event

    return resolve_by_type


def _with_one_empty_domain(original: Callable) -> Callable:
    nothing = Domain.empty().as_dict()

    @functools.wraps(original)
    def is_empty(self: Domain) -> bool:
        return bool(self.as_dict() == nothing)

    return is_empty


class _CopyOfSlots:
    """What `copy.copy` asks a class for first; Rasa's slots have none, and a project's own types keep it that way."""

    def __get__(self, slot: Optional[Slot], kind: Type[Slot]) -> Optional[Callable[[Slot], Slot]]:
        return _copied_slot if kind.__module__ == Slot.__module__ else None


def _copied_slot(slot: Slot) -> Slot:
    kind: Any = type(slot)
    copied: Slot = kind.__new__(kind)
    copied.__dict__.update(slot.__dict__)
    return copied
