"""Settings: what may be configured, and what the presets mean."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_hybrid.model.settings import Settings, SettingsError


def test_the_default_preset_has_the_sizes_of_the_paper():
    settings = Settings.from_mapping({})
    assert settings == Settings()
    assert (settings.embedding_size, settings.utterance_lstm_size) == (300, 150)
    assert (settings.dialogue_lstm_size, settings.act_embedding_size) == (200, 32)
    assert (settings.policy_hidden_size, settings.dropout) == (100, 0.5)
    assert settings.learning_rate == 0.001


def test_the_presets_differ_exactly_where_ours_goes_beyond_the_paper():
    default = Settings.from_mapping({"preset": "default"}).to_dict()
    paper = Settings.from_mapping({"preset": "liu2018"}).to_dict()
    assert {name: paper[name] for name in default if default[name] != paper[name]} == {
        "preset": "liu2018",
        "candidates": False,
        "subword_buckets": 0,
        "context": False,
        "actions_per_turn": 1,
        "n_best_hypotheses": 1,
        "value_dropout": 0.0,
        "modality_dropout": 0.0,
        "intent_loss_weight": 0.0,
        "entity_loss_weight": 0.0,
    }


def test_a_setting_changes_a_preset():
    settings = Settings.from_mapping({"preset": "liu2018", "context": True, "dropout": 0})
    assert (settings.context, settings.candidates, settings.dropout) == (True, False, 0)


@pytest.mark.parametrize("preset", ["default", "liu2018"])
def test_settings_survive_a_round_trip_through_json(preset):
    settings = Settings.from_mapping({"preset": preset, "epochs": 7, "learning_rate": 0.01})
    assert Settings.from_mapping(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize("name", ["epoch", "Epochs", "", 7])
def test_an_unknown_key_is_named_with_those_that_exist(name):
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({name: 1})
    assert str(caught.value).startswith(f"{name}: no such setting; allowed: ")
    for field in fields(Settings):
        assert field.name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", "ten", "a whole number from 1 to 1e+06"),
        ("epochs", 1.5, "a whole number from 1 to 1e+06"),
        ("epochs", True, "a whole number"),
        ("epochs", 0, "from 1"),
        ("epochs", None, "a whole number"),
        ("batch_size", [32], "a whole number from 1 to 100000"),
        ("dropout", 1.0, "a number from 0 to 0.99"),
        ("dropout", -0.1, "a number from 0 to 0.99"),
        ("dropout", float("nan"), "a number"),
        ("learning_rate", 0, "a number from 1e-09 to 10"),
        ("learning_rate", float("inf"), "a number"),
        ("embedding_size", 0, "a whole number from 1 to 4096"),
        ("modality_dropout", 0.6, "a number from 0 to 0.5"),
        ("validation_fraction", 1, "a number from 0 to 0.9"),
        ("seed", -1, "a whole number from 0"),
        ("candidates", "yes", "true or false"),
        ("context", 1, "true or false"),
        ("pipeline", None, "true or false"),
        ("language", 7, "a text"),
        ("language", "", "a text"),
        ("embeddings", 7, "the path of a file"),
        ("preset", "liu2017", "default, liu2018"),
        ("preset", ["default"], "default, liu2018"),
        ("preset", None, "default, liu2018"),
    ],
)
def test_an_impossible_value_is_named_with_its_key_and_what_is_allowed(name, value, allowed):
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({name: value})
    assert str(caught.value).startswith(f"{name}: {value!r} is not ")
    assert allowed in str(caught.value)
    if name != "preset":
        with pytest.raises(SettingsError):
            Settings(**{name: value})


@given(
    name=st.sampled_from([field.name for field in fields(Settings)]),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()),
)
def test_any_value_is_either_kept_or_refused_by_name(name, value):
    try:
        settings = Settings.from_mapping({name: value})
    except SettingsError as error:
        assert str(error).startswith(f"{name}: {value!r} is not ")
    else:
        assert getattr(settings, name) == value
