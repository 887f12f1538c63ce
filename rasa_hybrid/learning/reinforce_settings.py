"""How REINFORCE learns: the paper's way (`preset: liu2018`), and the additions of the default, each of them a setting."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, Mapping, Tuple

from rasa_hybrid.model.settings import SettingsError, check_flag, check_names, check_number

BASELINES = ("none", "moving_average", "leave_one_out")


@dataclass(frozen=True)
class ReinforceSettings:
    """Settings of REINFORCE."""

    #: `default` or `liu2018`.
    preset: str = "default"
    #: Discount of future rewards, a turn.
    discount: float = 0.99
    #: Dialogues of an update.
    batch_size: int = 25
    #: Adam's step size.
    learning_rate: float = 0.0005
    #: Change the policy network alone; False: end to end, the whole network.
    policy_only: bool = False
    #: Subtracted from the returns: `none`, the `moving_average` of what earlier dialogues earned from the same turn
    #: on, or what the other dialogues of the batch did (`leave_one_out`).
    baseline: str = "leave_one_out"
    #: How much of the moving average an update keeps.
    baseline_decay: float = 0.9
    #: Reward points a nat of the policy's entropy, so that it goes on trying.
    entropy_bonus: float = 0.05
    #: Largest norm of a gradient; 0 turns clipping off.
    gradient_clip: float = 5.0
    #: Weight of KL(supervised policy || policy) a decision, against forgetting.
    kl_weight: float = 0.0
    #: Weight of eq. 4 on a batch of supervised dialogues in every update, against forgetting.
    supervised_weight: float = 10.0
    #: Weight of eq. 4's belief loss on the goals of successful dialogues, which are known when these are over.
    hindsight_weight: float = 1.0
    #: Decay per update of the running average of the weights that learning ends with; 0: the last weights themselves.
    weight_averaging: float = 0.99
    #: Learn under the dropout of supervised training, so that the rated dialogues are not learnt by heart; False: the
    #: network as it acts, which is eq. 5.
    dropout: bool = True
    #: With `dropout`: shares of words that the model does not see in an update, and of the distinct words that it knows
    #: by their letters alone, as those of users who say things in their own way.
    word_dropout: float = 0.3
    identity_dropout: float = 0.3
    #: Largest importance weight pi(a) / propensity of a decision; 0: none, all episodes are taken for the current
    #: model's own.
    importance_clip: float = 0.0
    #: Share of the episodes below whose effective number nothing is learnt from them; used with `importance_clip`.
    least_effective: float = 0.0
    #: Seed of the choice of supervised dialogues and of their dropout.
    seed: int = 42

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ReinforceSettings:
        """Settings of a configuration: the preset it names, changed by its other keys.

        Raises:
            SettingsError: for an unknown key or an impossible value; names key, value and what is allowed.
        """
        check_names(cls, values)
        preset = values.get("preset", "default")
        _check("preset", preset)
        return cls(**{**PRESETS[preset], "preset": preset, **values})

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


#: What the presets change.
PRESETS: Dict[str, Dict[str, Any]] = {
    "default": {},
    "liu2018": {
        # Not given in the paper. At that of supervised learning, 0.001, what was learnt before is soon lost.
        "learning_rate": 0.0001,
        "baseline": "none",
        "entropy_bonus": 0.0,
        "gradient_clip": 0.0,
        "supervised_weight": 0.0,
        "hindsight_weight": 0.0,
        "weight_averaging": 0.0,
        "dropout": False,
    },
}
_RANGES: Dict[str, Tuple[float, float]] = {
    "discount": (0, 1),
    "batch_size": (1, 100_000),
    "learning_rate": (1e-9, 10),
    "baseline_decay": (0, 1),
    "entropy_bonus": (0, 1e6),
    "gradient_clip": (0, 1e9),
    "kl_weight": (0, 1e6),
    "supervised_weight": (0, 1e6),
    "hindsight_weight": (0, 1e6),
    "weight_averaging": (0, 0.99999),
    "word_dropout": (0, 0.99),
    "identity_dropout": (0, 0.99),
    "importance_clip": (0, 1e6),
    "least_effective": (0, 1),
    "seed": (0, 2**31 - 1),
}
_WHOLE = ("batch_size", "seed")


def _check(name: str, value: Any) -> None:
    if name in _RANGES:
        check_number(name, value, *_RANGES[name], whole=name in _WHOLE)
    elif name in ("policy_only", "dropout"):
        check_flag(name, value)
    elif name in ("baseline", "preset"):
        allowed = BASELINES if name == "baseline" else tuple(PRESETS)
        if value not in allowed:
            raise SettingsError(f"{name}: {value!r} is not one of {', '.join(allowed)}.")
