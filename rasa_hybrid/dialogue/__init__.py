"""The words everyone speaks. This room imports no other."""

from rasa_hybrid.dialogue.acts import (
    DONTCARE,
    LISTEN,
    NONE,
    TAUGHT,
    Dialogue,
    DialogueAct,
    Entity,
    Goal,
    Hypothesis,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
    goal_value,
    without_none,
)
from rasa_hybrid.dialogue.belief import Belief, Distribution
from rasa_hybrid.dialogue.domain import DomainFacts, SlotFacts, act_type, slot_text
from rasa_hybrid.dialogue.episode import Decision, Episode
from rasa_hybrid.dialogue.normalise import Token, normalise, tokenize

__all__ = [
    "DONTCARE",
    "LISTEN",
    "NONE",
    "TAUGHT",
    "Belief",
    "Decision",
    "Dialogue",
    "DialogueAct",
    "Distribution",
    "DomainFacts",
    "Entity",
    "Episode",
    "Goal",
    "Hypothesis",
    "Override",
    "ResultSummary",
    "SlotFacts",
    "SystemAction",
    "Token",
    "Turn",
    "Utterance",
    "act_type",
    "goal_value",
    "normalise",
    "slot_text",
    "tokenize",
    "without_none",
]
