"""The hooks of a BigCommerce store: made, listed, changed, and lost."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.base import Outgoing, as_json
from tracker.sandbox.fakes.bigcommerce.reading import Reads


class Hooks(Reads):
    """Webhooks V3, as far as they are managed."""

    def given_up(self, outgoing: Outgoing) -> None:
        """Switch off the hooks of a scope whose message was never taken, after two days of tries."""
        scope = orjson.loads(outgoing.body)["scope"]
        for hook in self.hooks.values():
            if hook["scope"] == scope:
                hook["is_active"] = False

    async def _hooks_list(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.faults.take("refuse_hooks"):
            return as_json({"status": 403, "title": "You don't have a required scope to access the endpoint"}, 403)
        if request.method == "POST":
            return self._made(orjson.loads(await request.body()))
        self.calls["hooks"] += 1
        if self.hooks and self.faults.take("lose_hook"):
            del self.hooks[min(self.hooks)]
        if self.hooks and self.faults.take("stop_hook"):
            self.hooks[max(self.hooks)]["is_active"] = False
        return self._collected(request, [*self.hooks.values()])

    def _made(self, body: dict[str, Any]) -> Response:
        """Make a hook: on port 443, ten a scope, one a destination, as the webhooks pages say."""
        scope, destination = body["scope"], body["destination"]
        alike = [hook for hook in self.hooks.values() if hook["scope"] == scope]
        if (
            not destination.startswith("https://")
            or len(alike) >= 10
            or any(h["destination"] == destination for h in alike)
        ):
            return as_json(
                {"status": 422, "title": "JSON data is missing or invalid", "errors": {"destination": "no"}}, 422
            )
        id_ = next(self._ids) + 20_000
        self.calls["hook made"] += 1
        self.hooks[id_] = {
            "id": id_, "client_id": "c", "store_hash": "sandbox", "headers": None, "is_active": True, **body,
        }  # fmt: skip
        return self._answer({"data": self.hooks[id_], "meta": {}})

    async def _hook(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        id_ = int(request.path_params["id"])
        if id_ not in self.hooks:
            return as_json({"status": 404, "title": f"Webhook with id [{id_}] not found"}, 404)
        self.calls["hook mended"] += 1
        self.hooks[id_] |= orjson.loads(await request.body())
        return self._answer({"data": self.hooks[id_], "meta": {}})
