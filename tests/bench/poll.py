"""Polls side by side, against a server that takes its time."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.figures import row, side_by_side


class Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(0.02)
        body = b'{"shipments": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def bench_poll(folder: Path, database: str) -> list[dict[str, Any]]:
    """Polls a second, 64 at once, against bare httpx with a client per thread, on a 20 ms server."""
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import replace

    import httpx

    from tests.lab import Lab
    from tracker.domain.facts import Parcel, Parcels

    with _server() as url, ExitStack() as stack:
        lab = Lab(database, folder, stack)
        account = lab.ctx.config.accounts["dhl"]
        source: Any = type(account.carrier)("dhl", account.carrier.settings.model_copy(update={"base_url": url}))
        account = replace(account, source=source, budget=None)
        lab.ctx.config = replace(lab.ctx.config, accounts={"dhl": account})
        ask = Parcels((Parcel("dhl", "N1"),))
        local = threading.local()

        def bare(_: int) -> None:
            if not hasattr(local, "client"):
                local.client = httpx.Client(trust_env=False)
            local.client.get(f"{url}/track/shipments").read()

        def ours(_: int) -> None:
            list(source.fetch(lab.ctx.client(account), ask))

        with ThreadPoolExecutor(64) as pool:

            def rate(function: Callable[[int], None]) -> float:
                began = time.perf_counter()
                list(pool.map(function, range(1500)))
                return 1500 / (time.perf_counter() - began)

            rate(ours), rate(bare)
            mine, floor = side_by_side(lambda: rate(ours), lambda: rate(bare))
    return [
        row(
            "poll, 64 at once, 20 ms server",
            f"{mine:,.0f}/s",
            f"{floor:,.0f}/s bare httpx, client per thread",
            mine / floor,
            ">= 0.75",
        )
    ]
