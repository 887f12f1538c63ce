"""The configuration of `FeedbackChannel`: its defaults, and what is allowed. Every default stands here once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from rasa.shared.exceptions import InvalidConfigException

from rasa_hybrid.components.activity import Exploration
from rasa_hybrid.components.episodes import Signals
from rasa_hybrid.feedback.records import Outcome

DEFAULTS: Dict[str, Any] = {
    # Where episodes and feedback are kept: a SQLAlchemy URL of SQLite or PostgreSQL.
    "store": "sqlite:///feedback.db",
    # Bearer token that every request has to bring; None: none is needed, unless the server runs with JWT.
    "token": None,
    # Only who has a conversation's token may rate it; False: whoever has the bearer token may rate all.
    "require_conversation_token": True,
    # Least and most reward points that users may give, on any channel.
    "reward_range": [-20, 20],
    # Bytes of a request, characters of a message and of a comment.
    "max_body": 20_000,
    "max_message": 2_000,
    "max_comment": 2_000,
    # Requests of one sender a minute, and feedback in 24 hours.
    "requests_per_minute": 120,
    "feedback_per_day": 50,
    # What tells the outcome within a conversation, on any channel.
    "intents": {},
    "slots": {},
    "success_actions": [],
    # Seconds of silence after which a conversation is over, and the outcome that silence stands for.
    "reward_wait_time": 1800,
    "default_reward": None,
    # Seconds between two looks at conversations that can be stored.
    "sweep_seconds": 5,
    # Personal text of episodes that were learnt from: keep, drop or hash, so many days after their end.
    "retention": {"text": "keep", "days": 30},
    # How actions are sampled: off, softmax; None: as the policy's configuration says. The others are as there.
    "exploration": {"mode": None, "temperature": 1.0, "floor": 0.02, "never": []},
    # Who learns: null, a process that the operator runs (`rasa-hybrid learn`); embedded, one that belongs to this server.
    "learner": None,
    # How the embedded one learns; the keys are options of `rasa-hybrid learn`, `gate: false` is its --no-gate.
    "learning": {
        "out": "models",
        "corpus": [],
        "regression": [],
        "project": None,
        "dialogues": 200,
        "margin": 0.02,
        "gate": True,
        "least": 25,
        "most": 500,
        "share_of_sender": 0.2,
        "learning_rate": 0.0005,
        "interval": 10,
    },
    # The page on which people correct the bot while they talk to it.
    "teach": {"enabled": False, "token": None},
}


@dataclass(frozen=True)
class ChannelConfiguration:
    """A checked configuration; see `DEFAULTS`. `learning` is None unless the learner is embedded."""

    store: str
    token: Optional[str]
    require_conversation_token: bool
    reward_range: Tuple[float, float]
    max_body: int
    max_message: int
    max_comment: int
    requests_per_minute: int
    feedback_per_day: int
    signals: Signals
    reward_wait_time: float
    default_reward: Optional[Outcome]
    sweep_seconds: float
    retention_text: str
    retention_days: float
    exploration: Optional[Exploration]
    learning: Optional[Mapping[str, Any]]
    teach: Mapping[str, Any]


def check_channel(credentials: Mapping[str, Any]) -> ChannelConfiguration:
    """The configuration of the channel, checked.

    Args:
        credentials: its entry in `credentials.yml`.

    Raises:
        InvalidConfigException: naming key, value and what is allowed.
    """
    _known(credentials, DEFAULTS, "")
    given = {**DEFAULTS, **credentials}
    for key in ("retention", "exploration", "learning", "teach"):
        if not isinstance(given[key], Mapping):
            _refuse(key, given[key], "a mapping")
        _known(given[key], DEFAULTS[key], f"{key}: ")
        given[key] = {**DEFAULTS[key], **given[key]}
    if not isinstance(given["store"], str):
        _refuse("store", given["store"], "a URL of SQLAlchemy")
    for key, value in (("token", given["token"]), ("teach: token", given["teach"]["token"])):
        if value is not None and (not isinstance(value, str) or len(value) < 8):
            _refuse(key, "(hidden)", "a text of at least 8 characters")
    if not isinstance(given["require_conversation_token"], bool):
        _refuse("require_conversation_token", given["require_conversation_token"], "true or false")
    if not given["require_conversation_token"] and given["token"] is None:
        _refuse("require_conversation_token", False, "true as long as there is no `token`")
    bounds = given["reward_range"]
    if (
        not isinstance(bounds, (list, tuple))
        or len(bounds) != 2
        or not all(map(_is_number, bounds))
        or bounds[0] >= bounds[1]
    ):
        _refuse("reward_range", bounds, "two numbers, the lower one first")
    for key in (
        "max_body",
        "max_message",
        "max_comment",
        "requests_per_minute",
        "feedback_per_day",
    ):
        if not isinstance(given[key], int) or isinstance(given[key], bool) or given[key] < 1:
            _refuse(key, given[key], "a whole number of at least 1")
    for key in ("reward_wait_time", "sweep_seconds"):
        if not _is_number(given[key]) or given[key] <= 0:
            _refuse(key, given[key], "a number of seconds above 0")
    default = given["default_reward"]
    if default is not None and not _is_number(default):
        _refuse("default_reward", default, "a number of reward points, or null")
    if default is not None and not bounds[0] <= default <= bounds[1]:
        _refuse("default_reward", default, f"within reward_range, {bounds[0]:g} to {bounds[1]:g}")
    retention = given["retention"]
    if retention["text"] not in ("keep", "drop", "hash"):
        _refuse("retention: text", retention["text"], "keep, drop or hash")
    if not _is_number(retention["days"]) or retention["days"] < 0:
        _refuse("retention: days", retention["days"], "a number of at least 0")
    teach = given["teach"]
    if not isinstance(teach["enabled"], bool):
        _refuse("teach: enabled", teach["enabled"], "true or false")
    if teach["enabled"] and teach["token"] is None:
        _refuse("teach: token", None, "a text of at least 8 characters where the page is enabled")
    return ChannelConfiguration(
        store=given["store"],
        token=given["token"],
        require_conversation_token=given["require_conversation_token"],
        reward_range=(float(bounds[0]), float(bounds[1])),
        max_body=given["max_body"],
        max_message=given["max_message"],
        max_comment=given["max_comment"],
        requests_per_minute=given["requests_per_minute"],
        feedback_per_day=given["feedback_per_day"],
        signals=signals_of(given),
        reward_wait_time=float(given["reward_wait_time"]),
        default_reward=Outcome(reward=float(default)) if default is not None else None,
        sweep_seconds=float(given["sweep_seconds"]),
        retention_text=retention["text"],
        retention_days=float(retention["days"]),
        exploration=_exploration(given["exploration"]),
        learning=_learning(given["learner"], given["learning"]),
        teach=teach,
    )


def _exploration(given: Mapping[str, Any]) -> Optional[Exploration]:
    mode, temperature, floor, never = (
        given[key] for key in ("mode", "temperature", "floor", "never")
    )
    # YAML reads a bare `off` as false.
    if mode not in (None, "off", "softmax") and mode is not False:
        _refuse("exploration: mode", mode, "off, softmax or null")
    if not _is_number(temperature) or not 0.01 <= temperature <= 10:
        _refuse("exploration: temperature", temperature, "a number from 0.01 to 10")
    if not _is_number(floor) or not 0 <= floor <= 0.5:
        _refuse("exploration: floor", floor, "a number from 0 to 0.5")
    if not isinstance(never, (list, tuple)) or not all(isinstance(a, str) for a in never):
        _refuse("exploration: never", never, "a list of actions")
    if mode is None:
        return None
    return Exploration(mode == "softmax", float(temperature), float(floor), tuple(never))


def _learning(learner: Any, given: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
    if learner not in (None, "embedded"):
        _refuse("learner", learner, "embedded or null")
    for key in ("out", "project"):
        if not isinstance(given[key], str) and not (key == "project" and given[key] is None):
            _refuse(f"learning: {key}", given[key], "the path of a folder")
    for key in ("corpus", "regression"):
        paths = given[key]
        if not isinstance(paths, (list, tuple)) or not all(isinstance(p, str) for p in paths):
            _refuse(f"learning: {key}", paths, "a list of files")
    if not isinstance(given["gate"], bool):
        _refuse("learning: gate", given["gate"], "true or false")
    for key, low in (("dialogues", 10), ("least", 1), ("most", 1)):
        if not isinstance(given[key], int) or isinstance(given[key], bool) or given[key] < low:
            _refuse(f"learning: {key}", given[key], f"a whole number of at least {low}")
    if not _is_number(given["margin"]) or not 0 <= given["margin"] <= 1:
        _refuse("learning: margin", given["margin"], "a number from 0 to 1")
    for key in ("share_of_sender", "learning_rate"):
        if not _is_number(given[key]) or not 0 < given[key] <= 1:
            _refuse(f"learning: {key}", given[key], "a number above 0, at most 1")
    if not _is_number(given["interval"]) or given["interval"] < 0.1:
        _refuse("learning: interval", given["interval"], "a number of seconds of at least 0.1")
    if learner is None:
        return None
    measured = bool(given["regression"]) or given["project"] is not None
    if given["gate"] != measured:
        allowed = "true where there is `regression` or `project` to measure by, and false without"
        _refuse("learning: gate", given["gate"], allowed)
    return given


def signals_of(given: Mapping[str, Any]) -> Signals:
    """What tells the outcome within a conversation: `intents`, `slots`, `success_actions`, and its `reward_range`."""
    for key in ("intents", "slots"):
        if not isinstance(given[key], Mapping):
            _refuse(key, given[key], "a mapping")
    actions = given["success_actions"]
    if not isinstance(actions, (list, tuple)) or not all(isinstance(a, str) for a in actions):
        _refuse("success_actions", actions, "a list of actions")
    try:
        bounds = (float(given["reward_range"][0]), float(given["reward_range"][1]))
        return Signals(given["intents"], given["slots"], tuple(actions), bounds)
    except ValueError as error:
        raise InvalidConfigException(f"FeedbackChannel: {error}") from error


def _known(given: Mapping[str, Any], allowed: Mapping[str, Any], place: str) -> None:
    for key in given:
        if key not in allowed:
            raise InvalidConfigException(
                f"FeedbackChannel: {place}{key!r} is no setting of this channel; allowed: {', '.join(sorted(allowed))}."
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse(key: str, value: Any, allowed: str) -> None:
    raise InvalidConfigException(
        f"FeedbackChannel: {key}: {value!r} is not allowed; it has to be {allowed}."
    )
