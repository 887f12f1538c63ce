"""This bot and what stock Rasa offers, trained on the same dialogues: `python -m benchmarks.peers train|talk|read`.

`train` writes a project for each bot and runs `rasa train` in it, on one thread; beside the archive it keeps what that
took. `talk` lets simulated users talk to the served bots, `read` lets the bots follow recorded dialogues.
`benchmarks.serving --bot hybrid=DIR/hybrid/models/hybrid.tar.gz ...` measures them as servers.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import click

from benchmarks import form, lookup, stock
from benchmarks.common import PROJECT, ensure_knowledge_base, machine
from benchmarks.serving import action_server, environment, served
from benchmarks.stock_reader import FormReader, StockReader
from rasa_hybrid.simulation.agents import DialogueReader

BOTS = ("hybrid", "stock", "stock-lookup", "form")
_HYBRID_CONFIG = PROJECT / "config.yml"
#: Dialogues that are few, and settings of HybridPolicy with which they are learnt fast: fewer steps of fewer dialogues,
#: but longer ones, with less dropout.
_FEW = 1000
_FEW_DIALOGUES = {
    "epochs": 1,
    "least_steps": 420,
    "batch_size": 16,
    "learning_rate": 0.002,
    "weight_averaging": 0.975,
    "dropout": 0.3,
    "modality_dropout": 0.3,
}


@click.group()
def main() -> None:
    """This bot beside stock Rasa."""


@main.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the bots.")
@click.option("--bot", "bots", multiple=True, default=BOTS[:2], type=click.Choice(BOTS))
@click.option("--dialogues", default=400, show_default=True, help="To learn from.")
@click.option("--seed", default=1, show_default=True, help="Of the simulated dialogues.")
@click.option("--augmentation", default=50, show_default=True, help="Of `rasa train`, for stories.")
@click.option("--epochs", default=100, show_default=True, help="Of DIET and TED.")
def train(
    out: Path, bots: List[str], dialogues: int, seed: int, augmentation: int, epochs: int
) -> None:
    """Train the bots; processor time, memory and archive size go beside the archive."""
    for bot in bots:
        project = write_project(out.resolve() / bot, bot, dialogues, seed, epochs)
        command = [sys.executable, "-m", "rasa", "train", "--fixed-model-name", bot]
        command += ["--augmentation", str(augmentation)]
        figures = measured(command, project)
        archive = project / "models" / f"{bot}.tar.gz"
        figures["archive_MB"] = archive.stat().st_size / 1e6
        log = (project / "train.log").read_text(encoding="utf-8", errors="replace")
        # As HybridPolicy says at the end of a training.
        for seconds in re.findall(r"An epoch took ([\d,.]+) seconds", log):
            figures["epoch_seconds"] = float(seconds.replace(",", ""))
        result = {"bot": bot, "dialogues": dialogues, "machine": machine(), **figures}
        (project / "models" / f"{bot}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result))


@main.command()
@click.option("--bot", "bots", multiple=True, metavar="NAME=ARCHIVE", help="As `train` wrote it.")
@click.option("--dialogues", default=100, show_default=True, help="Simulated users.")
@click.option("--seed", default=11, show_default=True, help="Of the users.")
@click.option("--surface", default="train", show_default=True, help="How users put things.")
def talk(bots: List[str], dialogues: int, seed: int, surface: str) -> None:
    """Simulated users talk to the served bots: success rate, live joint goal and act accuracy."""
    from rasa_hybrid.evaluation.interaction import InteractionReport
    from rasa_hybrid.simulation import Environment, SideEffects, load_simulator
    from rasa_hybrid.simulation.rasa_server import RasaServerAgent

    for name, archive in named(bots):
        simulator = load_simulator(str(PROJECT), surface)
        effects = SideEffects(simulator.flow)
        report = InteractionReport(simulator.slots, 0)
        home = archive.parents[1]
        shutil.copy(PROJECT / "db" / "screenings.db", home / "db")
        with action_server(home), served(archive, home) as (url, _, _):
            agent = RasaServerAgent(url, simulator, effects)
            environment = Environment(simulator, agent, effects, label=True)
            for rollout in environment.rollouts(dialogues, seed):
                report.add(rollout)
        show(name, surface, seed, report.to_dict())


@main.command()
@click.option("--bot", "bots", multiple=True, metavar="NAME=ARCHIVE", help="As `train` wrote it.")
@click.option("--dialogues", default=200, show_default=True, help="Simulated, not learnt from.")
@click.option("--seed", default=12, show_default=True, help="Of the dialogues.")
@click.option("--surface", default="train", show_default=True, help="How users put things.")
def read(bots: List[str], dialogues: int, seed: int, surface: str) -> None:
    """The bots follow recorded dialogues: joint goal accuracy, and act accuracy on given histories."""
    from rasa.utils.log_utils import configure_structlog

    from rasa_hybrid.evaluation.interaction import corpus_report
    from rasa_hybrid.learning.agent import load_agent
    from rasa_hybrid.simulation import SideEffects, load_simulator, self_play

    # Else Rasa writes each state of each tracker beside the figures.
    configure_structlog(logging.ERROR)
    simulator = load_simulator(str(PROJECT), surface)
    recorded = list(self_play(simulator, dialogues, seed))
    for name, archive in named(bots):
        domain = (archive.parents[1] / "domain.yml").read_text(encoding="utf-8")
        database = PROJECT / "db" / "screenings.db"
        reader: DialogueReader
        if "action_validate_slot_mappings" in domain:
            checks = (archive.parents[1] / "data" / "lookup.yml").exists()
            reader = StockReader(archive, database, simulator.catalogue, checks)
        elif "validate_booking_form" in domain:
            reader = FormReader(archive, database, simulator.catalogue)
        else:
            reader = load_agent(archive, simulator, SideEffects(simulator.flow))
        report = corpus_report(simulator.slots, recorded, reader.read(recorded))
        show(name, surface, seed, report)


def named(bots: List[str]) -> List[Tuple[str, Path]]:
    """The archives by name, `--bot NAME=ARCHIVE`."""
    return [(name, Path(path).resolve()) for name, path in (bot.split("=", 1) for bot in bots)]


def show(name: str, surface: str, seed: int, report: Dict[str, Any]) -> None:
    """Prints the figures as a line of JSON."""
    kept = ("dialogues", "success_rate", "average_turns", "joint_goal_accuracy", "act_accuracy")
    figures = {key: report[key] for key in kept if report[key] is not None}
    figures.update(slot_accuracy=report["slot_accuracy"], intervals=report["intervals"])
    if "success_rate" in figures:
        figures["success_rate_interval"] = report["success_rate_interval"]
        figures["ended"] = report["ended"]
    print(json.dumps({"bot": name, "surface": surface, "seed": seed, **figures}), flush=True)


def write_project(folder: Path, bot: str, dialogues: int, seed: int, epochs: int = 100) -> Path:
    """A Rasa project that learns from the dialogues.

    They are the corpus of `hybrid` and the stories of the stock bots; for these nlu.yml, which is all that `form` learns
    from, has their utterances.
    """
    from rasa_hybrid.corpora import write_jsonl
    from rasa_hybrid.simulation import load_simulator, self_play
    from rasa_hybrid.simulation.rasa_export import write_rasa

    ensure_knowledge_base(PROJECT)
    data = folder / "data"
    for name in ("actions", "db", "simulator"):
        ignored = shutil.ignore_patterns("__pycache__", "*.db-*")
        shutil.copytree(PROJECT / name, folder / name, ignore=ignored, dirs_exist_ok=True)
    simulator = load_simulator(str(PROJECT), "train")
    corpus = list(self_play(simulator, dialogues, seed))
    domain = (PROJECT / "domain.yml").read_text(encoding="utf-8")
    rules = (PROJECT / "data" / "rules.yml").read_text(encoding="utf-8")
    actions = (PROJECT / "actions" / "actions.py").read_text(encoding="utf-8")
    endpoints = (PROJECT / "endpoints.yml").read_text(encoding="utf-8")
    # Ours reads the dialogues themselves, and of nlu.yml only what values are called.
    exported = [] if bot == "hybrid" else map(stock.with_remaining, corpus)
    write_rasa(data, exported, simulator.synonyms())
    stories = data / "stories.yml"
    if bot == "hybrid":
        stories.unlink()
        write_jsonl(data / "simulated.jsonl", corpus)
        config = hybrid_config(dialogues)
    elif bot == "form":
        stories.unlink()
        config, domain, rules = lookup.PIPELINE + form.POLICIES, form.domain(domain), form.RULES
        actions += "\n\nimport benchmarks.form  # noqa: E402,F401\n"
    else:
        pipeline = lookup.PIPELINE if bot == "stock-lookup" else stock.PIPELINE
        config, domain = pipeline + stock.POLICIES, stock.domain(domain)
        # As usual in Rasa: words in stories would make the training end to end.
        lines = stories.read_text(encoding="utf-8").splitlines(True)
        usual = [line for line in lines if not line.startswith("    user: ")]
        stories.write_text("".join(usual), encoding="utf-8")
        actions = actions.replace('"offer_id"', '"accepted_id"')
        actions += "\n\nfrom benchmarks.stock import ActionValidateSlotMappings  # noqa: E402\n"
        actions += f"\nActionValidateSlotMappings.checks = {bot == 'stock-lookup'}\n"
    if bot in ("stock-lookup", "form"):
        tables = lookup.tables(simulator.synonyms())
        (data / "lookup.yml").write_text(tables, encoding="utf-8")
    # Action servers of several bots can run at once.
    endpoints = endpoints.replace("5055", str(5055 + BOTS.index(bot)))
    config = config.replace("epochs: 100", f"epochs: {epochs}")
    (data / "rules.yml").write_text(rules, encoding="utf-8")
    (folder / "actions" / "actions.py").write_text(actions, encoding="utf-8")
    (folder / "credentials.yml").write_text("rest:\n")
    (folder / "config.yml").write_text(config, encoding="utf-8")
    (folder / "domain.yml").write_text(domain, encoding="utf-8")
    (folder / "endpoints.yml").write_text(endpoints, encoding="utf-8")
    return folder


def hybrid_config(dialogues: int) -> str:
    """The example's configuration, with the dialogues of the file as its only ones, seen once if they are many."""
    import yaml

    config = yaml.safe_load(_HYBRID_CONFIG.read_text(encoding="utf-8"))
    del config["importers"]
    policy = config["policies"][0]
    policy.update(_FEW_DIALOGUES if dialogues <= _FEW else {"epochs": 1})
    policy["corpus"] = [{"path": "data/simulated.jsonl"}]
    return yaml.safe_dump(config, sort_keys=False)


def measured(command: List[str], folder: Path) -> Dict[str, Any]:
    """Runs a command; its processor time and memory, children's included."""
    once = {"RASA_MAX_CACHE_SIZE": "0"}
    started = time.perf_counter()
    with open(folder / "train.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**environment(), **once}, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{' '.join(command)} failed; see {folder / 'train.log'}")
    return {
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.perf_counter() - started,
        "peak_memory_MB": usage.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    sys.exit(main())
