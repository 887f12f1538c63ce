"""The gate: a candidate is promoted only if it does not lose on dialogues and simulated users kept for that.

Both models answer the same turns and talk to the same users, so their differences are paired; a candidate loses where the
lower end of the 95 % interval of a difference is below `-margin`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.corpora import read_jsonl
from rasa_hybrid.dialogue import LISTEN, Dialogue, DomainFacts, goal_value, normalise
from rasa_hybrid.evaluation.intervals import bootstrap_interval
from rasa_hybrid.feedback.scoring import score
from rasa_hybrid.model.acting import ActingModel


class GateError(ValueError):
    """A regression set that can't be used; the message says what to do."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Args:
        passed: whether the candidate may be promoted.
        reasons: why not, one sentence for each measure that it lost on.
        figures: of every measure: current, candidate, difference, interval.
    """

    passed: bool
    reasons: Tuple[str, ...]
    figures: Mapping[str, Any]


class Gate:
    """Compares two models.

    Args:
        corpora: name to labelled dialogues: the taught corpus, held-out dialogues.
        facts: of the domain.
        project: directory of a project that can be simulated; None: no simulation.
        dialogues: simulated users.
        surface: their surface forms.
        margin: how much worse a candidate may be, as a fraction of 1.
    """

    def __init__(
        self,
        corpora: Mapping[str, Sequence[Dialogue]],
        facts: DomainFacts,
        project: Optional[str] = None,
        dialogues: int = 200,
        surface: str = "train",
        margin: float = 0.02,
    ) -> None:
        self._corpora = {n: [facts.harmonise(d) for d in found] for n, found in corpora.items()}
        self._project, self._dialogues, self._surface = project, dialogues, surface
        self._margin = margin
        self._known: Dict[Tuple[str, str], List[Tuple[int, int, int, int]]] = {}
        self._simulated: Dict[str, List[bool]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compare by."""
        return not any(self._corpora.values()) and self._project is None

    def compare(
        self,
        current: Tuple[str, ActingModel, str],
        candidate: Tuple[str, ActingModel, str],
    ) -> Verdict:
        """Whether a candidate holds its own against the current model.

        Args:
            current: id, model, and path of the archive.
            candidate: the same.
        """
        figures: Dict[str, Any] = {}
        reasons: List[str] = []
        for name, dialogues in self._corpora.items():
            before, after = (
                np.array(self._counts(name, id, model, dialogues), float).reshape(-1, 4)
                for id, model, _ in (current, candidate)
            )
            for measure, right, total in (("joint_goal", 0, 1), ("action", 2, 3)):
                if before[:, total].sum():
                    self._judge(
                        f"{measure}_accuracy on {name}",
                        before[:, right],
                        after[:, right],
                        before[:, total],
                        figures,
                        reasons,
                    )
        if self._project is not None:
            won, wins = (self._successes(id, path) for id, _, path in (current, candidate))
            self._judge(
                "simulated success",
                np.array(won, float),
                np.array(wins, float),
                np.ones(len(won)),
                figures,
                reasons,
            )
        for key in [k for k in self._known if k[1] not in (current[0], candidate[0])]:
            del self._known[key]
        return Verdict(not reasons, tuple(reasons), figures)

    def _judge(
        self,
        what: str,
        before: np.ndarray,
        after: np.ndarray,
        total: np.ndarray,
        figures: Dict[str, Any],
        reasons: List[str],
    ) -> None:
        """Notes the difference of two ratios over the same dialogues, and whether it is a loss."""
        interval = bootstrap_interval(after - before, total)
        assert interval is not None
        figures[what] = {
            "current": float(before.sum() / total.sum()),
            "candidate": float(after.sum() / total.sum()),
            "difference": float((after - before).sum() / total.sum()),
            "difference_interval": interval,
            "dialogues": len(before),
        }
        if interval[0] < -self._margin:
            reasons.append(
                f"{what}: the difference may be as low as {interval[0]:.3f}, below -{self._margin:g}."
            )

    def _counts(
        self, name: str, id: str, model: ActingModel, dialogues: Sequence[Dialogue]
    ) -> List[Tuple[int, int, int, int]]:
        """Of each dialogue: right joint goals, labelled turns, right decisions, decisions."""
        if (name, id) not in self._known:
            self._known[name, id] = [_count(model, dialogue) for dialogue in dialogues]
        return self._known[name, id]

    def _successes(self, id: str, archive: str) -> List[bool]:
        from rasa_hybrid.learning.agent import load_agent
        from rasa_hybrid.simulation import Environment, SideEffects, load_simulator

        if id not in self._simulated:
            assert self._project is not None
            simulator = load_simulator(self._project, self._surface)
            side_effects = SideEffects(simulator.flow)
            agent = load_agent(archive, simulator, side_effects)
            environment = Environment(simulator, agent, side_effects)
            rollouts = environment.rollouts(self._dialogues, 0, 128)
            self._simulated = {
                **dict(list(self._simulated.items())[-1:]),
                id: [rollout.success for rollout in rollouts],
            }
        return self._simulated[id]


def read_corpora(paths: Sequence[str]) -> Dict[str, List[Dialogue]]:
    """Regression sets by file name.

    Raises:
        GateError: if a file holds no labelled dialogue, or has the name of another one.
        CorpusError: if a file can't be read.
    """
    corpora: Dict[str, List[Dialogue]] = {}
    for path in paths:
        if Path(path).name in corpora:
            raise GateError(
                f"{path}: there is another regression set of this name; give it one of its own."
            )
        dialogues = list(read_jsonl(path))
        if not any(turn.goal is not None for d in dialogues for turn in d.turns):
            raise GateError(f"{path}: the regression set has no labelled turns.")
        corpora[Path(path).name] = dialogues
    return corpora


def _count(model: ActingModel, dialogue: Dialogue) -> Tuple[int, int, int, int]:
    names = model.encoder.vocabulary.actions.names
    joint = labelled = right = decisions = 0
    for turn, scored in zip(dialogue.turns, score(model, dialogue)):
        if turn.user is not None and turn.goal is not None:
            labelled += 1
            tracked = scored.belief.goal()
            joint += all(
                normalise(goal_value(tracked, slot)) == normalise(goal_value(turn.goal, slot))
                for slot in scored.belief.distributions
            )
        done = [*(action.name for action in turn.actions), LISTEN]
        if turn is dialogue.turns[-1] and not dialogue.complete:
            done.pop()
        learnt = [*(action.learn for action in turn.actions), True]
        for name, counts, chances in zip(done, learnt, scored.chances):
            if counts:
                decisions += 1
                right += names[int(np.argmax(chances))] == name
    return joint, labelled, right, decisions
