"""Word vectors from a file in the text format of word2vec and GloVe: a word and its numbers a line."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Dict, Iterator, Mapping, Optional, Tuple, Union

import numpy as np

from rasa_hybrid.dialogue import normalise
from rasa_hybrid.model.settings import SettingsError
from rasa_hybrid.model.vocabulary import Vocabulary

#: Vectors that are taken over beside those of training words; such files begin with the most frequent words.
MOST_VECTORS = 20_000


def read_vectors(
    path: Union[str, Path], size: int, language: str = "en", most: Optional[int] = MOST_VECTORS
) -> Dict[str, np.ndarray]:
    """The first vectors of a file, by normalised word.

    Args:
        path: text file; a first line with count and size, as word2vec writes, is skipped.
        size: numbers of a vector, the setting `embedding_size`.
        language: of the normalisation.
        most: how many lines are read; None: all.

    Returns:
        float32 vectors `[size]`; of words that normalise alike the first one.

    Raises:
        SettingsError: naming file and line, if a vector has another size or is not made of numbers; if there is no file.
    """
    if not Path(path).is_file():
        raise SettingsError(
            f"embeddings: {str(path)!r} is not allowed; it has to be the path of an existing file of word vectors."
        )
    vectors: Dict[str, np.ndarray] = {}
    for number, word, values in islice(_lines(path), most):
        if len(values) != size:
            raise SettingsError(
                f"embeddings: {path}:{number} has {len(values)} numbers, but embedding_size is {size}."
            )
        try:
            vector = np.array(values, np.float32)
        except ValueError as error:
            raise SettingsError(
                f"embeddings: {path}:{number} is not a word vector ({error})."
            ) from error
        word = normalise(word, language)
        if word and " " not in word:
            vectors.setdefault(word, vector)
    return vectors


def with_vectors(
    weights: Mapping[str, np.ndarray], vocabulary: Vocabulary, vectors: Mapping[str, np.ndarray]
) -> Dict[str, np.ndarray]:
    """Initial weights whose word embeddings are these vectors, where there is one."""
    words = np.array(weights["words"])
    for word, vector in vectors.items():
        if word in vocabulary.words:
            words[vocabulary.words[word]] = vector
    return {**weights, "words": words}


def _lines(path: Union[str, Path]) -> Iterator[Tuple[int, str, list]]:
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            word, *values = line.rstrip().split(" ")
            if values and not (number == 1 and len(values) == 1):
                yield number, word, values
