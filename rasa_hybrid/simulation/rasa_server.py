"""A running Rasa server as an agent: the deployed bot is tested as it is deployed.

Messages go through the REST channel; what the bot did and believes is read from the conversation's tracker, so the
server has to run with `--enable-api`.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

import requests

from rasa_hybrid.dialogue import NONE, Belief, ResultSummary, SystemAction, Utterance
from rasa_hybrid.simulation.agents import AgentTurn
from rasa_hybrid.simulation.catalogue import Entity
from rasa_hybrid.simulation.flow import decided
from rasa_hybrid.simulation.side_effects import SideEffects
from rasa_hybrid.simulation.simulator import Simulator

#: Actions of Rasa's own that are not the bot's decisions.
_INTERNAL = frozenset(
    {
        "action_listen",
        "action_session_start",
        "action_extract_slots",
        "action_unlikely_intent",
        "action_deactivate_loop",
    }
)
_METADATA = "hybrid"
_PREFIX = "offer_"


class ServerError(RuntimeError):
    """The server can't be reached or doesn't answer as a Rasa server does."""


@dataclass
class _Conversation:
    id: str
    events: int = 0
    slots: Dict[str, Any] = field(default_factory=dict)
    offered: Optional[Entity] = None
    form: Optional[str] = None


class RasaServerAgent:
    """Plays the system by asking a Rasa server.

    Args:
        url: of the server, e.g. `http://localhost:5005`.
        simulator: whose flow and knowledge base the bot shares.
        side_effects: of the environment; gets what the server reports.
        token: of `--auth-token`.
        offer_prefix: slots with this prefix and a column's name hold the offered entity.
        timeout: seconds for one answer.
        workers: conversations asked at once.
    """

    def __init__(
        self,
        url: str,
        simulator: Simulator,
        side_effects: SideEffects,
        token: Optional[str] = None,
        offer_prefix: str = _PREFIX,
        timeout: float = 60.0,
        workers: int = 8,
    ) -> None:
        self._url, self._simulator, self._side_effects = url.rstrip("/"), simulator, side_effects
        self._parameters = {"token": token} if token else {}
        self._prefix, self._timeout = offer_prefix, timeout
        self._pool = ThreadPoolExecutor(workers)
        self._session = requests.Session()
        self._conversations: List[_Conversation] = []
        self._by_id = {entity["id"]: entity for entity in simulator.catalogue.everything}
        flow = simulator.flow
        #: Response to the action that it stands for: forms ask by responses of their own.
        self._responses = {name: name for name in flow.actions}
        self._responses.update({f"utter_ask_{s}": name for s, name in flow.request.items()})

    def begin(self, count: int) -> None:
        """Starts fresh conversations."""
        run = uuid.uuid4().hex[:12]
        self._conversations = [_Conversation(f"simulated-{run}-{i}") for i in range(count)]

    def respond(self, utterances: Mapping[int, Utterance]) -> Dict[int, AgentTurn]:
        """Sends what the users said and reads what the bot did.

        Raises:
            ServerError: if the server doesn't answer.
        """
        answers = self._pool.map(lambda item: self._respond(*item), utterances.items())
        return dict(zip(utterances, answers))

    def say(self, i: int, text: str, channel: str = "rest") -> List[Dict[str, Any]]:
        """Sends a message of conversation `i` to a channel and gives the replies.

        Raises:
            ServerError: if the server doesn't answer.
        """
        message = {"sender": self._conversations[i].id, "message": text}
        return self._call("POST", f"/webhooks/{channel}/webhook", json=message)

    def _respond(self, i: int, utterance: Utterance) -> AgentTurn:
        conversation = self._conversations[i]
        self.say(i, utterance.text)
        tracker = self._call(
            "GET",
            f"/conversations/{conversation.id}/tracker",
            params={**self._parameters, "include_events": "ALL"},
        )
        events = tracker.get("events") if isinstance(tracker, dict) else None
        if not isinstance(events, list):
            raise ServerError(
                f"{self._url}: the tracker of {conversation.id} has no events; is it a Rasa server?"
            )
        news, conversation.events = events[conversation.events :], len(events)
        return self._read(i, conversation, news)

    def _read(
        self, i: int, conversation: _Conversation, events: List[Mapping[str, Any]]
    ) -> AgentTurn:
        """The turn that the new events tell."""
        actions: List[SystemAction] = []
        offered: Optional[Entity] = None
        belief: Optional[Mapping[str, Any]] = None
        summary = ResultSummary()
        propensities: List[float] = []
        flow, catalogue = self._simulator.flow, self._simulator.catalogue

        def act(name: str, offer: Optional[str] = None) -> None:
            nonlocal offered
            if name == flow.offer:
                conversation.offered = offered = self._offered(conversation.slots, offer)
            state, goal = self._side_effects.slots(i), self._goal(conversation)
            actions.append(decided(name, flow, goal, conversation.offered, catalogue, state))

        for event in events:
            kind = event.get("event")
            if kind == "slot":
                conversation.slots[str(event.get("name"))] = event.get("value")
                self._note_side_effect(i, conversation, event)
            elif kind == "user":
                belief = ((event.get("parse_data") or {}).get(_METADATA) or {}).get(
                    "belief"
                ) or belief
            elif kind == "active_loop":
                conversation.form = event.get("name")
            elif kind == "bot":
                said = self._responses.get(str((event.get("metadata") or {}).get("utter_action")))
                if said and not (actions and actions[-1].name == said):
                    # A form or a custom action says it: what it says tells what it does.
                    if actions and actions[-1].name not in flow.actions:
                        actions.pop()
                    act(said)
                if event.get("text") and actions:
                    actions[-1] = actions[-1].said(str(event["text"]))
            elif kind == "action":
                details = (event.get("metadata") or {}).get(_METADATA) or {}
                belief = details.get("belief") or belief
                summary = _summary(details) or summary
                if "propensity" in details:
                    propensities.append(float(details["propensity"]))
                name = str(event.get("name"))
                if name not in _INTERNAL and name != conversation.form:
                    act(name, details.get("offered"))
        known = tuple(propensities) if len(propensities) == len(actions) + 1 else ()
        return AgentTurn(
            self._belief(conversation, belief), summary, tuple(actions), offered, known
        )

    def _note_side_effect(
        self, i: int, conversation: _Conversation, event: Mapping[str, Any]
    ) -> None:
        completion = self._simulator.flow.completion
        if (
            completion is not None
            and event.get("name") == completion.slot
            and event.get("value") is not None
        ):
            self._side_effects.record(
                i, {completion.slot: str(event["value"])}, conversation.offered
            )

    def _offered(self, slots: Mapping[str, Any], id: Optional[str]) -> Optional[Entity]:
        """The entity that the bot offered: the one with this id, else what its offer slots say."""
        id = str(id if id is not None else slots.get(f"{self._prefix}id"))
        if id in self._by_id:
            return self._by_id[id]
        entity = {
            name[len(self._prefix) :]: str(value)
            for name, value in slots.items()
            if name.startswith(self._prefix) and value is not None
        }
        return {"id": id, **entity} if entity else None

    def _goal(self, conversation: _Conversation) -> Dict[str, str]:
        slots = ((slot, conversation.slots.get(slot)) for slot in self._simulator.slots)
        return {slot: str(value) for slot, value in slots if value is not None}

    def _belief(self, conversation: _Conversation, belief: Optional[Mapping[str, Any]]) -> Belief:
        """The reported belief; where there is none the slots, which are then taken for certain."""
        distributions: Dict[str, Tuple[Tuple[str, float], ...]] = {}
        for slot in self._simulator.slots:
            reported = (belief or {}).get(slot)
            if reported:
                distributions[slot] = tuple(
                    (str(value), float(probability)) for value, probability in reported
                )
            else:
                value = conversation.slots.get(slot)
                distributions[slot] = ((NONE if value is None else str(value), 1.0),)
        return Belief(distributions)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        arguments.setdefault("params", self._parameters)
        try:
            response = self._session.request(
                method, self._url + path, timeout=self._timeout, **arguments
            )
            response.raise_for_status()
            return response.json()
        except requests.HTTPError as error:
            is_unknown = error.response is not None and error.response.status_code == 404
            hint = "; start it with `rasa run --enable-api`" if is_unknown else ""
            raise ServerError(f"{self._url}{path}: {error}{hint}") from error
        except (requests.RequestException, ValueError) as error:
            raise ServerError(f"{self._url}{path} does not answer: {error}") from error


def _summary(details: Mapping[str, Any]) -> Optional[ResultSummary]:
    counts = details.get("summary")
    return (
        ResultSummary(counts.get("matches"), counts.get("remaining"))
        if isinstance(counts, Mapping)
        else None
    )
