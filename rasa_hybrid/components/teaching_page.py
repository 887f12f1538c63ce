"""The page on which people teach without a terminal: routes that `FeedbackChannel` mounts under `/webhooks/hybrid/teach`.

The page itself is open, everything it asks for needs the token. It works in steps of `TeachingSession`, so it stops before
each action, and it writes the same corpus as `rasa interactive`.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Coroutine, Dict, List, Optional

from rasa.shared.core.events import UserUttered
from sanic import Blueprint, response
from sanic.request import Request
from sanic.response import HTTPResponse

from rasa_hybrid.components.teaching import TeachingError, TeachingSession
from rasa_hybrid.components.teaching_events import chat
from rasa_hybrid.corpora.taught import DEFAULT_DIRECTORY, Journal, TaughtCorpus, TaughtCorpusError
from rasa_hybrid.web.files import HEADERS, page_file
from rasa_hybrid.web.tokens import is_bearer

logger = logging.getLogger(__name__)

_MAX_BODY = 20_000


class _RefusedError(Exception):
    """A request that is answered with an error; `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def mount(blueprint: Blueprint, token: str, directory: Optional[Path] = None) -> None:
    """Adds the page to a channel, at `/teach`.

    Args:
        blueprint: of the channel.
        token: that teachers have to know.
        directory: of the taught corpus; None: `data_taught` where Rasa runs.
    """
    TeachingPage(token, TaughtCorpus(directory or Path(DEFAULT_DIRECTORY))).route(blueprint)


class TeachingPage:
    """The dialogues that are being taught on the page.

    Args:
        token: that teachers have to know.
        corpus: where the dialogues go.
    """

    def __init__(self, token: str, corpus: TaughtCorpus) -> None:
        self._token = token
        self._corpus = corpus
        self._sessions: Dict[str, TeachingSession] = {}
        self._locks: Dict[str, asyncio.Lock] = {}

    def route(self, blueprint: Blueprint) -> None:
        """Adds the routes."""
        for method, path, handler, is_open in (
            ("GET", "/teach", self._page, True),
            ("GET", "/teach/<name>", self._file, True),
            ("GET", "/teach/api/dialogues", self._list, False),
            ("POST", "/teach/api/dialogues", self._begin, False),
            ("GET", "/teach/api/dialogues/<conversation>", self._show, False),
            ("POST", "/teach/api/dialogues/<conversation>/<step>", self._step, False),
        ):
            name = f"teach_{uuid.uuid4().hex[:8]}"
            route = self._answered(handler, is_open)
            blueprint.add_route(route, path, methods=[method], name=name)

    async def _page(self, request: Request) -> HTTPResponse:
        if request.path.endswith("/"):  # the page's own addresses are relative
            return response.redirect(request.path.rstrip("/"))
        return _asset("")

    async def _file(self, request: Request, name: str) -> HTTPResponse:
        try:
            return _asset(name)
        except LookupError:
            return _refusal(404, "There is no such file.")

    async def _list(self, request: Request) -> HTTPResponse:
        """Dialogues that can be taken up again."""
        found = [
            _summary(session.conversation, (await session.tracker()).applied_events())
            for session in self._sessions.values()
        ]
        for path in self._corpus.unfinished():
            journal = Journal(path)
            texts = [e.get("text") for e in journal.events if e["event"] == UserUttered.type_name]
            found.append(
                {
                    "conversation": journal.conversation,
                    "started": journal.started,
                    "turns": len(texts),
                    "last": texts[-1] if texts else "",
                }
            )
            journal.close()
        return response.json({"unfinished": [entry for entry in found if entry["turns"]]})

    async def _begin(self, request: Request) -> HTTPResponse:
        conversation = f"teach-{uuid.uuid4().hex[:12]}"
        session = self._new_session(request, conversation)
        self._sessions[conversation] = session
        assert session.agent.processor is not None
        tracker = await session.agent.processor.fetch_tracker_with_initial_session(conversation)
        await session.agent.processor.save_tracker(tracker)
        return response.json(await _state(session), status=201)

    async def _show(self, request: Request, conversation: str) -> HTTPResponse:
        async with self._lock(conversation):
            return response.json(await _state(await self._session(request, conversation)))

    async def _step(self, request: Request, conversation: str, step: str) -> HTTPResponse:
        if len(request.body) > _MAX_BODY:
            raise _RefusedError(413, f"A request may have {_MAX_BODY} bytes.")
        body = request.json if request.body else {}
        if not isinstance(body, dict):
            raise _RefusedError(400, "The body has to be an object.")
        async with self._lock(conversation):
            session = await self._session(request, conversation)
            answer: Dict[str, Any] = {}
            if step == "say":
                await session.hear(_text(body, "text"))
            elif step == "goal":
                await session.correct({_text(body, "slot"): _text(body, "value")})
            elif step == "act":
                await session.act(_text(body, "action"))
            elif step == "undo":
                answer["undone"] = await session.undo()
            elif step == "finish":
                return self._finish(session, body)
            elif step == "discard":
                session.discard()
                del self._sessions[conversation]
                return response.json({"discarded": True})
            else:
                raise _RefusedError(404, f"There is no step {step!r}.")
            return response.json({**answer, **await _state(session)})

    def _finish(self, session: TeachingSession, body: Dict[str, Any]) -> HTTPResponse:
        rating = body.get("rating")
        if rating is not None and (
            not isinstance(rating, int) or isinstance(rating, bool) or not 1 <= rating <= 5
        ):
            raise _RefusedError(400, "rating has to be a whole number from 1 to 5.")
        path = session.finish(rating)
        del self._sessions[session.conversation]
        return response.json({"finished": True, "file": path.name if path else None})

    async def _session(self, request: Request, conversation: str) -> TeachingSession:
        """The session of a conversation; one that the server was killed in is taken up again."""
        if conversation in self._sessions:
            session = self._sessions[conversation]
            session.agent = request.app.ctx.agent  # the model may have been swapped
            return session
        for path in self._corpus.unfinished():
            journal = Journal(path)
            if journal.conversation == conversation:
                session = self._new_session(request, conversation, journal)
                await session.resume()
                self._sessions[conversation] = session
                return session
            journal.close()
        raise _RefusedError(404, "This dialogue is not being taught (any more).")

    def _new_session(
        self, request: Request, conversation: str, journal: Optional[Journal] = None
    ) -> TeachingSession:
        agent = getattr(request.app.ctx, "agent", None)
        if agent is None or not agent.is_ready():
            raise _RefusedError(503, "The server has no model yet.")
        return TeachingSession(agent, conversation, self._corpus, journal)

    def _lock(self, conversation: str) -> asyncio.Lock:
        return self._locks.setdefault(conversation, asyncio.Lock())

    def _answered(
        self, handler: Callable[..., Coroutine[Any, Any, HTTPResponse]], is_open: bool
    ) -> Callable[..., Coroutine[Any, Any, HTTPResponse]]:
        """A route whose errors are sentences, and that asks for the token unless it is open."""

        async def answer(request: Request, **parts: str) -> HTTPResponse:
            if not is_open and not is_bearer(request.headers.get("Authorization"), self._token):
                return _refusal(401, "The token is missing or wrong.")
            try:
                return await handler(request, **parts)
            except _RefusedError as error:
                return _refusal(error.status, str(error))
            except (TeachingError, TaughtCorpusError) as error:
                return _refusal(409, str(error))

        return answer


async def _state(session: TeachingSession) -> Dict[str, Any]:
    """Everything that the page shows of a dialogue."""
    tracker = await session.tracker()
    listening = await session.is_listening()
    turn = None if listening else asdict(await session.view())
    return {
        "conversation": session.conversation,
        "listening": listening,
        "correctable": await session.message() is not None,
        "chat": chat(tracker),
        "turn": turn,
        "values": {slot["slot"]: session.values(slot["slot"]) for slot in turn["goal"]}
        if turn
        else {},
    }


def _summary(conversation: str, events: List[Any]) -> Dict[str, Any]:
    said = [event for event in events if isinstance(event, UserUttered)]
    return {
        "conversation": conversation,
        "started": "",
        "turns": len(said),
        "last": (said[-1].text or "") if said else "",
    }


def _text(body: Dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > 2000:
        raise _RefusedError(400, f"{key} has to be a text of at most 2000 characters.")
    return value


def _asset(name: str) -> HTTPResponse:
    file = page_file(__file__, name)
    return response.raw(file.content, content_type=file.content_type, headers=HEADERS)


def _refusal(status: int, message: str) -> HTTPResponse:
    return response.json({"message": message}, status=status)
