"""Small models and dialogues that tests of the model share: real in kind, tiny in size."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import (
    DONTCARE,
    NONE,
    Dialogue,
    DialogueAct,
    Entity,
    Hypothesis,
    Override,
    ResultSummary,
    SystemAction,
    Turn,
    Utterance,
)
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import initial_weights
from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import Settings

PRESETS = ("default", "liu2018")
TINY: Dict[str, Any] = {
    "embedding_size": 8,
    "utterance_lstm_size": 6,
    "dialogue_lstm_size": 7,
    "act_embedding_size": 4,
    "belief_hidden_size": 5,
    "policy_hidden_size": 5,
    "batch_size": 8,
}
FILMS = ("Star Wars", "Moana", "A Man Called Ove")
DATES = ("friday", "saturday", "the day after tomorrow")
TIMES = ("6:00 pm", "7:30 pm")
ACTIONS = ("utter_request_date", "utter_request_movie", "utter_offer", "action_book", "utter_bye")


def tiny_settings(preset: str = "default", **changes: Any) -> Settings:
    """A preset in sizes that compute in no time."""
    buckets = {"subword_buckets": 20} if preset == "default" else {}
    return Settings.from_mapping({**TINY, **buckets, "preset": preset, **changes})


def act(name: str, *acts: Tuple[str, ...], **rest: Any) -> SystemAction:
    """A system action with its acts as tuples."""
    return SystemAction(name, tuple(DialogueAct(*parts) for parts in acts), **rest)


def booking(number: int, rng: random.Random, films: Sequence[str] = FILMS) -> Dialogue:
    """A small booking with a consistent user and system: what can be learnt without a mistake."""
    film, date, time = rng.choice(films), rng.choice(DATES[:2]), rng.choice(TIMES)
    turns = [Turn(actions=(act("utter_greet", ("greeting",)),))]
    goal = {"movie": film}
    asked = act("utter_request_date", ("request", "date"))
    turns.append(
        Turn(
            Utterance(rng.choice(["i want to see {}", "{} please", "tickets for {}"]).format(film)),
            goal=dict(goal),
            actions=(asked,),
        )
    )
    if rng.random() < 0.3:
        goal["date"], said = DONTCARE, "any day is fine"
    else:
        goal["date"], said = date, rng.choice(["on {}", "{}", "{} please"]).format(date)
    asked = act("utter_request_time", ("request", "time"))
    turns.append(Turn(Utterance(said), goal=dict(goal), actions=(asked,)))
    goal["time"] = time
    offer = act("utter_offer", ("offer", "movie", film), ("offer", "time", time))
    turns.append(
        Turn(
            Utterance(f"at {time}"),
            goal=dict(goal),
            summary=ResultSummary(2, 2),
            actions=(offer,),
        )
    )
    if rng.random() < 0.3:
        goal["date"] = "saturday" if goal["date"] == "friday" else "friday"
        change = Utterance(f"no {goal['date']}")
        summary = ResultSummary(1, 1)
        turns.append(Turn(change, goal=dict(goal), summary=summary, actions=(offer,)))
    done = (act("action_book"), act("utter_bye", ("goodbye",)))
    turns.append(Turn(Utterance("yes"), goal=dict(goal), summary=ResultSummary(2, 1), actions=done))
    return Dialogue(str(number), tuple(turns))


def bookings(count: int, seed: int = 0, films: Sequence[str] = FILMS) -> List[Dialogue]:
    """Bookings by different users."""
    rng = random.Random(seed)
    return [booking(number, rng, films) for number in range(count)]


def first_action_only(dialogue: Dialogue) -> Dialogue:
    """The dialogue as the paper's system has it, with one act a turn."""
    return replace(dialogue, turns=tuple(replace(t, actions=t.actions[:1]) for t in dialogue.turns))


def wild_dialogue(rng: random.Random) -> Dialogue:
    """Anything that may happen: recogniser lists, empty and missing utterances, overrides, refusals, unknown words."""
    turns = tuple(_wild_turn(rng) for _ in range(rng.randint(1, 5)))
    return Dialogue(str(rng.random()), turns, weight=rng.choice([1.0, 1.0, 0.5]))


def wild_dialogues(count: int, seed: int = 0) -> List[Dialogue]:
    """Dialogues that have little in common."""
    rng = random.Random(seed)
    return [wild_dialogue(rng) for _ in range(count)]


def _wild_text(rng: random.Random) -> str:
    words = "i want to see any on at no yes please zorblax two".split()
    values = [*FILMS, *DATES, *TIMES, "ove", "6", "18:00", "tomorrow"]
    return " ".join(
        rng.choice(values) if rng.random() < 0.3 else rng.choice(words)
        for _ in range(rng.randint(0, 5))
    )


def _wild_value(rng: random.Random, slot: str) -> str:
    values = {"movie": FILMS, "date": DATES, "time": TIMES}.get(slot, ("x",))
    return rng.choice([*values, "something else", DONTCARE])


def _wild_goal(rng: random.Random) -> Optional[Dict[str, str]]:
    if rng.random() < 0.2:
        return None
    slots = [slot for slot in ("movie", "date", "time") if rng.random() < 0.6]
    return {slot: _wild_value(rng, slot) for slot in slots}


def _wild_user(rng: random.Random) -> Optional[Utterance]:
    if rng.random() < 0.15:
        return None
    text = _wild_text(rng)
    hypotheses: Tuple[Hypothesis, ...] = ()
    if rng.random() < 0.4:
        others = [Hypothesis(_wild_text(rng), rng.random()) for _ in range(rng.randint(0, 3))]
        hypotheses = (Hypothesis(rng.choice([text, _wild_text(rng)]), rng.random()), *others)
    entities: Tuple[Entity, ...] = ()
    if rng.random() < 0.3 and text:
        end = min(len(text), rng.randint(1, 6))
        entities = (Entity(rng.choice(["movie", "date", "colour"]), text[:end], 0, end),)
    intent = rng.choice([None, None, "inform", "deny", "never seen"])
    return Utterance(text, hypotheses, intent, entities)


def _wild_turn(rng: random.Random) -> Turn:
    actions = tuple(
        act(
            rng.choice([*ACTIONS, "utter_never_seen"]),
            *(
                rng.choice(
                    [
                        ("greeting",),
                        ("request", rng.choice(["date", "movie", "colour"])),
                        ("offer", "movie", rng.choice([*FILMS, "Another Film"])),
                        ("select", "time", rng.choice(TIMES)),
                    ]
                )
                for _ in range(rng.randint(0, 3))
            ),
            context=tuple(rng.sample(["slot:vip=1", "loop:form", "slot:x=never seen"], 1)),
            text="no star wars on friday zorblax",
            learn=rng.random() < 0.9,
        )
        for _ in range(rng.randint(0, 3))
    )
    overrides = tuple(
        Override(
            slot,
            rng.choice([_wild_value(rng, slot), NONE]),
            rng.choice(["form", "teacher", "action"]),
            rng.randint(0, len(actions)),
            rng.choice([None, _wild_value(rng, slot)]),
        )
        for slot in ("movie", "date", "time", "colour")
        if rng.random() < 0.15
    )
    matches = rng.choice([None, 0, 1, 2, 7, 40])
    remaining = None if matches is None else rng.choice([None, 0, matches])
    return Turn(
        user=_wild_user(rng),
        goal=_wild_goal(rng),
        summary=ResultSummary(matches, remaining),
        overrides=overrides,
        actions=actions,
        closing_context=rng.choice([(), ("loop:form",)]),
        expert=None
        if remaining is None
        else ("utter_greet", "utter_new", "utter_greet")[:remaining],
    )


@lru_cache(maxsize=None)
def wild_encoder(preset: str = "default", **changes: Any) -> Encoder:
    """An encoder of wild dialogues that knows some of their words, actions and values only."""
    known = [
        replace(d, turns=tuple(_without_never_seen(turn) for turn in d.turns))
        for d in wild_dialogues(12, seed=99)
    ]
    return prepare(tiny_settings(preset, **changes), known)


def _without_never_seen(turn: Turn) -> Turn:
    user = turn.user
    if user is not None:
        user = replace(
            user,
            text=user.text.replace("zorblax", ""),
            hypotheses=(),
            intent=None if user.intent == "never seen" else user.intent,
            entities=(),
        )
    actions = tuple(
        replace(
            a,
            context=tuple(c for c in a.context if "never" not in c),
            text="no star wars on friday",
        )
        for a in turn.actions
        if "never" not in a.name
    )
    return replace(turn, user=user, actions=actions)


def random_weights(encoder: Encoder, seed: int = 0, scale: float = 0.5) -> Dict[str, np.ndarray]:
    """Weights far from zero, biases included, so that nothing cancels out by chance."""
    shapes = parameter_shapes(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology))
    rng = np.random.default_rng(seed)
    drawn = initial_weights(shapes, seed)
    return {
        name: (value + rng.normal(0.0, scale, value.shape)).astype(np.float32)
        for name, value in drawn.items()
    }
