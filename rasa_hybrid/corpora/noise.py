"""Recognition errors made up from the words of the training dialogues.

People's words reach a telephone bot through a recogniser that gets a quarter to a third of them wrong, while most
corpora hold transcripts. This imitates one: errors come in bursts and spare most utterances, short words are dropped
and inserted, words turn into others of the vocabulary that sound alike and fit between their neighbours, several
hypotheses share what was easy to hear.

Where the system's next acts show what *it* had heard (it repeats the value, asks again, or answers to another value),
the errors follow that evidence: otherwise a model trained on the copies would trust the system's acts more than a real
recogniser deserves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.corpora.confusion import Alternatives, Errors, best_paths, cumulative, draw
from rasa_hybrid.corpora.heard import Words, find, heard_values, normalised
from rasa_hybrid.corpora.phonetics import distances, sounds
from rasa_hybrid.dialogue import (
    DONTCARE,
    NONE,
    Dialogue,
    Entity,
    Hypothesis,
    Turn,
    Utterance,
    tokenize,
)


class _Evidence(NamedTuple):
    """What the system's reaction says about some words of the utterance.

    Args:
        factor: of the chance of an error.
        chance: of an error, instead of the one that follows from the utterance's error rate.
        heard: the words that were heard instead, if that is known.
    """

    factor: float = 1.0
    chance: Optional[float] = None
    heard: Optional[Words] = None


#: Evidence about the words `[start, end)`; that about the utterance as a whole is at `_WHOLE`.
_Places = Dict[Tuple[int, int], _Evidence]
_WHOLE = (-1, -1)


@dataclass(frozen=True)
class NoiseSettings:
    """How the errors are spread; the defaults imitate the live recogniser of DSTC2.

    Args:
        deletions: share of erroneous words that are dropped, before short words get more and long ones less.
        insertions: chance of a word too many at a gap, as a share of the chance of an error at a word.
        spread: shape of the Gamma distribution of an utterance's error rate; small values spare most utterances and
            spoil some.
        burst: how much likelier an error is inside a burst than outside.
        enter_burst: chance of a burst to begin at a word.
        leave_burst: chance of a burst to end at a word.
        sharpness: distance in sound at which a confusion is e times less likely; 0.15 fits what the system of DSTC2
            took values for in its training dialogues.
        popularity: exponent of a word's count among the candidates of a confusion.
        context: exponent of how well a candidate fits beside its neighbours.
        silence: chance of an utterance that is lost as a whole, as a share of the error rate.
        garbage: chance that noise without words is heard as words.
        candidates: confusions considered for a word.
    """

    deletions: float = 0.30
    insertions: float = 0.22
    spread: float = 0.8
    burst: float = 4.0
    enter_burst: float = 0.2
    leave_burst: float = 0.45
    sharpness: float = 0.15
    popularity: float = 0.1
    context: float = 0.3
    silence: float = 0.1
    garbage: float = 0.4
    candidates: int = 40


#: Factor of the chance of an error at the words of a value that the system showed to have understood.
_UNDERSTOOD = 0.35
#: Chance of an error at the words of a value for which it asked again, and which it took for another one.
_ASKED_AGAIN, _TAKEN_FOR_ANOTHER = 0.6, 0.8
#: Factors of the utterance's error rate where it is not known which words said the value.
_CLEARER, _WORSE = 0.6, 2.0
#: Highest chance of an error at a word.
_WORST = 0.9
#: An error by which nothing is heard.
_SILENCE = Errors.of(((),), (1.0,))
_NO_ERROR = Errors.of((), ())
#: What stands for the end of an utterance in pairs of words.
END = ""
#: Pairs of words that were said less often are not heard where one word was said.
_RARE_PAIR = 3
#: Weight of the words' frequencies in the bigram model, in occurrences.
_BACKOFF = 5.0


class RecogniserNoise:
    """A recogniser that mishears, deterministic given a generator.

    Args:
        vocabulary_counts: normalised words and how often users said them; the words that can be heard.
        rate: word error rate to expect, between 0 and 1; above a half, errors beside each other hide some of it.
        pair_counts: pairs of words in a row and how often users said them, with `END` before the first and after the
            last word; what fits together.
        forms: slot to value to what users call it besides, so that evidence about a value finds its words.
        language: of the normalisation.
        settings: how the errors are spread.

    Raises:
        ValueError: if the rate is no rate or there are no words.
    """

    def __init__(
        self,
        vocabulary_counts: Mapping[str, int],
        rate: float = 0.3,
        pair_counts: Optional[Mapping[Tuple[str, str], int]] = None,
        forms: Optional[Mapping[str, Mapping[str, Sequence[str]]]] = None,
        language: str = "en",
        settings: NoiseSettings = NoiseSettings(),
    ) -> None:
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate: {rate!r} is not between 0 and 1.")
        if not vocabulary_counts:
            raise ValueError("vocabulary_counts: there is no word that could be heard.")
        self.rate = rate
        self.language = language
        self.settings = settings
        self._forms = forms or {}
        self._counts = Counter(dict(vocabulary_counts))
        self._total = sum(self._counts.values())
        self._pairs = Counter(dict(pair_counts or {}))
        self._counts[END] = sum(count for (first, _), count in self._pairs.items() if first == END)
        heard: List[Words] = [(word,) for word in sorted(vocabulary_counts)]
        heard += [
            pair
            for pair, count in sorted(self._pairs.items())
            if count >= _RARE_PAIR and END not in pair
        ]
        self._heard = heard
        self._heard_sounds = [sounds(" ".join(words)) for words in heard]
        self._popularity = np.array(
            [
                self._counts[words[0]] if len(words) == 1 else self._pairs[(words[0], words[1])]
                for words in heard
            ],
            float,
        )
        frequent = np.array([self._counts[words[0]] for words in heard if len(words) == 1], float)
        self._insertion = cumulative(
            frequent * np.array([_shortness(words[0]) for words in heard[: len(frequent)]])
        )
        self._garbage = cumulative(frequent**0.75)
        self._severity = self._mean_severity()
        self._confusions = lru_cache(maxsize=65536)(self._find_confusions)
        self._errors_in_context = lru_cache(maxsize=65536)(self._weigh_errors)

    @classmethod
    def from_dialogues(
        cls,
        dialogues: Iterable[Dialogue],
        rate: float = 0.3,
        forms: Optional[Mapping[str, Mapping[str, Sequence[str]]]] = None,
        language: str = "en",
        settings: NoiseSettings = NoiseSettings(),
    ) -> RecogniserNoise:
        """Noise from the words that the users of these dialogues said."""
        words: Counter = Counter()
        pairs: Counter = Counter()
        for dialogue in dialogues:
            for turn in dialogue.turns:
                if turn.user is not None:
                    said = normalised(turn.user.text, language)
                    words.update(said)
                    pairs.update(zip((END, *said), (*said, END)))
        return cls(words, rate, pairs, forms, language, settings)

    def corrupt(self, text: str, rng: np.random.Generator) -> str:
        """What the recogniser makes of `text`: normalised words, possibly none."""
        return " ".join(self._listen(normalised(text, self.language), rng, {}))

    def n_best(self, text: str, rng: np.random.Generator, n: int) -> Tuple[Hypothesis, ...]:
        """The n best of what the recogniser makes of `text`, best first, with confidences that sum to 1.

        The first is distributed as `corrupt` is. There are fewer than n if nothing else can be heard.
        """
        return self._hypotheses(normalised(text, self.language), rng, n, {})

    def corrupt_dialogue(
        self, dialogue: Dialogue, rng: np.random.Generator, n_best: int = 1, listen: bool = True
    ) -> Dialogue:
        """A copy of a dialogue as a recogniser would have delivered it; goals and system actions stay.

        Args:
            dialogue: with the users' true words.
            rng: generator.
            n_best: length of the n-best lists; 1 for none.
            listen: whether the errors follow what the system's acts show it to have heard.

        Returns:
            The copy. Entities stay where their words did; the users' acts are left out, as no recogniser knows them.
        """
        evidence = heard_values(dialogue, self.language) if listen else [{} for _ in dialogue.turns]
        turns = []
        for turn, heard in zip(dialogue.turns, evidence):
            if turn.user is not None and (turn.user.text or turn.user.intent is None):
                turn = replace(turn, user=self._corrupt_utterance(turn, rng, n_best, heard))
            turns.append(turn)
        return replace(dialogue, turns=tuple(turns))

    def _corrupt_utterance(
        self, turn: Turn, rng: np.random.Generator, n_best: int, heard: Mapping[str, str]
    ) -> Utterance:
        assert turn.user is not None
        said = normalised(turn.user.text, self.language)
        places = self._evidence(said, turn.goal or {}, heard)
        if n_best > 1:
            hypotheses = self._hypotheses(said, rng, n_best, places)
            text = hypotheses[0].text
        else:
            hypotheses = ()
            text = " ".join(self._listen(said, rng, places))
        entities = tuple(_found_again(turn.user, text, self.language))
        return Utterance(text, hypotheses, turn.user.intent, entities)

    def _evidence(self, said: Words, goal: Mapping[str, str], heard: Mapping[str, str]) -> _Places:
        """What `heard_values` found, attached to the words that said the values."""
        places: _Places = {}
        for slot, taken in heard.items():
            value = goal.get(slot, NONE)
            forms = (value, *self._forms.get(slot, {}).get(value, ()))
            place = next(
                filter(None, (find(normalised(form, self.language), said) for form in forms)),
                None,
            )
            understood = taken == value
            if place is None:
                factor = places.get(_WHOLE, _Evidence()).factor
                places[_WHOLE] = _Evidence(factor * (_CLEARER if understood else _WORSE))
            elif understood:
                places[place] = _Evidence(_UNDERSTOOD)
            elif taken in (NONE, DONTCARE):
                places[place] = _Evidence(chance=_ASKED_AGAIN)
            else:
                places[place] = _Evidence(
                    chance=_TAKEN_FOR_ANOTHER, heard=normalised(taken, self.language)
                )
        return places

    def _listen(self, said: Words, rng: np.random.Generator, places: _Places) -> List[str]:
        heard: List[str] = []
        for alternatives in self._network(said, rng, places):
            heard.extend(alternatives.draw(rng))
        return heard

    def _hypotheses(
        self, said: Words, rng: np.random.Generator, n: int, places: _Places
    ) -> Tuple[Hypothesis, ...]:
        """The n best paths through the network, each alternative scored with log p + Gumbel noise.

        The best alternative of a place is then a sample from p, the following ones are samples without replacement.
        """
        ranked: List[List[Tuple[float, Words]]] = []
        for alternatives in self._network(said, rng, places):
            words, probabilities = alternatives.scored()
            scores = np.log(np.maximum(probabilities, 1e-12)) + rng.gumbel(size=len(words))
            best = np.argsort(-scores)[: n + 1]
            ranked.append([(float(scores[i]), words[i]) for i in best])
        paths = best_paths(ranked, n)
        weights = np.exp(np.array([score for score, _ in paths]) - paths[0][0])
        return tuple(
            Hypothesis(text, float(w)) for (_, text), w in zip(paths, weights / weights.sum())
        )

    def _network(
        self, said: Words, rng: np.random.Generator, places: _Places
    ) -> List[Alternatives]:
        """The utterance as a row of places, each with what may be heard there."""
        settings = self.settings
        if self.rate == 0.0:
            return [Alternatives((word,), 0.0, _NO_ERROR) for word in said]
        if not said:
            return self._heard_in_noise(rng)
        if rng.random() < settings.silence * self.rate:
            return []
        severity = self._severity * rng.gamma(settings.spread, 1.0 / settings.spread)
        severity *= places.get(_WHOLE, _Evidence()).factor
        starts = {start: (end, evidence) for (start, end), evidence in places.items()}
        network: List[Alternatives] = []
        burst = rng.random() < settings.enter_burst / (settings.enter_burst + settings.leave_burst)
        position = 0
        while position < len(said):
            error = min(_WORST, severity * self._burst_factor(burst))
            burst = (
                rng.random() >= settings.leave_burst
                if burst
                else rng.random() < settings.enter_burst
            )
            if rng.random() < error * settings.insertions:
                network.append(self._inserted(rng))
            end, evidence = starts.get(position, (position + 1, _Evidence()))
            error = evidence.factor * (error if evidence.chance is None else evidence.chance)
            if evidence.heard is not None:
                instead = Errors.of((evidence.heard, ()), (0.85, 0.15))
                network.append(Alternatives(said[position:end], error, instead))
            else:
                network.append(self._misheard(said, position, end, error))
            position = end
        return network

    def _mean_severity(self) -> float:
        """The mean of an utterance's chance of errors at which the word error rate is `rate`.

        It is found by bisection, as the chances are cut off at `_WORST`, which bad utterances and bursts reach.
        """
        settings = self.settings
        counts = np.array(
            [self._counts[words[0]] for words in self._heard if len(words) == 1], float
        )
        hardness = [_hardness(_shortness(words[0])) for words in self._heard if len(words) == 1]
        errors_per_chance = float(np.average(hardness, weights=counts)) + settings.insertions
        wanted = self.rate * (1.0 - settings.silence) / errors_per_chance
        spread = np.random.default_rng(0).gamma(settings.spread, 1.0 / settings.spread, 10_000)
        share = settings.enter_burst / (settings.enter_burst + settings.leave_burst)
        low, high = 0.0, 100.0
        for _ in range(50):
            middle = (low + high) / 2
            inside, outside = (
                np.minimum(_WORST, middle * self._burst_factor(burst) * spread).mean()
                for burst in (True, False)
            )
            low, high = (
                (middle, high) if share * inside + (1 - share) * outside < wanted else (low, middle)
            )
        return low

    def _burst_factor(self, burst: bool) -> float:
        """Factor of the error rate inside and outside of a burst; 1 on average."""
        settings = self.settings
        share = settings.enter_burst / (settings.enter_burst + settings.leave_burst)
        outside = 1.0 / (share * settings.burst + 1.0 - share)
        return outside * settings.burst if burst else outside

    def _misheard(self, said: Words, start: int, end: int, error: float) -> Alternatives:
        words = said[start:end]
        before = said[start - 1] if start > 0 else END
        after = said[end] if end < len(said) else END
        errors = self._errors_in_context(words, before, after)
        return Alternatives(words, min(0.95, error * errors.hardness), errors)

    def _inserted(self, rng: np.random.Generator) -> Alternatives:
        word = self._heard[draw(self._insertion, rng)]
        return Alternatives(word, 0.1, _SILENCE)

    def _heard_in_noise(self, rng: np.random.Generator) -> List[Alternatives]:
        if rng.random() >= self.settings.garbage * min(1.0, self.rate / 0.3):
            return []
        words = [self._heard[draw(self._garbage, rng)] for _ in range(1 + int(rng.integers(2)))]
        return [Alternatives(word, 0.2, _SILENCE) for word in words]

    def _find_confusions(self, words: Words) -> Tuple[Tuple[Words, ...], np.ndarray]:
        """What sounds most like these words, with weights that leave the context out."""
        away = distances(sounds(" ".join(words)), self._heard_sounds)
        scores = -away / self.settings.sharpness + self.settings.popularity * np.log(
            self._popularity
        )
        best = np.argsort(-scores, kind="stable")[: self.settings.candidates + 1]
        kept = [
            i for i in best if self._heard[i] != words and "".join(self._heard[i]) != "".join(words)
        ]
        chosen = kept[: self.settings.candidates]
        return tuple(self._heard[i] for i in chosen), np.exp(scores[chosen] - scores[best[0]])

    def _weigh_errors(self, words: Words, before: str, after: str) -> Errors:
        """What is heard instead of these words between its neighbours, nothing or something that sounds like them."""
        shortness = float(np.mean([_shortness(word) for word in words]))
        confusions, weights = self._confusions(words)
        if not confusions:
            return Errors.of(((),), (1.0,), _hardness(shortness))
        fit = np.array(
            [
                np.prod([self._fit(*pair) for pair in zip((before, *c), (*c, after))])
                for c in confusions
            ]
        )
        weights = weights * fit**self.settings.context
        dropped = min(0.9, self.settings.deletions * 2.0 * shortness)
        chances = [dropped, *((1.0 - dropped) * weights / weights.sum())]
        return Errors.of(((), *confusions), chances, _hardness(shortness))

    def _fit(self, first: str, second: str) -> float:
        """P(second | first) of a bigram model that backs off to the words' frequencies; 1 without pairs."""
        if not self._pairs:
            return 1.0
        unigram = self._counts[second] / self._total if second else 0.1
        return (self._pairs[(first, second)] + _BACKOFF * unigram + 1e-9) / (
            self._counts[first] + _BACKOFF
        )


def _found_again(user: Utterance, text: str, language: str) -> Iterable[Entity]:
    """Entities whose words were heard, at their new places."""
    tokens = tokenize(text, language)
    for entity in user.entities:
        said = user.text[entity.start : entity.end] if entity.start >= 0 else entity.value
        place = find(normalised(said, language), tuple(token.text for token in tokens))
        if place is not None:
            yield replace(entity, start=tokens[place[0]].start, end=tokens[place[1] - 1].end)


@lru_cache(maxsize=65536)
def _shortness(word: str) -> float:
    """1 for words of one or two sounds, falling to 0 for those of eight."""
    return float(np.clip((8 - len(sounds(word))) / 6, 0.0, 1.0))


def _hardness(shortness: float) -> float:
    """Factor of the chance of an error at a word."""
    return 0.75 + 0.5 * shortness
