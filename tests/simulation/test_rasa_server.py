"""A stand-in for a Rasa server, with the expert behind the REST channel: the environment must see no difference."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rasa_hybrid.simulation import Environment, Expert, SideEffects
from rasa_hybrid.simulation.rasa_server import RasaServerAgent, ServerError


class StandIn:
    """Answers as the expert does; knows from the recorded dialogues what the words mean."""

    def __init__(self, simulator, recorded, words=None, form=None):
        self.simulator, self.words, self.form = simulator, words, form
        self.meaning = {}
        for rollout in recorded:
            texts = ()
            for turn in rollout.dialogue.turns:
                texts += (turn.user.text,)
                self.meaning[texts] = (turn.user, rollout.dialogue.metadata["index"])
        self.conversations = {}

    def message(self, sender, text):
        state = self.conversations.setdefault(
            sender, {"texts": (), "events": [], "goal": {}, "offer": None}
        )
        if not state["texts"]:
            state["effects"] = SideEffects(self.simulator.flow)
            state["effects"].begin([(0, 0)])
            state["expert"] = Expert(
                self.simulator.flow, self.simulator.catalogue, state["effects"]
            )
            state["expert"].begin(1)
            state["events"].append({"event": "action", "name": "action_session_start"})
        state["texts"] += (text,)
        utterance, index = self.meaning[state["texts"]]
        state["effects"]._keys = [(11, index)]
        turn = state["expert"].respond({0: utterance})[0]
        events = state["events"]
        events.append({"event": "user", "text": text, "parse_data": {"intent": {"name": "x"}}})
        goal = turn.belief.goal()
        for slot in {**state["goal"], **goal}:
            if goal.get(slot) != state["goal"].get(slot):
                events.append({"event": "slot", "name": slot, "value": goal.get(slot)})
        state["goal"] = goal
        for action, following in zip(turn.actions, (*turn.actions[1:], None)):
            if action.name == "utter_offer":
                for column, value in turn.offered.items():
                    events.append({"event": "slot", "name": f"offer_{column}", "value": value})
            summary = {"matches": turn.summary.matches, "remaining": turn.summary.remaining}
            by_form = self.form is not None and action.name.startswith("utter_")
            events.append(
                {
                    "event": "action",
                    "name": self.form if by_form else action.name,
                    "metadata": {"hybrid": {"summary": summary}},
                }
            )
            if by_form:
                said = action.name.replace("utter_request_", "utter_ask_")
                events.append({"event": "active_loop", "name": self.form})
                events.append({"event": "bot", "metadata": {"utter_action": said}})
            if self.words is not None:
                events.append({"event": "bot", "text": self.words + action.name})
            if action.name == "action_book_tickets":
                status = following.context[0].split("=")[1]
                events.append({"event": "slot", "name": "booking_status", "value": status})
        if self.form is not None:
            events.append({"event": "action", "name": self.form})
        events.append({"event": "action", "name": "action_listen"})

    def serve(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, content, status=200):
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.message(body["sender"], body["message"])
                self.answer([{"text": "..."}])

            def do_GET(self):
                parts = self.path.split("?")[0].split("/")
                if parts[1] == "conversations" and parts[2] in stand_in.conversations:
                    return self.answer({"events": stand_in.conversations[parts[2]]["events"]})
                self.answer({"reason": "no such page"}, 404)

            def log_message(self, *arguments):
                pass

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def direct(movies):
    side_effects = SideEffects(movies.flow)
    expert = Expert(movies.flow, movies.catalogue, side_effects)
    return list(Environment(movies, expert, side_effects).rollouts(12, seed=11))


@pytest.fixture(params=[{}])
def url(request, movies, direct):
    server = StandIn(movies, direct, **request.param).serve()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "url", [{}, {"form": "booking_form"}], ids=["actions", "form"], indirect=True
)
def test_a_server_and_the_agent_behind_it_give_the_same_dialogues(movies, direct, url):
    side_effects = SideEffects(movies.flow)
    agent = RasaServerAgent(url, movies, side_effects)
    served = list(Environment(movies, agent, side_effects).rollouts(12, seed=11))
    for here, there in zip(direct, served):
        assert there.dialogue.transcript() == here.dialogue.transcript()
        assert there.dialogue == here.dialogue
        assert there.success == here.success
        assert there.rewards == here.rewards


@pytest.mark.parametrize("url", [{"words": "I say "}], indirect=True)
def test_dialogues_with_a_server_hold_what_it_said(movies, url):
    side_effects = SideEffects(movies.flow)
    agent = RasaServerAgent(url, movies, side_effects)
    for served in Environment(movies, agent, side_effects).rollouts(3, seed=11):
        actions = [action for turn in served.dialogue.turns for action in turn.actions]
        assert [action.text for action in actions] == [f"I say {a.name}" for a in actions]


def test_server_that_is_not_there_is_an_error_that_names_it(movies):
    side_effects = SideEffects(movies.flow)
    agent = RasaServerAgent("http://127.0.0.1:9", movies, side_effects)
    with pytest.raises(ServerError, match=r"http://127\.0\.0\.1:9"):
        list(Environment(movies, agent, side_effects).rollouts(1))


def test_server_without_the_tracker_api_is_an_error_that_says_so(movies, url):
    agent = RasaServerAgent(url, movies, SideEffects(movies.flow))
    with pytest.raises(ServerError, match="--enable-api"):
        agent._call("GET", "/conversations/nobody/tracker")
