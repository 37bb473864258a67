"""Who may ask, how often and how much: what stands before every route."""

import hmac
import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BYTES = 8 << 20
"""Of the body of a request."""
OPEN = ("/", "/health")
"""Paths that say nothing of runs and need no token; so too the files of the page."""
COOKIE = "scorefield_token"
"""With which the studio's links carry the token; no post is let in by it."""
ADDRESSES = 10_000
"""Whose counts are kept."""
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer, unless it has its own."""


def fault(message: str, kind: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    """The body of an error, as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None, **more}}


class _TooMuch(Exception):
    pass


@dataclass(frozen=True, eq=False)
class Guard:
    """Refuses what has another host or origin, no token where there is one, too many bytes, or
    comes too often: `rate` posts a minute of an address."""

    app: ASGIApp
    token: str | None = None
    hosts: frozenset[str] | None = None
    rate: int = 600
    seen: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        if wrong := self._wrong(scope, headers):
            return await _refuse(send, *wrong)
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BYTES:
                raise _TooMuch
            return message

        async def dressed(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *(h for h in more if h[0] not in own)]
            await send(message)

        try:
            await self.app(scope, counted, dressed)
        except _TooMuch:
            if not begun:
                await _refuse(send, 413, f"the body is larger than {BYTES:,} bytes.")

    def _wrong(self, scope: Scope, headers: dict[str, str]) -> tuple[Any, ...] | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts is not None and host.rpartition(":")[0].strip("[]") not in self.hosts:
            return 421, f"this server does not answer for the host {host[:80]!r}."
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "pages of other origins may not ask this server."
        path = scope["path"]
        if self.token and path not in OPEN and not path.startswith("/page/"):
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not given and scope["method"] == "GET":  # what a browser opens by a link
                given = unquote(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))
            given = given.encode()
            if not hmac.compare_digest(given, self.token.encode()):
                return 401, "the token is missing or wrong. Send it as `Authorization: Bearer ...`."
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > BYTES:
            return 413, f"the body is larger than {BYTES:,} bytes."
        if scope["method"] == "POST" and (wait := self._wait((scope.get("client") or [""])[0])):
            return 429, f"more than {self.rate} requests a minute.", {"retry-after": str(wait)}
        return None

    def _wait(self, address: str) -> int:
        """Seconds until the address may post again: a bucket that fills at the rate."""
        now = time.monotonic()
        room, since = self.seen.pop(address, (float(self.rate), now))
        room = min(self.rate, room + (now - since) * self.rate / 60)
        self.seen[address] = (max(room - 1, 0), now)
        if len(self.seen) > ADDRESSES:
            self.seen.popitem(last=False)
        return 0 if room >= 1 else max(1, round(60 / self.rate))


async def _refuse(send: Send, status: int, words: str, more: dict[str, str] | None = None) -> None:
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    headers = {"content-type": "application/json", **HEADERS, **(more or {})}
    head = [(k.encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": json.dumps(fault(words, kind)).encode()})
