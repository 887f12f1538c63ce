"""What learners do with episodes, each step one transaction: claim, finish, decide, roll back.

A candidate is a row of `hybrid_models`:

    building ──> finished ──> promoted ──> rolled_back
        │            ├──────> rejected
        └────────────┴──────> abandoned   (learner died, or another candidate was promoted meanwhile)

The head is the model that is served. A candidate is only promoted while its parent is still the head, and only finished
or promoted while every episode that it was taught is still its own; so no episode is learnt twice and what one learner taught is not
overwritten by another. An abandoned candidate gives its episodes back.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import sqlalchemy as sa

from rasa_hybrid.feedback.database import Database, StoreError, insert_missing
from rasa_hybrid.feedback.records import (
    CLAIMED,
    NEW,
    PROMOTED,
    REJECTED,
    ROLLED_BACK,
    USED,
    StoredEpisode,
)
from rasa_hybrid.feedback.schema import episodes, heads, models

BASE, BUILDING, FINISHED, ABANDONED = "base", "building", "finished", "abandoned"
#: Candidates that nobody has decided on.
PENDING = (BUILDING, FINISHED)
_HEAD = "head"


class LostClaimError(RuntimeError):
    """A candidate's episodes are no longer its own: its lease ran out, or one of them was deleted."""


@dataclass(frozen=True)
class Model:
    """A model of the lineage.

    Args:
        status: base, building, finished, promoted, rejected, rolled_back or abandoned.
        archive: file name below the learner's folder; None until there is one.
        figures: what the decision about it rests on.
    """

    id: str
    parent: Optional[str]
    status: str
    archive: Optional[str]
    created: float
    decided: Optional[float]
    figures: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """The learners' side of a store.

    Args:
        database: of the store.
        learner: name of this learner; what it left unfinished is given back by `recover` at once.
        lease: seconds after which a claim that nobody renews is given back.
    """

    def __init__(
        self, database: Database, learner: Optional[str] = None, lease: float = 600.0
    ) -> None:
        self.database = database
        self.learner = learner or uuid.uuid4().hex
        self.lease = lease

    def head(self) -> Optional[Model]:
        """The model that is served, None before the first one."""
        with self.database.reading() as connection:
            return _head(connection)

    def model(self, id: str) -> Optional[Model]:
        """A model by its id."""
        with self.database.reading() as connection:
            return _model(connection, id)

    def models(self) -> List[Model]:
        """All models, the oldest first."""
        query = sa.select(models).order_by(models.c.created, models.c.id)
        with self.database.reading() as connection:
            return [_read(row) for row in connection.execute(query)]

    def lineage(self) -> List[Model]:
        """The head, its parent, and so on to the base."""
        known = {model.id: model for model in self.models()}
        head, found = self.head(), []
        while head is not None:
            found.append(head)
            head = known.get(head.parent) if head.parent is not None else None
        return found

    def rebase(self, id: str, archive: str, learnt: Iterable[str] = ()) -> Model:
        """Makes a model that was trained elsewhere the head, unless the head descends from it already.

        Args:
            id: of the model.
            archive: its file name.
            learnt: episodes that its manifest names; they are not learnt again.
        """
        if any(model.id == id for model in self.lineage()):
            head = self.head()
            assert head is not None
            return head
        with self.database.writing() as connection:
            insert_missing(
                connection,
                models,
                id=id,
                status=BASE,
                archive=archive,
                created=time.time(),
                decided=time.time(),
            )
            connection.execute(sa.delete(heads).where(heads.c.name == _HEAD))
            connection.execute(sa.insert(heads).values(name=_HEAD, model=id))
            names = list(learnt)
            for start in range(0, len(names), 500):
                connection.execute(
                    sa.update(episodes)
                    .where(
                        episodes.c.id.in_(names[start : start + 500]),
                        episodes.c.status.in_((NEW, CLAIMED)),
                    )
                    .values(status=PROMOTED, candidate=id)
                )
            found = _head(connection)
            assert found is not None
            return found

    def claim(
        self, most: int, least: int = 1, share_of_sender: float = 1.0
    ) -> Tuple[Optional[Model], List[StoredEpisode]]:
        """Takes the oldest new episodes for a candidate of its own: as many as can be without one sender's filling the batch.

        Args:
            most: episodes of a batch.
            least: without so many nothing is claimed.
            share_of_sender: of a batch that may come from one sender, against poisoning; one episode always may.

        Returns:
            The candidate and its episodes; None and none if there were too few.

        Raises:
            StoreError: if there is no head yet.
        """
        with self.database.reading() as connection:
            if _head(connection) is None:
                raise StoreError(
                    "The store has no model yet; `rasa-hybrid learn --model` names one."
                )
            # Whether there is enough is found out without keeping users' feedback waiting.
            if len(_chosen(connection, most, share_of_sender, lock=False)) < max(least, 1):
                return None, []
        now = time.time()
        id = uuid.uuid4().hex
        with self.database.writing() as connection:
            head = _head(connection)
            chosen = _chosen(connection, most, share_of_sender)
            if head is None or len(chosen) < max(least, 1):
                return None, []
            values = {"id": id, "parent": head.id, "learner": self.learner, "status": BUILDING}
            connection.execute(
                sa.insert(models).values(**values, created=now, lease=now + self.lease)
            )
            for start in range(0, len(chosen), 500):
                connection.execute(
                    sa.update(episodes)
                    .where(episodes.c.id.in_(chosen[start : start + 500]))
                    .values(status=CLAIMED, candidate=id)
                )
        mine = sa.select(episodes).where(episodes.c.candidate == id)
        with self.database.reading() as connection:
            candidate = _model(connection, id)
            rows = connection.execute(mine.order_by(episodes.c.settled, episodes.c.id)).all()
        return candidate, [StoredEpisode.from_row(row) for row in rows]

    def known(self, candidate: str, learnt: Sequence[str]) -> None:
        """Gives up claimed episodes that the head has learnt already, in another store or before they were here.

        Args:
            candidate: who claimed them.
            learnt: their ids.
        """
        with self.database.writing() as connection:
            for start in range(0, len(learnt), 500):
                connection.execute(
                    sa.update(episodes)
                    .where(
                        episodes.c.id.in_(learnt[start : start + 500]),
                        episodes.c.candidate == candidate,
                        episodes.c.status == CLAIMED,
                    )
                    .values(status=PROMOTED, candidate=_parent(connection, candidate))
                )

    def waiting(self) -> int:
        """Number of new episodes, from whomever they are."""
        query = sa.select(sa.func.count()).where(episodes.c.status == NEW)
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def renew(self, candidate: str) -> None:
        """Holds on to a claim for another lease.

        Raises:
            LostClaimError: if it has been given back meanwhile.
        """
        with self.database.writing() as connection:
            done = connection.execute(
                sa.update(models)
                .where(models.c.id == candidate, models.c.status.in_(PENDING))
                .values(lease=time.time() + self.lease)
            )
            if not done.rowcount:
                raise LostClaimError(f"The candidate {candidate} was given up meanwhile.")

    def finish(self, candidate: str, archive: str, learnt: Sequence[str]) -> None:
        """Notes that the archive of a candidate is written.

        Args:
            candidate: its id.
            archive: its file name.
            learnt: episodes that it was taught, as its manifest names them.

        Raises:
            LostClaimError: if one of them is not its own any more.
        """
        with self.database.writing() as connection:
            moved = 0
            for start in range(0, len(learnt), 500):
                moved += connection.execute(
                    sa.update(episodes)
                    .where(
                        episodes.c.id.in_(learnt[start : start + 500]),
                        episodes.c.candidate == candidate,
                        episodes.c.status == CLAIMED,
                    )
                    .values(status=USED)
                ).rowcount
            done = connection.execute(
                sa.update(models)
                .where(models.c.id == candidate, models.c.status == BUILDING)
                .values(status=FINISHED, archive=archive, lease=time.time() + self.lease)
            )
            if moved != len(learnt) or not done.rowcount:
                raise LostClaimError(
                    f"The candidate {candidate} was taught {len(learnt)} episodes, {moved} are still its own."
                )
            # What was claimed but not learnt from (no importance, no own decision) is done with as well.
            connection.execute(
                sa.update(episodes)
                .where(episodes.c.candidate == candidate, episodes.c.status == CLAIMED)
                .values(status=USED)
            )

    def decide(
        self,
        candidate: str,
        promote: bool,
        figures: Mapping[str, Any],
        learnt: Sequence[str] = (),
    ) -> str:
        """Promotes or rejects a finished candidate, and records why.

        Args:
            candidate: its id.
            promote: whether it is to be served.
            figures: what that rests on.
            learnt: episodes that it was taught.

        Returns:
            What it is now: promoted, rejected, or abandoned because another one was promoted meanwhile, or an episode that
            it was taught was deleted.
        """
        with self.database.writing() as connection:
            row = connection.execute(
                sa.select(models).where(models.c.id == candidate).with_for_update()
            ).first()
            if row is None or row.status != FINISHED:
                return row.status if row is not None else ABANDONED
            status = PROMOTED if promote else REJECTED
            if promote:
                mine = sa.select(episodes.c.id).where(
                    episodes.c.candidate == candidate, episodes.c.status == USED
                )
                used = {row.id for row in connection.execute(mine.with_for_update())}
                if not used.issuperset(learnt):
                    _abandon(connection, candidate, figures)
                    return ABANDONED
                moved = connection.execute(
                    sa.update(heads)
                    .where(heads.c.name == _HEAD, heads.c.model == row.parent)
                    .values(model=candidate)
                )
                if not moved.rowcount:
                    _abandon(connection, candidate, figures)
                    return ABANDONED
            connection.execute(
                sa.update(models)
                .where(models.c.id == candidate)
                .values(status=status, decided=time.time(), figures=json.dumps(figures), lease=None)
            )
            connection.execute(
                sa.update(episodes)
                .where(episodes.c.candidate == candidate, episodes.c.status == USED)
                .values(status=PROMOTED if promote else REJECTED)
            )
            return status

    def abandon(self, candidate: str, figures: Optional[Mapping[str, Any]] = None) -> None:
        """Gives up a candidate that is not decided on; its episodes are new again."""
        with self.database.writing() as connection:
            _abandon(connection, candidate, figures or {})

    def recover(self, now: Optional[float] = None) -> List[str]:
        """Gives up what this learner left behind when it died, and what others did not renew; ids of the candidates."""
        now = time.time() if now is None else now
        query = sa.select(models.c.id).where(
            models.c.status.in_(PENDING),
            sa.or_(models.c.learner == self.learner, models.c.lease < now),
        )
        with self.database.reading() as connection:
            if connection.execute(query).first() is None:
                return []
        with self.database.writing() as connection:
            found = [row.id for row in connection.execute(query.with_for_update())]
            for candidate in found:
                _abandon(connection, candidate, {})
        return found

    def roll_back(self) -> Tuple[Model, Model]:
        """Makes the parent of the head the head again. Its episodes are not learnt again unless they are released.

        Returns:
            The model that was given up, and the head now.

        Raises:
            StoreError: if there is nothing to go back to.
        """
        with self.database.writing() as connection:
            head = _head(connection)
            parent = _model(connection, head.parent) if head and head.parent else None
            if head is None or parent is None:
                raise StoreError("There is no earlier model to go back to.")
            # Another learner may have promoted a candidate since; then nothing is changed.
            moved = connection.execute(
                sa.update(heads)
                .where(heads.c.name == _HEAD, heads.c.model == head.id)
                .values(model=parent.id)
            )
            if not moved.rowcount:
                raise StoreError("Another model was promoted at this moment; look at it first.")
            connection.execute(
                sa.update(models)
                .where(models.c.id == head.id)
                .values(status=ROLLED_BACK, decided=time.time())
            )
            connection.execute(
                sa.update(episodes)
                .where(episodes.c.candidate == head.id, episodes.c.status == PROMOTED)
                .values(status=ROLLED_BACK)
            )
        return head, parent

    def release(self, *states: str, spared: Iterable[str] = ()) -> int:
        """Makes decided episodes new again, to be learnt by the head; says how many.

        Args:
            states: promoted (after a full training), rejected or rolled_back.
            spared: episodes that the head has learnt already.
        """
        allowed = {PROMOTED, REJECTED, ROLLED_BACK}
        if not states or set(states) - allowed:
            raise ValueError(f"{states!r}: only {', '.join(sorted(allowed))} can be released.")
        query = sa.select(episodes.c.id).where(
            episodes.c.status.in_(states),
            episodes.c.redacted.is_(False),
            episodes.c.settled.isnot(None),
        )
        known = set(spared)
        with self.database.writing() as connection:
            rows = connection.execute(query.with_for_update()).all()
            ids = [row.id for row in rows if row.id not in known]
            for start in range(0, len(ids), 500):
                connection.execute(
                    sa.update(episodes)
                    .where(episodes.c.id.in_(ids[start : start + 500]))
                    .values(status=NEW, candidate=None)
                )
        return len(ids)


def _chosen(
    connection: sa.engine.Connection, most: int, share_of_sender: float, lock: bool = True
) -> List[str]:
    """Ids of the oldest new episodes, locked on request; not their dialogues, which are long.

    They are the largest batch of which no sender has more than its share.
    """
    order = (episodes.c.settled, episodes.c.id)
    number = sa.func.row_number().over(partition_by=episodes.c.sender, order_by=order)
    numbered = sa.select(episodes.c.id, number.label("number")).where(episodes.c.status == NEW)
    numbered = numbered.subquery()
    of_each = sa.select(numbered.c.id).where(numbered.c.number <= _share(share_of_sender, most))
    query = (
        sa.select(episodes.c.id, episodes.c.sender)
        .where(episodes.c.status == NEW, episodes.c.id.in_(of_each))
        .order_by(*order)
        .limit(most)
    )
    if lock:
        query = query.with_for_update(skip_locked=True)
    of_sender: Dict[str, List[int]] = {}
    rows = connection.execute(query).all()
    for i, row in enumerate(rows):
        of_sender.setdefault(row.sender, []).append(i)
    for size in range(min(most, len(rows)), 0, -1):
        share = _share(share_of_sender, size)
        allowed = [i for places in of_sender.values() for i in places[:share]]
        if len(allowed) >= size:
            return [rows[i].id for i in sorted(allowed)[:size]]
    return []


def _share(share_of_sender: float, size: int) -> int:
    """Episodes that one sender may have in a batch."""
    # A little more, as 0.29 * 100 is less than 29.
    return max(1, int(share_of_sender * size + 1e-9))


def _parent(connection: sa.engine.Connection, candidate: str) -> Optional[str]:
    return connection.execute(sa.select(models.c.parent).where(models.c.id == candidate)).scalar()


def _abandon(connection: sa.engine.Connection, candidate: str, figures: Mapping[str, Any]) -> None:
    done = connection.execute(
        sa.update(models)
        .where(models.c.id == candidate, models.c.status.in_(PENDING))
        .values(status=ABANDONED, decided=time.time(), figures=json.dumps(figures), lease=None)
    )
    if done.rowcount:
        connection.execute(
            sa.update(episodes)
            .where(episodes.c.candidate == candidate, episodes.c.status.in_((CLAIMED, USED)))
            .values(status=NEW, candidate=None)
        )


def _head(connection: sa.engine.Connection) -> Optional[Model]:
    named = connection.execute(sa.select(heads.c.model).where(heads.c.name == _HEAD)).scalar()
    return _model(connection, named) if named is not None else None


def _model(connection: sa.engine.Connection, id: str) -> Optional[Model]:
    row = connection.execute(sa.select(models).where(models.c.id == id)).first()
    return _read(row) if row is not None else None


def _read(row: Any) -> Model:
    figures = json.loads(row.figures) if row.figures else {}
    return Model(row.id, row.parent, row.status, row.archive, row.created, row.decided, figures)
