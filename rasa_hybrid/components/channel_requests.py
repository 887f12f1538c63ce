"""Requests of the channel, read and checked: what they hold, who asks, and how often.

What is wrong with a request is raised as `RefusedError`, which the channel answers with.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import OrderedDict
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import unquote

from sanic.request import Request

from rasa_hybrid.components.channel_configuration import ChannelConfiguration
from rasa_hybrid.feedback.records import Given, Outcome
from rasa_hybrid.web.tokens import bearer, is_same

logger = logging.getLogger(__name__)

#: Where the token of a conversation is looked for, beside the body, and where it is given.
TOKEN_HEADER = "X-Conversation-Token"
#: Senders whose last requests are remembered.
_REMEMBERED = 10_000
#: Seconds of which requests are counted.
_MINUTE = 60.0
#: Levels of lists and objects within a request.
_DEEPEST = 20
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


def body_of(request: Request, most: int) -> Dict[str, Any]:
    """The JSON object in a request.

    Args:
        request: of a client.
        most: bytes that it may have.

    Raises:
        RefusedError: if it is larger, or holds something else.
    """
    if len(request.body) > most:
        raise RefusedError(413, "too_large", f"A request may have {most} bytes.")
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


def text_of(body: Mapping[str, Any], key: str, most: int, optional: bool = False) -> Any:
    """A text in a body, None where an optional one is missing.

    Raises:
        RefusedError: if it is missing, too long, or no text.
    """
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


def path_part(quoted: str) -> str:
    """A part of a request's path as it was before it was quoted.

    Raises:
        RefusedError: if it holds null characters, which PostgreSQL can't look for.
    """
    part = unquote(quoted)
    if "\x00" in part:
        raise RefusedError(400, "malformed", "The path must not hold null characters.")
    return part


def check_feedback_keys(body: Mapping[str, Any]) -> None:
    """Whether feedback says only what can be kept.

    Raises:
        RefusedError: naming the first key that is not known.
    """
    unknown = sorted(set(body) - _FEEDBACK_KEYS)
    if unknown:
        allowed = ", ".join(sorted(_FEEDBACK_KEYS))
        raise RefusedError(
            400, "malformed", f"{unknown[0]!r} is not allowed; allowed are {allowed}."
        )


def feedback_of(body: Mapping[str, Any], sender: str, configuration: ChannelConfiguration) -> Given:
    """The feedback in a body.

    Raises:
        RefusedError: if a value is impossible.
    """
    outcome = outcome_of(body, configuration.reward_range)
    comment, id, episode = (
        text_of(body, key, most, optional=True)
        for key, most in (
            ("comment", configuration.max_comment),
            ("feedback_id", 128),
            ("episode", 64),
        )
    )
    return Given(
        sender, outcome, comment or None, id, episode, most_a_day=configuration.feedback_per_day
    )


def outcome_of(body: Mapping[str, Any], reward_range: Tuple[float, float]) -> Outcome:
    """What feedback says of a dialogue.

    Raises:
        RefusedError: if it says nothing, or a value is impossible.
    """
    success, reward, rating = body.get("success"), body.get("reward"), body.get("rating")
    if success is None and reward is None and rating is None:
        raise RefusedError(400, "malformed", "Give success, reward or rating.")
    if success is not None and not isinstance(success, bool):
        raise RefusedError(400, "malformed", "success has to be true or false.")
    low, high = reward_range
    for name, value, least, most in (("reward", reward, low, high), ("rating", rating, 1, 5)):
        if value is None:
            continue
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # A whole number may be too large for `isfinite`.
        if not is_number or (isinstance(value, float) and not math.isfinite(value)):
            raise RefusedError(400, "malformed", f"{name} has to be a number.")
        if not least <= value <= most:
            raise RefusedError(422, "out_of_range", f"{name} has to be from {least:g} to {most:g}.")
    return Outcome(
        success,
        None if reward is None else float(reward),
        None if rating is None else float(rating),
    )


async def client_of(request: Request, configuration: ChannelConfiguration) -> Client:
    """Who asks, by bearer token or by Rasa's JWT.

    Raises:
        RefusedError: if a token is set and neither is right.
    """
    expected = configuration.token
    given = bearer(request.headers.get("Authorization"))
    if expected is not None and given is not None and is_same(given, expected):
        return Client(trusted=not configuration.require_conversation_token)
    if request.app.config.get("USE_JWT"):
        payload = await _jwt(request)
        if payload is not None:
            user = payload.get("user")
            role, name = map(user.get, ("role", "username")) if isinstance(user, dict) else ("", "")
            if role == "admin":
                return Client(trusted=True)
            if isinstance(name, str) and name:
                return Client(trusted=False, sender=name)
    elif expected is None:
        return Client(trusted=False)
    raise RefusedError(401, "unauthorised", "Send the token as `Authorization: Bearer ...`.")


def check_identity(client: Client, sender: str) -> None:
    """Whether a client may be who a request says.

    Raises:
        RefusedError: if a JWT says that it is somebody else.
    """
    if client.sender is not None and client.sender != sender:
        raise RefusedError(403, "foreign_conversation", "This conversation is somebody else's.")


def given_token(request: Request, body: Mapping[str, Any]) -> Optional[str]:
    """The conversation's token that a request brings, in a header or in its body."""
    given = request.headers.get(TOKEN_HEADER) or body.get("token")
    return given if isinstance(given, str) and given else None


class RateLimit:
    """Requests of each sender in the last minute.

    Args:
        most: how many are allowed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._requests: OrderedDict[str, List[float]] = OrderedDict()

    def check(self, sender: str) -> None:
        """Counts a request.

        Raises:
            RefusedError: if there were too many before it.
        """
        now = time.monotonic()
        recent = [at for at in self._requests.pop(sender, []) if at > now - _MINUTE]
        self._requests[sender] = recent
        while len(self._requests) > _REMEMBERED:
            self._requests.popitem(last=False)
        if len(recent) >= self._most:
            raise RefusedError(
                429,
                "too_many",
                f"At most {self._most} requests a minute of one sender are allowed.",
            )
        recent.append(now)


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
