"""REINFORCE: eq. 5 of Liu et al. (2018), the policy learns from what whole conversations earned.

    gradient = E[ sum over turns of  R_k * gradient of log pi(a_k | s_k) ],   R_k = r_k + discount * R_{k+1}

`preset: liu2018` is that and nothing else. The default adds what makes it stable; each addition is a setting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from rasa_hybrid.dialogue import Dialogue
from rasa_hybrid.dialogue.episode import Decision, Episode
from rasa_hybrid.learning.hindsight import hindsight_labels
from rasa_hybrid.learning.optimiser import (
    RunningAverage,
    optimiser_state,
    restore_optimiser,
    restore_weights,
)
from rasa_hybrid.learning.reinforce_settings import ReinforceSettings
from rasa_hybrid.learning.supervised import as_heard, signature, supervised_losses
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.batching import Batch, collate
from rasa_hybrid.model.encoded import UNLABELLED, EncodedTurn
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import JointModel, as_tensors
from rasa_hybrid.model.parameters import sizes_of

#: Turns of which the moving average remembers what they earned; later ones share the last.
_MOST_TURNS = 64


@dataclass(frozen=True)
class UpdateResult:
    """What an update saw and did.

    Args:
        episodes: how many it was given.
        decisions: how many it learnt from; 0 if none was sampled from a policy: nothing was changed then.
        applied: whether the weights were changed.
        loss: of eq. 5 with its additions, a dialogue.
        average_return: R_0, averaged over the episodes.
        entropy: of the policy, a decision, in nats.
        kl: from the supervised policy, a decision; 0 without `kl_weight`.
        gradient_norm: before clipping.
        effective_episodes: effective number of episodes under the importance weights; all of them without.
    """

    episodes: int
    decisions: int
    applied: bool
    loss: float
    average_return: float
    entropy: float
    kl: float
    gradient_norm: float
    effective_episodes: float


class PolicyLosses(NamedTuple):
    """The parts of the loss of REINFORCE, a dialogue; `total` is their weighted sum."""

    total: tf.Tensor
    policy: tf.Tensor
    entropy: tf.Tensor
    kl: tf.Tensor


def reinforce_losses(
    logits: tf.Tensor,
    batch: Mapping[str, tf.Tensor],
    settings: ReinforceSettings,
    anchor_logits: Optional[tf.Tensor] = None,
    acting_logits: Optional[tf.Tensor] = None,
) -> PolicyLosses:
    """Likelihood-ratio loss whose gradient is minus eq. 5, averaged over dialogues, with entropy and KL.

    Args:
        logits: `[decisions, actions]` float32.
        batch: `decision_action` `[decisions]` int32, the action that was executed; `advantage` `[decisions]` float32, R_k
            less the baseline, in reward points; `learnt` `[decisions]` float32, 1 where the action was sampled from a
            policy, else 0; `propensity` `[decisions]` float32, its probability then; `episodes` scalar float32.
        settings: weights of the parts; with `importance_clip` each term is weighted by pi(a) / propensity.
        anchor_logits: `[decisions, actions]` of the supervised policy.
        acting_logits: `[decisions, actions]` of the policy as it acts, for the importance weights; None: `logits`.
    """
    logs = tf.nn.log_softmax(logits)
    chosen = tf.gather(logs, batch["decision_action"], batch_dims=1)
    weight = batch["learnt"]
    if settings.importance_clip:
        ratio = tf.exp(_log_ratios(logits if acting_logits is None else acting_logits, batch))
        weight *= tf.stop_gradient(tf.minimum(ratio, settings.importance_clip))
    episodes = batch["episodes"]
    policy = -tf.reduce_sum(weight * batch["advantage"] * chosen) / episodes
    entropy = tf.reduce_sum(-tf.reduce_sum(tf.exp(logs) * logs, -1) * batch["learnt"]) / episodes
    kl = tf.constant(0.0)
    if anchor_logits is not None:
        anchor = tf.nn.log_softmax(anchor_logits)
        apart = tf.reduce_sum(tf.exp(anchor) * (anchor - logs), -1)
        kl = tf.reduce_sum(apart * batch["learnt"]) / episodes
    total = policy - settings.entropy_bonus * entropy + settings.kl_weight * kl
    return PolicyLosses(total, policy, entropy, kl)


def _log_ratios(logits: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """log pi(a) - log propensity of each decision."""
    chosen = tf.gather(tf.nn.log_softmax(logits), batch["decision_action"], batch_dims=1)
    return chosen - tf.math.log(batch["propensity"])


class Reinforcer:
    """Learns from episodes, a mini-batch at a time.

    Args:
        encoder: of the model.
        weights: to start from; also the anchor of `kl_weight`.
        settings: how to learn.
        supervised: labelled dialogues that `supervised_weight` mixes in.

    The calling protocol:

        reinforcer = Reinforcer(encoder, weights, ReinforceSettings())
        reinforcer.restore(state)                   # to go on where another process stopped
        result = reinforcer.update(episodes)        # one step of Adam; `result.applied` says whether it was taken
        weights, state = reinforcer.weights(), reinforcer.state()
    """

    def __init__(
        self,
        encoder: Encoder,
        weights: Mapping[str, np.ndarray],
        settings: Optional[ReinforceSettings] = None,
        supervised: Sequence[Dialogue] = (),
    ) -> None:
        self.encoder, self.settings = encoder, settings or ReinforceSettings()
        sizes = sizes_of(encoder.vocabulary, encoder.ontology)
        learning = encoder.settings
        if self.settings.dropout:
            learning = replace(
                learning,
                word_dropout=float(self.settings.word_dropout),
                identity_dropout=float(self.settings.identity_dropout),
            )
        self.model = JointModel(learning, sizes, weights)
        self._anchor = (
            JointModel(encoder.settings, sizes, weights) if self.settings.kl_weight else None
        )
        self._learning = (
            self.model.policy_parameters
            if self.settings.policy_only
            else list(self.model.parameters.values())
        )
        self._optimiser = tf.keras.optimizers.Adam(self.settings.learning_rate)
        self._optimiser.build(self._learning)
        self._average = RunningAverage(self.model, self.settings.weight_averaging)
        self._earned = np.zeros(_MOST_TURNS)
        self._seen = np.zeros(_MOST_TURNS)
        self._steps = 0
        mixing = supervised if self.settings.supervised_weight else ()
        self._supervised = [turns for turns in encoder.dialogues(mixing) if turns]
        self._functions: Dict[str, Callable] = {}
        self._apply = tf.function(self._step, autograph=False)

    def weights(self) -> Dict[str, np.ndarray]:
        """The parameters that learning would end with now; those to collect episodes with are `model.weights()`."""
        return self._average.weights()

    def update(self, episodes: Sequence[Episode]) -> UpdateResult:
        """One step of Adam on a mini-batch of episodes.

        Decisions that were not sampled from a policy are given, not learnt from. Without any sampled decision the
        gradient of eq. 5 is not identified, and nothing is changed.
        """
        batch, returns = self._batch(episodes)
        decisions = int(batch["learnt"].sum())
        average = float(np.mean([each[0] for each in returns if each])) if episodes else 0.0
        if not decisions:
            nothing = (0.0, average, 0.0, 0.0, 0.0, float(len(episodes)))
            return UpdateResult(len(episodes), 0, False, *nothing)
        *gradients, figures = self._call("policy", self._policy_gradients, batch)
        loss, entropy, kl = figures.numpy()[:3]
        effective = (
            _effective(figures.numpy()[3:]) if self.settings.importance_clip else len(episodes)
        )
        applied = effective >= self.settings.least_effective * len(episodes)
        norm = 0.0
        if applied:
            self._remember(returns)
            self._steps += 1
            if self._supervised:
                gradients = [
                    mine + self.settings.supervised_weight * theirs
                    for mine, theirs in zip(gradients, self._supervised_gradients())
                ]
            norm = float(self._apply(gradients))
        a_decision = len(episodes) / decisions
        return UpdateResult(
            len(episodes),
            decisions,
            applied,
            float(loss),
            average,
            float(entropy) * a_decision,
            float(kl) * a_decision,
            norm,
            float(effective),
        )

    def state(self) -> Dict[str, np.ndarray]:
        """Everything that the next update depends on: weights, Adam's moments, moving average, number of updates."""
        state = {f"weights/{name}": value for name, value in self.model.weights().items()}
        state.update(self._average.state())
        state.update({f"adam/{k}": v for k, v in optimiser_state(self._optimiser).items()})
        state["baseline"] = np.stack([self._earned, self._seen])
        state["steps"] = np.array(self._steps)
        return state

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Puts back what `state` gave.

        Raises:
            ValueError: if it belongs to another model or other settings.
        """
        restore_weights(self.model, state)
        adam = {k[len("adam/") :]: v for k, v in state.items() if k.startswith("adam/")}
        restore_optimiser(self._optimiser, adam)
        self._average.restore(state)
        self._earned, self._seen = (row.copy() for row in state["baseline"])
        self._steps = int(state["steps"])

    def _batch(self, episodes: Sequence[Episode]) -> Tuple[Batch, List[Tuple[float, ...]]]:
        """The arrays of the episodes with advantage, propensity and mask of every decision, and their returns."""
        returns = [episode.returns(self.settings.discount) for episode in episodes]
        baselines = self._baselines(returns)
        encoded = self._encode([episode.dialogue for episode in episodes])
        advantage: List[float] = []
        propensity: List[float] = []
        learnt: List[float] = []
        owner: List[int] = []
        rows = []
        for i, (episode, turns) in enumerate(zip(episodes, encoded)):
            row = []
            known = hindsight_labels(turns) if episode.success else None
            for k, (turn, decided) in enumerate(zip(turns, episode.decisions)):
                labels = known[k] if known else [UNLABELLED] * len(turn.labels)
                row.append(
                    replace(turn, decisions=self._labelled(turn, decided, episode), labels=labels)
                )
                for given in decided[: len(turn.decisions)]:
                    counts = bool(given.sampled and given.propensity)
                    advantage.append(returns[i][k] - baselines[i][k])
                    propensity.append(float(given.propensity or 1.0))
                    learnt.append(float(counts and given.action in self.encoder.vocabulary.actions))
                    owner.append(i)
            rows.append(row)
        batch = collate(self.encoder, rows)
        batch["advantage"] = np.array(advantage, np.float32)
        batch["propensity"] = np.array(propensity, np.float32)
        batch["learnt"] = np.array(learnt, np.float32)
        batch["owner"] = np.array(owner, np.int32)
        batch["episodes"] = np.array(len(episodes), np.float32)
        batch["dropout_seed"] = np.array([self.settings.seed, self._steps], np.int32)
        return batch, returns

    def _labelled(
        self, turn: EncodedTurn, decided: Sequence[Decision], episode: Episode
    ) -> List[Any]:
        if len(decided) < len(turn.decisions):
            raise ValueError(
                f"episode {episode.dialogue.id!r}: a turn with {len(turn.decisions)} decisions of the model names "
                f"{len(decided)}; there has to be one per action, and one to listen."
            )
        known = self.encoder.vocabulary.actions
        return [
            encoded._replace(action=known[given.action])
            for encoded, given in zip(turn.decisions, decided)
        ]

    def _encode(self, dialogues: Sequence[Dialogue]) -> List[List[EncodedTurn]]:
        if all(values.kind != "open" for values in self.encoder.ontology.values.values()):
            return [self.encoder.dialogue(dialogue) for dialogue in dialogues]
        tagger = ActingModel(self.encoder, self.model.weights())
        found = [tagger.open_spans([turn.user for turn in d.turns]) for d in dialogues]
        return self.encoder.dialogues(dialogues, found)

    def _baselines(self, returns: Sequence[Sequence[float]]) -> List[List[float]]:
        """What is subtracted from the return of each turn of each episode."""
        if self.settings.baseline == "moving_average":
            seen = self._seen > 0
            known = float(self._earned[seen].mean()) if seen.any() else 0.0
            of_turn = np.where(seen, self._earned, known)
            return [
                [float(of_turn[min(k, _MOST_TURNS - 1)]) for k in range(len(r))] for r in returns
            ]
        if self.settings.baseline == "leave_one_out":
            return leave_one_out(returns)
        return [[0.0] * len(each) for each in returns]

    def _remember(self, returns: Sequence[Sequence[float]]) -> None:
        decay = self.settings.baseline_decay
        for k in range(_MOST_TURNS):
            last = k == _MOST_TURNS - 1
            here = [r for each in returns for r in (each[k:] if last else each[k : k + 1])]
            if here:
                kept = decay if self._seen[k] else 0.0
                self._earned[k] = kept * self._earned[k] + (1 - kept) * np.mean(here)
                self._seen[k] = 1.0

    def _supervised_gradients(self) -> List[tf.Tensor]:
        rng = np.random.default_rng([self.settings.seed, self._steps])
        size = min(self.settings.batch_size, len(self._supervised))
        chosen = rng.choice(len(self._supervised), size, replace=False)
        batch = collate(
            self.encoder,
            [as_heard(self._supervised[i], self.encoder.settings, rng) for i in chosen],
        )
        batch["dropout_seed"] = np.array([self.settings.seed, self._steps], np.int32)
        return self._call("supervised", self._eq4_gradients, batch)

    def _call(self, name: str, function: Callable, batch: Batch) -> List[tf.Tensor]:
        if name not in self._functions:
            self._functions[name] = tf.function(
                function, input_signature=[signature(batch)], autograph=False
            )
        return list(self._functions[name](as_tensors(batch)))

    def _policy_gradients(self, batch: Mapping[str, tf.Tensor]) -> List[tf.Tensor]:
        anchor = None if self._anchor is None else self._anchor(batch).action_logits
        with tf.GradientTape() as tape:
            outputs = self.model(batch, batch["dropout_seed"] if self.settings.dropout else None)
            logits = acting = outputs.action_logits
            if self.settings.dropout and self.settings.importance_clip:
                with tape.stop_recording():
                    acting = self.model(batch).action_logits
            losses = reinforce_losses(logits, batch, self.settings, anchor, acting)
            total = losses.total
            if self.settings.hindsight_weight:
                goals = supervised_losses(outputs, batch, self.encoder.settings).belief
                total += self.settings.hindsight_weight * goals
        gradients = self._gradients(tape, total)
        of_episode = tf.math.unsorted_segment_sum(
            _log_ratios(acting, batch) * batch["learnt"],
            batch["owner"],
            tf.cast(batch["episodes"], tf.int32),
        )
        figures = tf.concat([[losses.total, losses.entropy, losses.kl], of_episode], 0)
        return [*gradients, figures]

    def _eq4_gradients(self, batch: Mapping[str, tf.Tensor]) -> List[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = self.model(batch, batch["dropout_seed"])
            loss = supervised_losses(outputs, batch, self.encoder.settings).total
        return self._gradients(tape, loss)

    def _step(self, gradients: List[tf.Tensor]) -> tf.Tensor:
        """One step of Adam; returns the norm of the gradients before clipping."""
        norm = tf.linalg.global_norm(gradients)
        if self.settings.gradient_clip:
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.gradient_clip, norm)
        self._optimiser.apply_gradients(zip(gradients, self._learning))
        self._average.update()
        return norm

    def _gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> List[tf.Tensor]:
        gradients = tape.gradient(
            loss, self._learning, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return [tf.convert_to_tensor(gradient) for gradient in gradients]


def leave_one_out(returns: Sequence[Sequence[float]]) -> List[List[float]]:
    """For each turn of each episode what the other episodes of the batch earned from the same turn on, on average.

    Where no other one lasted so long, the average over all their turns; 0 for an episode that is alone.
    """
    totals: Dict[int, Tuple[float, int]] = {}
    for each in returns:
        for k, value in enumerate(each):
            total, count = totals.get(k, (0.0, 0))
            totals[k] = total + value, count + 1
    everything = sum(total for total, _ in totals.values())
    number = sum(count for _, count in totals.values())
    baselines = []
    for each in returns:
        others = number - len(each)
        rest = (everything - sum(each)) / others if others else 0.0
        row = []
        for k, value in enumerate(each):
            total, count = totals[k]
            row.append((total - value) / (count - 1) if count > 1 else rest)
        baselines.append(row)
    return baselines


def _effective(log_weights: np.ndarray) -> float:
    """Effective number of episodes: `(sum w)^2 / sum w^2` of their importance weights."""
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.sum() ** 2 / (weights**2).sum())
