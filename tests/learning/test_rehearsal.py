"""Batches of a quick update."""

from collections import Counter

from rasa_hybrid.dialogue import Dialogue
from rasa_hybrid.learning.rehearsal import mixed

TAUGHT = [Dialogue(f"taught {i}", ()) for i in range(3)]
EARLIER = [Dialogue(f"earlier {i}", ()) for i in range(40)]


def test_a_quarter_of_the_dialogues_was_taught_and_none_is_drawn_twice_before_all_were_drawn():
    counts = Counter(dialogue.id for dialogue in mixed(TAUGHT, EARLIER, 80, seed=1))
    assert [counts.pop(d.id) for d in TAUGHT] in ([7, 7, 6], [7, 6, 7], [6, 7, 7])
    assert sum(counts.values()) == 60
    assert set(counts.values()) == {1, 2}


def test_without_dialogues_of_one_kind_all_are_of_the_other():
    assert {d.id[:6] for d in mixed(TAUGHT, [], 8, seed=1)} == {"taught"}
    assert len(mixed(TAUGHT, [], 8, seed=1)) == 8
    assert {d.id[:7] for d in mixed([], EARLIER, 8, seed=1)} == {"earlier"}


def test_the_choice_is_repeated_with_its_seed():
    assert mixed(TAUGHT, EARLIER, 20, seed=3) == mixed(TAUGHT, EARLIER, 20, seed=3)
    assert mixed(TAUGHT, EARLIER, 20, seed=3) != mixed(TAUGHT, EARLIER, 20, seed=4)
