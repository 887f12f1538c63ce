"""The words everyone speaks. This room imports no other."""

from rasa_hybrid.dialogue.acts import (
    DONTCARE,
    LISTEN,
    NONE,
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
from rasa_hybrid.dialogue.normalise import Token, normalise, tokenize

__all__ = [
    "DONTCARE",
    "LISTEN",
    "NONE",
    "Belief",
    "Dialogue",
    "DialogueAct",
    "Distribution",
    "Entity",
    "Goal",
    "Hypothesis",
    "Override",
    "ResultSummary",
    "SystemAction",
    "Token",
    "Turn",
    "Utterance",
    "goal_value",
    "normalise",
    "tokenize",
    "without_none",
]
