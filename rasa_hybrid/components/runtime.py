"""The trained model in a running Rasa: shared by the policy and the NLU component, with the knowledge base beside it.

The state of a conversation is a cache: it is computed again from the tracker's events whenever the past differs from
what is remembered (undo, restart, another worker).
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
from rasa.shared.core.domain import Domain
from rasa.shared.core.trackers import DialogueStateTracker

from rasa_hybrid.components.configuration import PolicyConfiguration
from rasa_hybrid.components.conversion import Reading, TrackerReader
from rasa_hybrid.components.facts import domain_facts
from rasa_hybrid.dialogue import (
    Belief,
    DomainFacts,
    ResultSummary,
    Turn,
    Utterance,
    without_none,
)
from rasa_hybrid.knowledge import GuardedKnowledgeBase, KnowledgeBaseError, next_offer, summary
from rasa_hybrid.knowledge.base import ID
from rasa_hybrid.model.acting import ActingModel, Conversation
from rasa_hybrid.model.encoding import Encoder, by_rank
from rasa_hybrid.model.reading import Understanding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TurnState:
    """What is known when the policy decides.

    Args:
        reading: the tracker as the model sees it.
        conversation: the model's state after hearing the user.
        belief: in force.
        query: constraints that the knowledge base was asked for, None if it was not.
        entities: its answer, None if unknown.
        offered: ids that were offered for this query.
        summary: E_k, which an offer within the turn does not change, as in training.
    """

    reading: Reading
    conversation: Conversation
    belief: Belief
    query: Optional[Mapping[str, str]]
    entities: Optional[Sequence[Mapping[str, str]]]
    offered: Tuple[str, ...]
    summary: ResultSummary

    @property
    def turn(self) -> Turn:
        """The turn that goes on."""
        return self.reading.dialogue.turns[-1]

    def next_offer(self) -> Optional[Mapping[str, str]]:
        """The entity that an offer would name now; the last one again when all were offered."""
        following = next_offer(self.entities, self.offered)
        if following is None and self.offered:
            return next((e for e in self.entities or () if e[ID] == self.offered[-1]), None)
        return following


@dataclass
class _Remembered:
    """Turns that are over, the state after them, and the open turn with the state after hearing it."""

    closed: Tuple[Turn, ...]
    after: Conversation
    heard: Optional[Turn] = None
    hearing: Optional[Conversation] = None


class Runtime:
    """A trained model that reads trackers.

    Args:
        encoder: of the model.
        weights: of the model.
        facts: of the domain.
        goal_slots: that the model tracks.
        configuration: of the policy.
        knowledge_base: None if there is none.
        name: what the metadata calls this model.
        synonyms: of nlu.yml, lower-cased form to value.
    """

    def __init__(
        self,
        encoder: Encoder,
        weights: Mapping[str, np.ndarray],
        facts: DomainFacts,
        goal_slots: Sequence[str],
        configuration: PolicyConfiguration,
        knowledge_base: Optional[GuardedKnowledgeBase] = None,
        name: str = "",
        synonyms: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._synonyms = dict(synonyms or {})
        self.configuration = configuration
        self.knowledge_base = knowledge_base
        self.goal_slots = tuple(goal_slots)
        self.name = name
        self._trained = encoder
        self._weights = dict(weights)
        self._known_values: Dict[str, Tuple[str, ...]] = {}
        self.model = ActingModel(encoder, weights)
        self._conversations: OrderedDict[str, _Remembered] = OrderedDict()
        self._lock = threading.RLock()
        self._domain: Optional[int] = None
        self._use_facts(facts)
        self._refresh_values()

    @property
    def actions(self) -> Tuple[str, ...]:
        """The actions that the model knows, in the order of its probabilities."""
        return self._trained.vocabulary.actions.names

    def use_domain(self, domain: Domain) -> None:
        """Takes over responses and slots of a domain, which may have changed without training."""
        if id(domain) != self._domain:
            with self._lock:
                configuration = self.configuration
                self._use_facts(
                    domain_facts(
                        domain, configuration.offer_slots, choice_slots=configuration.choice_slots
                    )
                )
                self._domain = id(domain)

    def understand(self, text: str) -> Understanding:
        """Intents and entities of a text."""
        return self.model.understand([Utterance(text)])[0]

    def synonym(self, words: str) -> str:
        """The value that nlu.yml maps these words to, the words themselves if it does not."""
        return self._synonyms.get(words.lower(), words)

    def hear(self, tracker: DialogueStateTracker, user: Utterance) -> Belief:
        """The belief after a message that the tracker does not have yet."""
        reading = self.reader.live(tracker)
        turns = (*reading.dialogue.turns, Turn(user=user))
        return self._observe(tracker.sender_id, replace(reading.dialogue, turns=turns).turns)[1]

    def turn(self, tracker: DialogueStateTracker) -> TurnState:
        """State, belief and answer of the knowledge base for the decision that is due."""
        reading = self.reader.live(tracker)
        if not reading.open or not reading.dialogue.turns:
            # Nothing was said in this turn (the bot speaks first, or goes on by itself).
            turns = (*reading.dialogue.turns, Turn())
            reading = replace(reading, dialogue=replace(reading.dialogue, turns=turns), open=True)
        conversation, belief = self._observe(tracker.sender_id, reading.dialogue.turns)
        query, entities = self._ask(belief)
        offered = (
            tuple(entity for asked, entity in reading.offers if asked == query)
            if query is not None
            else ()
        )
        answer = reading.dialogue.turns[-1].summary
        if answer == ResultSummary():  # the first decision of the turn, or nothing was known before
            answer = summary(entities, offered)
        return TurnState(reading, conversation, belief, query, entities, offered, answer)

    def decide(self, state: TurnState) -> np.ndarray:
        """Probabilities of the model's actions `[actions]`."""
        turn = state.turn
        late = [o for o in turn.overrides if o.after]
        goal = {**state.belief.goal(), **{o.slot: o.value for o in by_rank(late)}}
        context = self.reader.context(state.reading.slots, without_none(goal), state.reading.loop)
        return self.model.decide(
            [state.conversation], [state.summary], [turn.actions], [context], [late]
        )[0]

    def _use_facts(self, facts: DomainFacts) -> None:
        self.facts = facts
        self.reader = TrackerReader(
            facts,
            self.goal_slots,
            self._trained.settings.pipeline,
            self.configuration.dontcare_value,
        )
        self._conversations.clear()

    def _observe(
        self, conversation_id: str, turns: Tuple[Turn, ...]
    ) -> Tuple[Conversation, Belief]:
        """The model's state after the user's side of the last turn."""
        with self._lock:
            self._refresh_values()
            closed, heard = turns[:-1], _heard(turns[-1])
            remembered = self._conversations.get(conversation_id)
            if remembered is None or remembered.closed != closed[: len(remembered.closed)]:
                remembered = _Remembered((), self.model.start())
            while len(remembered.closed) < len(closed):
                turn = closed[len(remembered.closed)]
                if remembered.hearing is not None and remembered.heard == _heard(turn):
                    state = remembered.hearing.copy()
                else:
                    state = remembered.after.copy()
                    self.model.observe([state], [turn])
                self.model.close([state], [turn])
                remembered = _Remembered((*remembered.closed, turn), state)
            if remembered.heard != heard or remembered.hearing is None:
                hearing = remembered.after.copy()
                self.model.observe([hearing], [heard])
                remembered.heard, remembered.hearing = heard, hearing
            self._conversations[conversation_id] = remembered
            self._conversations.move_to_end(conversation_id)
            while len(self._conversations) > self.configuration.cached_conversations:
                self._conversations.popitem(last=False)
            observed = remembered.hearing.observed
            assert observed is not None
            # Later decisions add cells of their own; the remembered state stays as it is.
            return remembered.hearing.copy(), observed.belief

    def _ask(
        self, belief: Belief
    ) -> Tuple[Optional[Dict[str, str]], Optional[Sequence[Mapping[str, str]]]]:
        if self.knowledge_base is None:
            return None, None
        n_best = self.configuration.query_n_best
        result = (
            self.knowledge_base.query(belief.goal())
            if n_best == 1
            else self.knowledge_base.query_n_best(belief.n_best(n_best))
        )
        return dict(result.query), result.entities

    def _refresh_values(self) -> None:
        """Takes over values that the knowledge base got since the last turn."""
        if self.knowledge_base is None or not self._trained.settings.candidates:
            return
        try:
            known = set(self.knowledge_base.columns)
            columns = [slot for slot in self.goal_slots if slot in known]
            current = {column: self.knowledge_base.values(column) for column in columns}
        except KnowledgeBaseError as error:
            logger.warning(
                f"The values of the knowledge base can't be read, those known before stay: {error}"
            )
            return
        if all(current[column] is self._known_values.get(column) for column in columns):
            return
        self._known_values = current
        trained = self._trained
        ontology = trained.ontology.with_values(current)
        self.model = ActingModel(
            Encoder(trained.settings, trained.vocabulary, ontology), self._weights
        )
        self._conversations.clear()


def _heard(turn: Turn) -> Turn:
    """The part of a turn that is known before the first decision."""
    return Turn(user=turn.user, overrides=tuple(o for o in turn.overrides if o.after == 0))
