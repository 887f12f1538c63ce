"""The configuration of `HybridPolicy`: its defaults, and what is allowed. Every default stands here once.

Settings of the model and its training are checked by `model.settings`, the rest here; each error is Rasa's
`InvalidConfigException` and names key, value and what is allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Dict, Mapping, NoReturn, Optional, Sequence, Tuple

from rasa.core.constants import POLICY_PRIORITY
from rasa.shared.core.domain import Domain
from rasa.shared.exceptions import InvalidConfigException

from rasa_hybrid.components.corpus import CorpusFile, corpus_files
from rasa_hybrid.dialogue import DONTCARE
from rasa_hybrid.knowledge.base import ID
from rasa_hybrid.model.settings import PRESETS, Settings, SettingsError

#: Slot types that can be goal slots.
GOAL_SLOT_TYPES = ("categorical", "text", "bool", "float")
#: Slots of Rasa's own that are never goal slots by default.
INTERNAL_SLOTS = frozenset({"requested_slot", "session_started_metadata"})

#: Key by which Rasa hands on `--epoch-fraction` of `rasa train --finetune`; `epochs` it has scaled by then.
_EPOCH_FRACTION = "finetuning_epoch_fraction"

#: Settings of the model, each of which is a key of the policy too.
MODEL_SETTINGS = tuple(field.name for field in fields(Settings) if field.name != "preset")

_OWN_DEFAULTS: Dict[str, Any] = {
    # Policies of higher priority win where confidences are equal; machine-learning policies have 1.
    POLICY_PRIORITY: 1,
    # Slots whose values the model tracks; None: all that stories set and that are categorical, text, bool or float.
    "goal_slots": None,
    # What a goal slot holds when the user says that anything is fine.
    "dontcare_value": DONTCARE,
    # JSONL files of dialogues to train on beside the stories; {path, simulate: n} makes a file that is missing.
    "corpus": [],
    # Wordings of a story whose steps name only intents; None: as many as make about 300 dialogues, 20 at most.
    "wordings_per_story": None,
    # How much a taught dialogue counts in learning; a story or a dialogue of a corpus counts 1.
    "taught_weight": 3.0,
    # Updates of `rasa train --finetune` where there are taught dialogues, on batches that mix them with earlier ones.
    "finetune_steps": 80,
    # Where entities come from, see the page on knowledge bases; None: there is none.
    "knowledge_base": None,
    # Query with the best hypothesis of each slot (1) or with the n most probable goals.
    "query_n_best": 1,
    # Slots that are filled with columns of the entity that is offered: {slot: column}.
    "offer_slots": None,
    # Actions that offer the next entity of the result queue.
    "offer_actions": [],
    # Slots that are filled with some values of a column among the matching entities: {slot: column}.
    "choice_slots": None,
    # Alternatives of each slot that are kept in the metadata.
    "top_k": 5,
    # Conversations whose state is kept in memory between turns; others are computed again from their events.
    "cached_conversations": 1000,
    # Whether actions are sampled, so that feedback can teach the policy: off, or softmax with the three settings below.
    "exploration": "off",
    # 1: the model's own probabilities; less tries less.
    "exploration_temperature": 1.0,
    # Actions less probable than this are not tried.
    "exploration_floor": 0.02,
    # Actions that are only taken when they are the most probable one, such as those with side effects.
    "never_explored": [],
    # Only watch: other policies act, and episodes tell what this model would have done.
    "shadow": False,
    # Archive whose weights training starts from, wherever they still fit; None: from new ones.
    "warm_start": None,
    # The model and its training: `default`, or `liu2018`, the paper's model to the letter.
    "preset": "default",
}

#: Settings whose default None means "as the preset says" or, for `pipeline` and `language`, "as the project is".
PRESET_SETTINGS = frozenset(
    {"pipeline", "language", *(name for preset in PRESETS.values() for name in preset)}
)


def default_configuration() -> Dict[str, Any]:
    """All keys of the policy with their defaults."""
    model = Settings()
    settings = {
        name: None if name in PRESET_SETTINGS else getattr(model, name) for name in MODEL_SETTINGS
    }
    return {**_OWN_DEFAULTS, **settings}


@dataclass(frozen=True)
class PolicyConfiguration:
    """A checked configuration.

    Args:
        settings: of the model.
        goal_slots: as configured, None for the default.
        base_dir: where relative paths start.
    """

    settings: Settings
    goal_slots: Optional[Tuple[str, ...]]
    dontcare_value: str
    corpus: Tuple[CorpusFile, ...]
    wordings_per_story: Optional[int]
    taught_weight: float
    finetune_steps: int
    knowledge_base: Optional[Mapping[str, Any]]
    query_n_best: int
    offer_slots: Mapping[str, str]
    offer_actions: Tuple[str, ...]
    choice_slots: Mapping[str, str]
    top_k: int
    cached_conversations: int
    exploration: bool
    exploration_temperature: float
    exploration_floor: float
    never_explored: Tuple[str, ...]
    shadow: bool
    warm_start: Optional[str]


def check_configuration(
    config: Mapping[str, Any], language: Optional[str] = None, pipeline: bool = False
) -> PolicyConfiguration:
    """The configuration of the policy, checked.

    Args:
        config: the policy's entry in `config.yml`, merged with the defaults or not.
        language: of the project.
        pipeline: whether the project has a trained intent classifier of its own.

    Raises:
        InvalidConfigException: naming key, value and what is allowed.
    """
    allowed = {*_OWN_DEFAULTS, *MODEL_SETTINGS}
    for key in config:
        if key not in allowed and key != _EPOCH_FRACTION:
            raise InvalidConfigException(
                f"HybridPolicy: {key!r} is no setting of this policy; allowed: {', '.join(sorted(allowed))}."
            )
    preset = config.get("preset", "default")
    if not isinstance(preset, str) or preset not in PRESETS:
        _refuse("preset", preset, f"one of {', '.join(PRESETS)}")
    chosen = {
        key: config[key]
        for key in MODEL_SETTINGS
        if key in config and not (key in PRESET_SETTINGS and config[key] is None)
    }
    chosen = {"language": language or "en", "pipeline": pipeline, **chosen}
    try:
        settings = Settings.from_mapping({"preset": preset, **chosen})
    except SettingsError as error:
        raise InvalidConfigException(f"HybridPolicy: {error}") from error
    fraction = config.get(_EPOCH_FRACTION)
    if fraction is not None:
        settings = replace(settings, least_steps=math.ceil(settings.least_steps * float(fraction)))
    own = {**_OWN_DEFAULTS, **{key: config[key] for key in _OWN_DEFAULTS if key in config}}
    try:
        corpus = corpus_files(own["corpus"])
    except ValueError as error:
        _refuse("corpus", own["corpus"], str(error))
    goal_slots = own["goal_slots"]
    if goal_slots is not None and not _texts(goal_slots):
        _refuse("goal_slots", goal_slots, "a list of slots")
    if not isinstance(own["dontcare_value"], str) or not own["dontcare_value"]:
        _refuse("dontcare_value", own["dontcare_value"], "a text")
    wordings = own["wordings_per_story"]
    if wordings is not None and not _whole(wordings, 1, 1000):
        _refuse("wordings_per_story", wordings, "a whole number from 1 to 1000")
    weight = own["taught_weight"]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= 1000:
        _refuse("taught_weight", weight, "a number above 0, at most 1000")
    if own["knowledge_base"] is not None and not isinstance(own["knowledge_base"], Mapping):
        _refuse("knowledge_base", own["knowledge_base"], "a mapping with the key `type`")
    columns_of = {key: own[key] or {} for key in ("offer_slots", "choice_slots")}
    for key, columns in columns_of.items():
        if not isinstance(columns, Mapping) or not all(
            isinstance(x, str) for p in columns.items() for x in p
        ):
            _refuse(key, columns, "a mapping of slots to columns of the knowledge base")
    if not _texts(own["offer_actions"]):
        _refuse("offer_actions", own["offer_actions"], "a list of actions")
    for key, low, high in (
        ("query_n_best", 1, 100),
        ("finetune_steps", 1, 1_000_000),
        ("top_k", 1, 1000),
        ("cached_conversations", 1, 10_000_000),
    ):
        if not _whole(own[key], low, high):
            _refuse(key, own[key], f"a whole number from {low} to {high}")
    # YAML reads a bare `off` as false.
    if own["exploration"] not in ("off", "softmax", False):
        _refuse("exploration", own["exploration"], "off or softmax")
    for key, least, most in (
        ("exploration_temperature", 0.01, 10.0),
        ("exploration_floor", 0, 0.5),
    ):
        is_number = isinstance(own[key], (int, float)) and not isinstance(own[key], bool)
        if not is_number or not least <= own[key] <= most:
            _refuse(key, own[key], f"a number from {least:g} to {most:g}")
    if not _texts(own["never_explored"]):
        _refuse("never_explored", own["never_explored"], "a list of actions")
    if own["warm_start"] is not None and not isinstance(own["warm_start"], str):
        _refuse("warm_start", own["warm_start"], "the path of a model archive")
    if not isinstance(own["shadow"], bool):
        _refuse("shadow", own["shadow"], "true or false")
    if not isinstance(own[POLICY_PRIORITY], int) or isinstance(own[POLICY_PRIORITY], bool):
        _refuse(POLICY_PRIORITY, own[POLICY_PRIORITY], "a whole number")
    return PolicyConfiguration(
        settings=settings,
        goal_slots=tuple(dict.fromkeys(goal_slots)) if goal_slots is not None else None,
        dontcare_value=own["dontcare_value"],
        corpus=corpus,
        wordings_per_story=wordings,
        taught_weight=float(weight),
        finetune_steps=math.ceil(
            own["finetune_steps"] * float(1.0 if fraction is None else fraction)
        ),
        knowledge_base=own["knowledge_base"],
        query_n_best=own["query_n_best"],
        offer_slots=dict(columns_of["offer_slots"]),
        offer_actions=tuple(own["offer_actions"]),
        choice_slots=dict(columns_of["choice_slots"]),
        top_k=own["top_k"],
        cached_conversations=own["cached_conversations"],
        exploration=own["exploration"] == "softmax",
        exploration_temperature=float(own["exploration_temperature"]),
        exploration_floor=float(own["exploration_floor"]),
        never_explored=tuple(own["never_explored"]),
        shadow=own["shadow"],
        warm_start=own["warm_start"],
    )


def check_offers(configuration: PolicyConfiguration, columns: Optional[Sequence[str]]) -> None:
    """Checks that the columns of `offer_slots` and `choice_slots` exist.

    Args:
        configuration: of the policy.
        columns: of the knowledge base; None if there is none.

    Raises:
        InvalidConfigException: naming the column and those that there are.
    """
    for key, allowed in (("offer_slots", (ID,)), ("choice_slots", ())):
        for column in getattr(configuration, key).values():
            if columns is None:
                _refuse(key, column, "left out, or `knowledge_base` be set")
            elif column not in (*columns, *allowed):
                _refuse(key, column, f"a column of the knowledge base ({', '.join(columns)})")


def check_domain(configuration: PolicyConfiguration, domain: Domain) -> None:
    """Checks the slots and actions that a configuration names against the domain.

    Raises:
        InvalidConfigException: naming the slot or action and those that there are.
    """
    slots = {slot.name: slot for slot in domain.slots}
    for name in configuration.goal_slots or ():
        if name not in slots:
            _refuse("goal_slots", name, f"a slot of the domain ({', '.join(sorted(slots))})")
        if slots[name].type_name not in GOAL_SLOT_TYPES:
            _refuse(
                "goal_slots",
                name,
                f"a slot of type {', '.join(GOAL_SLOT_TYPES)}, not {slots[name].type_name}",
            )
    for key in ("offer_slots", "choice_slots"):
        for name in getattr(configuration, key):
            if name not in slots:
                _refuse(key, name, f"a slot of the domain ({', '.join(sorted(slots))})")
    for key, names in (
        ("offer_actions", configuration.offer_actions),
        ("never_explored", configuration.never_explored),
    ):
        for name in names:
            if name not in domain.action_names_or_texts:
                _refuse(key, name, "an action of the domain")


def _refuse(key: str, value: Any, allowed: str) -> NoReturn:
    raise InvalidConfigException(
        f"HybridPolicy: {key}: {value!r} is not allowed; it has to be {allowed}."
    )


def _texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
