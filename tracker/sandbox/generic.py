"""A carrier without a fake server of its own: a scenario describes its calls, and holds each answer as it is on the wire.

It refuses a call that the scenario does not describe. Such a refusal may look to the plugin like a number that is not
known, so it is a difference of the play.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.sandbox.base import Clock, OAuthCarrier, Outgoing, as_json
from tracker.sandbox.scenario import Scan
from tracker.sandbox.used import Call, Serves

METHODS = ["DELETE", "GET", "PATCH", "POST", "PUT"]


class GenericCarrier(OAuthCarrier):
    """Whatever the section `serves` of an account says."""

    pushes = False

    def __init__(self, account: str, clock: Clock, serves: Serves, *, hook: str = "") -> None:
        """Answer to the calls of `serves`; `hook` proves its webhooks, where it sends any."""
        super().__init__(account, clock, hook=hook)
        self._serves = serves
        self.pushes = bool(serves.hook)

    def routes(self) -> list[Route]:
        """Return what it answers to, and last what it refuses."""
        calls = [Route(call.path, partial(self._answer, call), methods=[call.method]) for call in self._serves.calls]
        if self._serves.token:
            calls.append(Route(self._serves.token, self._token, methods=["POST"]))
        return [*calls, Route("/{rest:path}", self._no_such_call, methods=METHODS)]

    def settings(self, base_url: str, key: str, hook: str | None) -> dict[str, Any]:
        """Return the settings as the scenario gives them, with our address and the reference to the key in their places."""
        return {
            name: value.replace("{url}", base_url).replace("{key}", key) if isinstance(value, str) else value
            for name, value in self._serves.settings.items()
        }

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Prove a webhook as `serves` says; where it says nothing, any body is somebody else's."""
        return Outgoing(self.account, body, {self._serves.hook: secret or self.hook} if self._serves.hook else {})

    def webhook(self, action: Scan, scan: dict[str, Any]) -> Outgoing | None:
        """Send none by itself: what it pushes is not what it answers, so a scenario posts it (`wire`)."""
        return None

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        basic = base64.b64encode(f"{self._client}:{self.key}".encode()).decode()
        inside = (form.get("client_id"), form.get("client_secret")) == ([self._client], [self.key])
        if not inside and request.headers.get("authorization") != f"Basic {basic}":
            return as_json({"error": "invalid_client"}, 401)
        return as_json({"access_token": self.new_token(), "token_type": "Bearer", "expires_in": 3599})

    async def _no_such_call(self, request: Request) -> Response:
        path = request.url.path.removeprefix(f"/{self.account}")
        return self._complain(404, f"{request.method} {path} is no call that it serves")

    async def _answer(self, call: Call, request: Request) -> Response:
        if self._serves.token and not self.bears_token(request):
            return as_json({"error": "the token has ended"}, 401)
        if any(request.headers.get(name) != value for name, value in self._serves.headers.items()):
            return as_json({"error": "who are you?"}, 401)
        if (trouble := self.trouble()) is not None:
            return trouble
        self.calls["track"] += 1
        numbers = await _numbers(call, request)
        if not 0 < len(numbers) <= call.batch:
            return self._complain(
                400, f"{call.method} {call.path} with {len(numbers)} numbers, expected 1 to {call.batch}"
            )
        bodies = [self.history[n][-1]["body"] if self.history[n] else _about(n, call.unknown) for n in numbers]
        if not call.into:
            return as_json(bodies[0], 200 if self.history[numbers[0]] else call.unknown_status)
        answer: Any = bodies
        for name in reversed(call.into.split(".")):
            answer = {name: answer}
        return as_json(answer)

    def _complain(self, status: int, said: str) -> Response:
        if said not in self.complaints:
            self.complaints.append(said)
        return as_json({"error": said}, status)


def _about(number: str, body: Any) -> Any:
    """Return an answer with the number in its places."""
    return orjson.loads(orjson.dumps(body).replace(b"{number}", number.encode()))


async def _numbers(call: Call, request: Request) -> list[str]:
    """Return the numbers that a call asks about, none where they do not stand in their place."""
    where, _, path = call.number.partition(".")
    if where == "path":
        return [request.path_params["number"]]
    if where == "query":
        return [number for number in request.query_params.get(path, "").split(",") if number]
    try:
        return _at(orjson.loads(await request.body()), path.split("."))
    except orjson.JSONDecodeError:
        return []


def _at(value: Any, path: list[str]) -> list[str]:
    """Return the texts at a path, `*` being each of a list."""
    if not path:
        return [value] if isinstance(value, str) else []
    if path[0] == "*":
        return [text for one in value for text in _at(one, path[1:])] if isinstance(value, list) else []
    return _at(value.get(path[0]), path[1:]) if isinstance(value, dict) else []
