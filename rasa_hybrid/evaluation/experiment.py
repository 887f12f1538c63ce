"""The experiments of Liu et al. (2018): supervised, taught and reinforced models side by side, seed by seed.

Every stage writes what it found into a file of its own when it is done, and learning saves itself meanwhile: a run
that was killed goes on where it was.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import yaml

from rasa_hybrid.dialogue import Dialogue, DomainFacts, goal_value, normalise
from rasa_hybrid.evaluation.curves import interact, measured
from rasa_hybrid.evaluation.workers import tell_parent
from rasa_hybrid.learning.agent import with_known_values
from rasa_hybrid.learning.imitation import ImitationSettings
from rasa_hybrid.learning.practice import (
    FeedbackPractice,
    TeachingPractice,
    practise,
    taught_dialogues,
    write_whole,
)
from rasa_hybrid.learning.reinforce_settings import ReinforceSettings
from rasa_hybrid.learning.simulated import TrainedModel, supervised_corpus, train_on_simulator
from rasa_hybrid.learning.tracking import track
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.checkpoint import load, save
from rasa_hybrid.model.network import initial_weights
from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
from rasa_hybrid.model.settings import Settings, SettingsError, check_flag, check_number
from rasa_hybrid.simulation import Simulator, load_simulator
from rasa_hybrid.simulation.simulator import NOISE

#: Seeds of the users that measure and of the corpus of table 2: nobody learns from them.
_MEASURING, _OFFLINE = 2**31 - 1, 2**31 - 2
#: Settings of REINFORCE from untrained weights, unless the experiment says others: there is nothing to be kept near to.
_FROM_SCRATCH = {
    "supervised_weight": 0.0,
    "kl_weight": 0.0,
    "dropout": False,
    "learning_rate": 0.001,
}
#: Where a seed's run of teaching is.
_TEACHING = "teaching"
SUPERVISED, SCRATCH, POLICY_ONLY = "SL", "RL", "SL+RL policy only"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """What is run; the defaults are the full run. A file of `benchmarks/experiments/` changes them.

    Args:
        name: of the experiment.
        differences: from the paper, sentences.
        model: settings of the model, of its supervised training too.
        supervised_dialogues: dialogues of the expert that the model is supervised on.
        taught: numbers of taught dialogues after which a model goes on to REINFORCE.
        imitation: settings of imitation learning.
        earlier: supervised dialogues that are learnt again beside what is taught or rewarded.
        reinforced_dialogues: dialogues of REINFORCE, of every run.
        reinforce: settings of REINFORCE.
        scratch: whether REINFORCE is run from untrained weights, too.
        noise: of the users who teach and rate, as in the simulator's section `noise`; those who measure have none.
        measure_every: dialogues between two points of the curves of REINFORCE.
        measure_dialogues: simulated users of a point.
        final_dialogues: simulated users of the tables.
    """

    name: str = "full"
    differences: Tuple[str, ...] = ()
    model: Mapping[str, Any] = field(
        default_factory=lambda: {"epochs": 4, "weight_averaging": 0.99, "word_dropout": 0.1}
    )
    supervised_dialogues: int = 10_000
    taught: Tuple[int, ...] = (500, 1000)
    imitation: Mapping[str, Any] = field(default_factory=dict)
    earlier: int = 2000
    reinforced_dialogues: int = 10_000
    reinforce: Mapping[str, Any] = field(default_factory=dict)
    scratch: bool = True
    noise: Mapping[str, float] = field(default_factory=lambda: {"word_strange": 0.2})
    measure_every: int = 1000
    measure_dialogues: int = 200
    final_dialogues: int = 3000

    def __post_init__(self) -> None:
        for name in ("model", "imitation", "reinforce", "noise"):
            if not isinstance(getattr(self, name), Mapping):
                raise SettingsError(
                    f"{name}: {getattr(self, name)!r} is not allowed; it has to be keys and values."
                )
        Settings.from_mapping(dict(self.model))
        ImitationSettings.from_mapping(dict(self.imitation))
        ReinforceSettings.from_mapping(dict(self.reinforce))
        for name in (
            "supervised_dialogues",
            "reinforced_dialogues",
            "measure_every",
            "measure_dialogues",
            "final_dialogues",
        ):
            _whole(name, getattr(self, name), 1)
        for name, value in self.noise.items():
            if name not in NOISE:
                raise SettingsError(f"noise: {name}: no such key; allowed: {', '.join(NOISE)}.")
            is_length = name == "n_best"
            check_number(f"noise: {name}", value, 0, 20 if is_length else 1, whole=is_length)
        _whole("earlier", self.earlier, 0)
        check_flag("scratch", self.scratch)
        if list(self.taught) != sorted(set(self.taught)):
            raise SettingsError(f"taught: {list(self.taught)} has to rise.")
        for count in self.taught:
            _whole("taught", count, 1)

    @classmethod
    def read(cls, path: Union[str, Path]) -> Experiment:
        """The experiment of a YAML file.

        Raises:
            SettingsError: for an unknown key or an impossible value; names the file.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise SettingsError(f"{path}: the experiment can't be read ({error}).") from error
        known = {each.name for each in fields(cls)}
        if not isinstance(content, dict):
            raise SettingsError(
                f"{path}: keys and values are expected: {', '.join(sorted(known))}."
            )
        for key in content:
            if key not in known:
                raise SettingsError(
                    f"{path}: {key}: no such key; allowed: {', '.join(sorted(known))}."
                )
        for key in ("differences", "taught"):
            if not isinstance(content.get(key, []), list):
                raise SettingsError(
                    f"{path}: {key}: {content[key]!r} is not allowed; it has to be a list."
                )
        tuples = {k: tuple(content[k]) for k in ("differences", "taught") if k in content}
        try:
            return cls(**{**content, **tuples})
        except (SettingsError, TypeError) as error:
            raise SettingsError(f"{path}: {error}") from error

    def to_dict(self) -> Dict[str, Any]:
        """JSON-able form, all settings written out but the seed, which each run has its own of."""
        settings = {
            "model": Settings.from_mapping(dict(self.model)).to_dict(),
            "imitation": ImitationSettings.from_mapping(dict(self.imitation)).to_dict(),
            "reinforce": self.reinforce_settings("reinforce", 0).to_dict(),
        }
        if self.scratch:
            settings["reinforce_from_scratch"] = self.reinforce_settings(
                "from scratch", 0
            ).to_dict()
        for each in settings.values():
            del each["seed"]
        return {**asdict(self), **settings}

    def reinforce_settings(self, way: str, seed: int) -> ReinforceSettings:
        """The settings of a stage of REINFORCE: `reinforce`, `policy only` or `from scratch`."""
        chosen = {**self.reinforce, "seed": seed}
        if way == "policy only":
            chosen["policy_only"] = True
        elif way == "from scratch":
            chosen = {**_FROM_SCRATCH, **chosen}
        return ReinforceSettings.from_mapping(chosen)


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(
            f"{name}: {value!r} is not allowed; it has to be a whole number from {least}."
        )


#: Under ten minutes on two cores: small networks, few dialogues.
QUICK = Experiment(
    name="quick",
    differences=(
        "Small networks, few dialogues, few simulated users: it shows that everything runs, not how well it learns.",
    ),
    model={
        "embedding_size": 64,
        "utterance_lstm_size": 48,
        "dialogue_lstm_size": 64,
        "belief_hidden_size": 48,
        "policy_hidden_size": 48,
        "subword_buckets": 500,
        "epochs": 4,
        "least_steps": 1,
    },
    supervised_dialogues=2000,
    taught=(100, 200),
    imitation={"steps": 8},
    earlier=400,
    reinforced_dialogues=400,
    measure_every=100,
    measure_dialogues=50,
    final_dialogues=200,
)


@dataclass(frozen=True)
class Surfaces:
    """Which words each part of an experiment uses: sets of the project, or files."""

    train: str = "train"
    teach: str = "extended-teach"
    test: str = "extended-test"

    def load(self, project: Union[str, Path]) -> Dict[str, Simulator]:
        """Their simulators: `train`, `teach`, `test`."""
        return {part: load_simulator(project, surface) for part, surface in asdict(self).items()}


class Stage(NamedTuple):
    """A model of an experiment: what it starts from, and how many dialogues of what it learns from."""

    name: str
    parent: Optional[str]
    way: str
    dialogues: int

    @property
    def folder(self) -> str:
        """Name of its directory."""
        return self.name.replace(" ", "-").replace("+", "_")

    def path(self, directory: Path) -> Path:
        """What was found, once the stage is done, in the directory of a seed."""
        return directory / f"{self.folder}.json"


def stages(experiment: Experiment) -> List[Stage]:
    """The models of an experiment, each after those that it builds on, what tells most first."""
    rewarded = experiment.reinforced_dialogues
    found = [Stage(SUPERVISED, None, "supervised", experiment.supervised_dialogues)]
    parent = SUPERVISED
    for count in experiment.taught:
        found.append(Stage(f"SL+IL{count}", parent, "imitation", count))
        parent = found[-1].name
    *others, taught_most = [s.name for s in found]
    found.append(Stage(f"{taught_most}+RL", taught_most, "reinforce", rewarded))
    if others:
        found.append(Stage("SL+RL", SUPERVISED, "reinforce", rewarded))
    found.append(Stage(POLICY_ONLY, SUPERVISED, "policy only", rewarded))
    found += [Stage(f"{name}+RL", name, "reinforce", rewarded) for name in others[1:]]
    if experiment.scratch:
        found.append(Stage(SCRATCH, SUPERVISED, "from scratch", rewarded))
    return found


class Laboratory:
    """Runs the stages of an experiment for one seed.

    Args:
        experiment: what to run.
        project: directory of the simulated project.
        surfaces: which words each part uses.
        directory: of this seed.
        seed: of everything.
        tell: called with what goes on, a line at a time.
    """

    def __init__(
        self,
        experiment: Experiment,
        project: Union[str, Path],
        surfaces: Surfaces,
        directory: Path,
        seed: int,
        tell: Tell,
    ) -> None:
        self.experiment, self.directory, self.seed, self.tell = experiment, directory, seed, tell
        self.simulators = surfaces.load(project)
        self._measured = {part: self.simulators[part] for part in ("teach", "test")}
        self._users = load_simulator(project, surfaces.teach, noise=experiment.noise)
        self._earlier: List[Dialogue] = []
        self._offline: List[Dialogue] = []

    def run(self, stage: Stage) -> Dict[str, Any]:
        """What a stage found; it is run if that is not on disk yet."""
        path = stage.path(self.directory)
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        self.directory.mkdir(parents=True, exist_ok=True)
        started, busy = time.perf_counter(), time.process_time()
        model, rows = self._learn(stage)
        learnt, learnt_busy = time.perf_counter() - started, time.process_time() - busy
        save(self.directory / stage.folder / "model", *model)
        result = {
            "stage": stage.name,
            "seed": self.seed,
            "dialogues": stage.dialogues,
            "seconds": round(learnt, 1),
            "processor_seconds": round(learnt_busy, 1),
            "curve": [{"run": stage.name, "seed": self.seed, **row} for row in rows],
            "final": self._final(model),
        }
        write_whole(path, json.dumps(result))
        return result

    def _learn(self, stage: Stage) -> Tuple[TrainedModel, List[Dict[str, Any]]]:
        experiment = self.experiment
        if stage.way == "supervised":
            settings = Settings.from_mapping({**experiment.model, "seed": self.seed})

            def epoch(result: Any) -> None:
                self.tell(
                    f"{stage.name}: epoch {result.epoch}, loss {result.loss:.3f}, "
                    f"joint goal accuracy {result.joint_goal_accuracy:.3f}"
                )

            model = train_on_simulator(
                self.simulators["train"], settings, experiment.supervised_dialogues, epoch
            )
            return model, []
        assert stage.parent is not None
        parent = self._load(stage.parent)
        if stage.way == "imitation":
            # One run of teaching, of which the stages are moments.
            start, folder = self._load(SUPERVISED), self.directory / _TEACHING
            teaching = ImitationSettings.from_mapping({**experiment.imitation, "seed": self.seed})
            practice: Any = TeachingPractice(start, self._users, teaching, self._corpus(start))
            every = max(experiment.taught[0] // 5, 1)
        else:
            folder = self.directory / stage.folder / "run"
            if stage.way == "from scratch":
                parent = _untrained(parent, self.seed)
            settings_ = experiment.reinforce_settings(stage.way, self.seed)
            mixing = self._corpus(parent) + self._taught(stage.parent)
            practice = FeedbackPractice(parent, self._users, settings_, mixing)
            every = experiment.measure_every

        def measure(model: TrainedModel, done: int) -> List[Dict[str, Any]]:
            count = experiment.measure_dialogues
            rows = measured(model, self._measured, count, _MEASURING, done)
            self.tell(
                f"{stage.name}: {done} dialogues, success "
                + ", ".join(f"{row['surface']} {row['success_rate']:.3f}" for row in rows)
            )
            return rows

        return practise(practice, stage.dialogues, folder, measure, every)

    def _load(self, name: str) -> TrainedModel:
        return TrainedModel(*load(self.directory / self._stage(name).folder / "model"))

    def _stage(self, name: str) -> Stage:
        return next(stage for stage in stages(self.experiment) if stage.name == name)

    def _taught(self, name: str) -> List[Dialogue]:
        """What the model of this name was taught."""
        stage = self._stage(name)
        if stage.way != "imitation":
            return []
        return taught_dialogues(self.directory / _TEACHING, stage.dialogues)

    def _corpus(self, model: TrainedModel) -> List[Dialogue]:
        if not self._earlier:
            facts = DomainFacts.from_dict(model.extra["facts"])
            self._earlier = supervised_corpus(
                self.simulators["train"], facts, self.experiment.earlier, self.seed
            )
        return self._earlier

    def _final(self, model: TrainedModel) -> Dict[str, Any]:
        """Figures of the tables, and those of every dialogue, to compare models on the same users."""
        final = {}
        for part, simulator in self.simulators.items():
            report = interact(model, simulator, self.experiment.final_dialogues, _MEASURING)
            final[part] = {
                **{k: v for k, v in report.to_dict().items() if k not in ("profiles", "ended")},
                "successes": [int(s) for s in report.successes],
                "joint_goals": report.joint_goals,
            }
        final["offline"] = self._table_2(model)
        return final

    def _table_2(self, model: TrainedModel) -> Dict[str, Any]:
        """Belief accuracy on recorded dialogues of the expert, as in table 2 of the paper."""
        simulator = self.simulators["train"]
        if not self._offline:
            facts = DomainFacts.from_dict(model.extra["facts"])
            count = self.experiment.final_dialogues
            self._offline = supervised_corpus(simulator, facts, count, _OFFLINE)
        acting = ActingModel(with_known_values(model.encoder, simulator), model.weights)
        return offline_accuracy(acting, self._offline, simulator.slots)


def run_stage(
    experiment: Experiment,
    project: Union[str, Path],
    surfaces: Surfaces,
    directory: Path,
    seed: int,
    stage: Stage,
) -> Dict[str, Any]:
    """`Laboratory.run` as the work of `workers.side_by_side`."""

    def tell(line: str) -> None:
        tell_parent(f"seed {seed}, {line}")

    return Laboratory(experiment, project, surfaces, directory, seed, tell).run(stage)


def offline_accuracy(
    model: ActingModel, dialogues: Sequence[Dialogue], slots: Sequence[str]
) -> Dict[str, Any]:
    """Share of the labelled turns in which each slot, and all of them, are tracked right."""
    turns, joint = 0, 0
    right = dict.fromkeys(slots, 0)
    for dialogue, beliefs in track(model, dialogues):
        labelled = [turn.goal for turn in dialogue.turns if turn.user is not None]
        for goal, belief in zip(labelled, beliefs):
            if goal is None:
                continue
            found, turns = belief.goal(), turns + 1
            same = [
                normalise(goal_value(found, s)) == normalise(goal_value(goal, s)) for s in slots
            ]
            joint += all(same)
            for slot, is_right in zip(slots, same):
                right[slot] += is_right
    count = max(turns, 1)
    return {
        "turns": turns,
        "joint_goal_accuracy": joint / count,
        "slot_accuracy": {slot: value / count for slot, value in right.items()},
    }


def _untrained(model: TrainedModel, seed: int) -> TrainedModel:
    """The same model with weights that nobody trained."""
    encoder = model.encoder
    shapes = parameter_shapes(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology))
    return model._replace(weights=initial_weights(shapes, seed))


__all__ = [
    "QUICK",
    "Experiment",
    "Laboratory",
    "Stage",
    "Surfaces",
    "offline_accuracy",
    "run_stage",
    "stages",
]
