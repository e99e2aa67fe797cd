"""A shop of as many orders as wanted, in a process of its own: it makes each page as it is asked for, and keeps none.

Its rows are those of the platform's fake shop, one order told again under other ids, so that it speaks the platform's own format and
is not what is measured. `floor` asks for the same pages by bare httpx and reads their JSON.
"""

from __future__ import annotations

import http.server
import json
import multiprocessing
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.chaos.shops import number
from tests.matrix.columns import columns
from tracker.plugin.conformance.shops import Counter

FIRST = 1_000_000  # the number of the first order: all are as long
Answer = tuple[bytes, dict[str, str]]


class Pages:
    """What a shop of `count` orders answers, in the words of its fake shop."""

    def __init__(self, name: str, count: int) -> None:
        """Have the fake shop tell one order by each of its calls, and keep its answers."""
        self.name, self.count = name, count
        counter = Counter(f"adapters.{name}", columns()[name].settings)
        counter.do("place", order=columns()[name].names.format(FIRST))
        counter.do("ship", order=next(iter(counter.fake.orders)), company="USPS", numbers=(number(FIRST),))
        order = counter.read()
        self.ref, self.people = order.ref.rpartition("/")[2], order.number
        self.told: dict[str, bytes] = {}
        for request, response in counter.asked:
            path = urlsplit(request.url).path.replace(self.ref, "REF")
            self.told[path] = response.body

    def _of(self, body: bytes, which: int) -> bytes:
        """Return an answer about the order of that place."""
        text = body.decode()
        text = text.replace(number(FIRST), number(FIRST + which))
        text = re.sub(rf"\b{re.escape(self.ref)}(?=\d{{0,3}}\b)", self._ref(which), text) if self.ref in text else text
        return text.replace(self.people, self.people.replace(str(FIRST), str(FIRST + which))).encode()

    def _ref(self, which: int) -> str:
        digits = re.sub(r"\D", "", self.ref)
        return self.ref.replace(digits, str(FIRST + which))

    def rows(self, key: str, where: tuple[str, ...], begin: int, limit: int) -> list[bytes]:
        """Return the rows of a page, each of the one that the fake shop told in its list."""
        rows: Any = json.loads(self.told[key])
        for part in where:
            rows = rows[part]
        one = json.dumps(rows[0]).encode()
        return [self._of(one, which) for which in range(begin, min(begin + limit, self.count))]

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        """Answer a call as the platform pages its lists."""

        def said(key: str, otherwise: int) -> int:
            return int(query.get(key, [str(otherwise)])[0])

        if self.name == "rest" and path.endswith("/orders"):
            begin, limit = said("cursor", 0), said("limit", 50)
            after = str(begin + limit) if begin + limit < self.count else None
            page = self.rows(path, ("orders",), begin, limit)
            return b'{"orders":[%s],"next":%s,"total":%d}' % (
                b",".join(page),
                json.dumps(after).encode(),
                self.count,
            ), {}
        if path.endswith("/orders"):  # bigcommerce, woocommerce: a bare list by pages
            size, at = said("limit", 0) or said("per_page", 50), said("page", 1)
            page = self.rows(path, (), (at - 1) * size, size)
            pages = {"X-WP-Total": str(self.count), "X-WP-TotalPages": str(-(-self.count // size))}
            return b"[%s]" % b",".join(page), pages
        if found := re.search(r"/orders/(\d+)(?=/|$)", path):
            which = int(found[1]) - FIRST
            told = self.told[path[: found.start(1)] + "REF" + path[found.end(1) :]]
            return self._of(told, which), {}
        return self.told[path], {}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = (
        -1
    )  # an answer in one piece: a body that is sent behind its head waits 40 ms for the caller's delayed ACK
    disable_nagle_algorithm = True
    pages: Pages

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        told, headers = self.pages.answer(url.path, parse_qs(url.query))
        self.send_response(200)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(told)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _serve(name: str, count: int, port: Any) -> None:
    handler = type("Handler", (_Handler,), {"pages": Pages(name, count)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    port.put(server.server_port)
    server.serve_forever()


@contextmanager
def shop_of(name: str, count: int) -> Iterator[int]:
    """Run the shop in a process of its own; gives its port. Its calls stand under /shop."""
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    process = context.Process(target=_serve, args=(name, count, port), daemon=True)
    process.start()
    try:
        yield int(port.get(timeout=60))
    finally:
        process.terminate()
        process.join()
