"""How fast bots answer over Rasa's REST channel, side by side: `python -m benchmarks.serving --bot NAME=ARCHIVE ...`.

Each server has one core, its clients and actions the others. Beside each bot a rules-only bot (`benchmarks.floor`) is
served and the same simulated users talk to both in turn, so that a slow minute of the machine is one of both. Ratios
come first: seconds of another machine say little.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import click
import requests
from rich.console import Console
from rich.table import Table

from benchmarks.common import PROJECT, ensure_knowledge_base, machine

FLOOR = "rules only"
#: URL, process, and the seconds that it took to start.
Server = Tuple[str, subprocess.Popen, float]
SECONDS_TO_START = 300
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@click.command()
@click.option(
    "--bot", "bots", multiple=True, required=True, metavar="NAME=ARCHIVE", help="A bot to measure."
)
@click.option("--project", default=str(PROJECT), show_default=True, help="Simulated Rasa project.")
@click.option("--messages", default=300, show_default=True, help="Messages of each measurement.")
@click.option("--clients", default=16, show_default=True, help="Clients at once, for throughput.")
@click.option("--repetitions", default=3, show_default=True, help="Of which the median counts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(
    bots: Sequence[str], project: str, messages: int, clients: int, repetitions: int, as_json: bool
) -> None:
    """Start-up, memory, latency and throughput of served bots beside a rules-only bot."""
    other_cores()
    ensure_knowledge_base(Path(project))
    texts = conversations(project, messages)
    figures: Dict[str, Dict[str, float]] = {}
    ratios: Dict[str, Dict[str, float]] = {}
    floors: List[Dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        archives = {name: Path(path) for name, path in (bot.split("=", 1) for bot in bots)}
        floor = train_floor(Path(folder), Path(project))
        for name, archive in archives.items():
            home = project_of(archive) or Path(project)
            pairs = []
            for _ in range(repetitions):
                with action_server(home), served(floor, Path(folder)) as beside, served(
                    archive, home
                ) as server:
                    pairs.append(measure([server, beside], texts, clients))
            figures[name] = medians([row for row, _ in pairs])
            ratios[name] = medians([_ratios(row, of_floor) for row, of_floor in pairs])
            floors += [of_floor for _, of_floor in pairs]
        figures[FLOOR] = medians(floors)
    result = {"machine": machine(), "ratios_to_rules_only": ratios, "figures": figures}
    if as_json:
        print(json.dumps(result))
        return
    console = Console()
    console.print(f"{machine()}; medians of {repetitions}, {messages} messages each")
    for title, rows in (("ratio to the rules-only bot", ratios), ("measured", figures)):
        table = Table(title, *rows)
        for key in figures[FLOOR]:
            table.add_row(
                key.replace("_", " "),
                *(f"{row[key]:,.3g}" if key in row else "" for row in rows.values()),
            )
        console.print(table)


def conversations(project: str, messages: int) -> List[List[str]]:
    """What simulated users say to the expert, about so many messages in all."""
    from rasa_hybrid.simulation import load_simulator, self_play

    found: List[List[str]] = []
    for dialogue in self_play(load_simulator(project, "train"), messages, 5):
        found.append([turn.user.text for turn in dialogue.turns if turn.user is not None])
        if sum(map(len, found)) >= messages:
            break
    return found


def train_floor(folder: Path, project: Path) -> Path:
    """Archive of the rules-only bot, trained in a process of its own."""
    from benchmarks.floor import write_project

    write_project(folder, project / "db" / "screenings.db", 60)
    command = [sys.executable, "-m", "rasa", "train", "--quiet", "--fixed-model-name", "floor"]
    subprocess.run(command, cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)
    return folder / "models" / "floor.tar.gz"


def medians(rows: Sequence[Dict[str, float]]) -> Dict[str, float]:
    """Of what all rows have."""
    common = [key for key in rows[0] if all(key in row for row in rows)]
    return {key: statistics.median(row[key] for row in rows) for key in common}


def _ratios(bot: Dict[str, float], floor: Dict[str, float]) -> Dict[str, float]:
    return {key: value / floor[key] for key, value in bot.items() if floor[key]}


def project_of(archive: Path) -> Optional[Path]:
    """The project whose `models` folder has the archive, None if it lies elsewhere."""
    folder = archive.resolve().parents[1]
    return folder if (folder / "domain.yml").is_file() else None


def measure(
    servers: Sequence[Server], texts: Sequence[Sequence[str]], clients: int
) -> List[Dict[str, float]]:
    """The figures of served bots, to which users talk in turn; times in milliseconds but for the start."""
    rows = []
    heard: List[Tuple[List[float], List[int], List[float], float]] = []
    for url, process, _ in servers:
        talk(url, texts[:3], 1)  # warm
        heard.append(([], [], [], processor_seconds(process.pid)))
    for lines in texts:
        for (url, _, _), (latencies, silent, took, _) in zip(servers, heard):
            found, unanswered, seconds = talk(url, [lines], 1)
            latencies += found
            silent.append(unanswered)
            took.append(seconds)
    for (url, process, start), (latencies, silent, took, before) in zip(servers, heard):
        count = len(latencies)
        used = processor_seconds(process.pid) - before
        crowded, _, duration = talk(url, texts, clients)
        cuts = statistics.quantiles(latencies, n=100)
        rows.append(
            {
                "start_seconds": start,
                "peak_memory_MB": peak_memory(process.pid),
                "p50_ms": cuts[49],
                "p95_ms": cuts[94],
                "p99_ms": cuts[98],
                "server_processor_ms_a_message": 1000 * used / count,
                "messages_without_reply": sum(silent) / count,
                "messages_a_second_1_client": count / sum(took),
                f"messages_a_second_{clients}_clients": len(crowded) / duration,
                f"p50_ms_{clients}_clients": statistics.median(crowded),
            }
        )
    return rows


def talk(url: str, texts: Sequence[Sequence[str]], clients: int) -> Tuple[List[float], int, float]:
    """Milliseconds of every message, how many got no reply, and the seconds that all took."""
    stamp = f"{time.time_ns()}"

    def converse(item: Tuple[int, Sequence[str]]) -> List[Tuple[float, bool]]:
        number, lines = item
        answers = []
        with requests.Session() as session:
            for line in lines:
                started = time.perf_counter()
                message = {"sender": f"{stamp}-{number}", "message": line}
                answer = session.post(f"{url}/webhooks/rest/webhook", json=message)
                answers.append((1000 * (time.perf_counter() - started), not answer.json()))
                answer.raise_for_status()
        return answers

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = [x for row in pool.map(converse, enumerate(texts)) for x in row]
    seconds = time.perf_counter() - started
    return [latency for latency, _ in found], sum(silent for _, silent in found), seconds


@contextmanager
def served(archive: Path, folder: Path, alone: bool = True) -> Iterator[Server]:
    """A running server: its URL, its process, and the seconds until it answered.

    Args:
        archive: of the bot.
        folder: of its project.
        alone: keep it, with all that it starts, to the last core.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [*(sys.executable, "-m", "rasa", "run", "-i", "127.0.0.1", "-p", str(port))]
    command += ["--enable-api", "-m", str(archive.resolve())]
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            preexec_fn=last_core if alone else None,
        )
        try:
            while not answers(url):
                if process.poll() is not None or time.perf_counter() - started > SECONDS_TO_START:
                    log.seek(0)
                    raise click.ClickException(f"{archive} does not start: {log.read()[-2000:]!r}")
                time.sleep(0.05)
            yield url, process, time.perf_counter() - started
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def action_server(project: Path) -> Iterator[None]:
    """The project's custom actions on the port that its `endpoints.yml` names, if it has any."""
    if not (project / "actions").exists():
        yield
        return
    endpoints = (project / "endpoints.yml").read_text(encoding="utf-8")
    port = endpoints.partition("http://localhost:")[2].partition("/")[0]
    command = [sys.executable, "-m", "rasa_sdk", "--actions", "actions", "-p", port]
    process = subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not answers(f"http://127.0.0.1:{port}", "/health"):
            if process.poll() is not None:
                raise click.ClickException(f"the actions of {project} do not start on port {port}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str, path: str = "/status") -> bool:
    """Whether a server is up."""
    try:
        return requests.get(url + path, timeout=5).ok
    except requests.RequestException:
        return False


def environment() -> Dict[str, str]:
    """One thread for TensorFlow, and this repository on the path of the server."""
    root = str(Path(__file__).resolve().parents[1])
    single = dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
    )
    quiet = {"RASA_TELEMETRY_ENABLED": "false", "LOG_LEVEL_LIBRARIES": "ERROR"}
    return {**os.environ, **single, **quiet, "PYTHONPATH": root}


def last_core() -> None:
    """Keeps the server to the last core, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, _CORES[-1:])


def other_cores() -> None:
    """Keeps this process, with the clients, and what it starts off the server's core."""
    if len(_CORES) > 1:
        os.sched_setaffinity(0, _CORES[:-1])


def processor_seconds(pid: int) -> float:
    fields = proc(pid, "stat")
    if fields is None:
        return 0.0
    user, system = fields.rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> float:
    lines = (proc(pid, "status") or "").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def proc(pid: int, name: str) -> Optional[str]:
    """A file of Linux's process information, None elsewhere."""
    path = Path("/proc") / str(pid) / name
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
