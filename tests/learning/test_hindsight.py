"""What the end of a successful dialogue says about its turns."""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from rasa_hybrid.dialogue import DONTCARE, NONE, Dialogue, Turn, Utterance
from rasa_hybrid.learning.hindsight import hindsight_labels
from rasa_hybrid.model.candidates import SlotValues
from rasa_hybrid.model.encoded import UNLABELLED
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.preparation import prepare
from tests.model.small_worlds import act, tiny_settings

LISTED = {
    "film": SlotValues({"Star Wars": (), "A Man Called Ove": ()}),
    "day": SlotValues({"friday": (), "sunday": ()}),
}
UNKNOWN = "?"


def labels(*turns: Tuple[str, Dict[str, str]], offer: Sequence[Tuple[str, ...]] = ()) -> List[Dict]:
    """Labels by slot of a successful dialogue of (what the user said, what was tracked)."""
    dialogue = Dialogue(
        "d",
        tuple(
            Turn(Utterance(said), goal=goal, actions=(act("utter_offer", *offer),))
            for said, goal in turns
        ),
    )
    encoder: Encoder = prepare(tiny_settings(), [dialogue], listed=LISTED)
    tracked = encoder.start()
    rows = []
    encoded = []
    for turn in dialogue.turns:
        encoded.append(encoder.observe(tracked, turn, True))
        encoder.close(tracked, turn)
    for row in hindsight_labels(encoded):
        named = zip(encoder.ontology.slots, tracked.values, row)
        rows.append({s: UNKNOWN if c == UNLABELLED else values[c] for s, values, c in named})
    return rows


def test_a_slot_has_its_final_value_from_the_turn_on_in_which_the_user_named_it():
    missed = labels(
        ("hello", {}),
        ("what about friday", {}),
        ("star wars", {"film": "Star Wars"}),
        ("friday", {"film": "Star Wars", "day": "friday"}),
    )
    assert [row["day"] for row in missed] == [NONE, "friday", "friday", "friday"]
    assert [row["film"] for row in missed] == [NONE, NONE, "Star Wars", "Star Wars"]


def test_what_was_tracked_before_anybody_named_it_was_wrong():
    wrong = labels(
        ("all a man needs", {"film": "A Man Called Ove"}),
        ("star wars", {"film": "Star Wars"}),
    )
    assert [row["film"] for row in wrong] == [NONE, "Star Wars"]


def test_a_value_that_the_user_named_and_gave_up_stays_without_label():
    changed = labels(
        ("on sunday", {"day": "sunday"}),
        ("rather friday", {"day": "friday"}),
    )
    assert [row["day"] for row in changed] == [UNKNOWN, "friday"]


def test_a_value_that_only_the_system_named_stays_without_label():
    accepted = labels(
        ("anything on", {}),
        ("yes", {"day": "friday"}),
        offer=[("offer", "day", "friday")],
    )
    assert [row["day"] for row in accepted] == [NONE, UNKNOWN]


def test_dont_care_is_a_label_only_where_it_was_tracked_to_the_end():
    open_day = labels(
        ("whenever", {}), ("any day", {"day": DONTCARE}), ("star wars", {"day": DONTCARE})
    )
    assert [row["day"] for row in open_day] == [UNKNOWN, DONTCARE, DONTCARE]
