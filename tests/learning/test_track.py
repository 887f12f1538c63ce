import json

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from rasa_hybrid.commands import main
from rasa_hybrid.corpora import read_dstc2, read_m2m
from rasa_hybrid.evaluation.tracking_experiment import misheard
from rasa_hybrid.learning.tracking import (
    TrackingPlan,
    TrainingCopies,
    track,
    tracking_encoder,
    tracking_settings,
)
from rasa_hybrid.model import checkpoint
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.network import initial_weights
from rasa_hybrid.model.parameters import TEMPERATURE, parameter_shapes, sizes_of
from rasa_hybrid.model.reading import likely_spans
from tests.small_corpora import booking

SMALL = {
    "embedding_size": 12,
    "utterance_lstm_size": 8,
    "dialogue_lstm_size": 8,
    "act_embedding_size": 4,
    "belief_hidden_size": 8,
    "subword_buckets": 50,
    "least_steps": 2,
    "epochs": 2,
}


@pytest.fixture(autouse=True)
def untraced():
    """Few small steps are faster without compiling them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def files(tmp_path):
    """Paths of a training, development and test file in the format of M2M."""
    films = ["sully", "trolls", "the red sea", "arrival"]
    paths = []
    for name, shown in (("train", films[:2]), ("dev", films[2:3]), ("test", films[3:])):
        path = tmp_path / f"{name}.json"
        dialogues = [
            booking(f"{i}-{date}", film, date)
            for i, film in enumerate(shown)
            for date in ("friday", "saturday")
        ]
        path.write_text(json.dumps(dialogues))
        paths.append(str(path))
    return paths


def call(files, *options):
    train, dev, test = files
    chosen = [f"--set={name}={value}" for name, value in SMALL.items()]
    return CliRunner(mix_stderr=False).invoke(
        main,
        ["track", "--dataset", "m2m", "--train", train, "--dev", dev, "--test", test]
        + [*chosen, *options],
    )


def test_track_prints_one_json_object_with_the_promised_figures(files):
    result = call(files, "--seeds", "2", "--json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    assert (figures["dataset"], figures["preset"], figures["seeds"]) == ("m2m", "default", 2)
    assert figures["turns"] == 4
    assert len(figures["joint_goal_accuracy"]["per_seed"]) == 2
    assert set(figures["slot_accuracy"]) == {"movie", "date"}
    assert {"schedule2", "expected_calibration_error", "seconds_per_seed"} <= set(figures)
    assert "epoch 2" in result.stderr


def test_same_seed_gives_the_same_figures(files):
    first, second = (json.loads(call(files, "--seeds", "1", "--json").stdout) for _ in range(2))
    for changing in ("seconds_per_seed", "milliseconds_per_turn"):
        first.pop(changing), second.pop(changing)
    assert first == second


@pytest.mark.parametrize(
    "options",
    [
        ["--preset", "liu2018"],
        ["--no-candidates"],
        ["--no-noise", "--no-synonyms", "--no-substitution", "--no-spans"],
        ["--mishear", "0.3"],
    ],
)
def test_every_ablation_runs(files, options):
    result = call(files, "--seeds", "1", *options)
    assert result.exit_code == 0, result.stderr
    assert "joint goal accuracy" in result.stdout


def test_values_come_from_training_labels_and_the_given_file_only(files, tmp_path):
    listed = tmp_path / "films.json"
    listed.write_text(json.dumps({"movie": ["moonlight"]}))
    result = call(
        files, "--seeds", "1", "--candidates", str(listed), "--save", str(tmp_path / "trackers")
    )
    assert result.exit_code == 0, result.stderr
    model = json.loads((tmp_path / "trackers" / "seed-0" / "model.json").read_text())
    assert set(model["ontology"]["movie"]["values"]) == {"sully", "trolls", "moonlight"}


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--set", "dropout=2"], "dropout"),
        (["--set", "dropout"], "NAME=VALUE"),
        (["--candidates", __file__], "test_track.py"),
        (["--preset", "liu2018", "--n-best", "3"], "--n-best"),
        (["--train-words", "recognised"], "--train-words"),
    ],
)
def test_wrong_option_is_an_error_that_names_it(files, options, complaint):
    result = call(files, *options)
    assert result.exit_code != 0
    assert complaint in result.stderr


@pytest.fixture
def calls(tmp_path):
    """A directory of calls in the original layout of DSTC2: callers say "cheap" or "dear", a recogniser hears worse."""
    for number, (price, heard) in enumerate([("cheap", "chip"), ("expensive", "expense")] * 2):
        call = tmp_path / "calls" / f"call-{number}"
        call.mkdir(parents=True)
        greeting = {"transcript": "Hello", "dialog-acts": [{"act": "welcomemsg", "slots": []}]}
        hypotheses = [
            {"asr-hyp": f"{heard} please", "score": -0.5},
            {"asr-hyp": f"{price} peas", "score": -1.0},
        ]
        turn = {"output": greeting, "input": {"live": {"asr-hyps": hypotheses}}}
        label = {"goal-labels": {"pricerange": price}, "transcription": f"{price} please"}
        (call / "log.json").write_text(json.dumps({"session-id": str(number), "turns": [turn]}))
        (call / "label.json").write_text(json.dumps({"turns": [label]}))
    return str(tmp_path / "calls")


@pytest.mark.parametrize(
    "options, is_heard",
    [([], False), (["--train-words", "recognised", "--words", "transcribed"], True)],
)
def test_recorded_n_best_lists_are_trained_on_where_asked_for(calls, tmp_path, options, is_heard):
    options = [*options, "--dataset", "dstc2", "--seeds", "1", "--save", str(tmp_path / "trackers")]
    result = call([calls] * 3, *options)
    assert result.exit_code == 0, result.stderr
    model = json.loads((tmp_path / "trackers" / "seed-0" / "model.json").read_text())
    assert model["settings"]["n_best_hypotheses"] == 3
    words = json.dumps(model["vocabulary"])
    for heard in ("chip", "expense", "peas"):
        assert (f'"{heard}"' in words) == is_heard


def test_recognised_words_are_left_alone_and_synonyms_found_in_transcripts(calls):
    heard, said = (read_dstc2(calls, words) for words in ("recognised", "transcribed"))
    plan = TrackingPlan(tracking_settings(**SMALL), noise=False, transcripts=said)
    _, forms = tracking_encoder(plan, heard)
    assert forms == tracking_encoder(plan, said)[1]
    copies = TrainingCopies(plan, heard, forms, (), 0)
    assert [d.turns[1].user.hypotheses for d in copies.lasting] == [
        d.turns[1].user.hypotheses for d in heard
    ]
    assert not any("heard with" in d.id for d in copies.of_epoch(1))


def test_broken_file_is_an_error_that_names_it(files, tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("[{")
    result = call([files[0], files[1], str(broken)])
    assert result.exit_code == 1
    assert "broken.json" in result.stderr


def test_a_split_without_dialogues_or_with_other_slots_is_an_error_that_says_so(files, tmp_path):
    nothing, other = tmp_path / "nothing.json", tmp_path / "other.json"
    nothing.write_text("[]")
    other.write_text(json.dumps([booking("other", "sully", "friday")]).replace("movie", "category"))
    assert "--dev: there is no dialogue" in call([files[0], str(nothing), files[2]]).stderr
    complaint = call([files[0], files[1], str(other)]).stderr
    assert "--test: dialogue dother has a label for category" in complaint
    assert "known: date, movie" in complaint


def model_of(files, unlisted=(), **plan):
    dialogues = read_m2m(files[0])
    chosen = TrackingPlan(tracking_settings(**SMALL), **plan)
    encoder, _ = tracking_encoder(chosen, dialogues, unlisted)
    shapes = parameter_shapes(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology))
    return ActingModel(encoder, initial_weights(shapes, 0))


def test_labels_and_entities_of_the_scored_dialogues_are_not_read(files):
    model = model_of(files)
    labelled = read_m2m(files[2])
    bare = [
        type(d)(d.id, tuple(type(t)(_bare(t.user), actions=t.actions) for t in d.turns))
        for d in labelled
    ]
    seen = [beliefs for _, beliefs in track(model, labelled)]
    assert seen == [beliefs for _, beliefs in track(model, bare)]


def _bare(user):
    return user and type(user)(user.text)


def kinds(files, **plan):
    encoder = model_of(files, unlisted=["movie"], **plan).encoder
    return {slot: values.kind for slot, values in encoder.ontology.values.items()}


def test_unseen_film_can_be_a_value_only_where_spans_are_allowed(files):
    assert kinds(files) == {"movie": "open", "date": "list"}
    assert kinds(files, spans=False) == {"movie": "list", "date": "list"}
    assert kinds(files, catalogue={"movie": {"moonlight": ()}})["movie"] == "list"


def test_copies_have_names_of_their_own_and_keep_the_originals(files):
    dialogues = read_m2m(files[0])
    plan = TrackingPlan(tracking_settings(**SMALL))
    made = TrainingCopies(plan, dialogues, {}, ["movie"], 0)
    copies = [*made.lasting, *made.of_epoch(1), *made.of_epoch(2)]
    assert len({copy.id for copy in copies}) == len(copies)
    assert [copy.id for copy in copies[: len(dialogues)]] == [d.id for d in dialogues]
    assert len(made.lasting) + len(made.of_epoch(1)) == made.epoch_size


def test_every_epoch_mishears_anew(files):
    dialogues = read_m2m(files[0])
    plan = TrackingPlan(tracking_settings(**SMALL), substitution=False)
    made = TrainingCopies(plan, dialogues * 10, {}, ["movie"], 0)
    first, again, second = (
        [t.user.text for d in made.of_epoch(epoch) for t in d.turns if t.user]
        for epoch in (1, 1, 2)
    )
    assert first == again != second


def test_some_prompts_are_known_by_their_words_alone(files):
    dialogues = read_m2m(files[0]) * 20
    for reads, least in ((True, 1), (False, 0)):
        settings = tracking_settings(**SMALL, system_words=reads)
        plan = TrackingPlan(settings, substitution=False)
        copies = TrainingCopies(plan, dialogues, {}, ["movie"], 0).of_epoch(1)
        actions = [a for d in copies for t in d.turns for a in t.actions]
        unmapped = [a for a in actions if not a.acts]
        assert least <= len(unmapped) < len(actions) / 5
        assert all(action.text for action in unmapped)


def test_a_saved_tracker_shows_calibrated_beliefs(files, tmp_path):
    assert call(files, "--seeds", "1", "--save", str(tmp_path)).exit_code == 0
    encoder, weights, _ = checkpoint.load(tmp_path / "seed-0")
    assert weights[TEMPERATURE].shape == (2,)
    raw = {name: value for name, value in weights.items() if name != TEMPERATURE}
    calibrated, uncalibrated = ActingModel(encoder, weights), ActingModel(encoder, raw)
    dialogues = read_m2m(files[2])
    (_, [shown, *_]), *_ = track(calibrated, dialogues)
    (_, [before, *_]), *_ = track(uncalibrated, dialogues)
    assert shown.goal() == before.goal()
    assert shown != before


def test_saved_trackers_are_scored_again_without_training(files, tmp_path):
    trained = call(files, "--seeds", "2", "--json", "--save", str(tmp_path))
    again = call(files, "--seeds", "2", "--json", "--trackers", str(tmp_path))
    assert again.exit_code == 0, again.stderr
    assert "epoch" not in again.stderr
    first, second = (json.loads(result.stdout) for result in (trained, again))
    assert first["joint_goal_accuracy"] == second["joint_goal_accuracy"]
    missing = call(files, "--seeds", "3", "--trackers", str(tmp_path))
    assert missing.exit_code == 1 and "seed-2" in missing.stderr


def test_misheard_dialogues_keep_their_labels(files):
    dialogues = read_m2m(files[0])
    assert [d.id for d in misheard(dialogues, dialogues, 0.5)] == 3 * [d.id for d in dialogues]
    heard = misheard(dialogues, dialogues, 0.5, seeds=(1,))
    assert [[t.goal for t in d.turns] for d in heard] == [
        [t.goal for t in d.turns] for d in dialogues
    ]
    assert any(
        a.user.text != b.user.text
        for d, h in zip(dialogues, heard)
        for a, b in zip(d.turns, h.turns)
        if a.user is not None
    )
    assert np.all([len(d.turns) == len(h.turns) for d, h in zip(dialogues, heard)])


def test_spans_are_proposed_with_the_probability_of_both_ends():
    begins, goes_on = np.array([0.0, 0.9, 0.1, 0.0]), np.array([0.0, 0.0, 0.6, 0.1])
    assert likely_spans(begins, goes_on) == [
        (1, 3, pytest.approx(0.9 * 0.6 * 0.9)),
        (1, 2, pytest.approx(0.9 * 0.4)),
        (2, 3, pytest.approx((0.1 + 0.6 * 0.1) * 0.9)),
    ]


def test_two_spans_may_be_the_ends_of_one():
    """ "kite and the two drums": "and the two" looks like what people say between films."""
    begins, goes_on = np.array([0.0, 0.8, 0.0, 0.0, 0.6]), np.array([0.0, 0.0, 0.0, 0.0, 0.0])
    found = [(1, 2, pytest.approx(0.8)), (4, 5, pytest.approx(0.6))]
    assert likely_spans(begins, goes_on) == [*found, (1, 5, pytest.approx(0.8 * 0.6))]
    assert likely_spans(begins, goes_on, joined=0) == found
    assert likely_spans(begins, goes_on, longest=3) == found


def test_no_span_is_proposed_where_the_tagger_sees_none():
    assert likely_spans(np.full(3, 0.01), np.full(3, 0.01)) == []
