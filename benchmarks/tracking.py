"""A turn of belief tracking with long lists of values: tokens, candidates, encoding, belief.

Every utterance is a new one, so that nothing comes from a cache.
"""

from __future__ import annotations

import statistics
import time
from typing import Dict, List

import numpy as np

#: Goal slots, values of each, and turns that are measured.
SLOTS, VALUES, TURNS = 5, 5000, 400


def measure() -> Dict[str, float]:
    """Milliseconds of a turn, of one conversation, at the settings of `rasa-hybrid track`."""
    from rasa_hybrid.dialogue import Dialogue, DialogueAct, SystemAction, Turn, Utterance
    from rasa_hybrid.learning.tracking import tracking_settings
    from rasa_hybrid.model.acting import ActingModel
    from rasa_hybrid.model.candidates import SlotValues
    from rasa_hybrid.model.network import initial_weights
    from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
    from rasa_hybrid.model.preparation import prepare

    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnoprstuvw"))
    words = ["".join(rng.choice(letters, 6)) for _ in range(20_000)]

    def phrase(count: int) -> str:
        return " ".join(words[i] for i in rng.integers(0, len(words), count))

    values = {f"slot {s}": [phrase(1 + i % 4) for i in range(VALUES)] for s in range(SLOTS)}
    asked = SystemAction("ask", (DialogueAct("request", "slot 0"),))
    example = Dialogue("d", (Turn(Utterance(phrase(9)), goal={}, actions=(asked,)),))
    listed = {slot: SlotValues(dict.fromkeys(names, ())) for slot, names in values.items()}
    encoder = prepare(tracking_settings(), [example], listed=listed, words=words)
    shapes = parameter_shapes(encoder.settings, sizes_of(encoder.vocabulary, encoder.ontology))
    model = ActingModel(encoder, initial_weights(shapes, 0))
    seconds: List[float] = []
    for number in range(TURNS):
        if number % 8 == 0:
            conversation = model.start()
        said = [str(rng.choice(names)) for names in values.values()][: 1 + number % 2]
        turn = Turn(Utterance(f"i would like to have {' for '.join(said)} please {number}"))
        started = time.perf_counter()
        model.observe([conversation], [turn])
        seconds.append(time.perf_counter() - started)
        model.close([conversation], [Turn(turn.user, actions=(asked,))])
    seconds.sort()
    return {
        f"tracking_turn_{VALUES}_values_a_slot_p50_ms": 1000 * statistics.median(seconds),
        f"tracking_turn_{VALUES}_values_a_slot_p95_ms": 1000 * seconds[int(0.95 * TURNS)],
    }
