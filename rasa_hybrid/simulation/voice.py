"""From the user's acts to an utterance: surface forms, then what the line and a recogniser make of them."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import DialogueAct, Entity, Utterance
from rasa_hybrid.simulation.noise import WordNoise
from rasa_hybrid.simulation.profiles import Profile
from rasa_hybrid.simulation.spoken_values import SpokenValue
from rasa_hybrid.simulation.surface import SurfaceSet
from rasa_hybrid.simulation.templates import INFORMING

#: Acts with which a please goes well.
_ASKING = frozenset({"start", "inform", "change", "request", "repeat"})


class Voice:
    """Utters acts.

    Args:
        surfaces: the words.
        spoken: slot, value, ways to say it.
        noise: what happens on the way.
        intents: user act to the intent that a Rasa project calls it, the first act of an utterance listed here counts.
        word_drop, word_confusion, word_strange: noise beside that of the profile.
    """

    def __init__(
        self,
        surfaces: SurfaceSet,
        spoken: Mapping[str, Mapping[str, SpokenValue]],
        noise: WordNoise,
        intents: Optional[Mapping[str, str]] = None,
        word_drop: float = 0.0,
        word_confusion: float = 0.0,
        word_strange: float = 0.0,
    ) -> None:
        self.surfaces, self._spoken, self._noise = surfaces, spoken, noise
        self._intents = dict(intents or {})
        self._drop, self._confuse, self._strange = word_drop, word_confusion, word_strange

    def utter(
        self,
        acts: Sequence[DialogueAct],
        system: Sequence[DialogueAct],
        wrong: Mapping[str, str],
        profile: Profile,
        rng: np.random.Generator,
    ) -> Utterance:
        """Words for acts.

        Args:
            acts: what the user does.
            system: what the system did right before.
            wrong: values that are taken back in the same breath.
            profile: who speaks.
            rng: source of chance.
        """
        asking = any(act.act in _ASKING for act in acts)
        text, entities = self.surfaces.realise(
            acts,
            self.surfaces.heard(system),
            self._spoken,
            rng,
            wrong,
            polite=asking and rng.random() < profile.politeness / 2,
            hesitant=rng.random() < profile.hesitation,
        )
        if rng.random() < profile.lower_case:
            text = text.lower()
        strange = self._strange + profile.word_strange
        if strange:
            places = [(entity.start, entity.end) for entity in entities]
            text = self._noise.estrange(text, places, strange, rng)
        drop, confuse = self._drop + profile.word_drop, self._confuse + profile.word_confusion
        heard, hypotheses = self._noise.hear(text, drop, confuse, rng)
        kept: Tuple[Entity, ...] = entities if heard == text else ()
        meant = tuple(
            DialogueAct("inform", a.slot, a.value) if a.act in INFORMING else a for a in acts
        )
        return Utterance(heard, hypotheses, self._intent(meant), kept, meant)

    def _intent(self, acts: Sequence[DialogueAct]) -> Optional[str]:
        said = {act.act for act in acts}
        return next((intent for act, intent in self._intents.items() if act in said), None)
