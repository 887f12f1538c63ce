"""`rasa_hybrid.FeedbackChannel`: chat as over Rasa's REST channel, and what users say of it at the end.

Feedback is answered when it is committed to the episode store; that path takes no lock of the conversation. Dialogues are
assembled from the tracker store afterwards, by a task in the background.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import math
import time
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import (
    Any,
    Awaitable,
    Callable,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)
from urllib.parse import unquote

from rasa.core.channels.channel import CollectingOutputChannel, InputChannel, UserMessage
from rasa.shared.core.events import Event
from rasa.shared.exceptions import InvalidConfigException
from sanic import Blueprint, response
from sanic.exceptions import SanicException
from sanic.request import Request
from sanic.response import HTTPResponse
from sqlalchemy.exc import SQLAlchemyError

from rasa_hybrid.components import activity
from rasa_hybrid.components.channel_configuration import (
    DEFAULTS,
    ChannelConfiguration,
    check_channel,
)
from rasa_hybrid.components.conversion import TrackerReader, domain_facts
from rasa_hybrid.components.embedded_learner import EmbeddedLearner
from rasa_hybrid.components.episodes import assemble
from rasa_hybrid.feedback import privacy
from rasa_hybrid.feedback.metrics import Metrics
from rasa_hybrid.feedback.records import Given, Outcome, Receipt, episode_id
from rasa_hybrid.feedback.store import (
    EpisodeStore,
    FeedbackConflictError,
    TooMuchFeedbackError,
    UnknownConversationError,
)
from rasa_hybrid.web.tokens import bearer, is_same

logger = logging.getLogger(__name__)

#: Where the token of a conversation is looked for, and where token and episode are given.
TOKEN_HEADER, EPISODE_HEADER = "X-Conversation-Token", "X-Episode"
#: Senders whose last requests are remembered, for the limits.
_REMEMBERED = 10_000
#: Seconds of which requests are counted.
_MINUTE = 60.0
#: Seconds between two conversations that are read, and until one that was not there is looked for again.
_PACE, _ABSENCE = 0.02, 60.0
#: Seconds for other requests between two replies of a turn.
_YIELD = 0.001
#: Levels of lists and objects within a request.
_DEEPEST = 20
#: Feedback of one commit.
_AT_ONCE = 100
#: Seconds after which feedback whose conversation is not in the tracker store is given up.
_GIVE_UP = 86_400.0
_FEEDBACK_KEYS = {
    "sender",
    "success",
    "reward",
    "rating",
    "comment",
    "feedback_id",
    "episode",
    "token",
}


class RefusedError(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        reason: one word for programs.
        message: a sentence for people.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Client(NamedTuple):
    """Who asks: `sender` is set if a JWT proves that it is this user, and nobody else."""

    trusted: bool
    sender: Optional[str] = None


class FeedbackChannel(InputChannel):
    """Chat and feedback under `/webhooks/hybrid`.

    Args:
        configuration: checked settings, see `channel_configuration.DEFAULTS`.
    """

    @classmethod
    def name(cls) -> str:
        """Name of the channel, part of its URLs."""
        return "hybrid"

    @classmethod
    def from_credentials(cls, credentials: Optional[Dict[str, Any]]) -> FeedbackChannel:
        """Makes the channel of an entry in `credentials.yml` (see parent class for full docstring).

        Raises:
            InvalidConfigException: if a key is unknown or a value impossible.
            StoreError: if the store can't be opened.
        """
        return cls(check_channel(credentials or {}))

    def __init__(self, configuration: ChannelConfiguration) -> None:
        self.configuration = configuration
        # Opened once to find out whether it can be; each worker opens its own when it starts.
        EpisodeStore(configuration.store).close()
        learning = configuration.learning
        self._learner = EmbeddedLearner(configuration.store, learning) if learning else None
        self._store: Optional[EpisodeStore] = None
        self._metrics = Metrics()
        self._writer: Optional[ThreadPoolExecutor] = None
        self._readers: Optional[ThreadPoolExecutor] = None
        self._tasks: List[asyncio.Task] = []
        self._given: List[Tuple[Given, asyncio.Future]] = []
        #: Conversations that the tracker store does not have, and until when they are not looked for.
        self._absent: OrderedDict[str, float] = OrderedDict()
        #: Episodes that the store knows.
        self._known: OrderedDict[str, None] = OrderedDict()
        self._committing: Optional[asyncio.Task] = None
        self._requests: OrderedDict[str, List[float]] = OrderedDict()

    def blueprint(self, on_new_message: Callable[[UserMessage], Awaitable[Any]]) -> Blueprint:
        """The routes of the channel (see parent class for full docstring)."""
        blueprint = Blueprint("rasa_hybrid_feedback", "rasa_hybrid_feedback")

        async def open_store(app: Any, loop: Any) -> None:
            self._open(app)

        async def close_store(app: Any, loop: Any) -> None:
            await self._close()

        blueprint.listener("before_server_start")(open_store)
        blueprint.listener("before_server_stop")(close_store)
        self._route(blueprint, "/webhook", "POST", functools.partial(self._chat, on_new_message))
        self._route(blueprint, "/feedback", "POST", self._give)
        self._route(blueprint, "/feedback/<id>", "GET", self._receipt)
        self._route(blueprint, "/feedback/<id>", "DELETE", self._withdraw)
        self._route(blueprint, "/conversations/<sender>", "DELETE", self._forget)
        self._route(blueprint, "/metrics", "GET", self._show_metrics)
        self._route(blueprint, "/health", "GET", self._health)
        self._route(blueprint, "/", "GET", self._health)
        teach = self.configuration.teach
        if teach["enabled"]:
            self._mount_teaching_page(blueprint, teach["token"])
        return blueprint

    def _mount_teaching_page(self, blueprint: Blueprint, token: str) -> None:
        """Adds the page on which people correct the bot, at `/teach`."""
        from importlib import import_module

        try:
            page = import_module("rasa_hybrid.components.teaching_page")
        except ModuleNotFoundError:
            raise InvalidConfigException(
                "FeedbackChannel: teach: enabled: this version of rasa_hybrid has no teaching page."
            ) from None
        page.mount(blueprint, token)

    @property
    def store(self) -> EpisodeStore:
        """The store of this worker.

        Raises:
            RefusedError: if the server is just starting or stopping.
        """
        if self._store is None:
            raise RefusedError(503, "not_ready", "The server is not ready yet.")
        return self._store

    # --- chat ---------------------------------------------------------------------------------------

    async def _chat(
        self, on_new_message: Callable[[UserMessage], Awaitable[Any]], request: Request
    ) -> HTTPResponse:
        client = await self._client(request)
        body = self._body(request)
        sender = _text(body, "sender", 255)
        text = _text(body, "message", self.configuration.max_message)
        metadata = body.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise RefusedError(400, "malformed", "metadata has to be an object.")
        self._check_identity(client, sender)
        self._check_rate(sender)
        is_party = await self._may_have_token(request, body, client, sender)
        output = _Replies()
        message = UserMessage(
            text,
            output,
            sender,
            input_channel=body.get("input_channel") or self.name(),
            metadata=metadata,
        )
        started = time.monotonic()
        try:
            await on_new_message(message)
        except Exception:
            logger.exception("A message could not be handled.")
            raise RefusedError(500, "failed", "The message could not be handled.") from None
        try:
            episode = await self._episode(request, sender, started)
        except SQLAlchemyError:
            # The bot has answered; only nobody can rate it as long as the store does not know of it.
            logger.exception("A conversation could not be made known to the store.")
            return response.json(output.messages)
        token = self.store.token(sender) if is_party else None
        headers = {EPISODE_HEADER: episode} if episode else {}
        about = {"episode": episode}
        if token is not None:
            headers[TOKEN_HEADER] = about["token"] = token
        replies = [{**reply, "feedback": about} for reply in output.messages]
        return response.json(replies, headers=headers)

    async def _may_have_token(
        self, request: Request, body: Mapping[str, Any], client: Client, sender: str
    ) -> bool:
        """Whether the answer may hold the conversation's token: its first message, or one that has it already."""
        if client.sender is not None or not self.configuration.require_conversation_token:
            return True
        given = _given_token(request, body)
        if given is not None:
            return is_same(given, self.store.token(sender))
        return not await self._read(self.store.knows, sender)

    async def _episode(
        self, request: Request, sender: str, since: Optional[float] = None
    ) -> Optional[str]:
        """The id of the session that goes on, made known to the store.

        Args:
            request: of the server that has the conversation.
            sender: of the conversation.
            since: time of the monotonic clock after which this process talked in it; the tracker need not be read then.
        """
        begun = activity.begun(sender, since) if since is not None else None
        if begun is None:
            tracker = await request.app.ctx.agent.tracker_store.retrieve(sender)
            begun = activity.session_begun(tracker.events) if tracker is not None else None
        if begun is None:
            return None
        id = episode_id(sender, begun)
        if id not in self._known:
            await self._write(self.store.begin, sender, begun)
            self._known[id] = None
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return id

    # --- feedback -----------------------------------------------------------------------------------

    async def _give(self, request: Request) -> HTTPResponse:
        client = await self._client(request)
        body = self._body(request)
        unknown = sorted(set(body) - _FEEDBACK_KEYS)
        if unknown:
            allowed = ", ".join(sorted(_FEEDBACK_KEYS))
            raise RefusedError(
                400, "malformed", f"{unknown[0]!r} is not allowed; allowed are {allowed}."
            )
        sender = _text(body, "sender", 255)
        self._check_party(request, body, client, sender)
        self._check_rate(sender)
        outcome = self._outcome(body)
        comment, id, episode = (
            _text(body, key, most, optional=True)
            for key, most in (
                ("comment", self.configuration.max_comment),
                ("feedback_id", 128),
                ("episode", 64),
            )
        )
        given = Given(
            sender,
            outcome,
            comment or None,
            id,
            episode,
            most_a_day=self.configuration.feedback_per_day,
        )
        try:
            receipt = await self._commit(given)
        except UnknownConversationError:
            # Conversations on other channels are known to the tracker store before they are to ours.
            if episode is not None or await self._episode(request, sender) is None:
                raise
            receipt = await self._commit(given)
        if receipt.duplicate:
            self._metrics.duplicates.inc()
        else:
            self._metrics.feedback.inc()
        return response.json(_receipt(receipt), status=200 if receipt.duplicate else 201)

    async def _commit(self, given: Given) -> Receipt:
        """Stores feedback; what comes while a commit is under way is committed together."""
        self.store  # noqa: B018 - answers 503 while there is none
        answer: asyncio.Future = asyncio.get_running_loop().create_future()
        self._given.append((given, answer))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.get_running_loop().create_task(self._commit_all())
        return await answer

    async def _commit_all(self) -> None:
        while self._given:
            batch, self._given = self._given[:_AT_ONCE], self._given[_AT_ONCE:]
            try:
                answers = await self._write(self.store.give_all, [given for given, _ in batch])
            except Exception as error:
                logger.exception("Feedback could not be stored.")
                answers = [error] * len(batch)
            for (_, answer), found in zip(batch, answers):
                if answer.done():  # the client has gone
                    continue
                if isinstance(found, Exception):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)

    async def _receipt(self, request: Request, id: str) -> HTTPResponse:
        client = await self._client(request)
        receipt = await self._read(self.store.receipt, id)
        self._check_party(request, {}, client, receipt.sender)
        return response.json(_receipt(receipt))

    async def _withdraw(self, request: Request, id: str) -> HTTPResponse:
        client = await self._client(request)
        receipt = await self._read(self.store.receipt, id)
        self._check_party(request, {}, client, receipt.sender)
        return response.json(_receipt(await self._write(self.store.withdraw, id)))

    async def _forget(self, request: Request, sender: str) -> HTTPResponse:
        client = await self._client(request)
        self._check_party(request, {}, client, sender)
        deleted = await self._write(privacy.forget, self.store, sender)
        self._known.clear()
        return response.json({"deleted": deleted})

    def _outcome(self, body: Mapping[str, Any]) -> Outcome:
        success, reward, rating = body.get("success"), body.get("reward"), body.get("rating")
        if success is None and reward is None and rating is None:
            raise RefusedError(400, "malformed", "Give success, reward or rating.")
        if success is not None and not isinstance(success, bool):
            raise RefusedError(400, "malformed", "success has to be true or false.")
        low, high = self.configuration.reward_range
        for name, value, least, most in (("reward", reward, low, high), ("rating", rating, 1, 5)):
            if value is None:
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            # A whole number may be too large for `isfinite`.
            if not is_number or (isinstance(value, float) and not math.isfinite(value)):
                raise RefusedError(400, "malformed", f"{name} has to be a number.")
            if not least <= value <= most:
                raise RefusedError(
                    422, "out_of_range", f"{name} has to be from {least:g} to {most:g}."
                )
        return Outcome(
            success,
            None if reward is None else float(reward),
            None if rating is None else float(rating),
        )

    # --- who may ------------------------------------------------------------------------------------

    async def _client(self, request: Request) -> Client:
        """Who asks, by bearer token or by Rasa's JWT.

        Raises:
            RefusedError: if a token is set and neither is right.
        """
        expected = self.configuration.token
        given = bearer(request.headers.get("Authorization"))
        if expected is not None and given is not None and is_same(given, expected):
            return Client(trusted=not self.configuration.require_conversation_token)
        if request.app.config.get("USE_JWT"):
            payload = await _jwt(request)
            if payload is not None:
                user = payload.get("user") or {}
                if user.get("role") == "admin":
                    return Client(trusted=True)
                return Client(trusted=False, sender=str(user.get("username")))
        elif expected is None:
            return Client(trusted=False)
        raise RefusedError(401, "unauthorised", "Send the token as `Authorization: Bearer ...`.")

    def _check_identity(self, client: Client, sender: str) -> None:
        if client.sender is not None and client.sender != sender:
            raise RefusedError(403, "foreign_conversation", "This conversation is somebody else's.")

    def _check_party(
        self, request: Request, body: Mapping[str, Any], client: Client, sender: str
    ) -> None:
        """Whether the client is a party of the conversation that it speaks about."""
        self._check_identity(client, sender)
        if client.trusted or client.sender is not None:
            return
        given = _given_token(request, body)
        if given is None:
            raise RefusedError(
                401, "no_token", f"Send the conversation's token, as `token` or {TOKEN_HEADER}."
            )
        if not is_same(given, self.store.token(sender)):
            raise RefusedError(403, "foreign_token", "The token is not this conversation's.")

    def _check_rate(self, sender: str) -> None:
        most = self.configuration.requests_per_minute
        now = time.monotonic()
        recent = [at for at in self._requests.pop(sender, []) if at > now - _MINUTE]
        self._requests[sender] = recent
        while len(self._requests) > _REMEMBERED:
            self._requests.popitem(last=False)
        if len(recent) >= most:
            raise RefusedError(
                429, "too_many", f"At most {most} requests a minute of one sender are allowed."
            )
        recent.append(now)

    def _body(self, request: Request) -> Dict[str, Any]:
        if len(request.body) > self.configuration.max_body:
            raise RefusedError(
                413, "too_large", f"A request may have {self.configuration.max_body} bytes."
            )
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            raise RefusedError(400, "malformed", "The body has to be JSON.") from None
        if not isinstance(body, dict):
            raise RefusedError(400, "malformed", "The body has to be a JSON object.")
        if _is_deeper(body, _DEEPEST):
            raise RefusedError(400, "malformed", f"The body may be {_DEEPEST} levels deep.")
        try:
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half of a pair of \u escapes, which no database takes
            raise RefusedError(400, "malformed", "The body has to be Unicode.") from None
        return body

    # --- health, metrics ----------------------------------------------------------------------------

    async def _health(self, request: Request) -> HTTPResponse:
        try:
            await self._read(self.store.counts)
        except RefusedError:
            raise
        except Exception as error:
            raise RefusedError(503, "no_store", f"The store does not answer: {error}") from error
        agent = getattr(request.app.ctx, "agent", None)
        is_ready = agent is not None and agent.is_ready()
        return response.json(
            {
                "status": "ok" if is_ready else "no model",
                "model_id": agent.model_id if is_ready and agent is not None else None,
            },
            status=200 if is_ready else 503,
        )

    async def _show_metrics(self, request: Request) -> HTTPResponse:
        await self._client(request)
        counts = await self._read(self.store.counts)
        return response.raw(
            self._metrics.exposition(counts), content_type=self._metrics.content_type
        )

    # --- in the background --------------------------------------------------------------------------

    def _open(self, app: Any) -> None:
        self._store = EpisodeStore(self.configuration.store)
        activity.explore(self.configuration.exploration)
        self._writer = ThreadPoolExecutor(2, "hybrid_writer")
        self._readers = ThreadPoolExecutor(2, "hybrid_reader")
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._look_after(app))]
        if self._learner is not None:
            self._tasks.append(loop.create_task(self._learner.look_after(app, self._store)))

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in (self._writer, self._readers):
            if pool is not None:
                pool.shutdown(wait=True)
        if self._store is not None:
            self._store.close()
            self._store = None

    async def _look_after(self, app: Any) -> None:
        """Assembles episodes, settles silent ones, and keeps personal text no longer than allowed."""
        is_first = True
        while True:
            try:
                agent = getattr(app.ctx, "agent", None)
                if agent is not None and agent.is_ready():
                    await self.sweep(agent, everything=is_first)
                    is_first = False
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("Episodes could not be assembled; it is tried again.")
            await asyncio.sleep(self.configuration.sweep_seconds)

    async def sweep(self, agent: Any, everything: bool = False) -> int:
        """Assembles what is due, and settles what nobody said anything about.

        Args:
            agent: whose tracker store holds the conversations.
            everything: look at every conversation of the tracker store, not only at those that went on lately.

        Returns:
            Number of episodes that were stored.
        """
        now = time.time()
        quiet_before = now - self.configuration.reward_wait_time
        senders = dict.fromkeys(activity.drain())
        if everything:
            senders.update(dict.fromkeys(await agent.tracker_store.keys()))
        waiting = await self._read(self.store.waiting, quiet_before, _REMEMBERED)
        senders.update(dict.fromkeys(sender for _, sender in waiting))
        reader = _reader(agent)
        stored = 0
        for sender in senders:
            if self._absent.get(sender, 0.0) > time.monotonic():
                continue
            # Tracker stores of Rasa block the event loop: requests get their turn in between.
            await asyncio.sleep(_PACE)
            tracker = await agent.tracker_store.retrieve_full_tracker(sender)
            if tracker is None or not tracker.events:
                self._absent[sender] = time.monotonic() + _ABSENCE
                self._absent.move_to_end(sender)
                while len(self._absent) > _REMEMBERED:
                    self._absent.popitem(last=False)
                continue
            events: Sequence[Event] = list(tracker.events)
            stored += len(
                await self._write(
                    assemble,
                    self.store,
                    sender,
                    events,
                    reader,
                    agent.domain,
                    self.configuration.signals,
                    quiet_before,
                )
            )
        await self._write(
            self.store.settle_silent, quiet_before, self.configuration.default_reward, now
        )
        lost = await self._write(self.store.lose, now - _GIVE_UP)
        if lost:
            logger.warning(
                f"{lost} conversations with feedback are not in the tracker store any more: nothing can be learnt "
                "from them. Use a tracker store that outlives the server."
            )
        if self.configuration.retention_text != "keep":
            before = now - self.configuration.retention_days * 86_400.0
            await self._write(privacy.redact, self.store, self.configuration.retention_text, before)
        return stored

    async def _write(self, function: Callable, *arguments: Any) -> Any:
        self.store  # noqa: B018 - answers 503 while there is none
        return await asyncio.get_running_loop().run_in_executor(
            self._writer, functools.partial(function, *arguments)
        )

    async def _read(self, function: Callable, *arguments: Any) -> Any:
        self.store  # noqa: B018
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, functools.partial(function, *arguments)
        )

    def _route(
        self, blueprint: Blueprint, path: str, method: str, handler: Callable[..., Awaitable[Any]]
    ) -> None:
        """Adds a route whose errors are answered with JSON, and measures it."""
        name = f"{method} {path}"

        async def answer(request: Request, **parts: str) -> HTTPResponse:
            started = time.perf_counter()
            try:
                answered = await handler(request, **{k: unquote(v) for k, v in parts.items()})
            except RefusedError as error:
                answered = _refusal(error.status, error.reason, str(error))
            except UnknownConversationError as error:
                answered = _refusal(404, "unknown", str(error.args[0]))
            except FeedbackConflictError as error:
                answered = _refusal(409, "conflict", str(error))
            except TooMuchFeedbackError as error:
                answered = _refusal(429, "too_much_feedback", str(error))
            except SQLAlchemyError:
                answered = _refusal(503, "no_store", "The store does not answer.")
            except SanicException:
                raise
            except Exception:
                logger.exception(f"{name} failed.")
                answered = _refusal(500, "failed", "The request could not be handled.")
            self._metrics.request(name, answered.status, time.perf_counter() - started)
            return answered

        blueprint.add_route(
            answer, path, methods=[method], name=f"{method.lower()}_{uuid.uuid4().hex[:8]}"
        )


class _Replies(CollectingOutputChannel):
    """Collects replies; after each one other requests get their turn, as the rest of a turn blocks the event loop."""

    async def _persist_message(self, message: Dict[str, Any]) -> None:
        await super()._persist_message(message)
        await asyncio.sleep(_YIELD)


def _reader(agent: Any) -> TrackerReader:
    """The reader of the served model; of the domain alone if the model has no `HybridPolicy`."""
    from rasa_hybrid.components.policy import served_runtime

    runtime = served_runtime()
    if runtime is not None:
        return runtime.reader
    return TrackerReader(domain_facts(agent.domain), (), pipeline=True)


def _text(body: Mapping[str, Any], key: str, most: int, optional: bool = False) -> Any:
    value = body.get(key)
    if value is None and optional:
        return None
    if not isinstance(value, str) or (not value and not optional):
        raise RefusedError(400, "malformed", f"{key} has to be a text.")
    if len(value) > most:
        raise RefusedError(413, "too_large", f"{key} may have {most} characters.")
    if "\x00" in value:
        raise RefusedError(400, "malformed", f"{key} must not hold null characters.")
    return value


def _given_token(request: Request, body: Mapping[str, Any]) -> Optional[str]:
    given = request.headers.get(TOKEN_HEADER) or body.get("token")
    return given if isinstance(given, str) and given else None


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper than so many levels."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels <= 0 or any(_is_deeper(part, levels - 1) for part in inner)


async def _jwt(request: Request) -> Optional[Dict[str, Any]]:
    """The payload of Rasa's JWT; None if there is none that is valid."""
    from rasa.utils.common import call_potential_coroutine

    auth = request.app.ctx.auth
    try:
        if await call_potential_coroutine(auth.is_authenticated(request)):
            return await call_potential_coroutine(auth.extract_payload(request))
    except Exception as error:  # sanic_jwt has one for each way of being wrong
        logger.debug(f"A JWT was refused: {error}")
    return None


def _refusal(status: int, reason: str, message: str) -> HTTPResponse:
    return response.json({"reason": reason, "message": message}, status=status)


def _receipt(receipt: Receipt) -> Dict[str, Any]:
    return {
        "feedback_id": receipt.id,
        "episode": receipt.episode,
        "status": receipt.status,
        "received": receipt.received,
        **receipt.outcome.to_dict(),
    }


__all__ = ["DEFAULTS", "FeedbackChannel"]
