"""Imitation learning: lines 2 to 7 of Algorithm 1 of Liu et al. (2018), which is DAgger (Ross et al., 2011).

The agent talks by its own policy; the teacher says of every turn which goal and which actions would have been right;
the dialogues join the corpus, and the model is trained end to end on the aggregate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from rasa_hybrid.dialogue import Dialogue, tokenize
from rasa_hybrid.learning.optimiser import between
from rasa_hybrid.learning.supervised import SupervisedTrainer, as_heard
from rasa_hybrid.model.batching import collate
from rasa_hybrid.model.encoded import EncodedTurn
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import initial_weights
from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
from rasa_hybrid.model.settings import check_flag, check_names, check_number
from rasa_hybrid.model.vocabulary import UNKNOWN

#: Words that teaching can add to the vocabulary.
_SPARE_WORDS = 1000


@dataclass(frozen=True)
class ImitationSettings:
    """Settings of imitation learning."""

    #: Dialogues between two updates of the model.
    update_every: int = 25
    #: Steps of Adam in an update.
    steps: int = 15
    #: Dialogues of a step.
    batch_size: int = 32
    #: Share of them that were taught; the others are of the earlier corpus.
    taught_share: float = 0.5
    #: Share of those that are of the latest dialogues, the others of all that were taught.
    latest_share: float = 0.25
    #: Adam's step size.
    learning_rate: float = 0.001
    #: Decay per step of the running average of the weights that the agent acts with; 0: the last weights themselves.
    weight_averaging: float = 0.98
    #: Share of words that the model does not see in an update, so that it does not learn the taught wordings by heart.
    word_dropout: float = 0.3
    #: Share of the distinct words of an update that it knows by their letters alone: as it will know the words of others
    #: who say things in their own way.
    identity_dropout: float = 0.3
    #: Share of what was learnt in the model that results, which lies between the one to begin with and the trained one
    #: (Wortsman et al., 2022): the rest keeps it good at wordings that nobody taught. 1: the trained one.
    interpolation: float = 0.75
    #: The teacher corrects the tracked goal alone, as in the paper; the actions of taught dialogues are not learnt.
    goal_only: bool = False
    #: Share of the first dialogues that the teacher leads instead of the agent (DAgger's beta), and how much of it
    #: remains after each update. The paper's agent always leads.
    beta: float = 0.0
    beta_decay: float = 0.5
    #: Instead of updates, train anew on the aggregate for so many epochs every time; 0: updates.
    retrain_epochs: int = 0
    #: Seed of users, sampled actions and batches.
    seed: int = 42

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ImitationSettings:
        """Settings of a configuration.

        Raises:
            SettingsError: for an unknown key or an impossible value; names key, value and what is allowed.
        """
        check_names(cls, values)
        return cls(**values)

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


_RANGES = {
    "update_every": (1, 100_000),
    "steps": (1, 100_000),
    "batch_size": (1, 100_000),
    "taught_share": (0, 1),
    "latest_share": (0, 1),
    "learning_rate": (1e-9, 10),
    "weight_averaging": (0, 0.99999),
    "word_dropout": (0, 0.99),
    "identity_dropout": (0, 0.99),
    "interpolation": (0, 1),
    "beta": (0, 1),
    "beta_decay": (0, 1),
    "retrain_epochs": (0, 100_000),
    "seed": (0, 2**31 - 1),
}
_WHOLE = ("update_every", "steps", "batch_size", "retrain_epochs", "seed")


def _check(name: str, value: Any) -> None:
    if name == "goal_only":
        check_flag(name, value)
    else:
        check_number(name, value, *_RANGES[name], whole=name in _WHOLE)


class Imitator:
    """Trains a model on the aggregate of its earlier corpus and what it was taught.

    Args:
        encoder: of the model; its vocabulary grows by the words of what is taught.
        weights: to start from.
        settings: how to learn.
        earlier: labelled dialogues that the model was trained on.

    The calling protocol:

        imitator = Imitator(encoder, weights, settings, earlier)
        imitator.add(dialogues)                 # of `taught`: D <- D u D_pi
        imitator.update()                       # end to end on D
        model = imitator.encoder, imitator.weights()
    """

    def __init__(
        self,
        encoder: Encoder,
        weights: Mapping[str, np.ndarray],
        settings: ImitationSettings,
        earlier: Sequence[Dialogue],
    ) -> None:
        learning = replace(
            encoder.settings,
            learning_rate=float(settings.learning_rate),
            weight_averaging=float(settings.weight_averaging),
            word_dropout=float(settings.word_dropout),
            identity_dropout=float(settings.identity_dropout),
        )
        self.encoder = Encoder(learning, encoder.vocabulary, encoder.ontology)
        self.settings = settings
        self._start = {**weights, "words": _with_spare_rows(weights["words"])}
        self._earlier = [turns for turns in self.encoder.dialogues(earlier) if turns]
        self._taught: List[List[EncodedTurn]] = []
        self._latest = 0
        self._updates = 0
        self._trainer = SupervisedTrainer(self.encoder, self._start)

    def weights(self) -> Dict[str, np.ndarray]:
        """The parameters of what results, as arrays, those of the words as far as there are words."""
        learnt = self._trainer.weights()
        if not self.settings.retrain_epochs:
            learnt = between(self._start, learnt, self.settings.interpolation)
        return {**learnt, "words": learnt["words"][: len(self.encoder.vocabulary.words)]}

    def add(self, dialogues: Sequence[Dialogue]) -> None:
        """Aggregation: D <- D u D_pi."""
        room = len(self._start["words"])
        spoken = (
            token.text
            for dialogue in dialogues
            for turn in dialogue.turns
            if turn.user is not None
            for token in tokenize(
                turn.user.text, self.encoder.settings.language, self.encoder.ontology.splitter
            )
        )
        known = self.encoder.vocabulary.words
        new = [word for word in dict.fromkeys(spoken) if word not in known]
        self.encoder.vocabulary = self.encoder.vocabulary.with_words(new[: room - len(known)])
        self._taught += self.encoder.dialogues(dialogues)
        self._latest = len(dialogues)

    def update(self) -> float:
        """Trains on the aggregate: `steps` steps of Adam, or anew. Returns the mean loss of eq. 4, a dialogue."""
        settings = self.settings
        self._updates += 1
        rng = np.random.default_rng([settings.seed, self._updates])
        steps = settings.steps
        if settings.retrain_epochs:
            self._trainer.restore(SupervisedTrainer(self.encoder, self._anew()).state())
            aggregate = len(self._earlier) + len(self._taught)
            steps = settings.retrain_epochs * -(-aggregate // settings.batch_size)
        losses = []
        for _ in range(steps):
            turns = [as_heard(t, self.encoder.settings, rng) for t in self._drawn(rng)]
            figures = self._trainer.train_step(collate(self.encoder, turns))
            losses.append(figures[0] / max(figures[3], 1.0))
        return float(np.mean(losses))

    def state(self) -> Dict[str, np.ndarray]:
        """What an update depends on beside the dialogues."""
        return {**self._trainer.state(), "updates": np.array(self._updates)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Puts back what `state` gave, after all taught dialogues were added.

        Raises:
            ValueError: if it belongs to another model.
        """
        self._trainer.restore({k: v for k, v in state.items() if k != "updates"})
        self._updates = int(state["updates"])

    def _anew(self) -> Dict[str, np.ndarray]:
        """Weights drawn as for a new model, with as many words as there is room for."""
        sizes = sizes_of(self.encoder.vocabulary, self.encoder.ontology)
        shapes = parameter_shapes(
            self.encoder.settings, {**sizes, "words": len(self._start["words"])}
        )
        return initial_weights(shapes, self.encoder.settings.seed)

    def _drawn(self, rng: np.random.Generator) -> List[List[EncodedTurn]]:
        """The dialogues of a step."""
        settings, total = self.settings, len(self._taught)
        if settings.retrain_epochs:
            aggregate = total + len(self._earlier)
            chosen = rng.choice(aggregate, min(settings.batch_size, aggregate), replace=False)
            return [self._taught[i] if i < total else self._earlier[i - total] for i in chosen]
        count = settings.batch_size
        of_taught = count if not self._earlier else round(count * settings.taught_share)
        latest = round(of_taught * settings.latest_share) if total > self._latest else 0
        drawn = [self._taught[i] for i in rng.integers(total - self._latest, total, latest)]
        drawn += [self._taught[i] for i in rng.integers(0, total, of_taught - latest)]
        if self._earlier:
            chosen = rng.integers(0, len(self._earlier), count - of_taught)
            drawn += [self._earlier[i] for i in chosen]
        return drawn


def _with_spare_rows(words: np.ndarray) -> np.ndarray:
    """Word embeddings with rows for words to come, each at first that of the unknown word."""
    return np.concatenate([words, np.repeat(words[UNKNOWN : UNKNOWN + 1], _SPARE_WORDS, axis=0)])
