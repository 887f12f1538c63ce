"""Human rating (Liu et al. 2018, section 4.5): judges read dialogues turn by turn and rate each system turn from 1 to 5.

A judge *takes* a dialogue, which occupies one of its places until it is read through, or until nothing was heard of the judge
for a while: then the place goes to somebody else. What was rated is kept in either case.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import sqlalchemy as sa

from rasa_hybrid.corpora import read_jsonl
from rasa_hybrid.dialogue import Dialogue, Turn
from rasa_hybrid.evaluation.agreement import krippendorff_alpha
from rasa_hybrid.evaluation.intervals import bootstrap_interval
from rasa_hybrid.feedback.database import Database, insert_missing
from rasa_hybrid.feedback.schema import episodes, facts, judgements
from rasa_hybrid.feedback.store import EpisodeStore

#: Ratings that can be given: 1 is bad, 5 is good.
GRADES = (1, 2, 3, 4, 5)
#: Fact of the store whose row is locked while places are given away.
_PLACES = "judges' places"


class RatingError(ValueError):
    """Dialogues that can't be shown, or a rating that can't be; the message says why."""


class PlaceLostError(RuntimeError):
    """The judge was away for so long that the dialogue was given to somebody else."""


@dataclass(frozen=True)
class Shown:
    """A dialogue as judges see it.

    Args:
        id: says nothing about the model.
        model: what judges are not told.
        turns: for each turn what the `user` and the `bot` said, empty where it was nothing.
        is_stored: whether it is a conversation of the episode store, which can be deleted.
    """

    id: str
    model: str
    turns: Tuple[Mapping[str, str], ...]
    is_stored: bool = False


@dataclass(frozen=True)
class Taken:
    """A dialogue that a judge reads.

    Args:
        dialogue: to be rated.
        ratings: one for each turn, None where there is none yet.
        read: how many dialogues the judge has rated to their ends.
        left: how many others there are for this judge now.
    """

    dialogue: Shown
    ratings: Tuple[Optional[int], ...]
    read: int
    left: int


def corpus_dialogues(paths: Sequence[str]) -> List[Shown]:
    """Dialogues of corpus files; the name of a file, without its ending, is that of the model.

    Raises:
        CorpusError: if a file can't be read.
        RatingError: if two files have one name, or a dialogue does not hold what the bot said.
    """
    names = Counter(Path(path).stem for path in paths)
    for name, count in names.items():
        if count > 1:
            raise RatingError(
                f"{count} files are called {name!r}: the name stands for the model, so each needs its own."
            )
    found: Dict[str, Shown] = {}
    for path in paths:
        model = Path(path).stem
        for dialogue in read_jsonl(path):
            turns = _turns(dialogue)
            if turns is None:
                raise RatingError(
                    f"{path}: dialogue {dialogue.id!r} does not hold what the bot said, so nobody can judge it; "
                    "`rasa-hybrid evaluate --url ... --out FILE` writes dialogues that do."
                )
            content = json.dumps([model, dialogue.id, turns], ensure_ascii=False)
            id = hashlib.sha256(content.encode()).hexdigest()[:32]
            found[id] = Shown(id, model, turns)
    return list(found.values())


def stored_dialogues(store: EpisodeStore, models: Sequence[str] = ()) -> List[Shown]:
    """Conversations of the episode store by the model that led them; those without a model or the bot's words are left out.

    Args:
        store: of the episodes.
        models: only these; empty: all.

    Raises:
        RatingError: if there are none of a model that is named.
    """
    found = []
    for stored in store.episodes():
        recorded = stored.recorded
        if stored.redacted or recorded is None or recorded.model is None:
            continue
        turns = _turns(recorded.dialogue)
        if turns is not None and (not models or recorded.model in models):
            found.append(Shown(stored.id, recorded.model, turns, True))
    missing = set(models) - {dialogue.model for dialogue in found}
    if missing:
        raise RatingError(
            f"The store has no conversation of the model {min(missing)} that can be shown; `rasa-hybrid report` lists "
            "the models."
        )
    return found


def sample(dialogues: Iterable[Shown], count: int, seed: int) -> List[Shown]:
    """So many dialogues of each model, drawn at random; all of a model that has fewer."""
    by_model: Dict[str, List[Shown]] = defaultdict(list)
    for dialogue in sorted(dialogues, key=lambda dialogue: dialogue.id):
        by_model[dialogue.model].append(dialogue)
    drawn: List[Shown] = []
    for found in by_model.values():
        drawn += random.Random(seed).sample(found, min(count, len(found)))
    return drawn


def judge_name(text: str) -> str:
    """A judge's name, the same however it is spaced and capitalised.

    Raises:
        RatingError: if it is empty or too long.
    """
    name = " ".join(text.split()).casefold()
    if not name or len(name) > 64 or not name.isprintable():
        raise RatingError("A judge needs a name of 1 to 64 characters.")
    return name


class Ratings:
    """Gives dialogues to judges and keeps what they say.

    Args:
        database: where ratings are kept; several processes may use it.
        dialogues: to be rated.
        judges: how many read each dialogue.
        patience: seconds after which the place of a judge who was not heard of is given to another one.
    """

    def __init__(
        self,
        database: Database,
        dialogues: Iterable[Shown],
        judges: int = 3,
        patience: float = 3600.0,
    ) -> None:
        self.database, self.judges, self.patience = database, judges, patience
        self.dialogues = {dialogue.id: dialogue for dialogue in dialogues}
        with database.writing() as connection:
            insert_missing(connection, facts, name=_PLACES, value="")

    def take(self, judge: str, now: Optional[float] = None) -> Optional[Taken]:
        """The dialogue that a judge has begun, or else one at random; None if there is none left for this judge."""
        now = time.time() if now is None else now
        with self._places() as connection:
            rows = connection.execute(sa.select(judgements)).all()
            own = {row.dialogue: row for row in rows if row.judge == judge}
            others = self._occupied((row for row in rows if row.judge != judge), now)
            free = sorted(
                (id for id in self.dialogues if others[id] < self.judges),
                key=lambda id: hashlib.sha256(f"{judge}\n{id}".encode()).digest(),
            )
            open_to = [id for id in free if id in own and not own[id].finished]
            open_to += [id for id in free if id not in own]
            chosen = next((id for id in open_to if self._may_be_shown(connection, id)), None)
            if chosen is None:
                return None
            dialogue = self.dialogues[chosen]
            if chosen in own:
                ratings = json.loads(own[chosen].ratings)
                _change(connection, chosen, judge, touched=now)
            else:
                ratings = [None] * len(dialogue.turns)
                connection.execute(
                    sa.insert(judgements).values(
                        dialogue=chosen,
                        judge=judge,
                        model=dialogue.model,
                        ratings=json.dumps(ratings),
                        finished=False,
                        touched=now,
                    )
                )
        read = sum(row.finished for id, row in own.items() if id in self.dialogues)
        return Taken(dialogue, tuple(ratings), read, len(open_to) - 1)

    def rate(
        self, judge: str, dialogue: str, turn: int, rating: int, now: Optional[float] = None
    ) -> Tuple[Optional[int], ...]:
        """Keeps the rating of a turn, in place of an earlier one; all ratings of the dialogue by this judge.

        Args:
            judge: who rates.
            dialogue: id of a dialogue that the judge has taken.
            turn: from 0.
            rating: 1 to 5.
            now: Unix time.

        Raises:
            RatingError: if there is no such dialogue, turn or rating.
            PlaceLostError: if the dialogue was given to another judge meanwhile.
        """
        now = time.time() if now is None else now
        if not _is_whole(rating) or rating not in GRADES:
            raise RatingError("rating has to be a whole number from 1 to 5.")
        if dialogue not in self.dialogues:
            raise RatingError("There is no such dialogue.")
        with self._places() as connection:
            rows = connection.execute(
                sa.select(judgements).where(judgements.c.dialogue == dialogue)
            ).all()
            own = next((row for row in rows if row.judge == judge), None)
            if own is None:
                raise RatingError("This judge has not been given this dialogue.")
            ratings = json.loads(own.ratings)
            if not _is_whole(turn) or not 0 <= turn < len(ratings):
                raise RatingError(
                    f"turn has to be a whole number from 0 to {len(ratings) - 1} in this dialogue."
                )
            others = self._occupied((row for row in rows if row.judge != judge), now)
            if not own.finished and others[dialogue] >= self.judges:
                raise PlaceLostError(
                    "You were away for long, so others have read this dialogue to its end; what you rated is kept."
                )
            ratings[turn] = rating
            _change(
                connection,
                dialogue,
                judge,
                ratings=json.dumps(ratings),
                finished=None not in ratings,
                touched=now,
            )
        return tuple(ratings)

    def _occupied(self, rows: Iterable[Any], now: float) -> Mapping[str, int]:
        """How many places of each dialogue are occupied."""
        return Counter(
            row.dialogue for row in rows if row.finished or row.touched > now - self.patience
        )

    def _may_be_shown(self, connection: sa.engine.Connection, id: str) -> bool:
        """Whether a conversation of the store was neither deleted nor redacted since it was read."""
        if not self.dialogues[id].is_stored:
            return True
        query = sa.select(episodes.c.id).where(episodes.c.id == id, episodes.c.redacted.is_(False))
        return connection.execute(query).first() is not None

    @contextmanager
    def _places(self) -> Iterator[sa.engine.Connection]:
        """A transaction in which nobody else gives places away."""
        with self.database.writing() as connection:
            query = sa.select(facts.c.name).where(facts.c.name == _PLACES)
            connection.execute(query.with_for_update())
            yield connection


def rating_figures(database: Database) -> Dict[str, Any]:
    """What judges said of each model, and how far they agree.

    Every rating counts, also those of judges who left halfway.

    Returns:
        `models`: name to `dialogues`, `ratings`, `mean`, `deviation` (of single ratings, with n - 1), `interval` (95 %
        bootstrap of the mean, over dialogues) and `alpha`; `alpha` of all models together; `judges`, `dialogues`.
    """
    with database.reading() as connection:
        rows = connection.execute(sa.select(judgements)).all()
    rated = [(row.model, row.dialogue, row.judge, json.loads(row.ratings)) for row in rows]
    rated = [row for row in rated if any(rating is not None for rating in row[3])]
    by_model: Dict[str, Dict[str, List[List[Optional[int]]]]] = defaultdict(dict)
    for model, dialogue, _, ratings in rated:
        by_model[model].setdefault(dialogue, []).append(ratings)
    return {
        "models": {model: _figures(by_model[model]) for model in sorted(by_model)},
        "alpha": krippendorff_alpha(
            unit for dialogues in by_model.values() for unit in _units(dialogues)
        ),
        "judges": len({judge for _, _, judge, _ in rated}),
        "dialogues": sum(map(len, by_model.values())),
    }


def _figures(dialogues: Mapping[str, Sequence[Sequence[Optional[int]]]]) -> Dict[str, Any]:
    """Figures of one model, of each dialogue's ratings by judge."""
    given = [
        [rating for ratings in by_judge for rating in ratings if rating is not None]
        for by_judge in dialogues.values()
    ]
    all_ratings = [rating for ratings in given for rating in ratings]
    sums, counts = [sum(ratings) for ratings in given], [len(ratings) for ratings in given]
    return {
        "dialogues": len(given),
        "ratings": len(all_ratings),
        "mean": float(np.mean(all_ratings)),
        "deviation": float(np.std(all_ratings, ddof=1)) if len(all_ratings) > 1 else None,
        "interval": bootstrap_interval(sums, counts),
        "alpha": krippendorff_alpha(_units(dialogues)),
    }


def _units(dialogues: Mapping[str, Sequence[Sequence[Optional[int]]]]) -> Iterator[List[int]]:
    """The ratings of each turn."""
    for by_judge in dialogues.values():
        for turn in zip(*by_judge):
            yield [rating for rating in turn if rating is not None]


def _turns(dialogue: Dialogue) -> Optional[Tuple[Mapping[str, str], ...]]:
    """What was said in each turn; None if what the bot said is not known."""
    if not any(action.text for turn in dialogue.turns for action in turn.actions):
        return None
    return tuple(
        {
            "user": _heard(turn),
            "bot": "\n".join(action.text for action in turn.actions if action.text),
        }
        for turn in dialogue.turns
    )


def _heard(turn: Turn) -> str:
    if turn.user is None:
        return ""
    return turn.user.text or f"/{turn.user.intent or ''}"


def _change(connection: sa.engine.Connection, dialogue: str, judge: str, **values: Any) -> None:
    connection.execute(
        sa.update(judgements)
        .where(judgements.c.dialogue == dialogue, judgements.c.judge == judge)
        .values(**values)
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
