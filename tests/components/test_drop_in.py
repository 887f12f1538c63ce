"""HybridPolicy and HybridNLU in Rasa projects that were written for TED and DIET.

`config_policy.yml` of each project has HybridPolicy in the place of TEDPolicy and nothing else changed;
`config_hybrid.yml` has HybridNLU in the place of the pipeline as well. What TED and DIET do is recorded in
`expected.json` beside it, see `record_expected.py`.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from tests.components import projects

pytestmark = pytest.mark.slow

#: Intent accuracy and entity F1 on held-out wordings may be lower than DIET's by this much.
TOLERANCE = 0.02

IN_PLACE_OF_TED = [
    (name, "config_policy.yml") for name in ("moodbot", "formbot", "concertbot", "retailbot")
]
IN_PLACE_OF_BOTH = [(name, "config_hybrid.yml") for name in ("moodbot", "concertbot", "retailbot")]


@dataclass(frozen=True)
class Bot:
    """A trained project with its action server running.

    Args:
        project: its folder.
        agent: Rasa's agent with the model.
        expected: what TED and DIET do.
    """

    project: Path
    agent: Any
    expected: Dict[str, Any]

    def failed_stories(self, end_to_end: bool) -> Dict[str, List[str]]:
        """Test stories that TED passes and this bot does not, with what is wrong."""
        stories = self.project / "tests" / "test_stories.yml"
        outcome = projects.run_test_stories(self.agent, stories, end_to_end)
        assert set(outcome) == projects.story_names(stories)
        passed_with_ted = self.expected["passed"]["e2e" if end_to_end else "core"]
        assert passed_with_ted
        return {story: outcome[story] for story in passed_with_ted if outcome[story]}

    def deviations(self) -> List[str]:
        """Where the conversations of the project go otherwise than with TED, in words."""
        found = []
        conversations = projects.read_conversations(self.project)
        assert set(conversations) == set(self.expected["conversations"])
        for name, messages in conversations.items():
            turns = projects.converse(self.agent, messages)
            for turn, before in zip(turns, self.expected["conversations"][name]):
                found += [
                    f"{name}, {turn['user']!r}: {key} {turn[key]} instead of {before[key]}"
                    for key in before
                    if turn[key] != before[key]
                ]
        return found


class Bots:
    """The bots of this module, each trained when the first test asks for it."""

    def __init__(self, folder: Path, servers: ExitStack) -> None:
        self._folder = folder
        self._servers = servers
        self._trained: Dict[Tuple[str, str], Bot] = {}

    def get(self, name: str, config: str) -> Bot:
        """The bot of a project and one of its configurations."""
        if (name, config) not in self._trained:
            project = projects.copy_project(name, self._folder / f"{name}-{Path(config).stem}")
            archive = projects.train(project, config)
            actions_url = self._servers.enter_context(projects.action_server(project))
            agent = projects.load_agent(archive, actions_url)
            expected = json.loads((project / "expected.json").read_text())
            self._trained[name, config] = Bot(project, agent, expected)
        return self._trained[name, config]


@pytest.fixture(scope="module")
def bots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bots]:
    """All bots, with a cache of Rasa's for them, so that a pipeline is trained once for those that share it."""
    folder = tmp_path_factory.mktemp("drop_in")
    with pytest.MonkeyPatch.context() as environment, ExitStack() as servers:
        environment.setenv("RASA_CACHE_DIRECTORY", str(folder / "cache"))
        yield Bots(folder, servers)


@pytest.fixture
def bot(request: pytest.FixtureRequest, bots: Bots) -> Bot:
    """The bot of a project and a configuration, given as a parameter."""
    return bots.get(*request.param)


def _name(case: Any) -> str:
    return "-".join(case).replace("config_", "").replace(".yml", "")


in_place_of_ted = pytest.mark.parametrize("bot", IN_PLACE_OF_TED, indirect=True, ids=_name)
in_place_of_both = pytest.mark.parametrize("bot", IN_PLACE_OF_BOTH, indirect=True, ids=_name)
in_either_place = pytest.mark.parametrize(
    "bot", IN_PLACE_OF_TED + IN_PLACE_OF_BOTH, indirect=True, ids=_name
)


@pytest.mark.parametrize("name", ["moodbot", "formbot", "concertbot", "retailbot"])
def test_rasa_finds_nothing_wrong_with_the_project(name: str, tmp_path: Path) -> None:
    assert projects.validate(projects.copy_project(name, tmp_path / name), "config_policy.yml")


@in_either_place
def test_every_test_story_that_passes_with_ted_passes(bot: Bot) -> None:
    assert bot.failed_stories(end_to_end=False) == {}


@in_either_place
def test_every_test_story_that_passes_end_to_end_with_ted_passes(bot: Bot) -> None:
    assert bot.failed_stories(end_to_end=True) == {}


@in_either_place
def test_conversations_go_as_with_ted(bot: Bot) -> None:
    assert bot.deviations() == []


@in_place_of_both
def test_held_out_wordings_are_understood_as_well_as_by_diet(bot: Bot) -> None:
    diet = bot.expected["diet"]
    found = projects.understanding(bot.agent, bot.project)
    assert found.intent_accuracy >= diet["intent_accuracy"] - TOLERANCE, found.mistakes
    for figure, with_diet in ((found.span_f1, diet["span_f1"]), (found.value_f1, diet["value_f1"])):
        if with_diet is None:
            assert figure is None, found.mistakes
        else:
            assert figure is not None and figure >= with_diet - TOLERANCE, found.mistakes


@pytest.mark.parametrize("bot", [("retailbot", "config_hybrid.yml")], indirect=True, ids=_name)
def test_confidence_tells_the_fallback_classifier_what_is_not_understood(bot: Bot) -> None:
    diet = bot.expected["diet"]
    nonsense = (bot.project / "tests" / "out_of_domain.txt").read_text().splitlines()
    assert (
        projects.fallback_rate(bot.agent, nonsense)
        >= diet["fallback_rate_out_of_domain"] - TOLERANCE
    )
    wordings = projects.held_out_texts(bot.project)
    assert projects.fallback_rate(bot.agent, wordings) <= diet["fallback_rate"] + TOLERANCE
