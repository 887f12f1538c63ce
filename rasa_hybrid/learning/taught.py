"""Dialogues that a simulated teacher corrected: what the agent did, and what would have been right."""

from __future__ import annotations

from dataclasses import replace
from typing import List

from rasa_hybrid.dialogue import Dialogue
from rasa_hybrid.model.encoded import EncodedTurn
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.simulation.environment import Rollout

#: Where a taught dialogue keeps, for every turn, the right action before each of the agent's decisions.
TEACHER = "teacher"


def taught(rollout: Rollout, goal_only: bool = False) -> Dialogue:
    """A dialogue of the agent with the teacher's labels, to be learnt from.

    What was done stays, as the dialogue went on from it. Labels are the goal of each turn and, unless `goal_only`,
    the right action at each decision. The teacher corrects the goal before the query is made: so the answer of the
    knowledge base is the one to the right goal, which is what the right action follows from.
    """
    turns = tuple(
        replace(turn, summary=answer)
        for turn, answer in zip(rollout.dialogue.turns, rollout.answers)
    )
    labels = [] if goal_only else [list(names) for names in rollout.expert]
    return replace(
        rollout.dialogue, turns=turns, metadata={**rollout.dialogue.metadata, TEACHER: labels}
    )


def encode_labelled(encoder: Encoder, dialogue: Dialogue) -> List[EncodedTurn]:
    """A dialogue as the network learns from it.

    Of a taught one, what was done is history and what the teacher said are the labels; of others, what was done is both.
    """
    encoded = encoder.dialogue(dialogue)
    labels = dialogue.metadata.get(TEACHER)
    if not isinstance(labels, list):  # corpora of others may have any metadata
        return encoded
    known = encoder.vocabulary.actions
    turns = []
    for k, turn in enumerate(encoded):
        names = labels[k] if k < len(labels) else ()
        decisions = [
            decision._replace(action=known[names[j]], weight=dialogue.weight)
            if j < len(names) and names[j] in known
            else decision._replace(weight=0.0)
            for j, decision in enumerate(turn.decisions)
        ]
        turns.append(replace(turn, decisions=decisions))
    return turns
