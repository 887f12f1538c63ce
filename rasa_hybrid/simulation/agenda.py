"""The agenda-based user (Schatzmann et al. 2007): a goal, and a stack of acts that the system's acts push to and pop from."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from rasa_hybrid.dialogue import DONTCARE, DialogueAct, Utterance, normalise
from rasa_hybrid.simulation.goals import GoalSampler
from rasa_hybrid.simulation.profiles import Profile
from rasa_hybrid.simulation.templates import INFORMING
from rasa_hybrid.simulation.voice import Voice

_QUESTIONS = ("request", "offer", "confirm", "select")
#: The order in which acts are said.
_ORDER = {
    act: position
    for position, act in enumerate(
        [
            "greeting",
            "cancel",
            "affirm",
            "negate",
            "request_alternatives",
            "start",
            "inform",
            "change",
            "correct",
        ]
        + ["request", "repeat", "out_of_domain", "thank_you", "good_bye"]
    )
}


class AgendaUser:
    """A simulated user in one dialogue.

    Args:
        profile: what kind of person it is.
        goals: where goals come from.
        voice: turns acts into words.
        rng: the dialogue's own source of chance.

    The calling protocol:

        utterance = user.respond(())
        while utterance is not None:
            utterance = user.respond(acts_of_the_system(utterance))
    """

    def __init__(
        self, profile: Profile, goals: GoalSampler, voice: Voice, rng: np.random.Generator
    ) -> None:
        self.profile, self._goals, self._voice, self._rng = profile, goals, voice, rng
        #: What is wanted now.
        self.goal: Dict[str, str] = goals.sample(rng)
        #: What the system was told.
        self.told: Dict[str, str] = {}
        #: Whether an offer was accepted, the whole was confirmed, and success was reported, for the goal as it is.
        self.accepted = self.confirmed = self.satisfied = False
        self.gave_up = False
        self.finished = False
        self.setbacks = 0
        self._refused: List[Dict[str, str]] = []
        self._question: Tuple[DialogueAct, ...] = ()
        self._asked = False
        self._evaded = False
        self._begun = False
        self._offer: Dict[str, str] = {}
        self._change_at = ""
        if rng.random() < profile.change_of_mind:
            self._change_at = ("request", "offer", "confirm")[int(rng.random() * 3)]
        self._agenda: List[DialogueAct] = [DialogueAct("good_bye")]
        wanted = [slot for slot, value in self.goal.items() if value != DONTCARE]
        for i in range(len(wanted) - 1, 0, -1):
            j = int(rng.random() * (i + 1))
            wanted[i], wanted[j] = wanted[j], wanted[i]
        self._agenda += [DialogueAct("inform", slot) for slot in wanted]
        self._agenda.append(DialogueAct("start"))
        if rng.random() < profile.politeness:
            self._agenda.append(DialogueAct("greeting"))

    def respond(self, system: Sequence[DialogueAct]) -> Optional[Utterance]:
        """What the user says after the acts of the system's turn; None when it has left."""
        if self.finished:
            return None
        acts = self._answer(system) if self._begun else self._opening()
        self._begun = True
        if not acts:
            self.finished = True
            return None
        return self._say(acts, system)

    # ------------------------------------------------------------------------------------------------ the agenda

    def _opening(self) -> List[DialogueAct]:
        acts: List[DialogueAct] = []
        rng = self._rng
        if self._agenda[-1].act == "greeting":
            acts.append(self._agenda.pop())
            if rng.random() < 0.3:
                return acts
        start = self._agenda.pop()
        while self._next_is_inform() and rng.random() < self.profile.opening:
            acts.append(self._agenda.pop())
        if len(acts) == 0 or acts[-1].act == "greeting" or rng.random() < 0.35:
            acts.append(start)
        return acts

    def _next_is_inform(self) -> bool:
        return bool(self._agenda) and self._agenda[-1].act in INFORMING

    def _push(self, act: str, slot: Optional[str] = None) -> None:
        """Puts an act on top; what told the same slot further down goes."""
        if slot is not None:
            self._agenda = [a for a in self._agenda if a.slot != slot or a.act not in INFORMING]
        self._agenda.append(DialogueAct(act, slot))

    def _answer(self, system: Sequence[DialogueAct]) -> List[DialogueAct]:
        """Updates goal and agenda from the system's acts, then pops what to say."""
        profile, rng = self.profile, self._rng
        kinds = {act.act for act in system}
        if "good_bye" in kinds or "cancel" in kinds or self.satisfied or self.gave_up:
            return []
        if "notify_success" in kinds:
            self.satisfied = True
            return self._close()
        questions = [act for act in system if act.act in _QUESTIONS]
        asked_again = False
        if questions:
            asked_again = tuple(questions) == self._question and not self._evaded
            self._question = tuple(questions)
        elif "notify_failure" in kinds:
            self._question = ()
        if "notify_failure" in kinds or (
            not questions and "greeting" not in kinds and "cant_help" not in kinds
        ):
            asked_again = True
        if asked_again:
            self.setbacks += 1
        if self.setbacks > profile.patience or rng.random() < profile.giving_up:
            return self._give_up()
        if self._question and not self._evaded and rng.random() < profile.out_of_domain:
            self._evaded = True
            return [DialogueAct("out_of_domain")]
        self._evaded = False
        kind = self._question[-1].act if self._question else ""
        if kind == "offer":
            self._offer = {
                a.slot: a.value for a in self._question if a.act == "offer" and a.slot and a.value
            }
        if self._change_at and self._change_at == kind and self.told:
            changed = self._change_of_mind(kind)
            if changed:
                return changed
        if not self._question and "notify_failure" in kinds:
            return self._look_elsewhere(
                gone="notify_failure" in {act.act for act in system if act.slot is not None}
            )
        if kind == "offer":
            return self._judge_offer()
        if kind == "confirm":
            return self._judge_confirmation()
        if kind == "select":
            return self._choose()
        if kind == "request":
            return self._answer_request()
        return self._go_on()

    def _go_on(self) -> List[DialogueAct]:
        """The next thing on the agenda, if the system's turn calls for nothing else."""
        if self._agenda and self._agenda[-1].act == "start":
            return self._opening()
        if len(self._agenda) > 1:
            return self._pop([])
        slots = [slot for slot, value in self.goal.items() if value != DONTCARE]
        return (
            [DialogueAct("inform", slots[int(self._rng.random() * len(slots))])]
            if slots
            else self._give_up()
        )

    def _pop(self, acts: List[DialogueAct]) -> List[DialogueAct]:
        """Takes the top of the stack and, if the user is talkative, further constraints."""
        if self._agenda and not acts:
            acts.append(self._agenda.pop())
        while self._next_is_inform() and self._rng.random() < self.profile.verbosity:
            acts.append(self._agenda.pop())
        return acts

    def _answer_request(self) -> List[DialogueAct]:
        profile, rng = self.profile, self._rng
        slot = str(self._question[-1].slot)
        misspoken = self._misspoken()
        if misspoken:
            self._push("change", misspoken[0])
            self._evaded = rng.random() < 0.6
            acts = [self._agenda.pop()]
            if not self._evaded and slot not in misspoken:
                self._push("inform", slot)
                acts.append(self._agenda.pop())
            return acts
        self._evaded = True
        if rng.random() < profile.misunderstanding:
            if rng.random() < 0.5:
                return [DialogueAct("repeat")]
            others = [act for act in self._agenda if act.act in INFORMING and act.slot != slot]
            if others:
                other = others[int(rng.random() * len(others))]
                self._push("inform", other.slot)
                return self._pop([])
        if rng.random() > profile.cooperativeness and len(self._agenda) > 1:
            return self._pop([])
        curious = rng.random() < profile.curiosity
        if curious and not self._asked and slot not in self.told and slot in self._goals.listable:
            self._asked = True
            return [DialogueAct("request", slot)]
        self._evaded = False
        wanted = {a.slot: None for a in self._question if a.act == "request" and a.slot is not None}
        for asked in wanted:
            self._push("inform", asked)
        if rng.random() < profile.randomness:
            acts = [self._agenda.pop()]
            others = [act for act in self._agenda if act.act in INFORMING]
            if others:
                other = others[int(rng.random() * len(others))]
                self._agenda.remove(other)
                acts.append(other)
            return acts
        acts = [self._agenda.pop() for _ in wanted]
        return self._pop(acts)

    def _misspoken(self) -> List[str]:
        """Slots for which something else was said than is wanted."""
        return [slot for slot, value in self.told.items() if self.goal.get(slot, value) != value]

    def _violated(self, acts: Sequence[DialogueAct]) -> List[str]:
        """Slots for which the system said something that is not wanted."""
        return [
            act.slot
            for act in acts
            if act.slot in self.goal
            and self.goal[act.slot] != DONTCARE
            and act.value is not None
            and act.value != self.goal[act.slot]
            and normalise(act.value) != normalise(self.goal[act.slot])
        ]

    def _correct(self, slots: Sequence[str]) -> List[DialogueAct]:
        if self._rng.random() < 0.2:
            # Only says what is wrong; the system has to ask.
            self.told.pop(slots[0], None)
            self._push("inform", slots[0])
            return [DialogueAct("negate", slots[0])]
        acts = [DialogueAct("negate")]
        for slot in slots[: 1 + (self._rng.random() < self.profile.verbosity + 0.3)]:
            self._push("change", slot)
            acts.append(self._agenda.pop())
        return acts

    def _refuse(self) -> List[DialogueAct]:
        if self._offer in self._refused:
            self.setbacks += 1
        else:
            self._refused.append(self._offer)
        self.accepted = self.confirmed = False
        return [DialogueAct("negate" if self._rng.random() < 0.5 else "request_alternatives")]

    def _open_to_choice(self) -> bool:
        """Whether the goal leaves anything open, and not much was refused yet."""
        return len(self._refused) < 2 and any(
            self.goal.get(slot, DONTCARE) == DONTCARE for slot in self._offer
        )

    def _judge_offer(self) -> List[DialogueAct]:
        self.confirmed = self.accepted = False
        wrong = self._violated(self._question)
        if wrong:
            self.setbacks += 1
            return self._correct(wrong)
        if self._offer in self._refused or (
            self._rng.random() < self.profile.pickiness and self._open_to_choice()
        ):
            return self._refuse()
        self.accepted = True
        return [DialogueAct("affirm")]

    def _judge_confirmation(self) -> List[DialogueAct]:
        wrong = self._violated(self._question)
        if wrong:
            self.setbacks += 1
            self.confirmed = False
            return self._correct(wrong)
        if self._rng.random() < self.profile.misunderstanding / 2:
            self._evaded = True
            return [DialogueAct("repeat")]
        if self._rng.random() < self.profile.pickiness / 8 and self._open_to_choice():
            return self._refuse()
        # Who confirms a booking accepts the offer in it, even if something else was said to the offer itself.
        self.confirmed, self.accepted = True, bool(self._offer)
        return [DialogueAct("affirm")]

    def _choose(self) -> List[DialogueAct]:
        slot = str(self._question[-1].slot)
        values = {normalise(act.value) for act in self._question if act.value is not None}
        self._push("inform", slot)
        wanted = self.goal.get(slot, DONTCARE)
        acts = [] if wanted == DONTCARE or normalise(wanted) in values else [DialogueAct("negate")]
        acts.append(self._agenda.pop())
        return self._pop(acts)

    def _look_elsewhere(self, gone: bool) -> List[DialogueAct]:
        """Nothing fits, or it is gone: puts a misunderstanding right, or wants something else."""
        self.confirmed = self.accepted = False
        if gone and self._offer:
            self._refused.append(self._offer)
        misspoken = self._misspoken()
        if misspoken:
            self._push("change", misspoken[0])
            return [self._agenda.pop()]
        change = self._goals.alternative(self.goal, self._rng, self._refused)
        return self._give_up() if change is None else [self._want(*change)]

    def _want(self, slot: str, value: str) -> DialogueAct:
        self.goal[slot] = value
        self.accepted = self.confirmed = False
        self._push("change" if slot in self.told else "inform", slot)
        return self._agenda.pop()

    def _change_of_mind(self, kind: str) -> List[DialogueAct]:
        self._change_at = ""
        told = [
            slot
            for slot, value in self.told.items()
            if value != DONTCARE and self._goals.can_vary(slot)
        ]
        change = self._goals.alternative(self.goal, self._rng, among=told)
        if change is None or change[1] == DONTCARE:
            return []
        self._evaded = True
        negate = kind != "request" and self._rng.random() < 0.5
        return [DialogueAct("negate")] * negate + [self._want(*change)]

    def _give_up(self) -> List[DialogueAct]:
        self.gave_up = True
        if self._rng.random() < 0.7:
            return [DialogueAct("cancel")]
        return [DialogueAct("good_bye")]

    def _close(self) -> List[DialogueAct]:
        point = self._rng.random()
        if point < 0.25 + 0.5 * self.profile.politeness:
            return [DialogueAct("thank_you"), DialogueAct("good_bye")]
        return [DialogueAct("thank_you" if point < 0.8 else "good_bye")]

    # ---------------------------------------------------------------------------------------------------- speaking

    def _say(self, acts: Sequence[DialogueAct], system: Sequence[DialogueAct]) -> Utterance:
        """Fills in the values (perhaps a wrong one) and turns the acts into words."""
        rng = self._rng
        said: List[DialogueAct] = []
        wrong: Dict[str, str] = {}
        for act in sorted(acts, key=lambda a: _ORDER[a.act]):
            if act.act not in INFORMING or act.slot is None:
                said.append(act)
                continue
            value, kind = self.goal.get(act.slot, DONTCARE), act.act
            if (
                value != DONTCARE
                and kind == "inform"
                and rng.random() < self.profile.self_correction
            ):
                other = self._goals.misspoken(act.slot, value, rng)
                if other is not None and self._goals.can_vary(act.slot):
                    if rng.random() < 0.6:
                        kind, wrong[act.slot] = "correct", other
                    else:
                        value = other
            if value == DONTCARE:
                kind = "inform"
            self.told[act.slot] = value
            said.append(DialogueAct(kind, act.slot, value))
        return self._voice.utter(said, system, wrong, self.profile, rng)
