"""Starting a training from another model's weights: everything that still has the same name is taken over.

A parameter's axes run over labels (words, acts, slots, actions, ...) or over hidden units. Hidden units have to be as many as
before; labels are matched by name, whatever their order, and new ones keep their initial weights.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.parameters import BELIEF_FEATURES, sizes_of

#: Kind of label by axis; an empty kind is an axis of hidden units.
_AXES: Dict[str, Tuple[str, ...]] = {
    "words": ("words", ""),
    "token_slots": ("slots", ""),
    "acts": ("acts", ""),
    "act_slots": ("act_slots", ""),
    "act_values": ("act_values", ""),
    "actions": ("actions", ""),
    "features": ("features", ""),
    "belief/attention": ("slots", ""),
    "belief/slots": ("slots", ""),
    "belief/acts": ("acts", ""),
    "belief/slot_hidden_kernel": ("slots", "", ""),
    "belief/slot_hidden_bias": ("slots", ""),
    "belief/closed_kernel": ("slots", "", "closed"),
    "belief/closed_bias": ("slots", "closed"),
    "policy/kernel": ("policy_inputs", ""),
    "policy/features": ("features", ""),
    "policy/output_kernel": ("", "actions"),
    "policy/output_bias": ("actions",),
    "intent/kernel": ("", "intents"),
    "intent/bias": ("intents",),
    "tags/kernel": ("", "tags"),
    "tags/bias": ("tags",),
}


class WarmStart(NamedTuple):
    """Weights to start from, and what was taken over.

    Args:
        weights: by name.
        taken: one line for each kind of label and for each parameter that did not fit.
    """

    weights: Dict[str, np.ndarray]
    taken: Tuple[str, ...]


def warm_start(
    encoder: Encoder,
    initial: Mapping[str, np.ndarray],
    earlier: Encoder,
    weights: Mapping[str, np.ndarray],
) -> WarmStart:
    """Takes over all weights that still fit.

    Args:
        encoder: of the model to be trained.
        initial: its initial weights.
        earlier: encoder of the model whose weights are taken.
        weights: of that model.
    """
    lines: List[str] = []
    here, there = _labels(encoder), _labels(earlier)
    for kind in ("words", "slots", "acts", "actions", "features", "intents", "tags"):
        new = [name for name in here[kind] if name not in set(there[kind])]
        gone = [name for name in there[kind] if name not in set(here[kind])]
        lines.append(
            f"{kind}: {len(here[kind]) - len(new)} taken over"
            + (f", new: {_listed(new)}" if new else "")
            + (f", gone: {_listed(gone)}" if gone else "")
        )
    result = {}
    for name, value in initial.items():
        old = weights.get(name)
        axes = _AXES.get(name, ("",) * value.ndim)
        fits = old is not None and all(
            kind or mine == theirs for kind, mine, theirs in zip(axes, value.shape, old.shape)
        )
        if old is None or not fits or old.ndim != value.ndim:
            lines.append(f"{name}: not taken over, its size is another one")
            result[name] = np.array(value)
            continue
        result[name] = _moved(np.array(value), old, axes, here, there)
    return WarmStart(result, tuple(lines))


def _moved(
    value: np.ndarray,
    old: np.ndarray,
    axes: Sequence[str],
    here: Mapping[str, Sequence[str]],
    there: Mapping[str, Sequence[str]],
) -> np.ndarray:
    """A parameter with the old weights where both models have the same labels."""
    if "closed" in axes:
        # The listed values are each slot's own, so slot by slot.
        for i, slot in enumerate(here["slots"]):
            if slot in there["slots"]:
                j = list(there["slots"]).index(slot)
                mine, theirs = _pairs(here[f"closed of {slot}"], there[f"closed of {slot}"])
                value[i][..., mine] = old[j][..., theirs]
        return value
    pairs = [
        _pairs(here[kind][:size], there[kind][:before])
        if kind
        else (np.arange(size), np.arange(size))
        for kind, size, before in zip(axes, value.shape, old.shape)
    ]
    if pairs:
        value[np.ix_(*(mine for mine, _ in pairs))] = old[np.ix_(*(theirs for _, theirs in pairs))]
        return value
    return np.array(old)


def _pairs(mine: Sequence[str], theirs: Sequence[str]) -> Tuple[np.ndarray, np.ndarray]:
    """Positions of the labels that both have."""
    places = {name: i for i, name in enumerate(theirs)}
    both = [(i, places[name]) for i, name in enumerate(mine) if name in places]
    return (
        np.array([i for i, _ in both], int),
        np.array([j for _, j in both], int),
    )


def _labels(encoder: Encoder) -> Dict[str, Sequence[str]]:
    """The names along every kind of axis."""
    vocabulary, ontology, settings = encoder.vocabulary, encoder.ontology, encoder.settings
    labels: Dict[str, Sequence[str]] = {
        kind: getattr(vocabulary, kind).names
        for kind in (
            "words",
            "acts",
            "act_slots",
            "act_values",
            "features",
            "actions",
            "intents",
            "tags",
        )
    }
    labels["slots"] = tuple(ontology.slots)
    for slot in ontology.slots:
        labels[f"closed of {slot}"] = ("<none>", "<dontcare>", *ontology.values[slot].closed)
    sizes = sizes_of(vocabulary, ontology)
    if settings.candidates:
        belief = [f"{slot} {i}" for slot in ontology.slots for i in range(BELIEF_FEATURES)]
    else:
        width = sizes["closed"]
        belief = [
            f"{slot} {values[i] if i < len(values) else i}"
            for slot in ontology.slots
            for values in [labels[f"closed of {slot}"]]
            for i in range(width)
        ]
    state = [f"state {i}" for i in range(settings.dialogue_lstm_size)]
    rest = [f"rest {i}" for i in range(1000)]
    labels["policy_inputs"] = (*state, *belief, *rest)
    return labels


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:10]))
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")
