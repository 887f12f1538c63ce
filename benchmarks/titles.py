"""Belief tracking of films that are called like everyday words: `python -m benchmarks.titles --trackers DIR --dev FILE`.

Each dialogue of a Google M2M file is told again about another film, whose title is of a kind that the training dialogues may
not have: long, with words that people say around titles, with marks or numbers. Every title is one row.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import List, Tuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

#: Titles that nobody has made a film of.
TITLES = (
    "harbour lights",
    "the clockmaker",
    "13 minutes : the last men of the harbour",
    "the 7th tide",
    "kite & the two drums",
    "don ' t wake the neighbours",
    "miss calloway ' s school for quiet children",
    "no land for young men",
    "where the winds go to sleep",
    "strange birds and where to look for them",
    "me after you",
    "one more night",
    "two sisters and a boat",
    "that was it",
    "saturday",
)


@click.command()
@click.option("--trackers", required=True, help="Directory of `rasa-hybrid track --save`.")
@click.option("--dev", required=True, help="Google M2M file, such as sim-M/dev.json.")
@click.option("--slot", default="movie", show_default=True, help="That has the titles.")
@click.option("--dialogues", default=60, show_default=True, help="Of each title.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(trackers: str, dev: str, slot: str, dialogues: int, as_json: bool) -> None:
    """Joint goal accuracy by title, means over the trackers."""
    rows = measure(trackers, dev, slot, dialogues)
    if as_json:
        print(json.dumps({title: {"joint": joint, slot: one} for title, joint, one in rows}))
        return
    table = Table("title", "joint", slot)
    for title, joint, one in rows:
        table.add_row(title, f"{joint:.3f}", f"{one:.3f}")
    Console().print(table)


def measure(trackers: str, dev: str, slot: str, dialogues: int) -> List[Tuple[str, float, float]]:
    """Title, joint goal accuracy, and accuracy of the slot; the last row is the mean."""
    from rasa_hybrid.corpora import read_m2m
    from rasa_hybrid.corpora.substitution import ValueSubstitution
    from rasa_hybrid.evaluation.tracking import score_tracking
    from rasa_hybrid.evaluation.tracking_experiment import load_trackers
    from rasa_hybrid.learning.tracking import track

    spoken = list(read_m2m(dev))[:dialogues]
    seeds = sorted(int(path.name.split("-")[1]) for path in Path(trackers).glob("seed-*"))
    models = list(map(load_trackers(trackers), seeds))
    rows = []
    for title in TITLES:
        renamed = ValueSubstitution(spoken, [slot], {slot: [title]})
        told = [renamed.substitute(each, np.random.default_rng(0)) for each in spoken]
        scores = [
            score_tracking(track(model, told), list(model.encoder.ontology.slots))
            for model in models
        ]
        rows.append(
            (
                title,
                float(np.mean([score.joint.rate for score in scores])),
                float(np.mean([score.slots[slot].rate for score in scores])),
            )
        )
    return [*rows, ("mean", *(float(np.mean([row[i] for row in rows])) for i in (1, 2)))]


if __name__ == "__main__":
    sys.exit(main())
