"""`rasa-hybrid serve-models`: the model server that Rasa's `models:` endpoint pulls from, with the store's head as ETag."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Type

from rasa_hybrid.feedback.database import Database
from rasa_hybrid.feedback.folder import ModelFolder
from rasa_hybrid.feedback.ledger import Ledger


def model_server(database: Database, out: str, host: str, port: int) -> ThreadingHTTPServer:
    """A server that gives the head's archive, or 304 to who has it.

    Args:
        database: of the store that knows the head.
        out: the learner's folder.
        host: to listen on.
        port: 0 for any that is free.
    """
    ledger, folder = Ledger(database), ModelFolder(out)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                head = ledger.head()
            except Exception as error:  # the store is down: Rasa asks again
                self._answer(503, f"The store does not answer: {error}".encode())
                return
            if head is None:
                self._answer(404, b"There is no model yet.")
            elif self.headers.get("If-None-Match") == head.id:
                self._answer(304, b"", ETag=head.id)
            else:
                try:
                    content = folder.archive(head.id).read_bytes()
                except OSError as error:
                    self._answer(404, f"The archive can't be read: {error.strerror}.".encode())
                    return
                name = f"{head.id}.tar.gz"
                self._answer(200, content, ETag=head.id, filename=name)

        def _answer(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status != 304:
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Keeps requests out of the output."""

    handler: Type[BaseHTTPRequestHandler] = Handler
    return ThreadingHTTPServer((host, port), handler)
