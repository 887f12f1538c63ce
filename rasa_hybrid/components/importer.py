"""`rasa_hybrid.TaughtDataImporter`: what people taught joins the training data, D <- D u D_pi (Algorithm 1, line 6).

Taught dialogues are stories in a folder of their own. A dialogue that the project can't take any more, because it
contradicts a rule or names what the domain does not know, is reported by name and left out; training goes on.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import rasa.shared.data
import rasa.shared.utils.io
from rasa.core.policies.rule_policy import InvalidRule, RulePolicy
from rasa.engine.graph import ExecutionContext, GraphSchema
from rasa.engine.storage.resource import Resource
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActionExecuted, Event, SlotSet, UserUttered
from rasa.shared.core.generator import TrainingDataGenerator
from rasa.shared.core.training_data.story_reader.yaml_story_reader import YAMLStoryReader
from rasa.shared.core.training_data.structures import RuleStep, StoryGraph, StoryStep
from rasa.shared.exceptions import InvalidConfigException
from rasa.shared.importers.importer import TrainingDataImporter
from rasa.shared.importers.rasa import RasaFileImporter
from rasa.shared.importers.utils import story_graph_from_paths
from rasa.shared.nlu.training_data.training_data import TrainingData

from rasa_hybrid.components import rasa_internals
from rasa_hybrid.components.conversion import TAUGHT_SOURCE
from rasa_hybrid.corpora.taught import DEFAULT_DIRECTORY

logger = logging.getLogger(__name__)


class _Story(NamedTuple):
    """A taught dialogue: checkpoints and `or` may make several steps of it."""

    name: str
    file: str
    steps: Tuple[StoryStep, ...]

    def __str__(self) -> str:
        return f"{self.name!r} in {self.file}"


class TaughtDataImporter(RasaFileImporter):
    """Reads the taught dialogues; alone in `importers:` it reads the project's own data as well.

    Args:
        config_file: of the project.
        domain_path: of the project.
        training_data_paths: the project's own data.
        taught: folder of the taught dialogues, relative to the configuration file.
    """

    #: Folder of the importer that was made last, so that teaching in the same process writes where it reads.
    directory = Path(DEFAULT_DIRECTORY)

    def __init__(
        self,
        config_file: Optional[str] = None,
        domain_path: Optional[str] = None,
        training_data_paths: Optional[Union[List[str], str]] = None,
        taught: str = DEFAULT_DIRECTORY,
    ) -> None:
        """Makes the importer.

        Raises:
            InvalidConfigException: if `taught` is not the path of a folder.
        """
        if not isinstance(taught, str) or not taught or Path(taught).is_file():
            raise InvalidConfigException(
                f"TaughtDataImporter: taught: {taught!r} is not allowed; it has to be the path of a folder."
            )
        super().__init__(config_file, domain_path, training_data_paths)
        base = Path(config_file).parent if config_file else Path()
        self._directory = TaughtDataImporter.directory = base / taught
        self._project_paths = training_data_paths
        self._others = _other_importers(config_file)
        own = self._directory.resolve()
        for files in (self._nlu_files, self._story_files, self._conversation_test_files):
            files[:] = [file for file in files if own not in Path(file).resolve().parents]
        self._taught: Optional[StoryGraph] = None
        self._without_taught: Optional[TrainingDataImporter] = None

    def get_config(self) -> Dict[str, Any]:
        """Retrieves model config (see parent class for full docstring)."""
        return {} if self._others else super().get_config()

    def get_domain(self) -> Domain:
        """Retrieves model domain (see parent class for full docstring)."""
        return Domain.empty() if self._others else super().get_domain()

    def get_nlu_data(self, language: Optional[str] = "en") -> TrainingData:
        """Retrieves NLU training data (see parent class for full docstring)."""
        return TrainingData() if self._others else super().get_nlu_data(language)

    def get_conversation_tests(self) -> StoryGraph:
        """Retrieves conversation test stories (see parent class for full docstring)."""
        return StoryGraph([]) if self._others else super().get_conversation_tests()

    def get_stories(self, exclusion_percentage: Optional[int] = None) -> StoryGraph:
        """Retrieves training stories / rules (see parent class for full docstring)."""
        own = StoryGraph([]) if self._others else super().get_stories(exclusion_percentage)
        if self._taught is None:
            stories = self._usable(self._read())
            self._taught = StoryGraph([step for story in stories for step in story.steps])
        return own.merge(self._taught)

    def _read(self) -> List[_Story]:
        """All dialogues of the folder, in the order of their files."""
        files = sorted(
            rasa.shared.data.get_data_files([str(self._directory)], YAMLStoryReader.is_stories_file)
            if self._directory.is_dir()
            else []
        )
        stories: Dict[Tuple[str, str], List[StoryStep]] = {}
        for file in files:
            for step in story_graph_from_paths([file], self._project().get_domain()).story_steps:
                name = str(step.block_name)
                step.source_name = f"{TAUGHT_SOURCE}{file}"
                stories.setdefault((name, file), []).append(step)
        return [_Story(name, file, tuple(steps)) for (name, file), steps in stories.items()]

    def _usable(self, stories: Sequence[_Story]) -> List[_Story]:
        """The dialogues that the project can learn from; the others are reported."""
        if not stories:
            return []
        project = self._project()
        domain = project.get_domain()
        usable = []
        for story in stories:
            unknown = _unknown(story, domain)
            if unknown:
                _report(story, f"the domain has no {unknown}")
            else:
                usable.append(story)
        rules = _rules(project, domain)
        if rules is None:
            return usable
        contradicting = rules.contradicting(usable)
        for story in contradicting:
            _report(story, "it contradicts a rule")
        return [story for story in usable if story not in contradicting]

    def _project(self) -> TrainingDataImporter:
        """The project without its taught dialogues."""
        if self._without_taught is None:
            importers = [dict(importer) for importer in self._others]  # Rasa takes the names out
            self._without_taught = TrainingDataImporter.load_from_dict(
                {**_read_config(self.config_file), "importers": importers},
                self.config_file,
                self._domain_path,
                self._project_paths,
            )
        return self._without_taught


class _RulePolicy(RulePolicy):
    """Rasa's rule policy, of which only the check at the beginning of its training is wanted."""

    def persist(self) -> None:
        """Keeps nothing (see parent class for full docstring)."""


class _Rules:
    """The rules of a project, to ask whether a dialogue contradicts them.

    Args:
        steps: of the rules.
        config: of the rule policy.
        domain: of the project.
    """

    def __init__(self, steps: Sequence[StoryStep], config: Dict[str, Any], domain: Domain) -> None:
        self._steps, self._config, self._domain = list(steps), config, domain

    def contradicting(self, stories: Sequence[_Story]) -> List[_Story]:
        """The dialogues that contradict a rule, found by halving: a project whose dialogues all fit is checked once."""
        if not stories or self._agree_with(stories) or not self._agree_with([]):
            return []
        return self._halved(stories)

    def _halved(self, stories: Sequence[_Story]) -> List[_Story]:
        if self._agree_with(stories):
            return []
        if len(stories) == 1:
            return list(stories)
        middle = len(stories) // 2
        return self._halved(stories[:middle]) + self._halved(stories[middle:])

    def _agree_with(self, stories: Sequence[_Story]) -> bool:
        graph = StoryGraph([*self._steps, *(step for story in stories for step in story.steps)])
        trackers = TrainingDataGenerator(
            graph, self._domain, augmentation_factor=0, use_story_concatenation=False
        ).generate()
        context = ExecutionContext(GraphSchema({}))
        config = {**RulePolicy.get_default_config(), **self._config}
        policy = _RulePolicy(config, None, Resource("rules"), context)
        try:
            policy.train(trackers, self._domain)
        except InvalidRule:
            return False
        return True


def _rules(project: TrainingDataImporter, domain: Domain) -> Optional[_Rules]:
    """The project's rules; None if it has none, or no rule policy."""
    policies = project.get_config().get("policies") or []
    config = next(
        (policy for policy in policies if str(policy.get("name")).endswith("RulePolicy")), None
    )
    steps = [step for step in project.get_stories().story_steps if isinstance(step, RuleStep)]
    if config is None or not steps:
        return None
    return _Rules(steps, {k: v for k, v in config.items() if k != "name"}, domain)


def _unknown(story: _Story, domain: Domain) -> Optional[str]:
    """What a dialogue names and the domain does not know, in words; None if there is nothing."""
    slots = {slot.name for slot in domain.slots}
    for event in _events(story):
        if isinstance(event, SlotSet) and event.key not in slots:
            return f"slot {event.key!r}"
        action = event.action_name if isinstance(event, ActionExecuted) else None
        if action and action not in domain.action_names_or_texts:
            return f"action {action!r}"
        intent = event.intent_name if isinstance(event, UserUttered) else None
        if intent and intent not in domain.intents:
            return f"intent {intent!r}"
    return None


def _events(story: _Story) -> Iterator[Event]:
    for step in story.steps:
        for event in step.events:
            yield from event if isinstance(event, list) else [event]


def _report(story: _Story, reason: str) -> None:
    rasa.shared.utils.io.raise_warning(
        f"The taught dialogue {story} is left out: {reason}. Change or delete it."
    )


def _other_importers(config_file: Optional[str]) -> List[Dict[str, Any]]:
    """The entries of `importers:` beside ours."""
    entries = _read_config(config_file).get("importers") or []
    ours = TaughtDataImporter.__name__
    return [dict(entry) for entry in entries if str(entry.get("name")).rsplit(".", 1)[-1] != ours]


def _read_config(config_file: Optional[str]) -> Dict[str, Any]:
    if not config_file or not Path(config_file).is_file():
        return {}
    return rasa.shared.utils.io.read_config_file(config_file)


# `rasa interactive` reads the configuration first: early enough for its server to listen on localhost.
rasa_internals.install_teaching(early=True)
