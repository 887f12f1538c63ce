"""What the system said in a recorded dialogue, as the action that a policy would have had to take."""

from __future__ import annotations

from typing import Optional, Sequence

from rasa_hybrid.dialogue import DialogueAct, SystemAction

#: Name of an action whose words nobody could map to acts.
OTHER = "other"


def recorded_action(acts: Sequence[DialogueAct], text: Optional[str]) -> SystemAction:
    """The action of a recorded system turn, named after its acts and slot types.

    Args:
        acts: what it says, repetitions allowed.
        text: its words; kept, because acts rarely cover them all.

    Returns:
        An action such as `request(area)` or `inform(food)+offer(name)`: parts are sorted, values left out (eq. 3
        chooses act and slot types only); `OTHER` if there are no acts.
    """
    distinct = tuple(dict.fromkeys(acts))
    parts = {act.act if act.slot is None else f"{act.act}({act.slot})" for act in distinct}
    return SystemAction(name="+".join(sorted(parts)) or OTHER, acts=distinct, text=text)
