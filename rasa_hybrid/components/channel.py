"""`rasa_hybrid.FeedbackChannel`: chat as over Rasa's REST channel, and what users say of it at the end.

Feedback is answered when it is committed to the episode store (`channel_store`); that path takes no lock of the conversation.
Dialogues are assembled from the tracker store afterwards, by a task in the background (`channel_upkeep`). What requests hold and
who may send them is read by `channel_requests`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import uuid
from collections import OrderedDict
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional

from rasa.core.channels.channel import InputChannel, UserMessage
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
from rasa_hybrid.components.channel_replies import Breaks, Replies
from rasa_hybrid.components.channel_requests import (
    TOKEN_HEADER,
    Client,
    RateLimit,
    RefusedError,
    body_of,
    check_feedback_keys,
    check_identity,
    client_of,
    feedback_of,
    given_token,
    path_part,
    text_of,
)
from rasa_hybrid.components.channel_store import StoreThreads
from rasa_hybrid.components.channel_upkeep import Upkeep
from rasa_hybrid.components.embedded_learner import EmbeddedLearner
from rasa_hybrid.feedback import privacy
from rasa_hybrid.feedback.metrics import Metrics
from rasa_hybrid.feedback.records import Receipt, episode_id
from rasa_hybrid.feedback.store import (
    EpisodeStore,
    FeedbackConflictError,
    TooMuchFeedbackError,
    UnknownConversationError,
)
from rasa_hybrid.web.tokens import is_same

logger = logging.getLogger(__name__)

#: Where the episode of a reply is given.
EPISODE_HEADER = "X-Episode"
#: Episodes of which is remembered that the store knows them.
_REMEMBERED = 10_000


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
        self._store = StoreThreads(configuration.store)
        self._breaks = Breaks(self._store.settled)
        self._upkeep = Upkeep(configuration, self._store)
        # Counted apart, as anybody may chat as a sender, but only the sender may rate.
        self._chats = RateLimit(configuration.requests_per_minute)
        self._ratings = RateLimit(configuration.requests_per_minute)
        self._metrics = Metrics()
        self._tasks: List[asyncio.Task] = []
        #: Episodes that the store knows.
        self._known: OrderedDict[str, None] = OrderedDict()

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

    # --- chat ---------------------------------------------------------------------------------------

    async def _chat(
        self, on_new_message: Callable[[UserMessage], Awaitable[Any]], request: Request
    ) -> HTTPResponse:
        client = await client_of(request, self.configuration)
        body = body_of(request, self.configuration.max_body)
        sender = text_of(body, "sender", 255)
        text = text_of(body, "message", self.configuration.max_message)
        input_channel = text_of(body, "input_channel", 255, optional=True)
        metadata = body.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise RefusedError(400, "malformed", "metadata has to be an object.")
        check_identity(client, sender)
        self._chats.check(sender)
        is_party = await self._may_have_token(request, body, client, sender)
        output = Replies(self._breaks)
        message = UserMessage(
            text,
            output,
            sender,
            input_channel=input_channel or self.name(),
            metadata=metadata,
        )
        started = time.monotonic()
        try:
            await self._breaks.take()
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
        token = self._store.episodes.token(sender) if is_party else None
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
        given = given_token(request, body)
        if given is not None:
            return is_same(given, self._store.episodes.token(sender))
        return not await self._store.read(EpisodeStore.knows, sender)

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
        return await self._begin(sender, begun)

    async def _begin(self, sender: str, begun: float) -> str:
        """The id of a session, made known to the store."""
        id = episode_id(sender, begun)
        if id not in self._known:
            await self._store.write(EpisodeStore.begin, sender, begun)
            self._known[id] = None
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return id

    # --- feedback -----------------------------------------------------------------------------------

    async def _give(self, request: Request) -> HTTPResponse:
        client = await client_of(request, self.configuration)
        body = body_of(request, self.configuration.max_body)
        check_feedback_keys(body)
        sender = text_of(body, "sender", 255)
        self._check_party(request, body, client, sender)
        self._ratings.check(sender)
        given = feedback_of(body, sender, self.configuration)
        begun = activity.begun(sender) if given.episode is None else None
        if begun is not None:
            # The conversation may have begun anew, on another channel, of which the store does not know yet.
            await self._begin(sender, begun)
        try:
            receipt = await self._store.commit(given)
        except UnknownConversationError:
            # Conversations on other channels are known to the tracker store before they are to ours.
            if given.episode is not None or await self._episode(request, sender) is None:
                raise
            receipt = await self._store.commit(given)
        if receipt.duplicate:
            self._metrics.duplicates.inc()
        else:
            self._metrics.feedback.inc()
        return response.json(_receipt(receipt), status=200 if receipt.duplicate else 201)

    async def _receipt(self, request: Request, id: str) -> HTTPResponse:
        client = await client_of(request, self.configuration)
        receipt = await self._store.read(EpisodeStore.receipt, id)
        self._check_giver(request, client, receipt)
        self._ratings.check(receipt.sender)
        return response.json(_receipt(receipt))

    async def _withdraw(self, request: Request, id: str) -> HTTPResponse:
        client = await client_of(request, self.configuration)
        receipt = await self._store.read(EpisodeStore.receipt, id)
        self._check_giver(request, client, receipt)
        self._ratings.check(receipt.sender)
        return response.json(_receipt(await self._store.write(EpisodeStore.withdraw, id)))

    async def _forget(self, request: Request, sender: str) -> HTTPResponse:
        client = await client_of(request, self.configuration)
        self._check_party(request, {}, client, sender)
        deleted = await self._store.write(privacy.forget, sender)
        self._known.clear()
        return response.json({"deleted": deleted})

    def _check_party(
        self, request: Request, body: Mapping[str, Any], client: Client, sender: str
    ) -> None:
        """Whether the client is a party of the conversation that it speaks about."""
        check_identity(client, sender)
        if client.trusted or client.sender is not None:
            return
        if not is_same(_needed_token(request, body), self._store.episodes.token(sender)):
            raise _foreign_token()

    def _check_giver(self, request: Request, client: Client, receipt: Receipt) -> None:
        """Whether the client is a party of the conversation that feedback is about; its sender may be hashed by now."""
        store = self._store.episodes
        if client.sender is not None and store.gave(receipt, client.sender):
            return
        check_identity(client, receipt.sender)
        if not client.trusted and not store.owns(receipt, _needed_token(request, {})):
            raise _foreign_token()

    # --- health, metrics ----------------------------------------------------------------------------

    async def _health(self, request: Request) -> HTTPResponse:
        try:
            await self._store.read(EpisodeStore.counts)
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
        await client_of(request, self.configuration)
        counts = await self._store.read(EpisodeStore.counts)
        return response.raw(
            self._metrics.exposition(counts), content_type=self._metrics.content_type
        )

    # --- start, end, routes --------------------------------------------------------------------------

    def _open(self, app: Any) -> None:
        store = self._store.open()
        activity.explore(self.configuration.exploration)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._upkeep.look_after(app))]
        if self._learner is not None:
            self._tasks.append(loop.create_task(self._learner.look_after(app, store)))

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._store.close()

    def _route(
        self, blueprint: Blueprint, path: str, method: str, handler: Callable[..., Awaitable[Any]]
    ) -> None:
        """Adds a route whose errors are answered with JSON, and measures it."""
        name = f"{method} {path}"

        async def answer(request: Request, **parts: str) -> HTTPResponse:
            started = time.perf_counter()
            try:
                answered = await handler(request, **{k: path_part(v) for k, v in parts.items()})
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


def _needed_token(request: Request, body: Mapping[str, Any]) -> str:
    given = given_token(request, body)
    if given is None:
        raise RefusedError(
            401, "no_token", f"Send the conversation's token, as `token` or {TOKEN_HEADER}."
        )
    return given


def _foreign_token() -> RefusedError:
    return RefusedError(403, "foreign_token", "The token is not this conversation's.")


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
