"""Learning learns, what it learnt carries over to new values, and the same seed gives the same weights."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import pytest
import tensorflow as tf

from rasa_hybrid.dialogue import Belief, Dialogue, Entity, SystemAction, Turn, Utterance
from rasa_hybrid.learning.supervised import EpochResult, SupervisedTrainer
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.batching import collate
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.network import JointModel
from rasa_hybrid.model.preparation import prepare
from tests.model.small_worlds import (
    FILMS,
    PRESETS,
    act,
    bookings,
    first_action_only,
    tiny_settings,
    wild_dialogues,
    wild_encoder,
)

REPOSITORY = Path(__file__).parents[2]
#: Small, without dropout, in large steps: to fit a few dialogues.
EAGER_TO_FIT: Dict[str, Any] = {
    "embedding_size": 16,
    "utterance_lstm_size": 12,
    "dialogue_lstm_size": 16,
    "act_embedding_size": 8,
    "belief_hidden_size": 12,
    "policy_hidden_size": 16,
    "learning_rate": 0.02,
    "batch_size": 20,
    "epochs": 60,
    "least_steps": 0,
    "dropout": 0.0,
    "word_dropout": 0.0,
    "value_dropout": 0.0,
}
LARGER = {"dialogue_lstm_size": 32, "utterance_lstm_size": 24, "epochs": 400, "learning_rate": 0.01}
TRAINING_FILMS = (
    *FILMS,
    "Frozen River",
    "The Big Sick",
    "Ghost Ship",
    "Paper Towns",
    "Blue Valentine",
)
OTHER_FILMS = ("Inception", "Green Book", "Night Crawler", "The Lighthouse")


def played(model: ActingModel, dialogue: Dialogue) -> Iterator[Tuple[Turn, Belief, List[str]]]:
    """A dialogue's turns with the belief and the most probable action at each decision, ended by listening."""
    names = model.encoder.vocabulary.actions.names
    conversation = model.start()
    for turn in dialogue.turns:
        [belief] = model.observe([conversation], [turn])
        chosen = [
            names[
                int(
                    model.decide([conversation], [turn.summary], [turn.actions[:n]], [()])[
                        0
                    ].argmax()
                )
            ]
            for n in range(len(turn.actions) + 1)
        ]
        model.close([conversation], [turn])
        yield turn, belief, chosen


def joint_goal_accuracy(model: ActingModel, dialogues: Sequence[Dialogue]) -> float:
    """Share of the labelled turns whose best hypothesis is the goal."""
    right = [
        belief.goal() == turn.goal
        for dialogue in dialogues
        for turn, belief, _ in played(model, dialogue)
        if turn.goal is not None
    ]
    return sum(right) / len(right)


def action_accuracy(model: ActingModel, dialogues: Sequence[Dialogue]) -> float:
    """Share of the decisions that are those of the dialogue."""
    right = [
        mine == name
        for dialogue in dialogues
        for turn, _, chosen in played(model, dialogue)
        for mine, name in zip(chosen, [*(a.name for a in turn.actions), "action_listen"])
    ]
    return sum(right) / len(right)


class TraceCount:
    """How often the network was called from Python: once for each compilation."""

    def __init__(self) -> None:
        self.traces = 0


@pytest.fixture(scope="module")
def learnt() -> Iterator[Tuple[SupervisedTrainer, List[EpochResult], ActingModel, TraceCount]]:
    """A trainer, the figures of its first 60 epochs on 20 dialogues, the model then, and the number of compilations.

    Films that no training dialogue names are listed as values.
    """
    dialogues = bookings(60, films=TRAINING_FILMS)
    listed = {"movie": SlotValues(dict.fromkeys((*TRAINING_FILMS, *OTHER_FILMS), ()))}
    encoder = prepare(tiny_settings(**EAGER_TO_FIT), dialogues, listed=listed)
    count, call = TraceCount(), JointModel.__call__

    def counted(*args: Any, **kwargs: Any) -> Any:
        count.traces += 1
        return call(*args, **kwargs)

    patch = pytest.MonkeyPatch()
    patch.setattr(JointModel, "__call__", counted)
    trainer = SupervisedTrainer(encoder)
    figures = trainer.fit(dialogues[:20])
    yield trainer, figures, ActingModel(encoder, trainer.weights()), count
    patch.undo()


def test_twenty_dialogues_are_learnt_by_heart(learnt):
    _, figures, model, _ = learnt
    dialogues = bookings(60, films=TRAINING_FILMS)[:20]
    assert joint_goal_accuracy(model, dialogues) == 1.0
    assert action_accuracy(model, dialogues) == 1.0
    assert (figures[-1].joint_goal_accuracy, figures[-1].action_accuracy) == (1.0, 1.0)
    assert figures[-1].loss < 0.05 * figures[0].loss
    assert [figure.epoch for figure in figures] == list(range(1, 61))


@pytest.fixture(scope="module")
def generalised(learnt) -> ActingModel:
    """The model after it learnt from further dialogues with words hidden now and then."""
    trainer = learnt[0]
    trainer.fit(bookings(60, films=TRAINING_FILMS))
    return ActingModel(trainer.encoder, trainer.weights())


@pytest.mark.slow
def test_films_that_no_dialogue_named_are_tracked_and_booked(generalised):
    unseen = bookings(30, seed=7, films=OTHER_FILMS)
    assert joint_goal_accuracy(generalised, unseen) >= 0.95
    assert action_accuracy(generalised, unseen) >= 0.95


@pytest.mark.slow
def test_a_film_that_came_after_training_is_tracked_without_training(generalised):
    old = generalised.encoder
    films = ("Zorblax Returns", "Midnight Diner")
    later = bookings(20, seed=8, films=films)
    # Before it is listed, only from when the system names it on.
    assert joint_goal_accuracy(generalised, later) < 0.5
    ontology = old.ontology.with_values({"movie": films})
    model = ActingModel(Encoder(old.settings, old.vocabulary, ontology), generalised.weights)
    assert joint_goal_accuracy(model, later) >= 0.95


def test_batches_of_any_shape_share_one_compilation(learnt):
    trainer, _, _, count = learnt
    for size, seed in ((1, 1), (3, 2), (7, 3)):
        dialogues = [*wild_dialogues(size, seed), *bookings(size, seed)]
        trainer.train_step(
            collate(trainer.encoder, [trainer.encoder.dialogue(d) for d in dialogues])
        )
    assert count.traces == 1


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Without compilation, which takes longer than a few tiny steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def trained(encoder: Encoder, dialogues: Sequence[Dialogue]) -> Dict[str, np.ndarray]:
    trainer = SupervisedTrainer(encoder)
    trainer.fit(dialogues)
    return trainer.weights()


def equal(one: Dict[str, np.ndarray], other: Dict[str, np.ndarray]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    )


@pytest.mark.parametrize("preset", [pytest.param("default", marks=pytest.mark.slow), "liu2018"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(eagerly, preset):
    dialogues = bookings(2)

    def weights(seed: int) -> Dict[str, np.ndarray]:
        settings = tiny_settings(preset, batch_size=1, epochs=1, least_steps=0, seed=seed)
        return trained(prepare(settings, dialogues), dialogues)

    first = weights(1)
    assert equal(first, weights(1))
    assert not equal(first, weights(2))


FINGERPRINT = """
import sys
from tests.learning.test_supervised_training import fingerprint_of_a_training
print(fingerprint_of_a_training())
"""


def fingerprint_of_a_training() -> str:
    """A digest of the weights after a compiled training in sizes where operations use several threads."""
    dialogues = bookings(16)
    settings = replace(
        tiny_settings(batch_size=8, epochs=2, least_steps=0),
        embedding_size=128,
        utterance_lstm_size=64,
        dialogue_lstm_size=128,
        belief_hidden_size=64,
        policy_hidden_size=64,
    )
    weights = trained(prepare(settings, dialogues), dialogues)
    return hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights))).hexdigest()


@pytest.mark.slow
@pytest.mark.process
def test_another_process_learns_the_same_weights_bit_for_bit():
    mine = fingerprint_of_a_training()
    assert fingerprint_of_a_training() == mine
    done = subprocess.run(
        [sys.executable, "-c", FINGERPRINT],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={
            "PATH": "/usr/bin",
            "PYTHONHASHSEED": "7",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # How a product of matrices is shared out to threads shows in its last bits.
            "TF_NUM_INTRAOP_THREADS": os.environ["TF_NUM_INTRAOP_THREADS"],
        },
    )
    assert done.stdout.split()[-1] == mine


@pytest.mark.slow
def test_the_papers_model_learns_twenty_dialogues_by_heart():
    dialogues = [first_action_only(dialogue) for dialogue in bookings(20)]
    settings = tiny_settings("liu2018", **{**EAGER_TO_FIT, **LARGER})
    encoder = prepare(settings, dialogues)
    trainer = SupervisedTrainer(encoder)
    trainer.fit(dialogues)
    model = ActingModel(encoder, trainer.weights())
    assert joint_goal_accuracy(model, dialogues) == 1.0
    decisions = [
        (turn.actions[0].name, chosen[0])
        for dialogue in dialogues
        for turn, _, chosen in played(model, dialogue)
    ]
    assert all(name == mine for name, mine in decisions)


@pytest.mark.slow
def test_words_or_intent_alone_suffice_where_training_showed_both():
    said = {"greet": "hello there", "deny": "no thanks", "affirm": "yes please"}

    def turn(intent: str) -> Turn:
        return Turn(Utterance(said[intent], intent=intent), actions=(act(f"utter_{intent}"),))

    dialogues = [
        Dialogue(f"{i}", tuple(turn(name) for name in order))
        for i, order in enumerate([("greet", "deny"), ("deny", "affirm"), ("affirm", "greet")] * 4)
    ]
    settings = tiny_settings(**{**EAGER_TO_FIT, "epochs": 120})
    encoder = prepare(settings, dialogues)
    trainer = SupervisedTrainer(encoder)
    trainer.fit(dialogues)
    model = ActingModel(encoder, trainer.weights())
    for intent, text in said.items():
        for user in (Utterance(text), Utterance("", intent=intent)):
            [(_, _, chosen)] = played(model, Dialogue("x", (Turn(user),)))
            assert chosen == [f"utter_{intent}"]


def introduction(number: int, names: Sequence[str], labelled: bool = True) -> Dialogue:
    """A user says a name, which the system repeats."""
    name = names[number % len(names)]
    pattern = ("my name is {}", "i am {}", "{} here", "call me {} please")[number // 3 % 4]
    start = pattern.index("{")
    entities = (Entity("name", name, start, start + len(name)),) if labelled else ()
    goal = {"name": name}
    turns = (
        Turn(actions=(act("utter_ask_name", ("request", "name")),)),
        Turn(
            Utterance(pattern.format(name), entities=entities),
            goal=goal,
            actions=(act("utter_hello", ("confirm", "name", name)),),
        ),
        Turn(Utterance("yes"), goal=goal, actions=(act("utter_bye"),)),
    )
    return Dialogue(str(number), turns)


@pytest.mark.slow
def test_an_open_slot_takes_names_that_are_on_no_list():
    known = "anna bert clara dora emil frida gustav hanna igor jana kurt lena".split()
    dialogues = [introduction(number, known) for number in range(40)]
    settings = tiny_settings(**{**EAGER_TO_FIT, "value_dropout": 0.3})
    encoder = prepare(settings, dialogues, listed={"name": SlotValues({}, kind="open")})
    trainer = SupervisedTrainer(encoder)
    trainer.fit(dialogues)
    model = ActingModel(encoder, trainer.weights())
    unknown = "zork mila quentin xaver".split()
    assert joint_goal_accuracy(model, [introduction(n, unknown, False) for n in range(24)]) >= 0.9


@pytest.mark.slow
def test_intents_and_entities_are_learnt_from_examples_alone():
    cities = ("paris", "london", "rome", "oslo")
    examples = [Utterance(text, intent="greet") for text in ("hi", "hello", "hey there")]
    for city in cities:
        start = len("fly me to ")
        entity = Entity("city", city, start, start + len(city))
        examples.append(Utterance(f"fly me to {city}", intent="fly", entities=(entity,)))
    encoder = prepare(tiny_settings(**{**EAGER_TO_FIT, "value_dropout": 0.3}), [], examples)
    trainer = SupervisedTrainer(encoder)
    trainer.fit([], examples)
    model = ActingModel(encoder, trainer.weights())
    greeting, flight = model.understand([Utterance("hello"), Utterance("fly me to Madrid")])
    assert greeting.intents[0][0] == "greet" and greeting.entities == ()
    assert flight.intents[0][0] == "fly"
    assert [entity[:5] for entity in flight.entities] == [("city", None, None, 10, 16)]


def test_dialogues_of_buttons_alone_can_be_learnt(eagerly):
    dialogues = [
        Dialogue(
            "1", (Turn(Utterance("", intent="greet"), actions=(SystemAction("utter_greet"),)),) * 2
        )
    ]
    settings = tiny_settings(epochs=1, least_steps=0)
    weights = trained(prepare(settings, dialogues), dialogues)
    assert all(np.isfinite(value).all() for value in weights.values())


def test_an_utterance_alone_in_its_batch_can_be_learnt(eagerly):
    weights = trained(prepare(tiny_settings(epochs=1, least_steps=0), bookings(1)), bookings(1))
    assert all(np.isfinite(value).all() for value in weights.values())


def test_dialogues_made_for_an_epoch_count_as_part_of_it(eagerly):
    dialogues = bookings(2)
    settings = tiny_settings(batch_size=4, epochs=1, least_steps=3)
    made = []

    def fresh(epoch):
        made.append(epoch)
        return dialogues

    results = SupervisedTrainer(prepare(settings, dialogues)).fit(dialogues, fresh=fresh)
    assert [result.epoch for result in results] == made == [1, 2, 3]


def test_an_epoch_tells_how_far_it_is(eagerly):
    dialogues = bookings(7)
    settings = tiny_settings(batch_size=3, epochs=2, least_steps=0)
    told = []
    results = SupervisedTrainer(prepare(settings, dialogues)).fit(
        dialogues, progress=lambda result: told.append(result.epoch), within=told.append
    )
    assert told == [1 / 3, 2 / 3, 1.0, 1, 1 / 3, 2 / 3, 1.0, 2]
    assert all(result.seconds > 0 for result in results)


@pytest.mark.parametrize("preset", PRESETS)
def test_anything_that_may_happen_in_a_dialogue_can_be_learnt_from(eagerly, preset):
    encoder = wild_encoder(preset, epochs=1, least_steps=0)
    weights = trained(encoder, [*wild_dialogues(5, seed=50), Dialogue("empty", ())])
    assert all(np.isfinite(value).all() for value in weights.values())


def test_training_goes_on_until_there_were_enough_steps(learnt):
    trainer = SupervisedTrainer(
        prepare(tiny_settings(batch_size=10, epochs=3, least_steps=40), bookings(2))
    )
    assert trainer.epochs(100) == 4  # 10 batches an epoch
    assert trainer.epochs(1000) == 3
    assert trainer.epochs(1) == 40
    assert trainer.epochs(0, examples=400) == 4  # forty examples a batch


def test_training_stops_when_held_out_dialogues_get_worse_and_keeps_the_best_epoch(
    eagerly, monkeypatch
):
    settings = tiny_settings(
        "liu2018", epochs=20, least_steps=0, patience=2, validation_fraction=0.5
    )
    dialogues = bookings(4)
    trainer = SupervisedTrainer(prepare(settings, dialogues))
    scripted, snapshots = iter([3.0, 2.0, 2.5, 2.0, 1.0]), []

    def validation_loss(held_out: Sequence) -> float:
        assert len(held_out) == 2
        snapshots.append(trainer.model.weights())
        return next(scripted)

    monkeypatch.setattr(trainer, "_validation_loss", validation_loss)
    figures = trainer.fit(dialogues)
    assert [figure.validation_loss for figure in figures] == [3.0, 2.0, 2.5, 2.0]
    assert equal(trainer.model.weights(), snapshots[1])


def test_the_validation_loss_is_the_loss_without_dropout_and_without_learning(eagerly):
    dialogues = bookings(6)
    settings = tiny_settings(
        "liu2018", epochs=1, least_steps=0, patience=1, validation_fraction=0.5
    )
    trainer = SupervisedTrainer(prepare(settings, dialogues))
    [figure] = trainer.fit(dialogues)
    order = np.random.default_rng(settings.seed).permutation(6)
    encoded = [[trainer.encoder.dialogue(dialogues[i])] for i in order[:3]]
    alone = [trainer._validation_loss(dialogue) for dialogue in encoded]
    assert figure.validation_loss == pytest.approx(np.mean(alone), rel=1e-4)


def test_the_running_average_of_the_weights_is_what_training_ends_with(eagerly):
    dialogues = bookings(2)
    settings = tiny_settings("liu2018", least_steps=0, weight_averaging=0.75)
    trainer = SupervisedTrainer(prepare(settings, dialogues))
    expected = trainer.model.weights()
    batch = collate(trainer.encoder, [trainer.encoder.dialogue(d) for d in dialogues])
    for kept in (1 / 10, 2 / 11):  # of the decay, as much as suits an average over so few updates
        trainer.train_step(batch)
        now = trainer.model.weights()
        expected = {n: kept * value + (1 - kept) * now[n] for n, value in expected.items()}
    for name, value in trainer.weights().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)


def test_one_step_moves_every_parameter_that_the_loss_reaches(eagerly):
    encoder = wild_encoder()
    trainer = SupervisedTrainer(encoder)
    before = trainer.model.weights()
    trainer.train_step(collate(encoder, [encoder.dialogue(d) for d in wild_dialogues(6, seed=99)]))
    still = {
        name for name, value in trainer.model.weights().items() if (value == before[name]).all()
    }
    # No examples: nothing to learn for the heads that have labels in examples only.
    assert still <= {"intent/kernel", "intent/bias", "tags/kernel", "tags/bias"}
