"""What a corpus is like: turns, acts, slots a turn, lengths. For ours and, read as the same thing, for others'."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict

from rasa_hybrid.dialogue import Dialogue

#: What other corpora call the acts of users.
_SAME = {"cant_understand": "repeat"}
_MOST_SLOTS = 5


class CorpusStatistics:
    """Counts over dialogues."""

    def __init__(self) -> None:
        self.dialogues = self.turns = self.words = self.successes = 0
        self.acts: Counter = Counter()
        self.actions: Counter = Counter()
        self.slots_told: Counter = Counter()
        self.texts: set = set()

    def add(self, dialogue: Dialogue) -> Dialogue:
        """Counts a dialogue and gives it back."""
        self.dialogues += 1
        self.successes += bool(dialogue.metadata.get("success"))
        for turn in dialogue.turns:
            self.actions.update(action.name for action in turn.actions)
            if turn.user is None:
                continue
            self.turns += 1
            self.words += len(turn.user.text.split())
            self.texts.add(turn.user.text)
            acts = [(_SAME.get(act.act, act.act.lower()), act.slot) for act in turn.user.acts]
            self.acts.update({act for act, _ in acts})
            told = sum(act == "inform" and slot is not None for act, slot in acts)
            self.slots_told[min(told, _MOST_SLOTS)] += 1
        return dialogue

    def to_dict(self) -> Dict[str, Any]:
        """Averages and shares; acts and slots as shares of the user's turns."""
        turns = max(self.turns, 1)
        return {
            "dialogues": self.dialogues,
            "success_rate": self.successes / max(self.dialogues, 1),
            "average_turns": self.turns / max(self.dialogues, 1),
            "average_words": self.words / turns,
            "distinct_utterances": len(self.texts),
            "acts": {act: count / turns for act, count in self.acts.most_common()},
            "slots_told": {
                str(slots): self.slots_told[slots] / turns for slots in sorted(self.slots_told)
            },
        }
