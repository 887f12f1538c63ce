"""`rasa-hybrid serve-ratings`: the page on which judges rate dialogues.

The page itself is open, everything it asks for needs the token. What a judge is told of a dialogue is what was said in it.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Type

from sqlalchemy.exc import SQLAlchemyError

from rasa_hybrid.feedback.ratings import PlaceLostError, RatingError, Ratings, judge_name
from rasa_hybrid.web.files import HEADERS, page_file
from rasa_hybrid.web.tokens import is_bearer

_MAX_BODY = 10_000
#: Seconds after which a connection that says nothing is closed.
_SILENCE = 60


def rating_server(ratings: Ratings, token: str, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the page.

    Args:
        ratings: what is rated, and where it is kept.
        token: that judges have to know.
        host: to listen on.
        port: 0 for any that is free.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _SILENCE

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            try:
                file = page_file(__file__, path[1:])
            except LookupError:
                self._refuse(404, "There is no such page.")
            else:
                self._answer(200, file.content, file.content_type)

        def do_POST(self) -> None:
            try:
                size = int(self.headers.get("Content-Length") or 0)
            except ValueError:
                size = -1
            if not 0 <= size <= _MAX_BODY:
                self.close_connection = True  # the body is not read
                self._refuse(413, f"A request may have {_MAX_BODY} bytes.")
                return
            content = self.rfile.read(size)
            if not is_bearer(self.headers.get("Authorization"), token):
                self._refuse(401, "The token is missing or wrong.")
                return
            try:
                answer = self._do(self.path, _object(content))
            except RatingError as error:
                self._refuse(400, str(error))
            except PlaceLostError as error:
                self._refuse(409, str(error))
            except LookupError:
                self._refuse(404, "There is no such request.")
            except SQLAlchemyError:
                self._refuse(503, "The store does not answer.")
            else:
                self._answer(200, json.dumps(answer).encode(), "application/json")

        def _do(self, path: str, body: Dict[str, Any]) -> Dict[str, Any]:
            judge = judge_name(_text(body, "judge"))
            if path == "/api/take":
                taken = ratings.take(judge)
                if taken is None:
                    return {"dialogue": None}
                return {
                    "dialogue": taken.dialogue.id,
                    "turns": taken.dialogue.turns,
                    "ratings": taken.ratings,
                    "read": taken.read,
                    "left": taken.left,
                }
            if path == "/api/rate":
                dialogue = _text(body, "dialogue")
                given: Any = (body.get("turn"), body.get("rating"))
                return {"ratings": ratings.rate(judge, dialogue, *given)}
            raise LookupError(path)

        def _refuse(self, status: int, message: str) -> None:
            self._answer(status, json.dumps({"message": message}).encode(), "application/json")

        def _answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Keeps requests out of the output."""

    handler: Type[BaseHTTPRequestHandler] = Handler
    return ThreadingHTTPServer((host, port), handler)


def _object(content: bytes) -> Dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RatingError("The body has to be a JSON object.")
    return body


def _text(body: Dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise RatingError(f"{key} has to be a text.")
    return value
