"""What the end of a successful conversation tells about its turns: labels of beliefs that nobody had to give.

A user who says that it worked says, too, that the goal at the end was the right one. Whether a turn should have tracked a
slot's final value already follows from who had named it by then; where that is not clear, the turn stays without label.
"""

from __future__ import annotations

from typing import List, Sequence, Set, Tuple

from rasa_hybrid.model.encoded import (
    DONTCARE_CELL,
    NONE_CELL,
    PART,
    SYSTEM,
    UNLABELLED,
    WHOLE,
    EncodedTurn,
)


def hindsight_labels(turns: Sequence[EncodedTurn]) -> List[List[int]]:
    """For each turn the cell of every slot that it should have tracked, `UNLABELLED` where the end does not tell.

    Args:
        turns: of a successful dialogue; their labels are what was tracked.
    """
    user: Set[Tuple[int, int]] = set()
    hinted: Set[Tuple[int, int]] = set()
    rows = []
    for turn in turns:
        now = {(slot, cell) for slot, cell, which in turn.cell_features if which == WHOLE}
        user |= now
        hinted |= {
            (slot, cell) for slot, cell, which in turn.cell_features if which in (PART, SYSTEM)
        }
        row = []
        for slot, (tracked, final) in enumerate(zip(turn.labels, turns[-1].labels)):
            nothing = tracked in (NONE_CELL, DONTCARE_CELL)
            if final in (UNLABELLED, NONE_CELL, DONTCARE_CELL):
                label = final if tracked == final else UNLABELLED
            elif (slot, final) in now:
                label = final
            elif (slot, final) in user:
                label = final if nothing or tracked == final else UNLABELLED
            elif (slot, final) in hinted or (slot, tracked) in user:
                label = UNLABELLED
            else:
                label = NONE_CELL
            row.append(label)
        rows.append(row)
    return rows
