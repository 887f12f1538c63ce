"""The model used directly is the model used through Rasa: same beliefs, same actions, same probabilities.

200 simulated users talk to the model in a simulation; the same users then say the same to a Rasa agent that has the
same archive loaded. Only the action server stands in for itself: it answers as the simulation's side effects do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import pytest
import yaml
from click.testing import CliRunner
from rasa.core.agent import Agent, load_agent
from rasa.core.channels.channel import CollectingOutputChannel, UserMessage
from rasa.shared.core.events import ActionExecuted, UserUttered
from rasa.utils.endpoints import EndpointConfig
from rasa.utils.log_utils import configure_structlog

from rasa_hybrid.commands import main
from rasa_hybrid.corpora import write_jsonl
from rasa_hybrid.dialogue import Belief, SystemAction
from rasa_hybrid.learning import agent as joint
from rasa_hybrid.simulation import Environment, SideEffects, load_simulator, self_play
from tests.components import projects
from tests.components.test_serving import serve

PROJECT = Path(__file__).parents[2] / "examples" / "movie_booking"
DIALOGUES = 200
pytestmark = pytest.mark.slow
SMALL = {
    "embedding_size": 40,
    "utterance_lstm_size": 24,
    "dialogue_lstm_size": 48,
    "belief_hidden_size": 32,
    "policy_hidden_size": 48,
    "subword_buckets": 300,
    "dropout": 0.1,
    "learning_rate": 0.005,
    "batch_size": 16,
    "epochs": 6,
    "least_steps": 1,
}


class ActionServer(EndpointConfig):
    """The custom action, with the outcome that the simulation would give it."""

    def __init__(self) -> None:
        super().__init__("http://action-server.invalid")
        self.answer: Any = None

    async def request(self, *args: Any, **kwargs: Any) -> Any:
        call = kwargs["json"]
        changes = self.answer(call["sender_id"], call["next_action"], call["tracker"]["slots"])
        return {
            "events": [{"event": "slot", "name": k, "value": v} for k, v in changes.items()],
            "responses": [],
        }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The movie booking project with a small model, trained by Rasa on stories and simulated dialogues."""
    import rasa.api

    directory = tmp_path_factory.mktemp("equivalence") / "movie_booking"
    shutil.copytree(
        PROJECT,
        directory,
        ignore=shutil.ignore_patterns("models", ".rasa", "simulated.jsonl", "*.db"),
    )
    here = os.getcwd()
    os.chdir(directory)
    try:
        _build_knowledge_base(directory)
        write_jsonl("data/simulated.jsonl", self_play(load_simulator(directory, "train"), 400, 3))
        config = yaml.safe_load(Path("config.yml").read_text(encoding="utf-8"))
        config["policies"] = [{**config["policies"][0], **SMALL}]  # no rules in the simulation
        config["policies"][0]["knowledge_base"]["timeout"] = 60  # on a busy machine it may be slow
        Path("data/rules.yml").unlink()
        Path("config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        result = rasa.api.train("domain.yml", "config.yml", ["data"], "models")
        assert result.code == 0
        shutil.copy(result.model, directory / "models" / "bot.tar.gz")
        yield directory
    finally:
        os.chdir(here)


def test_model_used_directly_and_through_rasa_give_the_same_conversations(project: Path) -> None:
    archive = project / "models" / "bot.tar.gz"
    direct = _rollouts(
        project, lambda simulator, effects: joint.load_agent(archive, simulator, effects)
    )
    through = _rollouts(project, lambda simulator, effects: RasaAgent(archive, simulator, effects))
    assert sum(rollout.success for rollout in direct) > DIALOGUES / 4, "too few offers to compare"
    for one, other in zip(direct, through):
        assert [t.user.text for t in one.dialogue.turns] == [
            t.user.text for t in other.dialogue.turns
        ]
        for here, there in zip(one.turns, other.turns):
            assert [a.name for a in here.actions] == [a.name for a in there.actions]
            assert here.propensities == pytest.approx(there.propensities, abs=1e-4)
            assert here.summary == there.summary
            for slot, values in there.belief.distributions.items():
                known = dict(here.belief.distributions[slot])
                for value, probability in values:
                    assert known[value] == pytest.approx(probability, abs=1e-4)
        assert one.success == other.success


@pytest.mark.process
def test_evaluating_a_running_server_agrees_with_evaluating_its_model(
    project: Path, tmp_path: Path
) -> None:
    archive = project / "models" / "bot.tar.gz"
    count, seed = 40, 23
    common = ["evaluate", "--dialogues", count, "--seed", seed, "--project", project, "--json"]
    direct = _command(*common, "--model", archive)
    simulator = load_simulator(project, "train")
    effects = SideEffects(simulator.flow)
    effects.begin([(seed, i) for i in range(count)])
    with projects.serve_actions(_simulated_action(simulator, effects)) as actions_url, serve(
        archive, tmp_path, actions_url, project
    ) as server:
        served = _command(*common, "--url", server.url)
    del direct["seconds"], served["seconds"]
    assert direct["success_rate"] > 0.2, "too few offers to compare"
    assert served == direct


def _command(*arguments: Any) -> Dict[str, Any]:
    done = CliRunner(mix_stderr=False).invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output + done.stderr
    return json.loads(done.stdout)


def _simulated_action(simulator: Any, effects: SideEffects) -> Callable[[Any], Tuple[int, Any]]:
    """The custom action of an action server, with the outcome that the simulation gives it."""
    by_id = {entity["id"]: entity for entity in simulator.catalogue.everything}

    def run(call: Any) -> Tuple[int, Any]:
        entity = by_id.get(str(call["tracker"]["slots"]["offer_id"]))
        number = int(call["sender_id"].rsplit("-", 1)[1])
        changes = effects.perform(number, call["next_action"], entity)
        events = [{"event": "slot", "name": k, "value": v} for k, v in changes.items()]
        return 200, {"events": events, "responses": []}

    return run


def _rollouts(project: Path, make_agent: Any) -> List[Any]:
    simulator = load_simulator(project, "train")
    effects = SideEffects(simulator.flow)
    agent = make_agent(simulator, effects)
    return list(Environment(simulator, agent, effects).rollouts(DIALOGUES, seed=11, batch_size=50))


def _build_knowledge_base(directory: Path) -> None:
    import runpy

    module = runpy.run_path(str(directory / "build_knowledge_base.py"))
    (directory / "db").mkdir(exist_ok=True)
    module["build"](f"sqlite:///{directory / 'db' / 'screenings.db'}")


class RasaAgent:
    """Plays the system through `Agent.handle_message`, as every channel of Rasa does."""

    def __init__(self, archive: Path, simulator: Any, effects: SideEffects) -> None:
        self._server = ActionServer()
        configure_structlog(logging.ERROR)
        self._loop = asyncio.new_event_loop()
        self._agent: Agent = self._loop.run_until_complete(load_agent(str(archive)))
        self._agent.action_endpoint = self._server
        self._agent.processor.action_endpoint = self._server  # type: ignore[union-attr]
        self._simulator, self._effects = simulator, effects
        self._by_id = {entity["id"]: entity for entity in simulator.catalogue.everything}
        self._server.answer = self._act
        self._batch = 0

    def begin(self, count: int) -> None:
        self._batch += 1

    def respond(self, utterances: Mapping[int, Any]) -> Dict[int, Any]:
        return {
            i: self._loop.run_until_complete(self._turn(i, utterance.text))
            for i, utterance in utterances.items()
        }

    def _act(self, sender: str, action: str, slots: Mapping[str, Any]) -> Dict[str, str]:
        return self._effects.perform(
            int(sender.split("-")[1]), action, self._by_id.get(str(slots["offer_id"]))
        )

    async def _turn(self, i: int, text: str) -> Any:
        from rasa_hybrid.dialogue import ResultSummary
        from rasa_hybrid.simulation.agents import AgentTurn

        sender = f"{self._batch}-{i}"
        await self._agent.handle_message(UserMessage(text, CollectingOutputChannel(), sender))
        tracker = await self._agent.tracker_store.retrieve(sender)
        assert tracker is not None
        events = list(tracker.events)
        start = max(k for k, event in enumerate(events) if isinstance(event, UserUttered))
        decided = [e for e in events[start:] if isinstance(e, ActionExecuted)]
        assert all(event.policy == "HybridPolicy" for event in decided), [str(e) for e in decided]
        hybrid = [event.metadata["hybrid"] for event in decided]
        offered: Optional[str] = next(
            (h["offered"] for h in reversed(hybrid) if "offered" in h), None
        )
        values = tracker.current_slot_values()
        actions = tuple(
            SystemAction(e.action_name, self._acts(e.action_name, values)) for e in decided[:-1]
        )
        return AgentTurn(
            Belief({slot: tuple(map(tuple, row)) for slot, row in hybrid[0]["belief"].items()}),
            ResultSummary(**hybrid[0]["summary"]),
            actions,
            self._by_id[offered] if offered else None,
            tuple(h["propensity"] for h in hybrid),
        )

    def _acts(self, action: str, slots: Mapping[str, Any]) -> Any:
        policy = self._agent.processor.graph_runner._instantiated_nodes  # type: ignore[union-attr]
        runtime = next(
            node._component.runtime
            for node in policy.values()
            if hasattr(node._component, "runtime")
        )
        return runtime.facts.acts(action, slots)
