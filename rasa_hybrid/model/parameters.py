"""The one specification of the model's parameters: names and shapes, for learning and for acting."""

from __future__ import annotations

from typing import Dict, Mapping, Tuple

from rasa_hybrid.model.candidates import Ontology
from rasa_hybrid.model.encoded import CELL_FEATURES
from rasa_hybrid.model.settings import Settings
from rasa_hybrid.model.vocabulary import SUMMARY_SIZE, Vocabulary

#: Numbers a slot in v_k: log p(none), log p(dontcare), the two best log-probabilities (all in units
#: of -log BELIEF_FLOOR), entropy, rest mass.
BELIEF_FEATURES = 6
#: Probabilities below this have this one's logarithm in v_k. The paper's v_k, one logarithm a value, is in units of
#: -log BELIEF_FLOOR and counted from there: of some hundred values nearly all are 0, and only likely ones move the policy.
BELIEF_FLOOR = 1e-3
#: Beside the parameters, a checkpoint may hold the temperature of each slot's belief `[slots]`, fitted after training
#: (`learning.calibration`).
TEMPERATURE = "belief/temperature"


def sizes_of(vocabulary: Vocabulary, ontology: Ontology) -> Dict[str, int]:
    """How many of everything the model knows."""
    return {
        "words": len(vocabulary.words),
        "acts": len(vocabulary.acts),
        "act_slots": len(vocabulary.act_slots),
        "act_values": len(vocabulary.act_values),
        "features": len(vocabulary.features),
        "actions": len(vocabulary.actions),
        "intents": len(vocabulary.intents),
        "tags": len(vocabulary.tags),
        "slots": len(ontology.slots),
        "closed": 2 + max((len(values.closed) for values in ontology.values.values()), default=0),
    }


def parameter_shapes(settings: Settings, sizes: Mapping[str, int]) -> Dict[str, Tuple[int, ...]]:
    """Shape of every parameter, in the order in which they are drawn."""
    s = settings
    embedding, act = s.embedding_size, s.act_embedding_size
    utterance, hidden, slots = 2 * s.utterance_lstm_size, s.belief_hidden_size, sizes["slots"]
    shapes: Dict[str, Tuple[int, ...]] = {"words": (sizes["words"], embedding)}
    if s.subword_buckets:
        shapes["subwords"] = (s.subword_buckets + 1, embedding)
    if s.candidates:
        shapes["token_slots"] = (slots, embedding)
    for name in ("utterance_forward", "utterance_backward"):
        shapes.update(_lstm_shapes(name, embedding, s.utterance_lstm_size))
    for name in ("acts", "act_slots") if s.candidates else ("acts", "act_slots", "act_values"):
        shapes[name] = (sizes[name], act)
    if s.context or s.actions_per_turn > 1:
        shapes["actions"] = (sizes["actions"], act)
    if s.context:
        shapes["features"] = (sizes["features"], act)
    inputs = utterance + act * (2 if s.candidates else 3) + (2 * act if s.context else 0)
    shapes.update(_lstm_shapes("dialogue", inputs, s.dialogue_lstm_size))
    if s.candidates:
        shapes["belief/attention"] = (slots, utterance)
        shapes["belief/slots"] = (slots, act)
        shapes["belief/context_kernel"] = (s.dialogue_lstm_size + utterance + 2 * act, hidden)
        shapes["belief/context_bias"] = (hidden,)
        shapes["belief/match_kernel"] = (utterance, hidden)
        shapes["belief/edges_kernel"] = (2 * utterance, hidden)
        shapes["belief/acts"] = (sizes["acts"], hidden)
        shapes["belief/feature_kernel"] = (CELL_FEATURES, hidden)
        shapes["belief/kinds"] = (3, hidden)
        shapes["belief/previous_kernel"] = (hidden,)
        shapes["belief/score_kernel"] = (hidden,)
        shapes["belief/keep_kernel"] = (hidden,)
        shapes["belief/keep_previous"] = (2,)
        shapes["belief/keep_bias"] = ()
    else:
        shapes["belief/slot_hidden_kernel"] = (slots, s.dialogue_lstm_size, hidden)
        shapes["belief/slot_hidden_bias"] = (slots, hidden)
    shapes["belief/closed_kernel"] = (slots, hidden, sizes["closed"])
    shapes["belief/closed_bias"] = (slots, sizes["closed"])
    width = BELIEF_FEATURES if s.candidates else sizes["closed"]
    policy_inputs = (
        s.dialogue_lstm_size
        + slots * width
        + SUMMARY_SIZE
        + (2 * act if s.actions_per_turn > 1 else 0)
    )
    shapes["policy/kernel"] = (policy_inputs, s.policy_hidden_size)
    shapes["policy/bias"] = (s.policy_hidden_size,)
    if s.context:
        shapes["policy/features"] = (sizes["features"], s.policy_hidden_size)
    shapes["policy/output_kernel"] = (s.policy_hidden_size, sizes["actions"])
    shapes["policy/output_bias"] = (sizes["actions"],)
    shapes["intent/kernel"] = (utterance, sizes["intents"])
    shapes["intent/bias"] = (sizes["intents"],)
    shapes["tags/kernel"] = (utterance, sizes["tags"])
    shapes["tags/bias"] = (sizes["tags"],)
    if s.system_words:
        shapes["system_words/kernel"] = (embedding, act * (2 if s.candidates else 3))
    return shapes


def _lstm_shapes(name: str, inputs: int, units: int) -> Dict[str, Tuple[int, ...]]:
    return {
        f"{name}/kernel": (inputs, 4 * units),
        f"{name}/recurrent_kernel": (units, 4 * units),
        f"{name}/bias": (4 * units,),
    }
