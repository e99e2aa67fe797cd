"""From a webhook to its 200, by real HTTP: our receiver on a database, and the floor, each in a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.bench.figures import row, side_by_side


def _signed(path: str, round_: str, i: int) -> bytes:
    body = orjson.dumps({"id": f"evt_{round_}_{i}", "object": "Event", "padding": "x" * 1400})
    signature = "hmac-sha256-hex=" + hmac.new(b"hook", body, hashlib.sha256).hexdigest()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nX-Hmac-Signature: {signature}\r\n\r\n"
    return head.encode() + body


async def _load(port: int, requests: list[bytes], rate: float = float("inf"), connections: int = 32) -> list[float]:
    """Send all requests over some kept connections, `rate` a second; returns the latency of each from when it was due."""
    queue = list(enumerate(requests))[::-1]
    took: list[float] = []
    began = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while queue:
            i, request = queue.pop()
            due = began + i / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            sent = due if rate != float("inf") else time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise RuntimeError(head.decode())
            length = next(
                (int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")), 0
            )
            if length:
                await reader.readexactly(length)
            took.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


def _rate(port: int, path: str, round_: str, count: int) -> float:
    requests = [_signed(path, round_, i) for i in range(count)]
    began = time.perf_counter()
    asyncio.run(_load(port, requests))
    return count / (time.perf_counter() - began)


def _p99(port: int, path: str, round_: str, rate: float, seconds: float = 5) -> float:
    requests = [_signed(path, round_, i) for i in range(int(rate * seconds))]
    return statistics.quantiles(asyncio.run(_load(port, requests, rate)), n=100)[98]


def serve(database: str, folder: Path) -> None:
    """Serve in this process until it is ended: our receiver on a database, or the floor; prints its port."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from tests.lab import Lab
    from tracker.app.daemon import rest_memory
    from tracker.app.servers import Servers

    if database == "floor":

        async def floor_app(request: Request) -> Response:
            body = await request.body()
            expected = "hmac-sha256-hex=" + hmac.new(b"hook", body, hashlib.sha256).hexdigest()
            good = hmac.compare_digest(expected, request.headers["x-hmac-signature"])
            return Response(status_code=200 if good else 401)

        routes = [Route("/webhooks/easypost", floor_app, methods=["POST"])]
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_config=None, lifespan="off"))
        threading.Thread(target=lambda: print(_port(server), flush=True), daemon=True).start()
        server.run()
        return
    with ExitStack() as stack:
        lab = Lab(database, folder, stack, yaml="web: {port: 0, ops_port: 0}")
        servers = Servers(lab.ctx, lambda: [], lambda: b"")

        def told() -> None:
            servers.started()
            rest_memory()
            print(servers.ports()[0], flush=True)

        threading.Thread(target=told, daemon=True).start()
        servers.run()


def _port(server: Any) -> int:
    while not server.started:
        time.sleep(0.01)
    return int(server.servers[0].sockets[0].getsockname()[1])


@contextmanager
def _server(database: str, folder: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench", "--serve", database, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def bench_receive(databases: dict[str, str], folder: Path, count: int) -> list[dict[str, Any]]:
    """Durable before 200, against Starlette with HMAC and nothing stored; each server is a process of its own."""
    rows = []
    path, turn = "/webhooks/easypost", iter(range(1000))
    with _server("floor", folder) as floor:
        for name, url, goal in (
            ("SQLite (FULL)", databases["sqlite"], 0.45),
            ("PostgreSQL", databases["postgresql"], 0.40),
        ):
            with _server(url, folder) as port:
                _rate(port, path, f"warm{name}", count // 4), _rate(floor, path, "warm", count // 4)
                ours, base = side_by_side(
                    lambda port=port: _rate(port, path, f"{next(turn)}", count), lambda: _rate(floor, path, "", count)
                )
                told = f"{base:,.0f}/s Starlette + HMAC, nothing stored"
                rows.append(
                    row(f"receive, durable before 200, {name}", f"{ours:,.0f}/s", told, ours / base, f">= {goal}")
                )
                late, base_late = side_by_side(
                    lambda port=port, ours=ours: _p99(port, path, f"{next(turn)}", ours / 2),
                    lambda base=base: _p99(floor, path, "", base / 2),
                )
                told = f"{base_late * 1e3:.1f} ms p99 of the floor at half its rate"
                rows.append(row(f"p99 at half load, {name}", f"{late * 1e3:.1f} ms", told, late / base_late, "<= 10"))
    return rows
