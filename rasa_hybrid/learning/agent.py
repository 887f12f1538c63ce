"""The joint model as the system's side of simulated conversations, many at a time.

It does in a simulation what `components.runtime` and Rasa do in a live conversation: hear, query, decide until it
listens; a test holds both equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np

from rasa_hybrid.dialogue import (
    DONTCARE,
    LISTEN,
    Belief,
    Dialogue,
    DomainFacts,
    Goal,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.knowledge import KnowledgeBaseError
from rasa_hybrid.model.acting import ActingModel, Conversation
from rasa_hybrid.model.checkpoint import load_model
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.simulation.agents import AgentTurn, ReadTurn
from rasa_hybrid.simulation.catalogue import NOTHING, Catalogue, Entity, Found, Query
from rasa_hybrid.simulation.side_effects import SideEffects
from rasa_hybrid.simulation.simulator import Simulator

#: Rasa's circuit breaker: most actions of one turn.
MOST_ACTIONS = 10


@dataclass
class _Talk:
    """One conversation: the model's state, what was offered by query, the offer that stands, slots of the domain."""

    conversation: Conversation
    offered: Dict[Query, List[str]] = field(default_factory=dict)
    standing: Optional[Entity] = None
    slots: Dict[str, Any] = field(default_factory=dict)


@dataclass
class _OpenTurn:
    """A turn while the model decides."""

    belief: Belief
    goal: Goal
    found: Found
    actions: List[SystemAction] = field(default_factory=list)
    propensities: List[float] = field(default_factory=list)
    offer: Optional[Entity] = None
    context: Tuple[str, ...] = ()
    known: bool = True


class JointAgent:
    """Plays the system by the model's beliefs and policy.

    Args:
        model: the trained model.
        facts: of the domain that it was trained for.
        catalogue: the knowledge base.
        side_effects: shared with the environment.
        offer_slots: slots that hold a column of the offered entity.
        offer_actions: actions that offer the next entity.
        dontcare_value: what a slot holds when anything is fine.
        rng: samples the actions from the policy; None: the most probable action.
    """

    def __init__(
        self,
        model: ActingModel,
        facts: DomainFacts,
        catalogue: Catalogue,
        side_effects: SideEffects,
        offer_slots: Optional[Mapping[str, str]] = None,
        offer_actions: Sequence[str] = (),
        dontcare_value: str = DONTCARE,
        rng: Optional[np.random.Generator] = None,
    ) -> None:
        self.model, self.facts, self.catalogue = model, facts, catalogue
        self.side_effects = side_effects
        self._offer_slots = dict(offer_slots or {})
        self._offer_actions = frozenset(offer_actions)
        self._dontcare = dontcare_value
        self._rng = rng
        self._names = model.encoder.vocabulary.actions.names
        self._talks: List[_Talk] = []

    def begin(self, count: int) -> None:
        """Starts fresh conversations."""
        initial = {name: facts.initial for name, facts in self.facts.slots.items()}
        self._talks = [_Talk(self.model.start(), slots=dict(initial)) for _ in range(count)]

    def respond(self, utterances: Mapping[int, Utterance]) -> Dict[int, AgentTurn]:
        """Hears the users of the given conversations and acts until it listens to each."""
        numbers = list(utterances)
        heard = [Utterance(utterances[i].text, utterances[i].hypotheses) for i in numbers]
        conversations = [self._talks[i].conversation for i in numbers]
        beliefs = self.model.observe(conversations, [Turn(user=user) for user in heard])
        turns = {i: self._query(belief) for i, belief in zip(numbers, beliefs)}
        summaries = {i: self._summary(i, turn) for i, turn in turns.items()}
        deciding = numbers
        while deciding:
            for i in deciding:
                turns[i].context = self._context(i, turns[i].goal)
            chances = self.model.decide(
                [self._talks[i].conversation for i in deciding],
                [summaries[i] for i in deciding],
                [turns[i].actions for i in deciding],
                [turns[i].context for i in deciding],
            )
            going_on = []
            for i, row in zip(deciding, chances):
                chosen = self._choose(row)
                turns[i].propensities.append(float(row[chosen]))
                if self._names[chosen] == LISTEN:
                    continue
                self._act(i, turns[i], self._names[chosen])
                if len(turns[i].actions) < MOST_ACTIONS:
                    going_on.append(i)
            deciding = going_on
        self.model.close(
            conversations,
            [Turn(user=user, actions=tuple(turns[i].actions)) for i, user in zip(numbers, heard)],
        )
        return {
            i: AgentTurn(
                turn.belief, summaries[i], tuple(turn.actions), turn.offer, tuple(turn.propensities)
            )
            for i, turn in turns.items()
        }

    def read(self, dialogues: Iterable[Dialogue]) -> Iterator[Tuple[ReadTurn, ...]]:
        """Follows recorded dialogues: the belief of each turn, and what it would have done at each decision."""
        for dialogue in map(self.facts.harmonise, dialogues):
            conversation = self.model.start()
            turns = []
            for turn in dialogue.turns:
                [belief] = self.model.observe([conversation], [turn])
                contexts = [*(action.context for action in turn.actions), turn.closing_context]
                decisions = []
                for taken, context in enumerate(contexts):
                    others = [o for o in turn.overrides if 0 < o.after <= taken]
                    row = self.model.decide(
                        [conversation], [turn.summary], [turn.actions[:taken]], [context], [others]
                    )[0]
                    decisions.append(self._names[int(row.argmax())])
                self.model.close([conversation], [turn])
                turns.append(ReadTurn(belief, tuple(decisions)))
            yield tuple(turns)

    def _query(self, belief: Belief) -> _OpenTurn:
        goal = belief.goal()
        try:
            return _OpenTurn(belief, goal, self.catalogue.find(goal))
        except KnowledgeBaseError:  # a goal that can't be asked for, such as "monday" tickets
            return _OpenTurn(belief, goal, NOTHING, known=False)

    def _summary(self, i: int, turn: _OpenTurn) -> ResultSummary:
        if not turn.known:
            return ResultSummary()
        return turn.found.summary(self._talks[i].offered.get(turn.found.query, ()))

    def _context(self, i: int, goal: Goal) -> Tuple[str, ...]:
        slots = self._talks[i].slots
        for slot in self.model.encoder.ontology.slots:
            slots[slot] = self._dontcare if goal.get(slot) == DONTCARE else goal.get(slot)
        return self.facts.context(slots)

    def _choose(self, chances: np.ndarray) -> int:
        if self._rng is None:
            return int(chances.argmax())
        return int(
            np.searchsorted(np.cumsum(chances), self._rng.random() * chances.sum()).clip(
                0, len(chances) - 1
            )
        )

    def _act(self, i: int, turn: _OpenTurn, name: str) -> None:
        """Carries out an action: offers, side effects, and what it says."""
        talk = self._talks[i]
        if name in self._offer_actions:
            offered = talk.offered.setdefault(turn.found.query, [])
            entity = turn.found.next_offer(offered) or talk.standing
            if entity is not None:
                offered.append(entity["id"])
                talk.standing = turn.offer = entity
                talk.slots.update(
                    {slot: entity.get(column) for slot, column in self._offer_slots.items()}
                )
        acts = self.facts.acts(name, talk.slots)
        turn.actions.append(SystemAction(name, acts, turn.context))
        talk.slots.update(self.side_effects.perform(i, name, talk.standing))


def with_known_values(encoder: Encoder, simulator: Simulator) -> Encoder:
    """The same encoder with the values that the simulator's knowledge base has now."""
    if not encoder.settings.candidates:
        return encoder
    columns = [slot for slot in encoder.ontology.slots if slot in simulator.catalogue.columns]
    ontology = encoder.ontology.with_values(
        {slot: simulator.catalogue.values(slot) for slot in columns}
    )
    return Encoder(encoder.settings, encoder.vocabulary, ontology)


def agent_of(
    model: ActingModel,
    extra: Mapping[str, Any],
    simulator: Simulator,
    side_effects: SideEffects,
    rng: Optional[np.random.Generator] = None,
) -> JointAgent:
    """The agent of a model in memory.

    Args:
        model: the trained model, with the values that the knowledge base has now.
        extra: facts kept with the model.
        simulator: the domain and its knowledge base.
        side_effects: shared with the environment.
        rng: samples the actions; None: the most probable ones.
    """
    return JointAgent(
        model,
        DomainFacts.from_dict(extra["facts"]),
        simulator.catalogue,
        side_effects,
        extra["offer_slots"],
        extra["offer_actions"],
        extra["dontcare_value"],
        rng,
    )


def load_agent(
    path: Union[str, Path],
    simulator: Simulator,
    side_effects: SideEffects,
    rng: Optional[np.random.Generator] = None,
) -> JointAgent:
    """The agent of a model on disk, with the values that the knowledge base has now.

    Args:
        path: archive of `rasa train` (`models/X.tar.gz`), or a directory that `save_model` wrote.
        simulator: the domain and its knowledge base.
        side_effects: shared with the environment.
        rng: samples the actions; None: the most probable ones.

    Raises:
        CheckpointError: if the archive holds no model of ours.
    """
    encoder, weights, extra = load_model(path)
    model = ActingModel(with_known_values(encoder, simulator), weights)
    return agent_of(model, extra, simulator, side_effects, rng)
