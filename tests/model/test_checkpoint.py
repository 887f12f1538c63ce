"""A model on disk: the same model again, or a message that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rasa_hybrid.dialogue import Turn, Utterance
from rasa_hybrid.model import checkpoint
from rasa_hybrid.model.acting import ActingModel
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.checkpoint import CheckpointError
from rasa_hybrid.model.preparation import prepare
from tests.model.small_worlds import PRESETS, bookings, random_weights, tiny_settings


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with a model."""
    encoder = prepare(tiny_settings(), bookings(5))
    checkpoint.save(tmp_path / "model", encoder, random_weights(encoder), {"note": "π"})
    return tmp_path / "model"


def sign(directory: Path) -> None:
    """Gives the files of a model the checksums of what they hold now."""
    manifest = json.loads((directory / "manifest.json").read_text())
    for name in manifest["sha256"]:
        manifest["sha256"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / "manifest.json").write_text(json.dumps(manifest))


def change_weights(directory: Path, **changes) -> None:
    with np.load(directory / "weights.npz") as arrays:
        weights = {name: arrays[name] for name in arrays.files}
    for name, value in changes.items():
        name = name.replace("__", "/")
        weights.pop(name)
        weights.update({name: value} if value is not None else {})
    np.savez(directory / "weights.npz", **weights)
    sign(directory)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_reloaded_model_believes_and_decides_the_same(tmp_path, preset):
    listed = {"vip": SlotValues({"true": (), "false": ()}, "bool"), "name": SlotValues({}, "open")}
    encoder = prepare(tiny_settings(preset), bookings(10), listed=listed)
    weights = random_weights(encoder)
    checkpoint.save(tmp_path, encoder, weights, {"note": "π"})
    read_encoder, read_weights, extra = checkpoint.load(tmp_path)
    assert extra == {"note": "π"}
    assert read_encoder.settings == encoder.settings
    assert read_encoder.ontology.to_dict() == encoder.ontology.to_dict()
    assert all(np.array_equal(read_weights[name], value) for name, value in weights.items())
    models = ActingModel(encoder, weights), ActingModel(read_encoder, read_weights)
    for dialogue in bookings(4, seed=5):
        conversations = [model.start() for model in models]
        for turn in dialogue.turns:
            beliefs, decisions = [], []
            for model, conversation in zip(models, conversations):
                beliefs += model.observe([conversation], [turn])
                decisions.append(model.decide([conversation], [turn.summary], [()], [()]))
                model.close([conversation], [turn])
            assert beliefs[0] == beliefs[1]
            np.testing.assert_allclose(decisions[0], decisions[1], atol=1e-6)


def test_a_model_consists_of_json_and_plain_arrays(saved):
    assert sorted(path.name for path in saved.iterdir()) == [
        "manifest.json",
        "model.json",
        "weights.npz",
    ]
    assert json.loads((saved / "manifest.json").read_text())["schema"] == checkpoint.SCHEMA
    assert set(json.loads((saved / "model.json").read_text())) >= {"settings", "vocabulary"}
    with np.load(saved / "weights.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype == np.float32 for name in arrays.files)


def test_no_module_of_ours_reads_or_writes_pickles():
    package = Path(checkpoint.__file__).parents[1]
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"^\s*(import|from) (pickle|dill|joblib|shelve|marshal|cloudpickle)\b", text, re.M
        ), path
        assert "allow_pickle=True" not in text, path


def test_a_model_can_be_saved_over_another(saved):
    encoder = prepare(tiny_settings("liu2018"), bookings(7))
    checkpoint.save(saved, encoder, random_weights(encoder))
    assert checkpoint.load(saved)[0].settings.preset == "liu2018"


def refusal(directory: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(directory)
    assert str(directory) in str(caught.value)
    return str(caught.value)


def test_a_directory_that_is_not_there_or_of_somebody_else_is_refused(tmp_path):
    assert "holds no model of rasa_hybrid" in refusal(tmp_path / "nowhere")
    assert "holds no model of rasa_hybrid" in refusal(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "ted"}')
    assert "is not a manifest of rasa_hybrid" in refusal(tmp_path)
    (tmp_path / "manifest.json").write_text('["rasa_hybrid"]')
    assert "is not a manifest of rasa_hybrid" in refusal(tmp_path)


def test_a_model_of_a_later_version_is_refused_with_both_versions(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    newer = checkpoint.SCHEMA + 1
    (saved / "manifest.json").write_text(json.dumps({**manifest, "schema": newer}))
    message = refusal(saved)
    assert f"schema {newer}" in message and f"reads schema {checkpoint.SCHEMA}" in message


@pytest.mark.parametrize("name", ["model.json", "weights.npz"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "deleted"])
def test_a_damaged_file_is_named(saved, name, damage):
    path = saved / name
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.unlink()
    message = refusal(saved)
    assert name in message and "damaged or missing" in message


def test_a_damaged_manifest_is_named(saved):
    (saved / "manifest.json").write_text("{")
    assert "manifest.json can't be read" in refusal(saved)


def test_a_weight_that_is_missing_is_named(saved):
    change_weights(saved, policy__bias=None)
    assert "policy/bias should have shape (5,), found nothing" in refusal(saved)


def test_a_weight_of_another_shape_is_named_with_both_shapes(saved):
    change_weights(saved, policy__bias=np.zeros(3, np.float32))
    assert "policy/bias should have shape (5,), found (3,)" in refusal(saved)


def test_weights_that_would_need_pickle_are_refused(saved):
    change_weights(saved, policy__bias=np.array([{"a": 1}], dtype=object))
    assert "damaged model" in refusal(saved) and "pickle" in refusal(saved)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[]", "TypeError"),
        ("{}", "KeyError: 'settings'"),
        ('{"settings": {"epoch": 1}}', "epoch: no such setting"),
        ('{"settings": "default"}', "damaged model"),
        ('{"settings": {}, "vocabulary": {"words": 3}}', "damaged model"),
    ],
)
def test_a_model_file_with_other_content_is_refused(saved, content, complaint):
    (saved / "model.json").write_text(content)
    sign(saved)
    assert complaint in refusal(saved)


def test_weights_that_are_no_archive_are_refused(saved):
    (saved / "weights.npz").write_text("not a zip file")
    sign(saved)
    assert "damaged model" in refusal(saved)
    with zipfile.ZipFile(saved / "weights.npz", "w") as archive:
        archive.writestr("policy/bias.txt", "1")
    sign(saved)
    assert "should have shape" in refusal(saved)


def test_a_reloaded_model_takes_values_that_came_after_training(saved):
    encoder, weights, _ = checkpoint.load(saved)
    encoder.ontology = encoder.ontology.with_values({"movie": ["Zorblax Returns"]})
    model = ActingModel(
        type(encoder)(encoder.settings, encoder.vocabulary, encoder.ontology), weights
    )
    [belief] = model.observe([model.start()], [Turn(Utterance("zorblax returns"))])
    assert belief.probability("movie", "Zorblax Returns") > 0.0


def test_a_model_is_read_from_an_archive_of_rasa(saved, tmp_path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(saved, "components/train_HybridPolicy0")
    encoder, weights, extra = checkpoint.load_archive(tmp_path / "model.tar.gz")
    direct = checkpoint.load(saved)
    assert encoder.vocabulary.to_dict() == direct[0].vocabulary.to_dict()
    assert all(np.array_equal(weights[name], value) for name, value in direct[1].items())
    assert extra == {"note": "π"}


def test_an_archive_without_our_model_or_no_archive_at_all_is_refused(saved, tmp_path):
    with tarfile.open(tmp_path / "ted.tar.gz", "w:gz") as archive:
        archive.add(saved / "model.json", "components/train_TEDPolicy0/model.json")
    with pytest.raises(CheckpointError, match="ted.tar.gz holds no model of rasa_hybrid"):
        checkpoint.load_archive(tmp_path / "ted.tar.gz")
    (tmp_path / "text.tar.gz").write_text("no archive")
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        archive.add(saved, "components/train_rasa_hybrid.HybridPolicy0")
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.tar.gz", "missing.tar.gz", "half.tar.gz"):
        with pytest.raises(CheckpointError, match=f"{name} can't be read as a model archive"):
            checkpoint.load_archive(tmp_path / name)
