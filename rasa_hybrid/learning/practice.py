"""Algorithm 1 of Liu et al. (2018) with simulated users: mini-batches of dialogues, an update after each.

A run lives in a directory and can be killed at any moment: started again with the same settings it goes on from its
last mini-batches, and ends as it would have ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

import numpy as np

from rasa_hybrid.corpora import read_jsonl, write_jsonl
from rasa_hybrid.corpora.jsonl import dialogue_to_json
from rasa_hybrid.dialogue import LISTEN, Dialogue, Turn, Utterance
from rasa_hybrid.dialogue.episode import Decision, Episode
from rasa_hybrid.learning.agent import agent_of, with_known_values
from rasa_hybrid.learning.imitation import ImitationSettings, Imitator
from rasa_hybrid.learning.reinforce import Reinforcer
from rasa_hybrid.learning.reinforce_settings import ReinforceSettings
from rasa_hybrid.learning.simulated import TrainedModel
from rasa_hybrid.learning.taught import taught
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.simulation import Environment, Expert, SideEffects, Simulator
from rasa_hybrid.simulation.environment import Rollout

_STATE, _RUN, _TAUGHT = "state.npz", "run.json", "taught.jsonl"
#: Mini-batches after which a run is saved.
_SAVE_EVERY = 4
Figures = Dict[str, Any]


class PracticeError(ValueError):
    """A run that can't go on; the message says what to do."""


class Practice(Protocol):
    """One way of learning from simulated users."""

    batch_size: int

    def batch(self, first: int, count: int) -> Figures:
        """Talks to users `first` to `first + count - 1`, updates the model once, and returns figures of both."""

    def model(self) -> TrainedModel:
        """The model as it is now."""

    def state(self) -> Dict[str, np.ndarray]:
        """What the next mini-batch depends on."""

    def restore(self, state: Mapping[str, np.ndarray], directory: Path) -> None:
        """Puts back what `state` gave."""

    def keep(self, directory: Path) -> None:
        """Writes what else has to be kept."""

    def describe(self) -> Dict[str, Any]:
        """What the run depends on, JSON-able: settings, model to start from, words of the users, earlier dialogues."""


class TeachingPractice:
    """Lines 2 to 7: the agent talks by its own policy, the teacher labels, the model is trained on the aggregate.

    Args:
        model: to start from.
        simulator: the users, in the words that are taught.
        settings: how to learn.
        earlier: what the model was supervised on.
    """

    def __init__(
        self,
        model: TrainedModel,
        simulator: Simulator,
        settings: ImitationSettings,
        earlier: Sequence[Dialogue],
    ) -> None:
        self._model, self._simulator, self.settings = model, simulator, settings
        self.batch_size = settings.update_every
        self._imitator = Imitator(
            with_known_values(model.encoder, simulator), model.weights, settings, earlier
        )
        self._beginning = _beginning(model, simulator, earlier)
        self._dialogues: List[Dialogue] = []
        self._kept = 0

    def batch(self, first: int, count: int) -> Figures:
        """See `Practice`."""
        settings = self.settings
        agent_model = ActingModel(self._imitator.encoder, self._imitator.weights())
        led = round(settings.beta * settings.beta_decay ** (first // self.batch_size) * count)
        dialogues, successes = [], 0
        # Line 4: run the agent's policy, or for a share of the dialogues the teacher's.
        for by_teacher, start, number in ((True, first, led), (False, first + led, count - led)):
            effects = SideEffects(self._simulator.flow)
            if by_teacher:
                agent: Any = Expert(self._simulator.flow, self._simulator.catalogue, effects)
            else:
                rng = np.random.default_rng([settings.seed, 1, first])
                agent = agent_of(agent_model, self._model.extra, self._simulator, effects, rng)
            environment = Environment(self._simulator, agent, effects, label=True)
            for rollout in environment.rollouts(number, settings.seed, max(number, 1), start):
                successes += rollout.success
                # Line 5: the teacher corrects.
                dialogues.append(taught(rollout, settings.goal_only))
        self._imitator.add(dialogues)  # line 6
        self._dialogues += dialogues
        loss = self._imitator.update()  # line 7
        return {"loss": loss, "success": successes / count}

    def model(self) -> TrainedModel:
        """See `Practice`."""
        encoder = self._model.encoder
        grown = Encoder(encoder.settings, self._imitator.encoder.vocabulary, encoder.ontology)
        return TrainedModel(grown, self._imitator.weights(), self._model.extra)

    def state(self) -> Dict[str, np.ndarray]:
        """See `Practice`."""
        return {**self._imitator.state(), "taught": np.array(len(self._dialogues))}

    def keep(self, directory: Path) -> None:
        """Appends the dialogues that are not on disk yet."""
        path = directory / _TAUGHT
        if self._kept == 0 and path.exists():
            path.unlink()
        part = directory / f"{_TAUGHT}.part"
        write_jsonl(part, self._dialogues[self._kept :])
        with open(path, "ab") as file:
            file.write(part.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        part.unlink()
        self._kept = len(self._dialogues)

    def restore(self, state: Mapping[str, np.ndarray], directory: Path) -> None:
        """See `Practice`."""
        count = int(state["taught"])
        dialogues = taught_dialogues(directory, count)
        if len(dialogues) < count:
            raise PracticeError(
                f"{directory / _TAUGHT} holds {len(dialogues)} dialogues, {count} were taught: "
                f"remove {directory} to begin anew."
            )
        part = directory / f"{_TAUGHT}.part"
        write_jsonl(part, dialogues)
        os.replace(part, directory / _TAUGHT)
        for start in range(0, count, self.batch_size):
            self._imitator.add(dialogues[start : start + self.batch_size])
        self._dialogues, self._kept = dialogues, count
        self._imitator.restore({k: v for k, v in state.items() if k != "taught"})

    def describe(self) -> Dict[str, Any]:
        """See `Practice`."""
        return {"learning": "imitation", **self.settings.to_dict(), **self._beginning}


def taught_dialogues(directory: Path, count: int) -> List[Dialogue]:
    """The first dialogues that were taught in a run.

    Args:
        directory: of the run.
        count: how many; what follows may be half a line, if the run was killed while it wrote.
    """
    return list(islice(read_jsonl(directory / _TAUGHT), count))


class FeedbackPractice:
    """Lines 8 to 12: the agent talks by its own policy, the user says at the end whether it worked, REINFORCE.

    Args:
        model: to start from.
        simulator: the users.
        settings: how to learn.
        supervised: labelled dialogues that are mixed in.
    """

    def __init__(
        self,
        model: TrainedModel,
        simulator: Simulator,
        settings: ReinforceSettings,
        supervised: Sequence[Dialogue] = (),
    ) -> None:
        self._model, self._simulator, self.settings = model, simulator, settings
        self.batch_size = settings.batch_size
        self._beginning = _beginning(model, simulator, supervised)
        self._encoder = with_known_values(model.encoder, simulator)
        self._reinforcer = Reinforcer(self._encoder, model.weights, settings, supervised)

    def batch(self, first: int, count: int) -> Figures:
        """See `Practice`."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, 2, first])
        episodes = sampled_episodes(
            TrainedModel(self._encoder, self._reinforcer.model.weights(), self._model.extra),
            self._simulator,
            first,
            count,
            settings.seed,
            rng,
        )
        result = self._reinforcer.update(episodes)
        return {
            "loss": result.loss,
            "success": sum(bool(e.success) for e in episodes) / count,
            "return": result.average_return,
            "entropy": result.entropy,
            "kl": result.kl,
            "gradient": result.gradient_norm,
        }

    def model(self) -> TrainedModel:
        """See `Practice`."""
        return TrainedModel(self._model.encoder, self._reinforcer.weights(), self._model.extra)

    def state(self) -> Dict[str, np.ndarray]:
        """See `Practice`."""
        return self._reinforcer.state()

    def keep(self, directory: Path) -> None:
        """Nothing: episodes are learnt from once."""

    def restore(self, state: Mapping[str, np.ndarray], directory: Path) -> None:
        """See `Practice`."""
        self._reinforcer.restore(state)

    def describe(self) -> Dict[str, Any]:
        """See `Practice`."""
        return {"learning": "reinforce", **self.settings.to_dict(), **self._beginning}


def _beginning(
    model: TrainedModel, simulator: Simulator, earlier: Sequence[Dialogue]
) -> Dict[str, Any]:
    """What a run begins with: digests of the model and of the earlier dialogues, the users' words and their noise."""
    weights = hashlib.sha256(json.dumps(model.encoder.vocabulary.to_dict()).encode())
    for name in sorted(model.weights):
        weights.update(name.encode())
        weights.update(np.ascontiguousarray(model.weights[name]).tobytes())
    dialogues = hashlib.sha256()
    for dialogue in earlier:
        dialogues.update(json.dumps(dialogue_to_json(dialogue), sort_keys=True).encode())
    return {
        "model": weights.hexdigest()[:16],
        "surface": simulator.surfaces.name,
        "noise": simulator.noise,
        "earlier": dialogues.hexdigest()[:16],
    }


def sampled_episodes(
    model: TrainedModel,
    simulator: Simulator,
    first: int,
    count: int,
    seed: int,
    rng: np.random.Generator,
) -> List[Episode]:
    """Episodes of a model that samples its actions, with users `first` to `first + count - 1` of a seed."""
    effects = SideEffects(simulator.flow)
    acting = ActingModel(model.encoder, model.weights)
    agent = agent_of(acting, model.extra, simulator, effects, rng)
    environment = Environment(simulator, agent, effects)
    return [episode_of(r) for r in environment.rollouts(count, seed, count, first)]


def episode_of(rollout: Rollout, sampled: bool = True, model_id: Optional[str] = None) -> Episode:
    """A simulated dialogue as REINFORCE reads it: the words and what was tracked, without what only the simulator knows.

    Args:
        rollout: of an agent that tells its propensities.
        sampled: whether its actions were drawn from its policy.
        model_id: the model that acted.
    """
    turns, decisions = [], []
    for turn, agent in zip(rollout.dialogue.turns, rollout.turns):
        user = turn.user and Utterance(turn.user.text, turn.user.hypotheses)
        goal = agent.belief.goal()
        turns.append(
            Turn(user, goal, turn.summary, turn.overrides, turn.actions, turn.closing_context)
        )
        names = [*(action.name for action in turn.actions), LISTEN]
        # The last decision to listen is missing where a turn was cut off for its length.
        known = [*agent.propensities, *[None] * (len(names) - len(agent.propensities))]
        decisions.append(
            tuple(Decision(n, p, sampled and p is not None) for n, p in zip(names, known))
        )
    dialogue = replace(rollout.dialogue, turns=tuple(turns))
    return Episode(dialogue, tuple(decisions), rollout.rewards, rollout.success, model_id)


def practise(
    practice: Practice,
    episodes: int,
    directory: Union[str, Path],
    measure: Callable[[TrainedModel, int], Sequence[Figures]],
    measure_every: int = 100,
    progress: Optional[Callable[[int, Figures], None]] = None,
    rows: Optional[List[Figures]] = None,
) -> Tuple[TrainedModel, List[Figures]]:
    """Mini-batch after mini-batch, from where an earlier run in the same directory stopped.

    Args:
        practice: how to learn.
        episodes: dialogues in all.
        directory: of the run.
        measure: figures of a model after so many dialogues: rows of the learning curve.
        measure_every: dialogues between two measurements; there is one before the first and one after the last.
        progress: called after every mini-batch with the number of dialogues and its figures, `seconds` among them.
        rows: list that is given the rows of the earlier run before anything is measured.

    Returns:
        The model, and all rows of the curve.

    Raises:
        PracticeError: if the directory holds a run with other settings, or one that began with something else.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    run = practice.describe()
    done, before = _resumed(practice, directory, run)
    curve = list(before)
    if rows is not None:
        rows.extend(before)
    if done == 0:
        curve += measure(practice.model(), 0)
    since = 0
    while done < episodes:
        count = min(practice.batch_size, episodes - done)
        started = time.perf_counter()
        figures = {**practice.batch(done, count), "seconds": time.perf_counter() - started}
        earlier, done = done, done + count
        if progress:
            progress(done, figures)
        due = done // measure_every > earlier // measure_every or done == episodes
        if due:
            curve += measure(practice.model(), done)
        since += 1
        if due or since >= _SAVE_EVERY:
            since = 0
            practice.keep(directory)
            _save(directory / _STATE, practice.state(), done, curve)
    return practice.model(), curve


def _resumed(practice: Practice, directory: Path, run: Dict[str, Any]) -> Tuple[int, List[Figures]]:
    same_settings(directory / _RUN, "run", run)
    if not (directory / _STATE).exists():
        return 0, []
    with np.load(directory / _STATE, allow_pickle=False) as stored:
        state = {name: stored[name] for name in stored.files}
    done, rows = int(state.pop("done")), json.loads(str(state.pop("rows")))
    practice.restore(state, directory)
    return done, rows


def same_settings(path: Path, what: str, settings: Mapping[str, Any]) -> None:
    """Writes down what a directory holds, which has to be what it held before.

    Args:
        path: of the file with the settings.
        what: is run there.
        settings: JSON-able.

    Raises:
        PracticeError: if the directory holds one with other settings.
    """
    asked = json.loads(json.dumps(settings))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        for key in sorted({*before, *asked}):
            if before.get(key) != asked.get(key):
                raise PracticeError(
                    f"{path.parent} holds a {what} with {key} = {before.get(key)!r}, not {asked.get(key)!r}: use the same "
                    "settings to go on with it, name another directory, or remove it to begin anew."
                )
    write_whole(path, json.dumps(asked, indent=1))


def write_whole(path: Path, text: str) -> None:
    """All or nothing: written beside and put in place."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _save(path: Path, state: Mapping[str, np.ndarray], done: int, rows: Sequence[Figures]) -> None:
    """All or nothing: written beside and put in place."""
    part = path.with_name(f"{path.name}.part")
    with open(part, "wb") as file:
        np.savez(file, **state, done=np.array(done), rows=np.array(json.dumps(list(rows))))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
