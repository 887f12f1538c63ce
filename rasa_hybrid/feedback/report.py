"""Does it pay? Success, rating and turns of real conversations, over time and by model, and what a candidate would earn."""

from __future__ import annotations

import io
from collections import defaultdict
from datetime import datetime, timezone
from typing import Any, Container, Dict, Iterable, List, Mapping, Optional, Tuple

import numpy as np

from rasa_hybrid.evaluation import document
from rasa_hybrid.evaluation.document import Block, Heading, Picture, Table
from rasa_hybrid.evaluation.intervals import bootstrap_interval, wilson_interval
from rasa_hybrid.feedback.records import StoredEpisode
from rasa_hybrid.feedback.rewards import Rewards, succeeded, to_episode
from rasa_hybrid.feedback.scoring import agreement, importance_weight, off_policy_estimate
from rasa_hybrid.feedback.store import EpisodeStore
from rasa_hybrid.model.acting import ActingModel

_UNKNOWN = "without our model"


def report(
    store: EpisodeStore,
    model: Optional[ActingModel] = None,
    rewards: Optional[Rewards] = None,
    learnt: Container[str] = (),
) -> Dict[str, Any]:
    """Figures of all episodes with an outcome and a dialogue; rates are fractions of 1, intervals 95 %.

    Args:
        store: of the episodes.
        model: whose return is estimated off-policy, and how often it would have done what was done.
        rewards: reward points.
        learnt: ids of the episodes that the model has learnt from, which tell nothing about it.
    """
    rewards = rewards or Rewards()
    # Without an end an episode is to be assembled again.
    whole = (e for e in store.episodes() if e.ended is not None)
    rated = [e for e in whole if e.outcome is not None and e.recorded is not None]
    by_model: Dict[str, List[StoredEpisode]] = defaultdict(list)
    by_day: Dict[str, List[StoredEpisode]] = defaultdict(list)
    for stored in rated:
        assert stored.recorded is not None
        by_model[stored.recorded.model or _UNKNOWN].append(stored)
        day = datetime.fromtimestamp(stored.recorded.ended, timezone.utc).date()
        by_day[day.isoformat()].append(stored)
    result: Dict[str, Any] = {
        "states": store.counts(),
        "all": _figures(rated, rewards),
        # In the order in which they were first talked to.
        "models": {
            name: _figures(found, rewards)
            for name, found in sorted(by_model.items(), key=lambda item: item[1][0].begun)
        },
        "days": {day: _figures(found, rewards) for day, found in sorted(by_day.items())},
    }
    if model is not None:
        unseen = [stored for stored in rated if not stored.redacted and stored.id not in learnt]
        episodes = [to_episode(stored, rewards) for stored in unseen]
        weights = [(importance_weight(model, e), sum(e.rewards)) for e in episodes]
        known = [(w, r) for w, r in weights if w is not None]
        result["off_policy"] = off_policy_estimate(
            [w for w, _ in known], [r for _, r in known]
        ).to_dict()
        same, total = agreement(model, episodes)
        result["agreement"] = {"decisions": total, "rate": same / total if total else None}
    return result


def _figures(found: Iterable[StoredEpisode], rewards: Rewards) -> Dict[str, Any]:
    episodes = list(found)
    known = [succeeded(e.outcome) for e in episodes if e.outcome is not None]
    told = [is_success for is_success in known if is_success is not None]
    ratings = [e.outcome.rating for e in episodes if e.outcome and e.outcome.rating is not None]
    turns = [len(e.recorded.dialogue.turns) for e in episodes if e.recorded]
    earned = [
        rewards.final(e.outcome) + rewards.turn * len(e.recorded.dialogue.turns)
        for e in episodes
        if e.outcome and e.recorded
    ]
    return {
        "episodes": len(episodes),
        "success_rate": sum(told) / len(told) if told else None,
        "success_rate_interval": list(wilson_interval(sum(told), len(told))) if told else None,
        **_mean("rating", ratings),
        **_mean("turns", turns),
        **_mean("reward", earned),
    }


def _mean(name: str, values: List[Any]) -> Dict[str, Any]:
    return {
        name: float(np.mean(values)) if values else None,
        f"{name}_interval": bootstrap_interval(values) if values else None,
    }


def picture(figures: Mapping[str, Any]) -> bytes:
    """PNG: success rate, reward and turns by model and by day, each with its 95 % interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measures = (("success_rate", "success rate"), ("reward", "reward"), ("turns", "turns"))
    figure = Figure(figsize=(11, 8), tight_layout=True)
    FigureCanvasAgg(figure)
    for column, (what, groups) in enumerate(
        (("model", figures["models"]), ("day", figures["days"]))
    ):
        for row, (key, title) in enumerate(measures):
            axes = figure.add_subplot(3, 2, 2 * row + column + 1)
            drawn = [(n, g[key], g[f"{key}_interval"]) for n, g in groups.items()]
            drawn = [(n, value, interval) for n, value, interval in drawn if value is not None]
            places = range(len(drawn))
            if drawn:
                values = np.array([value for _, value, _ in drawn])
                spread = np.abs(np.array([i for _, _, i in drawn]).T - values)
                axes.errorbar(places, values, yerr=spread, fmt="o-", capsize=3)
            axes.set_xticks(list(places))
            axes.set_xticklabels([n[:10] for n, _, _ in drawn], rotation=30, ha="right", fontsize=7)
            axes.set_title(f"{title} by {what}", fontsize=10)
            axes.grid(alpha=0.3)
    drawn_to = io.BytesIO()
    figure.savefig(drawn_to, format="png", dpi=100)
    return drawn_to.getvalue()


def page(figures: Mapping[str, Any]) -> str:
    """One HTML page with the tables and the picture in it; it loads nothing else."""
    blocks: List[Block] = [Heading("Feedback", level=1)]
    for title, rows in (
        ("All conversations", {"all": figures["all"]}),
        ("By model", figures["models"]),
        ("By day", figures["days"]),
    ):
        header = ("", *(column for _, column in COLUMNS))
        blocks += [Heading(title), Table(header, [(n, *cells(g)) for n, g in rows.items()])]
    if figures.get("off_policy"):
        pairs = {**figures["off_policy"], "agreement": figures["agreement"]["rate"]}
        told = [(name.replace("_", " "), shown(value)) for name, value in pairs.items()]
        blocks += [Heading("The candidate, off-policy"), Table(("", ""), told)]
    blocks.append(Picture("report.png", picture(figures), "Success, reward and turns"))
    return document.page("Feedback", blocks)


#: Columns of the tables: key of the figures, title.
COLUMNS: Tuple[Tuple[str, str], ...] = (
    ("episodes", "episodes"),
    ("success_rate", "success"),
    ("rating", "rating"),
    ("reward", "reward"),
    ("turns", "turns"),
)


def cells(figures: Mapping[str, Any]) -> List[str]:
    """One row of a table: each figure with its interval."""
    row = []
    for key, _ in COLUMNS:
        interval = figures.get(f"{key}_interval")
        value = shown(figures[key])
        row.append(value if interval is None else f"{value} ({shown(interval)})")
    return row


def shown(value: Any) -> str:
    """A figure as people read it."""
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return " ... ".join(map(shown, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)
