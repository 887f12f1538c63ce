"""Word vectors from files."""

from __future__ import annotations

import numpy as np
import pytest

from rasa_hybrid.model.embeddings import read_vectors, with_vectors
from rasa_hybrid.model.preparation import prepare
from rasa_hybrid.model.settings import Settings, SettingsError


def test_vectors_are_read_in_both_formats_and_by_normalised_word(tmp_path):
    glove, word2vec = tmp_path / "glove.txt", tmp_path / "word2vec.txt"
    glove.write_text("Friday 1 2 3\nfriday 9 9 9\nsix 4 5 6.5\n", encoding="utf-8")
    word2vec.write_text("2 3\n" + glove.read_text(encoding="utf-8"), encoding="utf-8")
    for path in (glove, word2vec):
        vectors = read_vectors(path, 3)
        assert {word: list(v) for word, v in vectors.items()} == {
            "friday": [1, 2, 3],
            "6": [4, 5, 6.5],
        }


def test_a_vector_of_another_size_is_named_with_its_line(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\nb 1 2 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="vectors.txt:2 has 3 numbers, but embedding_size is 2"):
        read_vectors(path, 2)


def test_only_words_with_a_vector_get_one():
    encoder = prepare(Settings(), [], words=["friday"])
    weights = {"words": np.zeros((len(encoder.vocabulary.words), 2), np.float32)}
    result = with_vectors(weights, encoder.vocabulary, {"friday": np.ones(2), "monday": np.ones(2)})
    assert result["words"].sum() == 2
    assert list(result["words"][encoder.vocabulary.words["friday"]]) == [1, 1]
