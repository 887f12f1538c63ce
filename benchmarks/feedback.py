"""Measures the feedback endpoint of a running server: `python -m benchmarks.feedback --model models/X.tar.gz --actions URL`.

Latency: feedback at a fixed rate, open loop, while conversations go on over the same server. Loss: feedback is sent, with
retries, while the server is killed again and again; what was acknowledged is looked up in the store.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import aiohttp
import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import PROJECT, machine
from benchmarks.serving import project_of
from rasa_hybrid.feedback.store import EpisodeStore
from tests.components.bot_server import bot_server

_FEEDBACK = "/webhooks/hybrid/feedback"


@click.command()
@click.option(
    "--model", required=True, type=click.Path(exists=True, resolve_path=True, path_type=Path)
)
@click.option(
    "--actions", default="http://localhost:5055/webhook", help="Action server of the bot."
)
@click.option(
    "--texts", multiple=True, default=("hello", "thai food on friday", "something else please")
)
@click.option("--rate", default=100.0, show_default=True, help="Feedback a second.")
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--conversations", default=8, show_default=True, help="That go on meanwhile.")
@click.option(
    "--pause", default=1.0, show_default=True, help="Seconds between two messages of a user."
)
@click.option(
    "--feedback", default=10_000, show_default=True, help="Feedback sent while killing; 0: none."
)
@click.option("--kills", default=5, show_default=True)
@click.option("--store", help="URL of the store. [default: a new SQLite file]")
def main(
    model: Path,
    actions: str,
    texts: List[str],
    rate: float,
    seconds: float,
    conversations: int,
    pause: float,
    feedback: int,
    kills: int,
    store: Optional[str],
) -> None:
    """Latency of the feedback endpoint, and feedback lost when the server is killed."""
    result: Dict[str, Any] = {"machine": machine(), "load_average": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        database = (project_of(model) or PROJECT) / "db"
        if database.is_dir():  # which the bot may ask for by a relative path
            shutil.copytree(database, folder / "db")
        url = store or f"sqlite:///{folder / 'feedback.db'}"
        opened = EpisodeStore(url)
        channel = {"store": url, "requests_per_minute": 100_000, "feedback_per_day": 100_000}
        with bot_server(model, folder, actions, channel) as server:
            count = int(rate * seconds)
            senders = [f"rated-{i}" for i in range(count)]
            for sender in senders:
                opened.begin(sender, 1.0)
            before = _cpu_seconds(server.process.pid)
            times, turns, failed = asyncio.run(
                _load(server.url, opened, senders, rate, conversations, texts, pause)
            )
            result.update(
                feedback_requests=count,
                failed=failed,
                turns_meanwhile=len(turns),
                server_cpu_seconds=round(_cpu_seconds(server.process.pid) - before, 2),
                **_quantiles("feedback", times),
                **_quantiles("turn", turns),
            )
        if feedback:
            result.update(
                asyncio.run(_kill(opened, url, folder, model, actions, channel, feedback, kills))
            )
        opened.close()
    print(json.dumps(result, indent=1))


def _cpu_seconds(process: int) -> float:
    """Processor time that a process has used (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _quantiles(what: str, seconds: List[float]) -> Dict[str, float]:
    if not seconds:
        return {}
    return {
        f"{what}_p{q}_ms": round(float(np.percentile(seconds, q)) * 1000, 1) for q in (50, 95, 99)
    }


async def _load(
    url: str,
    store: EpisodeStore,
    senders: List[str],
    rate: float,
    conversations: int,
    texts: List[str],
    pause: float,
) -> Any:
    """Times of feedback and of turns in seconds, and the number of failed requests."""
    times: List[float] = []
    turns: List[float] = []
    failed = 0
    is_over = False
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def rate_one(sender: str) -> None:
            nonlocal failed
            body = {"sender": sender, "token": store.token(sender), "success": True}
            started = time.perf_counter()
            async with session.post(url + _FEEDBACK, json=body) as answer:
                await answer.read()
                failed += answer.status != 201
            times.append(time.perf_counter() - started)

        async def talk(i: int) -> None:
            nonlocal failed
            said = 0
            await asyncio.sleep(random.random() * pause)
            while not is_over:
                sender = f"talking-{i}-{said // len(texts)}"
                body = {"sender": sender, "message": texts[said % len(texts)]}
                started = time.perf_counter()
                async with session.post(url + "/webhooks/hybrid/webhook", json=body) as answer:
                    failed += answer.status != 200 or not await answer.json()
                turns.append(time.perf_counter() - started)
                said += 1
                await asyncio.sleep(pause)

        talking = [asyncio.create_task(talk(i)) for i in range(conversations)]
        await asyncio.sleep(2 * pause)
        begun, sent = time.perf_counter(), []
        for i, sender in enumerate(senders):
            await asyncio.sleep(max(0.0, begun + i / rate - time.perf_counter()))
            sent.append(asyncio.create_task(rate_one(sender)))
        await asyncio.gather(*sent)
        is_over = True
        await asyncio.gather(*talking)
    return times, turns, failed


async def _kill(
    store: EpisodeStore,
    url: str,
    folder: Path,
    model: Path,
    actions: str,
    channel: Dict[str, Any],
    count: int,
    kills: int,
) -> Dict[str, Any]:
    """Sends feedback with retries while the server is killed; what was acknowledged and what is stored."""
    senders = [f"killed-{i}" for i in range(count)]
    for sender in senders:
        store.begin(sender, 1.0)
    acknowledged: List[str] = []
    left = list(reversed(senders))
    address = [""]

    async def send(session: aiohttp.ClientSession) -> None:
        while left:
            sender = left.pop()
            body = {
                "sender": sender,
                "token": store.token(sender),
                "success": True,
                "feedback_id": f"id of {sender}",
            }
            while True:
                try:
                    async with session.post(address[0] + _FEEDBACK, json=body) as answer:
                        if answer.status in (200, 201):
                            acknowledged.append((await answer.json())["feedback_id"])
                            break
                except (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError, ValueError):
                    pass
                await asyncio.sleep(0.2)

    killed = 0
    async with aiohttp.ClientSession() as session:
        sending: List[asyncio.Task] = []
        while True:
            loop = asyncio.get_running_loop()
            context = bot_server(model, folder, actions, channel)
            server = await loop.run_in_executor(None, context.__enter__)
            address[0] = server.url
            sending = sending or [asyncio.create_task(send(session)) for _ in range(16)]
            target = count * (killed + 1) // (kills + 1)
            while len(acknowledged) < (target if killed < kills else count):
                await asyncio.sleep(0.01)
            if killed < kills:
                server.process.send_signal(signal.SIGKILL)
                killed += 1
            await loop.run_in_executor(None, context.__exit__, None, None, None)
            if len(acknowledged) >= count:
                break
        await asyncio.gather(*sending)
    stored = sum(store.receipt(id).status == "accepted" for id in acknowledged)
    with store.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT count(*) FROM hybrid_feedback WHERE sender LIKE 'killed-%'"
        ).scalar()
    return {
        "kills": killed,
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged) - stored,
        "stored_twice": rows - len(set(acknowledged)),
    }


if __name__ == "__main__":
    main()
