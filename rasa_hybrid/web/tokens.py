"""Bearer tokens of requests, compared so that the time it takes tells nothing about them."""

from __future__ import annotations

import hmac
from typing import Optional


def bearer(authorization: Optional[str]) -> Optional[str]:
    """The token in an `Authorization` header; None if there is none."""
    kind, _, token = (authorization or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token else None


def is_same(given: str, expected: str) -> bool:
    """Whether two tokens are the same, compared in constant time; headers may hold any bytes."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())


def is_bearer(authorization: Optional[str], expected: str) -> bool:
    """Whether an `Authorization` header holds a token."""
    given = bearer(authorization)
    return given is not None and is_same(given, expected)
