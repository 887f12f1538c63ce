"""The learner: from the episodes of a store to models that are served. Algorithm 1, lines 8-12, in production.

One step takes a batch of new episodes, updates the head's weights, writes a candidate, passes it through the gate and
decides. Each arrow of `ledger` is one transaction, and an archive is whole before the store knows of it, so the learner
may die anywhere: what it had not finished is given back and learnt again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import Dialogue, DomainFacts
from rasa_hybrid.dialogue.episode import Episode
from rasa_hybrid.feedback import archive
from rasa_hybrid.feedback.database import Database
from rasa_hybrid.feedback.folder import LearnerError, ModelFolder
from rasa_hybrid.feedback.gate import Gate, Verdict
from rasa_hybrid.feedback.ledger import ABANDONED, BASE, Ledger, LostClaimError, Model
from rasa_hybrid.feedback.records import PROMOTED, REJECTED, ROLLED_BACK, StoredEpisode
from rasa_hybrid.feedback.rewards import Rewards, labelled_by_belief, succeeded, to_episode
from rasa_hybrid.feedback.scoring import importance_weight, off_policy_estimate
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.checkpoint import load_archive
from rasa_hybrid.model.encoding import Encoder

logger = logging.getLogger(__name__)

#: States of a model that is not to be served.
_GIVEN_UP = (REJECTED, ROLLED_BACK, ABANDONED)
#: Share of a batch's updates that come last, whose episodes tell before what the model so far would have earned.
_HELD_OUT = 0.2


@dataclass(frozen=True)
class LearnerSettings:
    """How the learner learns."""

    #: Episodes of a batch, and the fewest that it waits for.
    most_episodes: int = 500
    least_episodes: int = 25
    #: Share of a batch that one sender may fill, against poisoning; one episode always may be there.
    share_of_sender: float = 0.2
    #: Episodes of one update of REINFORCE.
    mini_batch: int = 25
    #: Adam's step size, of both kinds of learning.
    learning_rate: float = 0.0005
    #: Largest importance weight of a decision.
    importance_clip: float = 10.0
    #: Share of a mini-batch below whose effective size nothing is learnt from it.
    least_effective: float = 0.1
    #: Passes over the successful dialogues where nothing was sampled.
    supervised_passes: int = 3
    #: Models that are kept for a rollback.
    keep: int = 5
    #: Reward points.
    rewards: Rewards = field(default_factory=Rewards)


@dataclass(frozen=True)
class Decided:
    """What became of a batch.

    Args:
        candidate: id of the model.
        status: promoted, rejected or abandoned.
        figures: what the decision rests on.
    """

    candidate: str
    status: str
    figures: Mapping[str, Any]


class Learner:
    """Learns from a store into a folder of models.

    Args:
        database: of the store.
        out: folder of the archives; the head is the newest `.tar.gz` in it.
        base: archive of `rasa train` to begin with; None: the store's head.
        gate: what a candidate has to pass; None: none, every candidate is promoted.
        corpus: labelled dialogues that are mixed into every update, against forgetting.
        settings: how to learn.

    Raises:
        LearnerError: if another learner works on the folder, or there is no model.
    """

    def __init__(
        self,
        database: Database,
        out: str,
        base: Optional[str] = None,
        gate: Optional[Callable[[DomainFacts], Gate]] = None,
        corpus: Sequence[Dialogue] = (),
        settings: Optional[LearnerSettings] = None,
    ) -> None:
        self.folder = ModelFolder(out)
        self.settings = settings or LearnerSettings()
        self._told = False
        self.folder.lock()
        self.ledger = Ledger(database, self.folder.learner())
        self._corpus = corpus
        if base is not None:
            begin_with(base, self.ledger, self.folder)
        head = self.ledger.head()
        if head is None:
            raise LearnerError("The store has no model yet: name one with --model.")
        _check_is_here(self.folder, head.id)
        _, _, extra = load_archive(self.folder.archive(head.id))
        self.gate = gate(DomainFacts.from_dict(extra["facts"])) if gate is not None else None
        for candidate in self.ledger.recover():
            logger.warning(
                f"The candidate {candidate} was not finished; its episodes are new again."
            )
        self.folder.tidy(self.ledger, self.settings.keep)
        if head.status != BASE or self.folder.has_published:
            self.folder.publish(head.id)

    def close(self) -> None:
        """Lets another learner work on the folder."""
        self.folder.unlock()

    def release(self, *states: str) -> int:
        """Makes decided episodes new again, but those that the head has learnt already; says how many.

        Args:
            states: as of `Ledger.release`.
        """
        head = self.ledger.head()
        assert head is not None
        learnt = archive.read_manifest(self.folder.archive(head.id)).learnt
        return self.ledger.release(*states, spared=learnt)

    def step(self) -> Optional[Decided]:
        """Learns from one batch; None if there are too few new episodes."""
        self.ledger.recover()
        settings = self.settings
        candidate, claimed = self.ledger.claim(
            settings.most_episodes, settings.least_episodes, settings.share_of_sender
        )
        if candidate is None:
            self._tell_what_is_missing()
            return None
        self._told = False
        try:
            fresh = self._not_learnt(candidate, claimed)
            if claimed and not fresh:
                self.ledger.abandon(candidate.id, {"reason": "All of it has been learnt already."})
                return self.step()
            return self._learn(candidate, fresh)
        except LostClaimError as error:
            logger.warning(f"{error} What is left of its episodes is learnt again.")
            self.ledger.abandon(candidate.id, {"reason": str(error)})
            self.folder.archive(candidate.id).unlink(missing_ok=True)
            return Decided(candidate.id, ABANDONED, {"reason": str(error)})
        except BaseException:
            # Whatever it was, it must not keep the episodes; it is told by whoever called.
            self.ledger.abandon(candidate.id)
            raise

    def _tell_what_is_missing(self) -> None:
        """Says it, once, if enough episodes wait, but too many of them are of the same senders."""
        waiting = self.ledger.waiting()
        if waiting < self.settings.least_episodes or self._told:
            return
        self._told = True
        logger.warning(
            f"{waiting} episodes wait, but they are of too few senders: at most {self.settings.share_of_sender:.0%} of a "
            f"batch of {self.settings.least_episodes} or more may be of one. A larger --share-of-sender allows more."
        )

    def _not_learnt(
        self, candidate: Model, claimed: Sequence[StoredEpisode]
    ) -> Sequence[StoredEpisode]:
        """What the parent has not learnt yet: its manifest may name episodes that this store did not know before."""
        assert candidate.parent is not None
        _check_is_here(self.folder, candidate.parent)
        learnt = set(archive.read_manifest(self.folder.archive(candidate.parent)).learnt)
        known = [stored.id for stored in claimed if stored.id in learnt]
        if known:
            self.ledger.known(candidate.id, known)
        return [stored for stored in claimed if stored.id not in learnt]

    def _learn(self, candidate: Model, claimed: Sequence[StoredEpisode]) -> Decided:
        assert candidate.parent is not None
        parent_path = self.folder.archive(candidate.parent)
        encoder, weights, extra = load_archive(parent_path)
        facts = DomainFacts.from_dict(extra["facts"])
        current = ActingModel(encoder, weights)
        rewards = self.settings.rewards
        claimed = [stored for stored in claimed if _can_be_read(encoder, stored, rewards)]
        episodes = [to_episode(stored, rewards) for stored in claimed]
        learnt, figures, state = self._update(
            encoder, weights, claimed, episodes, facts, candidate.parent
        )
        is_finite = all(np.isfinite(array).all() for array in learnt.values())
        if not is_finite:
            learnt = weights  # whoever finds the archive finds one that works
        self.ledger.renew(candidate.id)
        ids = tuple(stored.id for stored in claimed)
        before = archive.read_manifest(parent_path)
        manifest = archive.Manifest(candidate.id, candidate.parent, ids, (*before.learnt, *ids))
        path = self.folder.archive(candidate.id)
        archive.write(path, parent_path, encoder, learnt, extra, manifest)
        self.folder.keep_state(candidate.id, state)
        self.ledger.finish(candidate.id, path.name, ids)
        model = ActingModel(encoder, learnt)
        verdict = Verdict(True, (), {})
        if not is_finite:
            reason = "The learnt weights are not finite: a reward or a weight is far too large."
            verdict = Verdict(False, (reason,), {})
        elif not figures["changed"]:
            verdict = Verdict(False, ("Nothing was learnt from these episodes.",), {})
        elif self.gate is not None:
            verdict = self.gate.compare(
                (candidate.parent, current, str(parent_path)), (candidate.id, model, str(path))
            )
        figures["regression"] = dict(verdict.figures)
        figures["reasons"] = list(verdict.reasons)
        self.ledger.renew(candidate.id)
        status = self.ledger.decide(candidate.id, verdict.passed, figures, ids)
        if status == PROMOTED:
            self.folder.publish(candidate.id)
        self.folder.tidy(self.ledger, self.settings.keep)
        return Decided(candidate.id, status, figures)

    def _update(
        self,
        encoder: Encoder,
        weights: Dict[str, np.ndarray],
        claimed: Sequence[StoredEpisode],
        episodes: Sequence[Episode],
        facts: DomainFacts,
        parent: str,
    ) -> Tuple[Dict[str, np.ndarray], Dict[str, Any], Dict[str, np.ndarray]]:
        """New weights, figures, and the optimiser's state."""
        explored = [
            episode
            for episode in episodes
            if any(d.sampled and d.propensity for turn in episode.decisions for d in turn)
        ]
        known = [e.success for e in episodes if e.success is not None]
        figures: Dict[str, Any] = {
            "episodes": len(episodes),
            "explored": len(explored),
            "success_rate": sum(known) / len(known) if known else None,
            "average_reward": float(np.mean([sum(e.rewards) for e in episodes] or [0.0])),
            "off_policy": off_policy_estimate([], []).to_dict(),
        }
        corpus = [facts.harmonise(dialogue) for dialogue in self._corpus]
        if explored:
            return self._reinforce(encoder, weights, episodes, corpus, parent, figures)
        good = [
            labelled_by_belief(stored)
            for stored in claimed
            if stored.outcome is not None and succeeded(stored.outcome)
        ]
        return self._imitate_success(encoder, weights, good, corpus, parent, figures)

    def _reinforce(
        self,
        encoder: Encoder,
        weights: Dict[str, np.ndarray],
        episodes: Sequence[Episode],
        corpus: Sequence[Dialogue],
        parent: str,
        figures: Dict[str, Any],
    ) -> Tuple[Dict[str, np.ndarray], Dict[str, Any], Dict[str, np.ndarray]]:
        """REINFORCE with importance weights, a mini-batch at a time.

        Where nothing was sampled in a conversation it tells what its user wanted, if it went well, and what is usual.
        """
        from rasa_hybrid.learning.reinforce import Reinforcer
        from rasa_hybrid.learning.reinforce_settings import ReinforceSettings

        settings = ReinforceSettings(
            learning_rate=self.settings.learning_rate,
            importance_clip=self.settings.importance_clip,
            least_effective=self.settings.least_effective,
            batch_size=self.settings.mini_batch,
        )
        reinforcer = Reinforcer(encoder, weights, settings, corpus)
        self._restore(reinforcer, parent, "reinforce")
        count = max(1, round(len(episodes) / self.settings.mini_batch))
        held_out = max(1, round(count * _HELD_OUT)) if count > 1 else 0
        results = []
        for i, part in enumerate(np.array_split(np.arange(len(episodes)), count)):
            if i == count - held_out:
                figures["off_policy"] = _off_policy(
                    ActingModel(encoder, reinforcer.weights()), episodes[part[0] :]
                )
            results.append(reinforcer.update([episodes[j] for j in part]))
        applied = [result for result in results if result.applied]
        figures.update(
            method="reinforce",
            changed=bool(applied),
            updates=len(applied),
            left_out_updates=len(results) - len(applied),
            effective_episodes=float(sum(result.effective_episodes for result in results)),
            entropy=float(np.mean([result.entropy for result in results])),
        )
        if not applied:
            figures["note"] = (
                "The episodes are too unlike what the model would do by now: their effective number is too small to "
                "learn from."
            )
        state = {**reinforcer.state(), "kind": np.array("reinforce")}
        return reinforcer.weights(), figures, state

    def _imitate_success(
        self,
        encoder: Encoder,
        weights: Dict[str, np.ndarray],
        good: Sequence[Dialogue],
        corpus: Sequence[Dialogue],
        parent: str,
        figures: Dict[str, Any],
    ) -> Tuple[Dict[str, np.ndarray], Dict[str, Any], Dict[str, np.ndarray]]:
        """Eq. 4 on dialogues that went well: all that can be learnt where nothing was tried out."""
        from rasa_hybrid.learning.supervised import SupervisedTrainer
        from rasa_hybrid.model.batching import collate

        figures.update(
            method="supervised",
            changed=bool(good),
            successful=len(good),
            note="Nothing was sampled (`exploration: off`), so the policy gradient is not identified: learnt by "
            "supervision from the successful dialogues only.",
        )
        settings = replace(encoder.settings, learning_rate=self.settings.learning_rate)
        learning = Encoder(settings, encoder.vocabulary, encoder.ontology)
        trainer = SupervisedTrainer(learning, weights)
        self._restore(trainer, parent, "supervised")
        rng = np.random.default_rng(settings.seed)
        turns = [found for found in learning.dialogues(good) if found]
        replayed = [found for found in learning.dialogues(corpus) if found]
        size = settings.batch_size
        for _ in range(self.settings.supervised_passes):
            order = rng.permutation(len(turns))
            for start in range(0, len(order), size):
                group = [turns[i] for i in order[start : start + size]]
                if replayed:
                    group += [replayed[i] for i in rng.integers(0, len(replayed), len(group))]
                trainer.train_step(collate(learning, group))
        state = {**trainer.state(), "kind": np.array("supervised")}
        return trainer.model.weights(), figures, state

    def _restore(self, learning: Any, parent: str, kind: str) -> None:
        """Goes on with the optimiser's state of the parent, if it was learnt in the same way."""
        state = self.folder.state(parent)
        if state is not None and str(state.get("kind")) == kind:
            learning.restore({name: value for name, value in state.items() if name != "kind"})


def begin_with(base: str, ledger: Ledger, folder: ModelFolder, is_choice: bool = True) -> Model:
    """Makes an archive of `rasa train` what is learnt from, unless the head descends from it already; the head.

    Args:
        base: the archive.
        ledger: of the store.
        folder: of the models.
        is_choice: whether somebody chose the archive; else one that was rolled back or rejected does not come back.
    """
    known, head = ledger.model(archive.read_id(base)), ledger.head()
    if not is_choice and known is not None and known.status in _GIVEN_UP and head is not None:
        _check_is_here(folder, head.id)
        folder.publish(head.id)
        return head
    id = folder.take(base)
    return ledger.rebase(id, folder.archive(id).name, archive.read_manifest(base).learnt)


def roll_back(database: Database, out: str) -> Tuple[Model, Model]:
    """Serves the parent of the head again; the model that was given up, and the head now.

    Raises:
        StoreError: if there is no earlier model.
        LearnerError: if its archive is not there any more.
    """
    folder, ledger = ModelFolder(out), Ledger(database)
    head = ledger.head()
    if head is not None and head.parent and not folder.archive(head.parent).exists():
        raise LearnerError(
            f"The archive of the earlier model {head.parent} is not in {out} (only the last ones are kept)."
        )
    given_up, now = ledger.roll_back()
    folder.publish(now.id)
    return given_up, now


def _check_is_here(folder: ModelFolder, model: str) -> None:
    if not folder.archive(model).exists():
        raise LearnerError(
            f"The archive of the model {model} is not in {folder.out}: use the folder that it was learnt in, or name a "
            "model with --model."
        )


def _can_be_read(encoder: Encoder, stored: StoredEpisode, rewards: Rewards) -> bool:
    """Whether the model can read an episode; one that it can't must not stop the others."""
    try:
        episode = to_episode(stored, rewards)
        turns = encoder.dialogue(episode.dialogue)
        for turn, decided in zip(turns, episode.decisions):
            if len(decided) < len(turn.decisions):
                raise ValueError(f"{len(decided)} decisions where there were {len(turn.decisions)}")
        return bool(turns)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        logger.warning(f"The episode {stored.id} is left out, the model can't read it: {error!r}")
        return False


def _off_policy(model: ActingModel, episodes: Sequence[Episode]) -> Dict[str, Any]:
    """What a model would have earned in episodes that it has not learnt from."""
    found = [(importance_weight(model, episode), sum(episode.rewards)) for episode in episodes]
    weighted = [(weight, earned) for weight, earned in found if weight is not None]
    return off_policy_estimate([w for w, _ in weighted], [r for _, r in weighted]).to_dict()
