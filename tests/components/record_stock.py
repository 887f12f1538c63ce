"""Records what stock Rasa does with the projects of `tests/projects`, which ours is compared with.

    python -m tests.components.record_stock diet|ted [PROJECT ...] [--seeds 1,2,3]

writes `diet.json` (how well `config_diet.yml` understands `tests/test_nlu.yml`) or `ted.json` (which stories of
`tests/test_stories.yml` fail with `config_ted.yml`) into each project, with a training for each seed. A training
takes one to two minutes of a processor; run it after a project or its configuration has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

os.environ.setdefault("RASA_TELEMETRY_ENABLED", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tests.components import projects


def seeded(project: Path, config: str, seed: int) -> str:
    """Name of a copy of a configuration with another seed."""
    copy = f"{Path(config).stem}_{seed}.yml"
    text = (project / config).read_text()
    (project / copy).write_text(text.replace("random_seed: 1", f"random_seed: {seed}"))
    return copy


def diet(project: Path, seed: int) -> Dict[str, Any]:
    """How well DIET understands the held-out wordings of a project."""
    archive = projects.train(project, seeded(project, "config_diet.yml", seed), nlu_only=True)
    return projects.figures(projects.load_agent(archive), project)


def ted(project: Path, seed: int) -> Dict[str, Any]:
    """How many test stories a project has, and those that TED fails with what is wrong."""
    archive = projects.train(project, seeded(project, "config_ted.yml", seed))
    stories = project / "tests" / "test_stories.yml"
    with projects.action_server(project) as actions_url:
        agent = projects.load_agent(archive, actions_url)
        found: Dict[str, Any] = {"stories": len(projects.story_names(stories))}
        for kind, end_to_end in (("core", False), ("e2e", True)):
            outcome = projects.run_test_stories(agent, stories, end_to_end)
            found[f"failed_{kind}"] = {story: wrong for story, wrong in outcome.items() if wrong}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["diet", "ted"])
    parser.add_argument("projects", nargs="*", default=list(projects.NAMES))
    parser.add_argument("--seeds", default="1,2,3")
    arguments = parser.parse_intermixed_args()
    record = {"diet": diet, "ted": ted}[arguments.what]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("RASA_CACHE_DIRECTORY", str(Path(folder) / "cache"))
        for name in arguments.projects:
            project = projects.copy_project(name, Path(folder) / name)
            found = {}
            for seed in arguments.seeds.split(","):
                found[seed] = record(project, int(seed))
                print(f"{name}, seed {seed}: {found[seed]}", file=sys.stderr)
            target = projects.PROJECTS / name / f"{arguments.what}.json"
            target.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
