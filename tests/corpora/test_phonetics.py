import pytest

from rasa_hybrid.corpora.phonetics import distances, sounds


@pytest.mark.parametrize(
    "word, same",
    [
        ("knight", "nite"),
        ("phone", "fone"),
        ("2", "two"),
        ("21", "twenty one"),
    ],
)
def test_spellings_of_one_sound_are_equal(word, same):
    assert sounds(word) == sounds(same)


@pytest.mark.parametrize(
    "said, near, far",
    [
        ("danish", "spanish", "chinese"),
        ("cellar", "seller", "window"),
        ("gastropub", "gastro pub", "european"),
        ("bat", "pat", "sat"),
        ("north", "no", "east"),
    ],
)
def test_words_that_sound_alike_are_near(said, near, far):
    first, second = distances(sounds(said), [sounds(near), sounds(far)])
    assert first < second


def test_equal_sounds_have_no_distance():
    assert distances("", ["", "a"]).tolist() == [0.0, 2.0]
    assert distances(sounds("tea"), [sounds("tee")]).tolist() == [0.0]
