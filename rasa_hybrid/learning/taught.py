"""Dialogues that a simulated teacher corrected: what the agent did, and what would have been right."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat

from rasa_hybrid.dialogue import Dialogue
from rasa_hybrid.simulation.environment import Rollout


def taught(rollout: Rollout, goal_only: bool = False) -> Dialogue:
    """A dialogue of the agent with the teacher's labels, to be learnt from.

    What was done stays, as the dialogue went on from it. Labels are the goal of each turn and, unless `goal_only`,
    the right action at each decision. The teacher corrects the goal before the query is made: so the answer of the
    knowledge base is the one to the right goal, which is what the right action follows from.
    """
    rows = zip(rollout.dialogue.turns, rollout.answers, repeat(()) if goal_only else rollout.expert)
    turns = (replace(turn, summary=answer, expert=names) for turn, answer, names in rows)
    return replace(rollout.dialogue, turns=tuple(turns))
