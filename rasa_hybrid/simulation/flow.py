"""The system's side of a domain as data: which action asks, offers, confirms, completes, and what it says as acts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Dict, Iterable, Mapping, Optional, Sequence, Tuple

from rasa_hybrid.dialogue import DONTCARE, NONE, DialogueAct, SystemAction
from rasa_hybrid.knowledge import KnowledgeBaseError
from rasa_hybrid.simulation.catalogue import Catalogue, Entity
from rasa_hybrid.simulation.located_yaml import Located, SimulatorError

#: Actions without slots: role to the act that they are.
_PLAIN_ROLES = {
    "greet": "greeting",
    "no_match": "notify_failure",
    "success": "notify_success",
    "cannot_help": "cant_help",
    "cancelled": "cancel",
    "good_bye": "good_bye",
}
#: Values that `select` names, and entities that it takes them from.
_SELECTED, _LOOKED_AT = 3, 400


@dataclass(frozen=True)
class Completion:
    """The side effect that a confirmed goal leads to.

    Args:
        action: the action that has it.
        slot: the slot that it sets.
        done: value of the slot that means success.
        outcomes: value of the slot to the action that tells the user.
        chances: value of the slot to its probability, for all but `done`.
    """

    action: str
    slot: str
    done: str
    outcomes: Mapping[str, str]
    chances: Mapping[str, float]


@dataclass(frozen=True)
class SystemFlow:
    """The actions of a domain by what they are for.

    Args:
        request: slot to action, in the order of asking.
        offer: action that offers an entity.
        offer_slots: columns that it tells.
        confirm: action that asks whether everything is right.
        confirm_slots: what it tells: columns of the offer, else the goal's value.
        select: slot to the action that names some of its values.
        plain: role to action, for the roles without slots.
        completion: side effect, None if there is none.
    """

    request: Mapping[str, str]
    offer: str
    offer_slots: Tuple[str, ...]
    confirm: str
    confirm_slots: Tuple[str, ...]
    select: Mapping[str, str]
    plain: Mapping[str, str]
    completion: Optional[Completion] = None

    def role(self, action: str) -> Tuple[str, str]:
        """What an action is for, with its slot or outcome ("" if none); ("", "") for an unknown action."""
        return self._roles.get(action, ("", ""))

    @cached_property
    def _roles(self) -> Dict[str, Tuple[str, str]]:
        roles: Dict[str, Tuple[str, str]] = {
            action: ("request", slot) for slot, action in self.request.items()
        }
        roles.update({action: ("select", slot) for slot, action in self.select.items()})
        roles.update({action: (role, "") for role, action in self.plain.items()})
        roles[self.offer], roles[self.confirm] = ("offer", ""), ("confirm", "")
        if self.completion is not None:
            roles[self.completion.action] = ("complete", "")
            for outcome, action in self.completion.outcomes.items():
                roles.setdefault(action, ("outcome", outcome))
        return roles

    @property
    def actions(self) -> Tuple[str, ...]:
        """All actions that the flow knows."""
        return tuple(self._roles)

    def acts(
        self,
        action: str,
        goal: Mapping[str, str],
        offered: Optional[Entity],
        catalogue: Catalogue,
    ) -> Tuple[DialogueAct, ...]:
        """What an action says.

        Args:
            action: its name; one that the flow doesn't know says nothing.
            goal: the tracked goal.
            offered: the entity of the offer that stands, None if there is none.
            catalogue: for the values that `select` names.

        Returns:
            Acts with their values filled in.
        """
        role, of = self.role(action)
        if role == "request":
            return (DialogueAct("request", of),)
        if role == "offer":
            return tuple(
                DialogueAct("offer", s, offered[s])
                for s in self.offer_slots
                if offered and s in offered
            )
        if role == "confirm":
            values = ((s, (offered or {}).get(s) or goal.get(s, NONE)) for s in self.confirm_slots)
            return tuple(
                DialogueAct("confirm", s, v) for s, v in values if v not in (NONE, DONTCARE)
            )
        if role == "select":
            others = {slot: value for slot, value in goal.items() if slot != of}
            try:
                entities: Iterable[Entity] = catalogue.find(others)
            except (
                KnowledgeBaseError
            ):  # the agent tracks what can't be asked for: there is no choice
                entities = ()
            distinct = list(
                dict.fromkeys(entity[of] for entity in islice(entities, _LOOKED_AT) if of in entity)
            )
            step = max(1, len(distinct) // _SELECTED)
            return tuple(DialogueAct("select", of, value) for value in distinct[::step][:_SELECTED])
        if role == "outcome":
            return (DialogueAct("notify_failure", of),)
        if role in _PLAIN_ROLES:
            return (DialogueAct(_PLAIN_ROLES[role]),)
        return ()

    def heard(
        self,
        done: SystemAction,
        goal: Mapping[str, str],
        offered: Optional[Entity],
        catalogue: Catalogue,
    ) -> Tuple[DialogueAct, ...]:
        """What an action of any agent means to a user: its own values under the names of this module.

        Args:
            done: the action; agents may name its acts as they like, or leave them out.
            goal: as the agent tracked it.
            offered: the entity of the offer that stands, None if there is none.
            catalogue: for the values that `select` names.
        """
        role = self.role(done.name)[0]
        if not role:
            return done.acts
        if role in ("offer", "confirm"):
            told = [act for act in done.acts if act.slot is not None and act.value is not None]
            if told and all(act.act == role for act in told):
                return tuple(told)
            if told:
                return tuple(DialogueAct(role, act.slot, act.value) for act in told)
        return self.acts(done.name, goal, offered, catalogue)


def state_features(slots: Mapping[str, str]) -> Tuple[str, ...]:
    """`SystemAction.context` for slots that influence the conversation, as the conversion from Rasa writes it."""
    return tuple(f"slot:{slot}={value}" for slot, value in sorted(slots.items()))


def slots_of(context: Iterable[str]) -> Dict[str, str]:
    """The slots in a context: the inverse of `state_features`."""
    pairs = (
        feature[len("slot:") :].partition("=") for feature in context if feature.startswith("slot:")
    )
    return {slot: value for slot, _, value in pairs}


def decided(
    name: str,
    flow: SystemFlow,
    goal: Mapping[str, str],
    offered: Optional[Entity],
    catalogue: Catalogue,
    slots: Mapping[str, str],
) -> SystemAction:
    """A decision, with its acts and the state that it was taken in.

    Args:
        name: the action.
        flow: of the domain.
        goal: as tracked.
        offered: the entity of the offer that stands, None if there is none.
        catalogue: the knowledge base.
        slots: what side effects have set.
    """
    return SystemAction(name, flow.acts(name, goal, offered, catalogue), state_features(slots))


def read_flow(section: Located, slots: Sequence[str], columns: Iterable[str]) -> SystemFlow:
    """The `system:` section of a configuration.

    Raises:
        SimulatorError: for an unknown key, slot or column, or a missing action; names file and line.
    """
    section.only(
        (*_PLAIN_ROLES, "request", "offer", "select", "confirm", "complete"), "key of system"
    )
    columns = set(columns)
    request = _slot_actions(section, "request", slots)
    for slot in slots:
        if slot not in request:
            section.fail(f"request: no action asks for the slot {slot!r}", "request")
    offer, offer_slots = _told(section, "offer", columns)
    confirm, confirm_slots = _told(section, "confirm", columns | set(slots))
    plain = {}
    for role in _PLAIN_ROLES:
        if not isinstance(section.get(role), str):
            section.fail(f"{role} has to name an action, not {section.get(role)!r}", role)
        plain[role] = section[role]
    completion = (
        _completion(section.section("complete"), plain["success"])
        if "complete" in section
        else None
    )
    select = _slot_actions(section, "select", slots)
    return SystemFlow(
        request, offer, offer_slots, confirm, confirm_slots, select, plain, completion
    )


def _slot_actions(section: Located, key: str, slots: Sequence[str]) -> Dict[str, str]:
    actions = section.section(key)
    actions.only(slots, "slot")
    for slot, name in actions.items():
        if not isinstance(name, str):
            actions.fail(f"{slot} has to name an action, not {name!r}", slot)
    return dict(actions)


def _told(section: Located, key: str, allowed: set) -> Tuple[str, Tuple[str, ...]]:
    told = section.section(key)
    told.only(("action", "slots"), f"key of {key}")
    if not isinstance(told.get("action"), str):
        told.fail(f"{key}: action has to name an action, not {told.get('action')!r}", "action")
    for slot in told.get("slots", ()):
        if slot not in allowed:
            told.fail(
                f"{key}: unknown slot {slot!r}; allowed: {', '.join(sorted(allowed))}", "slots"
            )
    return told["action"], tuple(told.get("slots", ()))


def _completion(section: Located, success: str) -> Completion:
    section.only(("action", "slot", "done", "otherwise"), "key of complete")
    for key in ("action", "slot", "done"):
        if not isinstance(section.get(key), str):
            section.fail(f"complete needs {key}", key)
    outcomes, chances = {section["done"]: success}, {}
    otherwise = section.section("otherwise")
    for outcome in otherwise:
        settings = otherwise.section(outcome)
        settings.only(("action", "probability"), f"key of {outcome}")
        if not isinstance(settings.get("action"), str):
            settings.fail(f"{outcome} needs the action that tells the user", "action")
        outcomes[outcome] = settings["action"]
        chances[outcome] = settings.number("probability", 0.0)
    if sum(chances.values()) > 1:
        raise SimulatorError(
            f"{section.path}:{section.line}: the probabilities of otherwise add up to more than 1"
        )
    return Completion(section["action"], section["slot"], section["done"], outcomes, chances)
