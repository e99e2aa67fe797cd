"""The page on a million orders: each view asked for over HTTP, by who is logged in, with numbers drawn anew each time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

GOAL = 0.300  # seconds, p95
TOKEN = "the-token-of-the-bench-of-the-page"


@contextmanager
def pages(ctx: Any, orders: int, seed: int) -> Iterator[dict[str, Callable[[], Any]]]:
    """Give what asks for each view, while the page listens. Raises AssertionError where an answer is no page."""
    import httpx
    from pydantic import SecretStr

    from tracker.app.servers import Servers
    from tracker.config.inside import Page

    web = ctx.config.root.web.model_copy(update={"port": 0, "ops_port": 0})
    update = {"page": Page(port=0, token=SecretStr(TOKEN)), "web": web}
    ctx.config = replace(ctx.config, root=ctx.config.root.model_copy(update=update))
    servers, draw = Servers(ctx, list, lambda: b""), random.Random(seed)
    thread = threading.Thread(target=servers.run, daemon=True)
    thread.start()
    assert servers.started(), servers.problem
    with httpx.Client(base_url=f"http://127.0.0.1:{servers.ports()[-1]}", trust_env=False, timeout=60) as browser:
        assert browser.post("/login", data={"token": TOKEN}).status_code == 303

        def ask(path: Callable[[], str]) -> Callable[[], None]:
            def look() -> None:
                answer = browser.get(path())
                assert answer.status_code in (200, 303), answer.text

            return look

        yield {
            "page: status": ask(lambda: "/"),
            "page: drift": ask(lambda: "/drift"),
            "page: drift, filtered": ask(lambda: f"/drift?kind=shop_ahead&store=shop{draw.randrange(4)}"),
            "page: findings": ask(lambda: "/findings"),
            "page: findings, closed too": ask(lambda: "/findings?closed=true&severity=urgent"),
            "page: a later page": ask(lambda: f"/findings?after={draw.randrange(1, orders // 3)}"),
            "page: accounts": ask(lambda: "/accounts"),
            "page: carriers": ask(lambda: "/carriers"),
            "page: parcels": ask(lambda: "/carriers/parcels?show=late"),
            "page: codes": ask(lambda: "/codes"),
            "page: find": ask(lambda: f"/find?q=N{draw.randrange(1, orders * 3)}"),
            "page: an order": ask(lambda: f"/orders/{draw.randrange(1, orders)}"),
            "page: a parcel": ask(lambda: f"/parcels/{draw.randrange(1, orders * 3)}"),
            "page: a payload": ask(lambda: f"/payloads/{draw.randrange(1, orders)}"),
        }
    servers.stop()
    thread.join(10)
