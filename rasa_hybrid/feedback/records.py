"""What the episode store keeps, apart from any database: outcomes, feedback, recorded conversations, episodes, their states.

Each record that is kept in a row of `schema` can be read from one; its JSON is part of the tables' format.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from rasa_hybrid.corpora.jsonl import dialogue_from_json, dialogue_to_json
from rasa_hybrid.dialogue import Decision, Dialogue

OPEN, NEW, UNRATED, CLAIMED, USED = "open", "new", "unrated", "claimed", "used"
PROMOTED, REJECTED, ROLLED_BACK, LOST = "promoted", "rejected", "rolled_back", "lost"
#: All states of an episode.
STATES = (OPEN, UNRATED, NEW, CLAIMED, USED, PROMOTED, REJECTED, ROLLED_BACK, LOST)
#: States in which the outcome may still change.
UNDECIDED = (OPEN, UNRATED, NEW)


@dataclass(frozen=True)
class Outcome:
    """What is known of how a conversation went; at least one of the three is given.

    Args:
        success: whether the user's goal was reached.
        reward: reward points.
        rating: 1 (bad) to 5 (good).
    """

    success: Optional[bool] = None
    reward: Optional[float] = None
    rating: Optional[float] = None

    def __post_init__(self) -> None:
        if self.success is None and self.reward is None and self.rating is None:
            raise ValueError("an outcome needs success, reward or rating")

    def to_dict(self) -> Dict[str, Any]:
        """What was given."""
        return {name: value for name, value in self.to_row().items() if value is not None}

    def to_row(self) -> Dict[str, Any]:
        """Its columns, in the tables of episodes and of feedback."""
        return {"success": self.success, "reward": self.reward, "rating": self.rating}

    @classmethod
    def from_row(cls, row: Any) -> Optional[Outcome]:
        """The outcome in a row of either table; None if there is none yet."""
        if row.success is None and row.reward is None and row.rating is None:
            return None
        return cls(row.success, row.reward, row.rating)


@dataclass(frozen=True)
class Given:
    """Feedback on its way into the store; see `EpisodeStore.give`."""

    sender: str
    outcome: Outcome
    comment: Optional[str] = None
    id: Optional[str] = None
    episode: Optional[str] = None
    most_a_day: Optional[int] = None
    now: Optional[float] = None


@dataclass(frozen=True)
class Receipt:
    """A stored feedback.

    Args:
        status: accepted, superseded (by later feedback about the same episode), withdrawn, used.
        duplicate: whether it had been stored before.
    """

    id: str
    episode: str
    sender: str
    outcome: Outcome
    comment: Optional[str]
    received: float
    status: str
    duplicate: bool = False

    @classmethod
    def from_row(cls, row: Any) -> Receipt:
        """The feedback in its row."""
        outcome = Outcome.from_row(row)
        assert outcome is not None
        return cls(row.id, row.episode, row.sender, outcome, row.comment, row.received, row.status)


@dataclass(frozen=True)
class Step:
    """A decision as it is stored: what `Decision` says, who took it, and what our model thought.

    Args:
        decision: action, propensity, whether it was sampled.
        policy: who decided: `hybrid`, or the name of another policy.
        greedy: what our model would have done; None if it was not asked.
        belief: value and probability of the best values by slot, best first.
    """

    decision: Decision
    policy: Optional[str] = None
    greedy: Optional[str] = None
    belief: Mapping[str, Sequence[Tuple[str, float]]] = field(default_factory=dict)

    def to_dict(self) -> Dict[str, Any]:
        """What is known of it, for JSON."""
        belief = {slot: [list(pair) for pair in best] for slot, best in self.belief.items()}
        values = {
            "action": self.decision.action,
            "propensity": self.decision.propensity,
            "sampled": self.decision.sampled or None,
            "explored": self.decision.explored or None,
            "policy": self.policy,
            "greedy": self.greedy,
            "belief": belief or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Step:
        """The step of such a record."""
        flags = (bool(record.get(name, False)) for name in ("sampled", "explored"))
        decision = Decision(str(record["action"]), record.get("propensity"), *flags)
        belief = {
            slot: tuple((str(value), float(chance)) for value, chance in best)
            for slot, best in record.get("belief", {}).items()
        }
        return cls(decision, record.get("policy"), record.get("greedy"), belief)


@dataclass(frozen=True)
class Recorded:
    """A conversation as the model saw it.

    Args:
        dialogue: without labels.
        steps: for each turn its decisions in order.
        model: id of the model that acted last, None if none of ours did.
        ended: Unix time of the last event.
    """

    dialogue: Dialogue
    steps: Tuple[Tuple[Step, ...], ...]
    model: Optional[str]
    ended: float

    def to_row(self) -> Dict[str, Any]:
        """Its columns of the episode."""
        decisions = [[step.to_dict() for step in steps] for steps in self.steps]
        return {
            "ended": self.ended,
            "model": self.model,
            "turns": len(self.dialogue.turns),
            "sampled": any(step.decision.sampled for steps in self.steps for step in steps),
            # ASCII, as half of a surrogate pair, which users may send, is no text for a database.
            "dialogue": json.dumps(dialogue_to_json(self.dialogue)),
            "decisions": json.dumps(decisions),
        }

    @classmethod
    def from_row(cls, row: Any) -> Optional[Recorded]:
        """The conversation in the row of an episode; None if it is not assembled yet."""
        if row.dialogue is None:
            return None
        dialogue = dialogue_from_json(json.loads(row.dialogue))
        steps = tuple(tuple(map(Step.from_dict, steps)) for steps in json.loads(row.decisions))
        return cls(dialogue, steps, row.model, row.ended)


@dataclass(frozen=True)
class StoredEpisode:
    """An episode of the store; `recorded` is None until it is assembled."""

    id: str
    sender: str
    status: str
    begun: float
    ended: Optional[float]
    settled: Optional[float]
    outcome: Optional[Outcome]
    source: Optional[str]
    recorded: Optional[Recorded]
    candidate: Optional[str]
    redacted: bool = False

    @classmethod
    def from_row(cls, row: Any) -> StoredEpisode:
        """The episode in its row."""
        return cls(
            row.id,
            row.sender,
            row.status,
            row.begun,
            row.ended,
            row.settled,
            Outcome.from_row(row),
            row.source,
            Recorded.from_row(row),
            row.candidate,
            bool(row.redacted),
        )


def episode_id(sender: str, begun: float) -> str:
    """The id of a conversation's session: whoever reads the same events finds the same id.

    Args:
        sender: of the conversation.
        begun: timestamp of the session's first event.
    """
    return hashlib.sha256(f"{sender}\n{begun!r}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def can_name_sender(name: str) -> bool:
    """Whether every database can keep a text as a sender: Unicode of at most 255 characters, none of them null."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name) <= 255 and "\x00" not in name
