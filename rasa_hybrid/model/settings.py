"""Every number that shapes the model or its training, its default, and what it may be.

The two presets are the paper's model (`liu2018`) and ours (`default`); any setting can be changed on top of either.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple


class SettingsError(ValueError):
    """A setting that is unknown or impossible; the message names key, value and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """Settings of the joint model and of its supervised training; sizes are the paper's."""

    #: `default` or `liu2018`.
    preset: str = "default"
    #: Size of a word's embedding.
    embedding_size: int = 300
    #: Units of the utterance LSTM in each direction.
    utterance_lstm_size: int = 150
    #: Units of the dialogue LSTM, the size of s_k.
    dialogue_lstm_size: int = 200
    #: Size of the embeddings of acts, slots, values and actions.
    act_embedding_size: int = 32
    #: Hidden units of the belief networks.
    belief_hidden_size: int = 100
    #: Hidden units of the policy network.
    policy_hidden_size: int = 100
    #: Score every candidate with shared weights from where and how it occurs; False: the paper's softmax over a list.
    candidates: bool = True
    #: Buckets of hashed character n-grams added to the word embeddings; 0 turns them off.
    subword_buckets: int = 2000
    #: Give the policy what the state of a Rasa tracker shows beside the dialogue (slots, loops) and the user's
    #: intent and entities where a pipeline predicts them.
    context: bool = True
    #: The user's intent and entities are predicted by a pipeline and are an input beside the words; False: they are
    #: an input only where there are no words (buttons, `/intent` messages).
    pipeline: bool = False
    #: Read the words of system actions that no acts describe.
    system_words: bool = False
    #: Most system actions that the policy takes in one turn; 1: `action_listen` follows by itself.
    actions_per_turn: int = 10
    #: Recogniser hypotheses of an utterance that are read.
    n_best_hypotheses: int = 3

    #: Share of activations dropped in training.
    dropout: float = 0.5
    #: Share of words replaced by the unknown word in training.
    word_dropout: float = 0.05
    #: Share of the distinct words of a batch that are known by their character n-grams alone in training, as words are
    #: that were never seen.
    identity_dropout: float = 0.0
    #: The same for words inside of a candidate value, so that values never seen work.
    value_dropout: float = 0.3
    #: Share of utterances in training in which the listed values of a slot are not marked as such, so that the tagger
    #: learns to find values that are on no list.
    mark_dropout: float = 0.0
    #: Share of utterances in training that are shown without their words, or without intent and entities, where they
    #: have both; and of decisions after another one of the same turn that are taken without the dialogue's state.
    modality_dropout: float = 0.2
    #: Adam's step size.
    learning_rate: float = 0.001
    #: Decay per update of the running average of the weights that training ends with; 0: the last weights themselves.
    weight_averaging: float = 0.0
    #: Largest norm of a gradient; 0 turns clipping off.
    gradient_clip: float = 5.0
    #: Dialogues in a batch.
    batch_size: int = 32
    #: Most passes over the training dialogues.
    epochs: int = 30
    #: Updates that training makes at least: small projects are passed over more often than `epochs` says.
    least_steps: int = 500
    #: Epochs without a better validation loss before training stops; 0: never.
    patience: int = 0
    #: Share of the dialogues that is held out to decide when to stop and which epoch is kept; used with `patience`.
    validation_fraction: float = 0.1
    #: Weight of the belief's loss (lambda_m of eq. 4, the same for every slot).
    belief_loss_weight: float = 1.0
    #: Weight of the action's loss (lambda_a of eq. 4).
    action_loss_weight: float = 1.0
    #: Weight of the intent's loss, an addition to eq. 4.
    intent_loss_weight: float = 0.5
    #: Weight of the entity tagger's loss, an addition to eq. 4.
    entity_loss_weight: float = 0.5
    #: Seed of initial weights, order and dropout.
    seed: int = 42
    #: ISO 639-1 code; English has further rules of normalisation.
    language: str = "en"
    #: File of word vectors in the text format of word2vec or GloVe.
    embeddings: Optional[str] = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings of a configuration: the preset it names, changed by its other keys.

        Raises:
            SettingsError: for an unknown key, a wrong type or an impossible value.
        """
        preset = values.get("preset", "default")
        _check("preset", preset)
        check_names(cls, values)
        for name, value in values.items():
            _check(name, value)
        return replace(
            cls(preset=preset, **PRESETS[preset]),
            **{k: v for k, v in values.items() if k != "preset"},
        )

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


#: What the presets change.
PRESETS: Dict[str, Dict[str, Any]] = {
    "default": {},
    "liu2018": {
        "candidates": False,
        "subword_buckets": 0,
        "context": False,
        "actions_per_turn": 1,
        "n_best_hypotheses": 1,
        "value_dropout": 0.0,
        "modality_dropout": 0.0,
        "intent_loss_weight": 0.0,
        "entity_loss_weight": 0.0,
    },
}

_RANGES: Dict[str, Tuple[float, float]] = {
    "embedding_size": (1, 4096),
    "utterance_lstm_size": (1, 4096),
    "dialogue_lstm_size": (1, 4096),
    "act_embedding_size": (1, 4096),
    "belief_hidden_size": (1, 4096),
    "policy_hidden_size": (1, 4096),
    "subword_buckets": (0, 10_000_000),
    "actions_per_turn": (1, 100),
    "n_best_hypotheses": (1, 100),
    "dropout": (0, 0.99),
    "word_dropout": (0, 0.99),
    "identity_dropout": (0, 0.99),
    "value_dropout": (0, 0.99),
    "mark_dropout": (0, 0.99),
    "modality_dropout": (0, 0.5),
    "learning_rate": (1e-9, 10),
    "weight_averaging": (0, 0.99999),
    "gradient_clip": (0, 1e9),
    "batch_size": (1, 100_000),
    "epochs": (1, 1_000_000),
    "least_steps": (0, 10_000_000),
    "patience": (0, 1_000_000),
    "validation_fraction": (0, 0.9),
    "belief_loss_weight": (0, 1e6),
    "action_loss_weight": (0, 1e6),
    "intent_loss_weight": (0, 1e6),
    "entity_loss_weight": (0, 1e6),
    "seed": (0, 2**31 - 1),
}
_FLOATS = {
    name
    for name, default in ((f.name, f.default) for f in fields(Settings))
    if isinstance(default, float)
}


def check_names(settings: Any, names: Iterable[str]) -> None:
    """Checks that a dataclass of settings has fields of these names.

    Raises:
        SettingsError: naming the first unknown one and those that are allowed.
    """
    known = {field.name for field in fields(settings)}
    for name in names:
        if name not in known:
            raise SettingsError(f"{name}: no such setting; allowed: {', '.join(sorted(known))}.")


def check_number(name: str, value: Any, low: float, high: float, whole: bool) -> None:
    """Checks a setting that is a number.

    Raises:
        SettingsError: naming setting, value and what is allowed.
    """
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise SettingsError(
            f"{name}: {value!r} is not allowed; it has to be {kind} from {low:g} to {high:g}."
        )


def check_flag(name: str, value: Any) -> None:
    """Checks a setting that is true or false.

    Raises:
        SettingsError: naming setting and value.
    """
    if not isinstance(value, bool):
        raise SettingsError(f"{name}: {value!r} is not allowed; it has to be true or false.")


def _check(name: str, value: Any) -> None:
    if name in _RANGES:
        check_number(name, value, *_RANGES[name], whole=name not in _FLOATS)
    elif name in {"candidates", "context", "pipeline", "system_words"}:
        check_flag(name, value)
    elif name == "preset":
        if not isinstance(value, str) or value not in PRESETS:
            raise SettingsError(f"{name}: {value!r} is not one of {', '.join(PRESETS)}.")
    elif name == "language":
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{name}: {value!r} is not allowed; it has to be a text.")
    elif name == "embeddings" and not (value is None or isinstance(value, str)):
        raise SettingsError(f"{name}: {value!r} is not allowed; it has to be the path of a file.")
