import json

import pytest

from rasa_hybrid.corpora import CorpusError
from rasa_hybrid.corpora.catalogue import read_catalogue
from rasa_hybrid.evaluation.tracking_experiment import read_values

SLOTS = ("movie", "price range")


@pytest.mark.parametrize(
    "name, content",
    [
        ("list.json", json.dumps({"movie": ["Sully", "Trolls"], "theatre": ["x"]})),
        ("list.yml", "movie: [Sully, Trolls]\n"),
        ("rows.csv", "id,movie\n1,Sully\n2,Trolls\n3,Sully\n"),
        ("rows.json", json.dumps([{"movie": "Sully", "seats": 3}, {"movie": "Trolls"}])),
    ],
)
def test_every_form_of_file_gives_the_slots_values(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert read_catalogue(path, SLOTS) == {"movie": {"Sully": (), "Trolls": ()}}


def test_synonyms_and_the_ontology_of_dstc2_are_read(tmp_path):
    path = tmp_path / "o.json"
    path.write_text(json.dumps({"informable": {"pricerange": {"moderate": ["medium"]}}}))
    assert read_catalogue(path, SLOTS) == {"price range": {"moderate": ("medium",)}}


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"food": ["thai"]}'])
def test_file_without_values_of_the_slots_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(CorpusError, match="bad.json"):
        read_catalogue(path, SLOTS)


def test_values_are_spelled_as_the_corpus_is(tmp_path):
    path = tmp_path / "values.json"
    path.write_text('{"area": {"Centre": ["city centre"]}}')
    assert read_values("dstc2", path, ["area"]) == {"area": {"center": ("city center",)}}
    assert read_values("m2m", path, ["area"]) == {"area": {"Centre": ("city centre",)}}
