"""Does feedback pay on a running server? `python -m benchmarks.production --model PROJECT/models/X.tar.gz --out DIR`.

A server with `FeedbackChannel` and its embedded learner talks to simulated users, each of whom says at the end whether it
worked, as people would by the API. Then the model that the server began with and the one that it ended with meet the same
new users.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import click
import numpy as np
import requests
import yaml
from tqdm import tqdm

from benchmarks.common import PROJECT, ensure_knowledge_base, machine
from benchmarks.serving import action_server, served
from rasa_hybrid.simulation.rasa_server import RasaServerAgent
from tests.components.bot_server import free_port

#: Dialogues of the model's training corpus that every update mixes in, and as many that the gate looks at.
_CORPUS, _REGRESSION = 1000, 300
#: Seeds of the users that talk, that measure, and of the corpora.
_TALKING, _MEASURING, _SUPERVISED = 501, 502, 1


class RatedServer(RasaServerAgent):
    """A server whose users talk by `FeedbackChannel` and rate by what its replies tell them."""

    def begin(self, count: int) -> None:
        super().begin(count)
        self._told: List[Dict[str, Any]] = [{} for _ in range(count)]

    def say(self, i: int, text: str, channel: str = "hybrid") -> List[Dict[str, Any]]:
        replies = super().say(i, text, channel)
        for reply in replies:
            # The token comes with the first replies alone.
            self._told[i] = {**self._told[i], **reply.get("feedback", {})}
        return replies

    def rate(self, i: int, success: bool) -> None:
        """Says of conversation `i` whether it worked."""
        body = {"sender": self._conversations[i].id, "success": success, **self._told[i]}
        answer = requests.post(f"{self._url}/webhooks/hybrid/feedback", json=body, timeout=60)
        answer.raise_for_status()


@click.command()
@click.option("--model", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A folder of its own.")
@click.option("--conversations", default=2000, show_default=True)
@click.option("--at-once", default=8, show_default=True)
@click.option("--surface", default="extended-teach", show_default=True, help="Users' wordings.")
@click.option("--learning-rate", default=0.0005, show_default=True, help="Of the learner.")
@click.option("--users", default=1000, show_default=True, help="That measure, on each surface.")
def main(
    model: Path,
    out: Path,
    conversations: int,
    at_once: int,
    surface: str,
    learning_rate: float,
    users: int,
) -> None:
    """Conversations with feedback on a running server, and what the model gained."""
    from rasa_hybrid.simulation import Environment, SideEffects, load_simulator

    ensure_knowledge_base(PROJECT)
    project = prepare(model.resolve(), out.resolve(), learning_rate)
    base = project / "models" / model.name
    simulator = load_simulator(str(PROJECT), surface)
    effects = SideEffects(simulator.flow)
    failed, successes, started = 0, [], time.time()
    with action_server(project), served(base, project, alone=False) as (url, _, _):
        agent = RatedServer(url, simulator, effects, workers=at_once)
        environment = Environment(simulator, agent, effects)
        rollouts = environment.rollouts(conversations, _TALKING, at_once)
        for k, rollout in enumerate(
            tqdm(rollouts, total=conversations, disable=not sys.stderr.isatty())
        ):
            successes.append(rollout.success)
            try:
                agent.rate(k % at_once, rollout.success)
            except requests.RequestException as error:
                failed += 1
                click.echo(f"feedback on conversation {k} failed: {error}", err=True)
            if (k + 1) % 100 == 0:
                click.echo(
                    f"{k + 1}: success of the last 100 {np.mean(successes[-100:]):.2f}", err=True
                )
        talked = time.time() - started
        settle(project, conversations)
    from rasa_hybrid.feedback.store import EpisodeStore

    store = EpisodeStore(f"sqlite:///{project / 'feedback.db'}")
    result = {
        "machine": machine(),
        "conversations": conversations,
        "failed_requests": failed,
        "seconds": round(talked, 1),
        "success_of_the_first_and_last_500": [
            float(np.mean(successes[:500])),
            float(np.mean(successes[-500:])),
        ],
        "episodes": store.counts(),
        "before_and_after": compared(base, newest(project / "models"), users),
    }
    store.close()
    (out / "production.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def prepare(model: Path, out: Path, learning_rate: float) -> Path:
    """The project of an archive once more, with feedback, exploration and a learner."""
    from rasa_hybrid.corpora import write_jsonl
    from rasa_hybrid.simulation import load_simulator, self_play

    home = model.parents[1]
    shutil.copytree(home, out, ignore=shutil.ignore_patterns("models", ".rasa", "*.log"))
    (out / "models").mkdir()
    shutil.copy(model, out / "models")
    shutil.copy(PROJECT / "db" / "screenings.db", out / "db")
    simulator = load_simulator(str(PROJECT), "train")
    corpus = self_play(simulator, _CORPUS, _SUPERVISED)
    write_jsonl(out / "corpus.jsonl", corpus)
    write_jsonl(out / "regression.jsonl", self_play(simulator, _REGRESSION, _SUPERVISED + 1))
    channel = {
        "store": f"sqlite:///{out / 'feedback.db'}",
        "sweep_seconds": 1,
        "exploration": {"mode": "softmax"},
        "learner": "embedded",
        "learning": {
            "out": str(out / "models"),
            "corpus": [str(out / "corpus.jsonl")],
            "regression": [str(out / "regression.jsonl")],
            "least": 100,
            "learning_rate": learning_rate,
        },
    }
    credentials = {"rest": None, "rasa_hybrid.FeedbackChannel": channel}
    endpoints = (out / "endpoints.yml").read_text(encoding="utf-8")
    port = f"http://localhost:{free_port()}/"  # not that of another action server on this machine
    endpoints = re.sub(r"http://localhost:\d+/", port, endpoints)
    (out / "endpoints.yml").write_text(endpoints, encoding="utf-8")
    (out / "credentials.yml").write_text(yaml.safe_dump(credentials), encoding="utf-8")
    return out


def settle(project: Path, conversations: int, seconds: float = 600) -> None:
    """Waits until so many episodes were taken up that the learner waits for more."""
    from rasa_hybrid.feedback.store import EpisodeStore

    store = EpisodeStore(f"sqlite:///{project / 'feedback.db'}")
    until = time.time() + seconds
    while time.time() < until:
        counts = store.counts()
        if sum(counts.get(state, 0) for state in ("open", "claimed", "used")) == 0 and (
            counts.get("new", 0) < 100
        ):
            break
        time.sleep(1)
    store.close()


def newest(models: Path) -> Path:
    """The archive that a server would start with."""
    return max(models.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)


def compared(before: Path, after: Path, users: int) -> Dict[str, Dict[str, Any]]:
    """Success of two archives with the same users, and the paired difference, on the wordings of each surface."""
    from rasa_hybrid.evaluation.curves import interact
    from rasa_hybrid.evaluation.intervals import bootstrap_interval
    from rasa_hybrid.learning.simulated import TrainedModel
    from rasa_hybrid.model.checkpoint import load_archive
    from rasa_hybrid.simulation import load_simulator

    models = [TrainedModel(*load_archive(path)) for path in (before, after)]
    found = {}
    for surface in ("train", "extended-teach", "extended-test"):
        simulator = load_simulator(str(PROJECT), surface)
        reports = [interact(model, simulator, users, _MEASURING) for model in models]
        gained = np.subtract(*[np.array(r.successes, float) for r in reversed(reports)])
        figures = [report.to_dict() for report in reports]
        found[surface] = {
            "success": [f["success_rate"] for f in figures],
            "difference": float(gained.mean()),
            "interval": list(bootstrap_interval(gained)),
            "joint_goal_accuracy": [f["joint_goal_accuracy"] for f in figures],
            "turns_of_successful": [f["average_turns_successful"] for f in figures],
        }
    return found


if __name__ == "__main__":
    main()
