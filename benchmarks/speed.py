"""Speed of simulation, training, acting and tracking: `python -m benchmarks.speed [--json]`.

Each figure is the median of some repetitions in this one process; compare figures of one run, not of two machines.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Dict, List

import click
from rich.console import Console
from rich.table import Table

from benchmarks.common import PROJECT, ensure_knowledge_base, machine, median_seconds
from rasa_hybrid.commands.processor import name_kernels

#: Dialogues of the expert of which the success rate is told.
EXPERT_DIALOGUES = 10_000


@click.command()
@click.option("--project", default=str(PROJECT), show_default=True, help="Simulated Rasa project.")
@click.option("--dialogues", default=640, show_default=True, help="Dialogues of each measurement.")
@click.option("--repetitions", default=3, show_default=True, help="Of which the median counts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(project: str, dialogues: int, repetitions: int, as_json: bool) -> None:
    """Speed of simulation, supervised training, acting and belief tracking."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name_kernels()
    figures = measure(project, dialogues, repetitions)
    result = {"machine": machine(), "dialogues": dialogues, **figures}
    if as_json:
        print(json.dumps(result))
        return
    console = Console()
    console.print(f"{machine()}; medians of {repetitions}, {dialogues} dialogues each")
    table = Table("measured", "figure")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:,.3g}")
    console.print(table)


def measure(project: str, dialogues: int, repetitions: int) -> Dict[str, float]:
    """The figures by name; rates are per second of wall time, latencies in milliseconds."""
    from benchmarks import tracking
    from rasa_hybrid.dialogue import DomainFacts, Turn
    from rasa_hybrid.learning.agent import JointAgent
    from rasa_hybrid.learning.supervised import SupervisedTrainer
    from rasa_hybrid.model.acting import ActingModel
    from rasa_hybrid.model.preparation import prepare
    from rasa_hybrid.model.settings import Settings
    from rasa_hybrid.simulation import Environment, SideEffects, load_simulator, self_play

    ensure_knowledge_base(Path(project))
    simulator = load_simulator(project, "train")
    figures: Dict[str, float] = {}
    figures["self-play_dialogues_per_second"] = dialogues / median_seconds(
        lambda: list(self_play(simulator, dialogues, 1)), repetitions
    )
    played = [d.metadata["success"] for d in self_play(simulator, EXPERT_DIALOGUES, 7)]
    figures[f"expert_success_rate_over_{EXPERT_DIALOGUES}_dialogues"] = statistics.mean(played)
    corpus = list(self_play(simulator, dialogues, 1))
    for preset in ("default", "liu2018"):
        settings = Settings.from_mapping({"preset": preset, "epochs": 1, "least_steps": 1})
        encoder = prepare(settings, corpus)
        trainer = SupervisedTrainer(encoder)
        trainer.fit(corpus[: 2 * settings.batch_size])  # compiles
        figures[f"{preset}_training_dialogues_per_second"] = dialogues / median_seconds(
            lambda trainer=trainer: trainer.fit(corpus),
            repetitions,  # type: ignore[misc]
        )
        model = ActingModel(encoder, trainer.model.weights())
        effects = SideEffects(simulator.flow)
        agent = JointAgent(model, DomainFacts({}, {}, {}), simulator.catalogue, effects)
        environment = Environment(simulator, agent, effects)
        figures[f"{preset}_model_against_user_dialogues_per_second"] = dialogues / median_seconds(
            lambda environment=environment: list(environment.rollouts(dialogues, 2)),  # type: ignore[misc]
            repetitions,
        )
        turns: List[float] = []
        for dialogue in corpus[:50]:
            conversation = model.start()
            for turn in dialogue.turns:
                started = time.perf_counter()
                model.observe([conversation], [Turn(user=turn.user)])
                model.decide([conversation], [turn.summary], [()], [()])
                turns.append(time.perf_counter() - started)
                model.close([conversation], [turn])
        figures[f"{preset}_turn_p50_ms"] = 1000 * statistics.median(turns)
        figures[f"{preset}_turn_p95_ms"] = 1000 * sorted(turns)[int(0.95 * len(turns))]
    figures.update(tracking.measure())
    figures["peak_memory_MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


if __name__ == "__main__":
    sys.exit(main())
