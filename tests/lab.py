"""A whole installation in one process, worked by hand: real database, real HTTP to the sandbox, no thread of ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from tracker.app.daemon import Daemon
from tracker.clock import PlayClock
from tracker.config.load import load_text
from tracker.domain.legs import as_one
from tracker.domain.timeline import summarize
from tracker.pipeline import receive
from tracker.pipeline.drain import STEPS
from tracker.pipeline.ingest import scans
from tracker.sandbox.base import Outgoing, Server
from tracker.sandbox.fakes.dhl import DHLServer
from tracker.sandbox.fakes.easypost import EasyPostServer
from tracker.sandbox.fakes.rest import RestServer
from tracker.sandbox.fakes.seventeen_track import SeventeenTrackServer
from tracker.sandbox.fakes.shopify import ShopifyServer
from tracker.sandbox.fakes.ups import UPSServer
from tracker.sandbox.servers import FakeServers
from tracker.sandbox.used import StoreUsed
from tracker.store import queries, tables
from tracker.store.codec import SUMMARY, dump
from tracker.store.engine import database_now
from tracker.upkeep import maintenance

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
H = timedelta(hours=1)
TOKEN = "0123456789012345678901234567890123456789"
USPS = "9400111206206406260787"
UPS = "1ZR589390357567121"
DHL = "00340434161094042557"


class Silent:
    """Wake-ups that only remember."""

    def __init__(self) -> None:
        self.notified: list[str] = []

    def notify(self, queue: str) -> None:
        self.notified.append(queue)

    def start(self, drain: Any) -> None:
        raise AssertionError("the lab is worked by hand")

    def stop(self) -> None:
        """Nothing runs."""

    def problem(self) -> str | None:
        return None


class Lab:
    """`work()` does everything that is due at the clock's moment."""

    def __init__(
        self,
        database: str,
        folder: Path,
        stack: ExitStack,
        *,
        yaml: str = "",
        accounts: str = "",
        store: str = "mode: write",
        rest: str = "",
        seventeen: bool = False,
        secret: str = "s",
        hook: str = "hook",
    ) -> None:
        self.hook = hook
        self.clock = PlayClock(START)
        self.ups = UPSServer("ups", self.clock, key=secret, hook=hook, client_id="id")
        self.dhl = DHLServer("dhl", self.clock, key=secret)
        self.easypost = EasyPostServer("easypost", self.clock, key=secret, hook=hook)
        self.shop = ShopifyServer("shop", self.clock, key=secret, hook=hook)
        self.rest = RestServer("kart", self.clock, key=secret, hook=hook, used=StoreUsed(uses="rest", words="kingston"))
        self.seventeen = SeventeenTrackServer("seventeen", self.clock, key=secret)
        fake_servers = FakeServers([self.ups, self.dhl, self.easypost, self.shop, self.rest, self.seventeen])
        port = fake_servers.start()
        stack.callback(fake_servers.stop)
        for name, value in (("s", secret), ("hook", hook), ("token", TOKEN)):
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(value)
        base = f"http://127.0.0.1:{port}"
        kart = (
            f'  kart: {{uses: rest, base_url: {base}/kart, api_token: "${{file:{folder}/s}}", words: kingston, mode: write,\n'
            f'         webhook_secrets: "${{file:{folder}/hook}}", policy: {rest}}}\n'
            if rest
            else ""
        )
        if seventeen:
            accounts += f'  seventeen: {{uses: seventeen_track, base_url: {base}/seventeen, api_key: "${{file:{folder}/s}}", budget: {{calls: 1000, per: 1s}}}}\n'
        self.yaml = f"""
database: {database}
database_wait: 2s
network: {{allow: [127.0.0.1]}}
accounts:
  ups: {{uses: ups, base_url: {base}/ups, client_id: id, client_secret: "${{file:{folder}/s}}",
        webhook_secrets: "${{file:{folder}/hook}}", webhook_token: "${{file:{folder}/token}}"}}
  dhl: {{uses: dhl, base_url: {base}/dhl, push_url: {base}/dhl/tracking/push/v1, api_key: "${{file:{folder}/s}}",
        callback_url: "https://t.example/dhl", webhook_secrets: "${{file:{folder}/hook}}", webhook_token: "${{file:{folder}/token}}"}}
  easypost: {{uses: easypost, base_url: {base}/easypost, api_key: "${{file:{folder}/s}}",
        webhook_secrets: "${{file:{folder}/hook}}"}}
{accounts}stores:
  shop: {{uses: shopify, shop: shop.myshopify.com, base_url: {base}/shop, access_token: "${{file:{folder}/s}}",
        webhook_secrets: "${{file:{folder}/hook}}", {store}}}
{kart}{yaml.replace("FOLDER", str(folder))}"""
        self.notifier = Silent()
        self.daemon = Daemon(load_text(self.yaml), now=self.clock, notifier=self.notifier)
        stack.callback(self.daemon.stop)
        self.daemon.connect()
        self.ctx = self.daemon.ctx

    def work(self, *queues: str) -> int:
        """Drain until nothing is due; hooks of the shop are delivered in between."""
        total = 0
        for _ in range(200):
            worked = sum(STEPS[queue](self.ctx) for queue in queues or STEPS)
            for shop in (self.shop, self.rest, self.seventeen):
                while shop.outgoing and not queues:
                    self.post(shop.outgoing.pop(0))
                    worked += 1
            total += worked
            if not worked and not self._storms_are_over():
                return total
        raise AssertionError("it never ends")

    def _storms_are_over(self) -> bool:
        """Let the seconds pass for which a read waits after hooks of an order that was just read. Says whether one waited."""
        r = tables.change_notices.c
        with self.ctx.store.write() as connection:
            now = database_now(connection)
            here = sa.and_(r.due_at > now, r.due_at <= now + queries.LONGEST, r.attempts == 0)
            return connection.execute(tables.change_notices.update().where(here).values(due_at=now)).rowcount > 0

    def later(self, hours: float) -> None:
        """Let business time pass and work what falls due at its end."""
        self.clock.move_to(self.clock() + hours * H)
        maintenance.expire(self.ctx)
        self.work()

    def rested(self) -> None:
        """Let accounts that rest after a failure be asked again: their rest is the database's time."""
        self.change(tables.accounts.update().values(blocked_until=None))

    def post(self, outgoing: Outgoing, *, times: int = 1) -> None:
        """Take a webhook in, as the receiver does."""
        account = self.ctx.config.accounts[outgoing.account]
        token = TOKEN if account.webhook_tokens else ""
        for _ in range(times):
            headers = {name.lower(): value for name, value in outgoing.headers.items()}
            payload = receive.check(account, token, headers, outgoing.body, self.clock()).payload
            receive.commit(self.ctx, [(account, payload)])

    def post_raw(self, account: str, body: bytes) -> None:
        """Take in any body, rightly proved."""
        if account == "easypost":
            self.post(self.easypost.signed(body))
        elif account == "shop":
            self.post(self.shop.signed(body, "orders/updated"))
        else:
            header = "credential" if account == "ups" else "dhl-hook-token"
            self.post(Outgoing(account, body, {header: self.hook}))

    # the outside world

    def order(self, name: str = "#1001", *numbers: str, company: str = "USPS", payment: str = "PAID") -> None:
        """Place an order and ship it."""
        self.shop.place(name, self.clock(), payment)
        if numbers:
            self.shop.ship(name, self.clock(), [{"company": company, "number": n} for n in numbers], partly=False)

    def scan(
        self, server: Server, number: str, type_: str, code: str, *, hours: float = 0, **more: Any
    ) -> dict[str, Any]:
        """Let a carrier scan a parcel; polls see it at once."""
        scan = {
            "at": self.clock() + hours * H, "type": type_, "code": code, "letters": more.pop("letters", "XX"),
            "text": more.pop("text", code), "city": more.pop("city", "RENO"), "region": more.pop("region", "NV"),
            "country": more.pop("country", "US"), "zoned": True, "service": more.pop("service", "parcel-de"), "edd": None,
            **more,
        }  # fmt: skip
        server.history[number].append(scan)
        return scan

    # what came of it

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[Any]:
        with self.daemon.store.read() as connection:
            return list(connection.execute(sa.select(table).where(*where).order_by(*table.primary_key.columns)))

    def one(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> Any:
        (row,) = self.rows(table, *where)
        return row

    def change(self, statement: Any) -> None:
        with self.daemon.store.write() as connection:
            connection.execute(statement)

    def parcel(self, number: str) -> Any:
        return self.rows(tables.shipments, tables.shipments.c.number == number)[-1]

    def writes(self) -> list[tuple[str, str]]:
        return [(entry["order"], entry["event"]) for entry in self.shop.log]

    def summaries_are_whole(self) -> None:
        """Demand that each parcel's summary, read on from scan to scan, is what all its stored scans make."""
        known: dict[int, list[Any]] = {row.id: [] for row in self.rows(tables.shipments)}
        for row in self.rows(tables.scans):
            gone = row.withdrawn_at and (row.missing_since or row.withdrawn_at)
            known[row.shipment_id].append(
                scans.stored_scan([row._mapping[column.name] for column in scans.STORED_SCAN], gone)
            )
        legs: dict[int | None, list[Any]] = {}
        for row in self.rows(tables.shipments):
            legs.setdefault(row.leg_of, []).extend(known[row.id])
        for row in self.rows(tables.shipments):
            told = as_one(known[row.id], legs.get(row.id, []))
            assert row.summary == dump(SUMMARY, summarize(told)), row.number

    def open_findings(self) -> set[str]:
        return {row.kind for row in self.rows(tables.findings, tables.findings.c.closed_at.is_(None))}


@contextmanager
def lab(database: str, folder: Path, **more: Any) -> Any:
    with ExitStack() as stack:
        yield Lab(database, folder, stack, **more)


def tracker_body(number: str, *details: dict[str, Any], **more: Any) -> bytes:
    """Make an EasyPost tracker."""
    return orjson.dumps(
        {"object": "Tracker", "tracking_code": number, "carrier": "USPS",
         "status": details[-1]["status"] if details else "in_transit",
         "tracking_details": list(details), **more}
    )  # fmt: skip


def detail(status: str, at: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "status_detail": status, "datetime": at, "message": status, **more}


Make = Callable[..., Lab]


def shipped(make_lab: Make, *numbers: str, company: str = "USPS", **more: Any) -> Lab:
    """Return a lab with one order that was shipped and read."""
    lab = make_lab(**more)
    lab.work()
    lab.order("#1001", *(numbers or (USPS,)), company=company)
    lab.work()
    return lab


def wanting(make_lab: Make) -> Lab:
    """Return a lab in which one write waits in the outbox."""
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.clock.move_to(START + 7 * H)
    lab.work("poll", "ingest", "decide")
    return lab
