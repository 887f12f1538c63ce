"""A model supervised on simulated dialogues alone, without a Rasa project: where the experiments of the paper begin."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from rasa_hybrid.dialogue import DONTCARE, Dialogue, DomainFacts, normalise
from rasa_hybrid.dialogue.domain import SlotFacts, act_type
from rasa_hybrid.learning.agent import with_known_values
from rasa_hybrid.learning.supervised import Progress, SupervisedTrainer
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import Settings
from rasa_hybrid.simulation import Simulator, self_play

#: Passes over the corpus, where the settings do not say; large corpora need few.
EPOCHS = 4


class TrainedModel(NamedTuple):
    """A model as a checkpoint holds it: encoder, weights by name, further facts."""

    encoder: Encoder
    weights: Dict[str, np.ndarray]
    extra: Dict[str, Any]


def train_on_simulator(
    simulator: Simulator,
    settings: Settings,
    dialogues: int = 10_000,
    progress: Optional[Progress] = None,
) -> TrainedModel:
    """Supervises a model on dialogues of the expert with simulated users.

    Args:
        simulator: the domain and its users; corpus and weights are drawn with `settings.seed`.
        settings: of the model.
        dialogues: size of the corpus.
        progress: called after every epoch with its figures.
    """
    facts, offer_slots = facts_of(simulator)
    corpus = supervised_corpus(simulator, facts, dialogues, settings.seed)
    flow = simulator.flow
    encoder = prepare(settings, corpus, listed=listed_values(simulator), actions=flow.actions)
    trainer = SupervisedTrainer(with_known_values(encoder, simulator))
    trainer.fit(corpus, progress=progress)
    extra = {
        "facts": facts.to_dict(),
        "goal_slots": list(simulator.slots),
        "synonyms": {},
        "offer_slots": offer_slots,
        "offer_actions": [flow.offer],
        "dontcare_value": DONTCARE,
    }
    return TrainedModel(encoder, trainer.weights(), extra)


def listed_values(simulator: Simulator) -> Dict[str, SlotValues]:
    """What each slot can hold and how it can be said: what `nlu.yml` and the knowledge base tell in a Rasa project."""
    synonyms = simulator.synonyms()
    return {
        slot: SlotValues(
            {value: tuple(forms) for value, forms in synonyms.get(slot, {}).items()},
            "number" if all(normalise(v).isdigit() for v in synonyms.get(slot, {})) else "list",
        )
        for slot in simulator.slots
    }


def supervised_corpus(
    simulator: Simulator, facts: DomainFacts, dialogues: int, seed: int, first: int = 0
) -> List[Dialogue]:
    """Dialogues of the expert, in the words of the domain."""
    return [facts.harmonise(d) for d in self_play(simulator, dialogues, seed, first=first)]


def facts_of(simulator: Simulator) -> Tuple[DomainFacts, Dict[str, str]]:
    """What the model has to know of a simulated domain, and the slots that hold what is offered.

    In a Rasa project the same comes from `domain.yml`.
    """
    flow = simulator.flow
    columns = ("id", *dict.fromkeys((*flow.offer_slots, *flow.confirm_slots)))
    offered = {
        f"offer_{column}": column
        for column in columns
        if column == "id" or column in simulator.catalogue.columns
    }
    sources = {column: slot for slot, column in offered.items()}
    slots = {name: SlotFacts("text") for name in (*simulator.slots, *offered)}
    actions: Dict[str, Tuple[str, Tuple[Tuple[str, Optional[str]], ...]]] = {
        name: (act_type(name, ()), ()) for name in flow.actions
    }
    for act, named in (("request", flow.request), ("select", flow.select)):
        actions.update({action: (act, ((slot, None),)) for slot, action in named.items()})
    for act, action, told in (
        ("offer", flow.offer, flow.offer_slots),
        ("confirm", flow.confirm, flow.confirm_slots),
    ):
        actions[action] = (act, tuple((slot, sources.get(slot, slot)) for slot in told))
    if flow.completion is not None:
        outcomes = tuple(flow.completion.outcomes)
        slots[flow.completion.slot] = SlotFacts("categorical", outcomes, influences=True)
    return DomainFacts(slots, actions, {}), offered
