"""Dialogues of a quick update: those that were taught, and earlier ones so that nothing is forgotten."""

from __future__ import annotations

from typing import List, Sequence

import numpy as np

from rasa_hybrid.dialogue import Dialogue

#: Share of the dialogues of an update that were taught.
TAUGHT_SHARE = 0.25


def mixed(
    taught: Sequence[Dialogue],
    earlier: Sequence[Dialogue],
    count: int,
    seed: int,
    share: float = TAUGHT_SHARE,
) -> List[Dialogue]:
    """So many dialogues, a share of them taught, each as often as the others of its kind (but for one).

    Args:
        taught: corrected dialogues.
        earlier: what was learnt before.
        count: dialogues wanted; all of them taught if there are no earlier ones, and the other way round.
        seed: of the choice.
        share: of the taught ones.
    """
    rng = np.random.default_rng(seed)
    wanted = round(count * share) if taught and earlier else count * bool(taught)
    chosen: List[Dialogue] = []
    for dialogues, size in ((taught, wanted), (earlier, count - wanted)):
        while size > 0 and dialogues:
            order = rng.permutation(len(dialogues))[:size]
            chosen += [dialogues[i] for i in order]
            size -= len(order)
    return chosen
