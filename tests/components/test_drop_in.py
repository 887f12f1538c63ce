"""HybridPolicy in the place of TEDPolicy, in Rasa projects that were written for TED.

`config_policy.yml` of each project has HybridPolicy in the place of TEDPolicy and nothing else changed (concertbot: more updates).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.components import projects

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Bot:
    """A trained project with its action server running."""

    project: Path
    agent: Any

    def failed_stories(self, end_to_end: bool) -> Dict[str, List[str]]:
        """Test stories that do not pass, with what is wrong."""
        stories = self.project / "tests" / "test_stories.yml"
        outcome = projects.run_test_stories(self.agent, stories, end_to_end)
        assert set(outcome) == projects.story_names(stories)
        return {story: mistakes for story, mistakes in outcome.items() if mistakes}


@pytest.fixture(scope="module", params=projects.NAMES)
def bot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    """The bot of a project."""
    name = request.param
    project = projects.copy_project(name, tmp_path_factory.mktemp("drop_in") / name)
    with ExitStack() as servers:
        archive = projects.train(project, "config_policy.yml")
        actions_url = servers.enter_context(projects.action_server(project))
        yield Bot(project, projects.load_agent(archive, actions_url))


def test_rasa_finds_nothing_wrong_with_the_project(bot: Bot) -> None:
    assert projects.validate(bot.project, "config_policy.yml")


def test_every_test_story_passes(bot: Bot) -> None:
    assert bot.failed_stories(end_to_end=False) == {}


def test_every_test_story_passes_end_to_end(bot: Bot) -> None:
    assert bot.failed_stories(end_to_end=True) == {}
