"""Dialogues of two turns in the formats of public corpora."""

from __future__ import annotations

from typing import Any, Dict


def utterance(text: str, **slots: str) -> Dict[str, Any]:
    """An utterance of Google M2M; the words of `slots` are marked in it."""
    tokens = text.split()
    spans = []
    for slot, value in slots.items():
        words = value.split()
        start = next(i for i in range(len(tokens)) if tokens[i : i + len(words)] == words)
        spans.append({"slot": slot, "start": start, "exclusive_end": start + len(words)})
    return {"text": text, "tokens": tokens, "slots": spans}


def booking(number: str, movie: str, date: str) -> Dict[str, Any]:
    """A dialogue of Google M2M: a film, then the day."""
    state = [{"slot": "movie", "value": movie}]
    return {
        "dialogue_id": f"d{number}",
        "turns": [
            {
                "user_acts": [{"type": "INFORM"}],
                "user_utterance": utterance(f"tickets for {movie}", movie=movie),
                "dialogue_state": state,
            },
            {
                "system_acts": [{"type": "REQUEST", "slot": "date"}],
                "system_utterance": utterance("when ?"),
                "user_acts": [{"type": "INFORM"}],
                "user_utterance": utterance(f"on {date}", date=date),
                "dialogue_state": [*state, {"slot": "date", "value": date}],
            },
        ],
    }


def search(index: int, food: str) -> Dict[str, Any]:
    """A dialogue in the JSON form of DSTC2: a price range, then a kind of food."""
    return {
        "index": index,
        "user": [["a cheap place please"], [f"{food} food"]],
        "bot": [["Hello , welcome. How may I help you?"], ["What kind of food would you like?"]],
        "goal": [
            {"area": "null", "food": "null", "price range": "cheap"},
            {"area": "null", "food": food, "price range": "cheap"},
        ],
    }
