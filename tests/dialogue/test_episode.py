import pytest

from rasa_hybrid.dialogue import LISTEN, Decision, Dialogue, Episode, Turn


def test_returns_are_discounted_from_the_end():
    turns = (Turn(), Turn(), Turn())
    decisions = ((Decision(LISTEN),),) * 3
    episode = Episode(Dialogue("1", turns), decisions, (-1.0, -1.0, 14.0))
    # 14; -1 + 0.5 * 14 = 6; -1 + 0.5 * 6 = 2
    assert episode.returns(0.5) == (2.0, 6.0, 14.0)


def test_episode_whose_parts_differ_in_length_is_refused():
    with pytest.raises(ValueError, match="episode 'x': 1 turns, 0 turns of decisions, 1 rewards"):
        Episode(Dialogue("x", (Turn(),)), (), (0.0,))
