"""Who may ask, how often and how much."""

import asyncio
import json
from typing import Any

import pytest

from scorefield.serve import guard
from scorefield.serve.guard import Guard


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with how many bytes it was sent."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(size).encode()})


def ask(
    guarded: Guard,
    path: str = "/v1/samples",
    method: str = "POST",
    body: tuple[bytes, ...] = (b"",),
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": b, "more_body": i < len(body) - 1}
             for i, b in enumerate(body)]  # fmt: skip

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": "localhost:8000", **headers}
    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "client": ("1.2.3.4", 5),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in named.items()],
    }
    asyncio.run(guarded(scope, receive, send))  # type: ignore[arg-type]
    return (
        sent[0]["status"],
        {k.decode(): v.decode() for k, v in sent[0]["headers"]},
        sent[-1]["body"],
    )


LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "evil.example:8000"}, 421),
        ({"host": "localhost.evil.example:8000"}, 421),
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:8000.evil.example"}, 403),
    ],
)
def test_other_hosts_and_origins_are_refused(headers, status):
    found, answered, _ = ask(Guard(app, hosts=LOCAL), **headers)
    assert found == status
    assert "access-control-allow-origin" not in answered
    assert answered["content-security-policy"] == guard.POLICY


@pytest.mark.parametrize(
    "path, given, status",
    [
        ("/v1/samples", "", 401),
        ("/v1/samples", "Bearer wrong", 401),
        ("/v1/samples", "Bearer right", 200),
        ("/openapi.json", "", 401),
        ("/metrics", "", 401),
        ("/", "", 200),
        ("/health", "", 200),
        ("/page/studio.js", "", 200),
        ("/healthy/../v1/models", "", 401),
    ],
)
def test_a_token_where_there_is_one(path, given, status):
    assert ask(Guard(app, "right"), path, authorization=given)[0] == status


@pytest.mark.parametrize(
    "method, cookie, status",
    [
        ("GET", "scorefield_token=right%20one", 200),
        ("GET", "a=b; scorefield_token=right%20one", 200),
        ("GET", "scorefield_token=wrong", 401),
        ("GET", "token=right%20one", 401),
        ("POST", "scorefield_token=right%20one", 401),
        ("DELETE", "scorefield_token=right%20one", 401),
    ],
)
def test_links_of_the_studio_carry_the_token(method, cookie, status):
    """A report opens in a tab of its own; nothing is made or stopped by a cookie."""
    guarded = Guard(app, "right one")
    assert ask(guarded, "/v1/models/digits/report", method, cookie=cookie)[0] == status


def test_a_body_is_bounded_whether_it_says_its_length_or_not():
    guarded = Guard(app)
    status, _, body = ask(guarded, content_length=str(guard.BYTES + 1))
    assert status == 413
    assert "larger than" in json.loads(body)["error"]["message"]
    assert ask(guarded, body=(b"x" * guard.BYTES, b"y"))[0] == 413
    assert ask(guarded, body=(b"x" * guard.BYTES,))[2] == str(guard.BYTES).encode()


def test_who_asks_too_often_is_told_when_to_come_again():
    guarded = Guard(app, rate=3)
    assert [ask(guarded)[0] for _ in range(5)] == [200, 200, 200, 429, 429]
    _, headers, body = ask(guarded)
    assert headers["retry-after"] == "20"
    assert json.loads(body)["error"]["type"] == "rate_limit_error"
    assert ask(guarded, method="GET")[0] == 200


def test_counts_of_addresses_are_bounded(monkeypatch):
    monkeypatch.setattr(guard, "ADDRESSES", 2)
    guarded = Guard(app)
    for address in "abcd":
        guarded._wait(address)
    assert list(guarded.seen) == ["c", "d"]
