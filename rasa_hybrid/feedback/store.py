"""The episode store: conversations, what their users said of them, and what became of both.

The states of an episode, which only this module, `assembly` and `ledger` change:

    open ──> new ──> claimed ──> used ──> promoted ──> rolled_back
      │       │         │          └────> rejected
      │       │         └─> new             (learner died, or another candidate was promoted meanwhile)
      │       └─> open                      (feedback withdrawn)
      ├─> unrated ─> new                    (nobody said anything in time; feedback may still come)
      └─> lost                              (rated, but its events are gone from the tracker store)

*open*: known, its outcome or its dialogue is missing. *new*: both are there, it can be learnt from. *claimed*: a
learner works on it. *used*: a candidate archive holds what it taught. *promoted*, *rejected*: what was decided about that
candidate. Everything that is acknowledged was committed before.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Optional, Sequence, Union

import sqlalchemy as sa

from rasa_hybrid.feedback.database import Database, insert_missing
from rasa_hybrid.feedback.privacy import forgotten_until, hashed_sender
from rasa_hybrid.feedback.records import (
    LOST,
    OPEN,
    STATES,
    UNDECIDED,
    Given,
    Outcome,
    Receipt,
    StoredEpisode,
    episode_id,
)
from rasa_hybrid.feedback.schema import episodes, feedback, forgotten
from rasa_hybrid.web.tokens import is_same

_DAY = 86400.0


class UnknownConversationError(LookupError):
    """There is no such conversation, episode or feedback."""


class FeedbackConflictError(ValueError):
    """A feedback id that was used for something else, or an episode that has been learnt from."""


class TooMuchFeedbackError(ValueError):
    """A sender has given more feedback than is allowed."""


#: Why feedback is not taken.
_REFUSALS = (UnknownConversationError, FeedbackConflictError, TooMuchFeedbackError)

# The statements of the path that users wait for, built once.
_OUTLINE = (episodes.c.id, episodes.c.status, episodes.c.settled, episodes.c.redacted)
#: Of a sender also what was redacted.
_OF_SENDER = episodes.c.sender.in_((sa.bindparam("who"), sa.bindparam("hashed")))
_KNOWN = (
    sa.select(feedback, episodes.c.status.label("episode_status"))
    .join(episodes, episodes.c.id == feedback.c.episode)
    .where(feedback.c.id == sa.bindparam("one"))
)
_GIVEN_LATELY = sa.select(sa.func.count(feedback.c.id)).where(
    feedback.c.sender == sa.bindparam("who"), feedback.c.received > sa.bindparam("since")
)
_LATEST = (
    sa.select(*_OUTLINE)
    .where(_OF_SENDER)
    .order_by(episodes.c.begun.desc())
    .limit(1)
    .with_for_update()
)
_NAMED = (
    sa.select(*_OUTLINE).where(_OF_SENDER, episodes.c.id == sa.bindparam("one")).with_for_update()
)
_INSERT = sa.text(
    "INSERT INTO hybrid_feedback (id, episode, sender, success, reward, rating, comment, received, status) VALUES "
    "(:id, :episode, :sender, :success, :reward, :rating, :comment, :received, 'accepted') ON CONFLICT DO NOTHING"
)
_SUPERSEDE = (
    sa.update(feedback)
    .where(
        feedback.c.episode == sa.bindparam("about"),
        feedback.c.id != sa.bindparam("this"),
        feedback.c.status == "accepted",
    )
    .values(status="superseded")
)
_SETTLE = (
    sa.update(episodes)
    .where(episodes.c.id == sa.bindparam("one"))
    .values(
        status=sa.bindparam("new_status"),
        settled=sa.bindparam("at"),
        ended=None,
        source="feedback",
        success=sa.bindparam("new_success"),
        reward=sa.bindparam("new_reward"),
        rating=sa.bindparam("new_rating"),
    )
)


class EpisodeStore(Database):
    """A database with its conversations and what was said of them; it is opened as any `Database` is."""

    # --- conversations ------------------------------------------------------------------------------

    def token(self, sender: str) -> str:
        """The secret that proves that someone is a party of a conversation; the same in every process."""
        # It follows from the hash, as nothing else is left of the sender after redaction.
        return self._token_of(hashed_sender(self, sender))

    def owns(self, receipt: Receipt, token: str) -> bool:
        """Whether a token is that of the conversation which feedback is about, also after redaction."""
        tokens = self.token(receipt.sender), self._token_of(receipt.sender)
        return any(is_same(token, each) for each in tokens)

    def gave(self, receipt: Receipt, sender: str) -> bool:
        """Whether feedback is of a sender, also after redaction."""
        return receipt.sender in (sender, hashed_sender(self, sender))

    def _token_of(self, hashed: str) -> str:
        return self.signature(f"token\n{hashed}")[:40]

    def begin(self, sender: str, begun: float) -> str:
        """Makes an episode known, if it is not yet, and gives its id."""
        episode = episode_id(sender, begun)
        with self.writing() as connection:
            if begun > forgotten_until(self, connection, sender):
                insert_missing(
                    connection, episodes, id=episode, sender=sender, begun=begun, status=OPEN
                )
        return episode

    def knows(self, sender: str) -> bool:
        """Whether a sender has ever had an episode: also one that was redacted, or deleted at their wish."""
        hashed = hashed_sender(self, sender)
        theirs = episodes.c.sender.in_((sender, hashed))
        queries = (
            sa.select(episodes.c.id).where(theirs),
            sa.select(forgotten.c.until).where(forgotten.c.sender_hash == hashed),
        )
        with self.reading() as connection:
            return any(connection.execute(query.limit(1)).first() for query in queries)

    def episode(self, id: str) -> StoredEpisode:
        """An episode by its id.

        Raises:
            UnknownConversationError: if there is none.
        """
        with self.reading() as connection:
            row = connection.execute(sa.select(episodes).where(episodes.c.id == id)).first()
        if row is None:
            raise UnknownConversationError(f"there is no episode {id!r}")
        return StoredEpisode.from_row(row)

    def episodes(self, *states: str) -> Iterator[StoredEpisode]:
        """Episodes of the given states (all without any), in the order in which they were settled."""
        query = sa.select(episodes).order_by(episodes.c.settled, episodes.c.begun, episodes.c.id)
        if states:
            query = query.where(episodes.c.status.in_(states))
        with self.reading() as connection:
            rows = connection.execute(query).all()
        yield from map(StoredEpisode.from_row, rows)

    def counts(self) -> Dict[str, int]:
        """Number of episodes in each state."""
        query = sa.select(episodes.c.status, sa.func.count()).group_by(episodes.c.status)
        with self.reading() as connection:
            found = dict(connection.execute(query).all())
        return {state: int(found.get(state, 0)) for state in STATES}

    # --- feedback -----------------------------------------------------------------------------------

    def give(
        self,
        sender: str,
        outcome: Outcome,
        comment: Optional[str] = None,
        id: Optional[str] = None,
        episode: Optional[str] = None,
        most_a_day: Optional[int] = None,
        now: Optional[float] = None,
    ) -> Receipt:
        """Stores what a user said of a conversation. When this returns, it is committed.

        Args:
            sender: of the conversation.
            outcome: how it went.
            comment: in the user's words.
            id: of this feedback; the same id again changes nothing. None: a new one.
            episode: the episode that it is about; None: the sender's latest.
            most_a_day: feedback of one sender in 24 hours.
            now: Unix time.

        Raises:
            UnknownConversationError: if the store knows no such episode of this sender.
            FeedbackConflictError: if the id stands for other feedback, or the episode has been learnt from.
            TooMuchFeedbackError: if the sender has given `most_a_day` already.
        """
        given = Given(sender, outcome, comment, id, episode, most_a_day, now)
        [receipt] = self.give_all([given])
        if isinstance(receipt, Exception):
            raise receipt
        return receipt

    def give_all(self, given: Sequence[Given]) -> List[Union[Receipt, Exception]]:
        """What `give` does, for several at once in one transaction: a commit takes as long for many as for one.

        Returns:
            For each the receipt, or the error that `give` would raise; an error of one does not touch the others.
        """
        answers: Dict[int, Union[Receipt, Exception]] = {}
        # Episodes are locked sender by sender, in the same order by all, so that nobody waits in a circle.
        order = sorted(range(len(given)), key=lambda i: given[i].sender)
        with self.writing() as connection:
            for i in order:
                try:
                    answers[i] = self._give(connection, given[i])
                except _REFUSALS as error:  # each is raised before anything is written
                    answers[i] = error
        return [answers[i] for i in range(len(given))]

    def _give(self, connection: sa.engine.Connection, given: Given) -> Receipt:
        now = time.time() if given.now is None else given.now
        id = given.id or uuid.uuid4().hex
        sender, episode, said = given.sender, given.episode, given.outcome.to_row()
        known = connection.execute(_KNOWN, {"one": id}).first() if given.id else None
        if known is not None:
            receipt = _now(known)
            if receipt.sender != sender and self.gave(receipt, sender):
                receipt = replace(receipt, sender=sender, comment=given.comment)  # redacted since
            return _again(receipt, given)
        if given.most_a_day is not None:
            lately = {"who": sender, "since": now - _DAY}
            count = connection.execute(_GIVEN_LATELY, lately).scalar_one()
            if count >= given.most_a_day:
                raise TooMuchFeedbackError(
                    f"this sender has given feedback {count} times within 24 hours; {given.most_a_day} are allowed"
                )
        theirs = {"who": sender, "hashed": hashed_sender(self, sender)}
        row = connection.execute(
            _LATEST if episode is None else _NAMED,
            theirs if episode is None else {**theirs, "one": episode},
        ).first()
        if row is None:
            raise UnknownConversationError(
                "there is no such conversation"
                if episode is None
                else f"there is no episode {episode!r} of this conversation"
            )
        if row.status not in UNDECIDED:
            raise FeedbackConflictError(
                f"the episode {row.id!r} is {row.status}: "
                + (
                    "its dialogue is gone"
                    if row.status == LOST
                    else "it has been learnt from already"
                )
            )
        if row.redacted:
            raise FeedbackConflictError(f"the text of the episode {row.id!r} has been deleted")
        about = {"id": id, "episode": row.id, "sender": sender, "comment": given.comment}
        if not connection.execute(_INSERT, {**about, "received": now, **said}).rowcount:
            # Another request with this id was faster.
            known = connection.execute(_KNOWN, {"one": id}).one()
            return _again(_now(known), given)
        if row.settled is not None:
            connection.execute(_SUPERSEDE, {"about": row.id, "this": id})
        # What was said since the last look at the conversation belongs to it, too.
        told = {"new_status": OPEN, "at": now, **{f"new_{k}": said[k] for k in said}}
        connection.execute(_SETTLE, {"one": row.id, **told})
        return Receipt(id, row.id, sender, given.outcome, given.comment, now, "accepted")

    def receipt(self, id: str) -> Receipt:
        """A stored feedback.

        Raises:
            UnknownConversationError: if there is none with this id.
        """
        with self.reading() as connection:
            row = connection.execute(_KNOWN, {"one": id}).first()
        if row is None:
            raise UnknownConversationError(f"there is no feedback {id!r}")
        return _now(row)

    def withdraw(self, id: str) -> Receipt:
        """Takes feedback back before it is used; doing so twice changes nothing.

        Raises:
            UnknownConversationError: if there is none with this id.
            FeedbackConflictError: if it has been used.
        """
        with self.writing() as connection:
            # The episode is locked first, as everywhere, so that nobody waits in a circle.
            found = sa.select(feedback.c.episode).where(feedback.c.id == id).scalar_subquery()
            locked = sa.select(episodes).where(episodes.c.id == found).with_for_update()
            episode = connection.execute(locked).first()
            row = connection.execute(sa.select(feedback).where(feedback.c.id == id)).first()
            if row is None or episode is None:
                raise UnknownConversationError(f"there is no feedback {id!r}")
            if row.status == "withdrawn":
                return Receipt.from_row(row)
            if row.status == "accepted" and episode.status != LOST:
                if episode.status not in UNDECIDED:
                    raise FeedbackConflictError(
                        f"the feedback {id!r} has been used: its episode is {episode.status}"
                    )
                nothing = dict.fromkeys(
                    ("success", "reward", "rating", "settled", "source", "ended")
                )
                connection.execute(
                    sa.update(episodes)
                    .where(episodes.c.id == row.episode)
                    .values(status=OPEN, **nothing)
                )
            connection.execute(
                sa.update(feedback).where(feedback.c.id == id).values(status="withdrawn")
            )
        return replace(Receipt.from_row(row), status="withdrawn")

    def settled(self, id: str) -> Optional[float]:
        """When feedback about an episode was given; None if it was not, or only the conversation told its outcome."""
        query = sa.select(episodes.c.settled).where(
            episodes.c.id == id, episodes.c.source == "feedback"
        )
        with self.reading() as connection:
            return connection.execute(query).scalar()


def _now(row: Any) -> Receipt:
    """The feedback in a row of `_KNOWN`, with what has become of it since."""
    receipt = Receipt.from_row(row)
    if receipt.status == "accepted" and row.episode_status not in UNDECIDED:
        return replace(receipt, status=LOST if row.episode_status == LOST else "used")
    return receipt


def _again(known: Receipt, given: Given) -> Receipt:
    """The answer to a feedback id that is known.

    Raises:
        FeedbackConflictError: if it stands for other feedback.
    """
    is_same = (
        known.sender == given.sender
        and known.outcome == given.outcome
        and (known.comment or None) == (given.comment or None)
        and given.episode in (None, known.episode)
    )
    if not is_same:
        raise FeedbackConflictError(
            f"the feedback id {known.id!r} has been used for other feedback"
        )
    return replace(known, duplicate=True)
