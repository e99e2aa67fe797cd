"""A street of shops on loopback, each at a port of its own, some of which accept and never answer; and a worker that serves them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from tracker.app.daemon import Daemon
from tracker.config.load import load_text
from tracker.domain.timeline import summarize
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.codec import ACTION, SUMMARY, dump
from tracker.store.engine import database_now

AT = "2026-11-02T08:00:00Z"
Silent = Callable[[int, str], bool]


class Street:
    """`silent` says which shop accepts what (`GET /orders/R1`) and never answers it, until `let_go`."""

    def __init__(self, count: int, silent: Silent = lambda _shop, _asked: False) -> None:
        self.count, self.silent = count, silent
        self.ports: list[int] = []
        self.asked: Counter[int] = Counter()
        self.connected: Counter[int] = Counter()  # connections that were made
        self.open = self.most = self.held = 0
        self._loop = asyncio.new_event_loop()
        self._let_go = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> Street:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def let_go(self) -> None:
        """End the connections of those who wait for an answer; from now on all are answered."""
        self.silent = lambda _shop, _asked: False
        self._loop.call_soon_threadsafe(self._let_go.set)

    async def _listen(self) -> None:
        self._servers = [
            await asyncio.start_server(self._shop(i), "127.0.0.1", 0, backlog=300) for i in range(self.count)
        ]
        self.ports = [server.sockets[0].getsockname()[1] for server in self._servers]

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _shop(self, shop: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._serve(shop, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return begin

    async def _serve(self, shop: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected[shop] += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                lengths = [int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")]
                await reader.readexactly(sum(lengths))
                method, path, _ = head[0].split(" ")
                asked = f"{method} {path.partition('?')[0]}"
                self.asked[shop] += 1
                if self.silent(shop, asked):
                    self.held += 1
                    gone = self._loop.create_task(reader.read(1))
                    freed = self._loop.create_task(self._let_go.wait())
                    await asyncio.wait({gone, freed}, return_when=asyncio.FIRST_COMPLETED)
                    gone.cancel()
                    freed.cancel()
                    self.held -= 1
                    return
                body = orjson.dumps(answer(asked))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def answer(asked: str) -> dict[str, Any]:
    """Return what a shop of the order API says."""
    method, _, path = asked.partition(" ")
    if path in ("/orders", "/checkouts"):
        return {path[1:]: [], "next": None}
    if method == "POST":
        return {"id": "N1"}
    ref = path.split("/")[2]
    return {"order": {"ref": ref, "number": f"#{ref}", "status": "Processing", "placed_at": AT, "updated_at": AT}}


class Worker:
    """A worker of a street, with its real threads; nothing is due until a test says so."""

    def __init__(self, database: str, folder: Path, stack: ExitStack, street: Street, *, yaml: str = "") -> None:
        self.street = street
        secret = folder / "token"
        secret.touch(mode=0o600)
        secret.write_text("s")
        stores = "".join(
            f'  {name(i)}: {{uses: rest, base_url: "http://127.0.0.1:{port}", api_token: "${{file:{secret}}}", words: kingston,'
            " mode: write, policy: {preset: mirror}}\n"
            for i, port in enumerate(street.ports)
        )
        carrier = f'{{uses: dhl, base_url: "http://127.0.0.1:{street.ports[0]}", api_key: "${{file:{secret}}}"}}'
        text = f"database: {database}\nnetwork: {{allow: [127.0.0.1]}}\n{yaml}accounts: {{dhl: {carrier}}}\nstores:\n{stores}"
        self.daemon = Daemon(load_text(text), frozenset({"worker"}))
        stack.callback(self.daemon.stop)
        self.daemon.connect()
        self.ctx = self.daemon.ctx
        far = self.ctx.now().replace(year=2100)
        with self.ctx.store.write() as connection:
            connection.execute(t.accounts.update().values(next_sweep_at=far))

    def start(self) -> None:
        self.daemon.start()

    def note(self, shops: Iterable[int], *refs: str) -> None:
        """Let orders of some shops have changed."""
        with self.ctx.store.write() as connection:
            now = database_now(connection)
            for i in shops:
                queries.note_changes(connection, name(i), refs, now)
        self.ctx.notify("poll")

    def sweep(self, shops: Iterable[int]) -> None:
        """Let some shops be due to be swept."""
        names = [name(i) for i in shops]
        self.change(t.accounts.update().where(t.accounts.c.name.in_(names)).values(next_sweep_at=self.ctx.now()))
        self.ctx.notify("poll")

    def ask(self, count: int) -> None:
        """Let the carrier, which is where the first shop is, be due to be asked about so many parcels."""
        summary, now = dump(SUMMARY, summarize(())), self.ctx.now()
        shipment = {"carrier": "dhl", "generation": 1, "status": "unknown", "summary": summary, "linked": True}
        watch = {
            "account": "dhl", "tracking_state": "pending", "attempts": 0, "failures": 0, "next_poll_at": now,
        }  # fmt: skip
        with self.ctx.store.write() as connection:
            for i in range(count):
                values = shipment | {"number": f"N{i:08}", "starts_at": now}
                made = connection.execute(t.shipments.insert().returning(t.shipments.c.id), values).scalar_one()
                connection.execute(t.watches.insert(), watch | {"shipment_id": made})
        self.ctx.notify("poll")

    def write(self, shops: Iterable[int], count: int = 1) -> None:
        """Let some shops be due a note to so many orders each."""
        from tracker.domain.facts import Action

        with self.ctx.store.write() as connection:
            now = database_now(connection)
            order = {
                "status": "processing", "raw_status": "", "payment": "paid", "raw_payment": "", "owner": "shop",
                "placed_at": now, "version": 1, "read_at": now,
            }  # fmt: skip
            write = {
                "kind": "order_note", "state": "pending", "attempts": 0, "crashes": 0, "due_at": now, "rules": [],
                "created_at": now,
            }  # fmt: skip
            for store, ref in ((name(i), f"W{n}") for i in shops for n in range(count)):
                facts = dump_order_of(store, ref)
                values = order | {"store": store, "ref": ref, "number": f"#{ref}", "facts": facts}
                made = connection.execute(t.orders.insert().returning(t.orders.c.id), values).scalar_one()
                action = Action(
                    "order_note", f"{store}/{ref}", store, ref, happened_at=now, number=f"#{ref}", text="seen"
                )
                values = write | {"key": action.key, "store": store, "order_id": made, "action": dump(ACTION, action)}
                connection.execute(t.outbox.insert(), values)
        self.ctx.notify("push")

    def read(self) -> set[str]:
        """Return the shops of which a read was stored."""
        with self.ctx.store.read() as connection:
            return set(connection.execute(sa.select(t.inbox.c.account).where(t.inbox.c.kind == "read")).scalars())

    def written(self) -> Counter[str]:
        """Return how many writes each shop took."""
        with self.ctx.store.read() as connection:
            sent = sa.select(t.outbox.c.store).where(t.outbox.c.state == "sent")
            return Counter(connection.execute(sent).scalars())

    def change(self, statement: Any) -> None:
        with self.ctx.store.write() as connection:
            connection.execute(statement)

    def rows(self, table: sa.Table) -> list[Any]:
        with self.ctx.store.read() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all())


def dump_order_of(store: str, ref: str) -> Any:
    """Return an order as it is stored."""
    from datetime import datetime

    from tracker.domain.facts import Order
    from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus
    from tracker.store.codec import dump_order

    at = datetime.fromisoformat(AT)
    return dump_order(
        Order(
            store=store, ref=ref, number=f"#{ref}", status=OrderStatus.PROCESSING, raw_status="Processing",
            payment=PaymentStatus.PENDING, raw_payment="", placed_at=at, updated_at=at, owner=Owner.UNKNOWN,
        )
    )  # fmt: skip


def name(shop: int) -> str:
    return f"s{shop:03}"
