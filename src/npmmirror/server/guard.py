"""Who may ask, and how much at the same time."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from npmmirror.server.answers import error

READING: Final = frozenset({"GET", "HEAD"})
POSTING: Final = frozenset({"POST"})


class Tokens:
    """The bearer tokens that may read; the configuration has their digests alone."""

    def __init__(self, digests: Sequence[str]) -> None:
        self._digests = [bytes.fromhex(each.removeprefix("sha256:")) for each in digests]

    def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a request without a token that may read; None where it may pass."""
        if not self._digests or self._allow(request.headers.get("Authorization", "")):
            return None
        return error(401, "A token is needed", WWW_Authenticate='Bearer realm="npmmirror"')

    def _allow(self, header: str) -> bool:
        token = _token(header)
        if token is None:
            return False
        found = hashlib.sha256(token).digest()
        # All are compared: how long it takes must not tell which one was near.
        return any([hmac.compare_digest(found, each) for each in self._digests])  # noqa: C419


def _token(header: str) -> bytes | None:
    """The token that a client sends; as a password, too, for whoever has a URL alone to tell it in."""
    scheme, _, told = header.partition(" ")
    sent = told.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "bearer":
        return sent
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(sent, validate=True).partition(b":")[2]
    except binascii.Error:
        return None


def only_posted(method: str) -> web.Response:
    """The answer to whoever asks otherwise what is asked by POST."""
    return error(405, f"This is asked by POST, not by {method[:20]}", Allow="POST")


def read_only(method: str) -> web.Response:
    """The answer to whoever wants to change something."""
    return error(405, f"This mirror is read-only: {method[:20]} is not served", Allow="GET, HEAD")
