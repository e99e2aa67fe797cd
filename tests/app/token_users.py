"""Three processes of eight threads that share the token of one account, and the server that gives it."""

from __future__ import annotations

import json
import os
import signal
import struct
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.app.press import _press

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
LIFE = 3600  # seconds
THREADS = 8
NUMBER = "1Z204W4R0308071865"
ANSWER = json.dumps({"trackResponse": {"shipment": [{"inquiryNumber": NUMBER}]}}).encode()
ERROR = b'{"response": {"errors": [{"code": "250002", "message": "Invalid"}]}}'


class Clock:
    """A moment that several processes read, and the test moves."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(struct.pack("d", 0.0))
        self._file = os.open(file, os.O_RDWR)

    def ahead(self) -> timedelta:
        return timedelta(seconds=struct.unpack("d", os.pread(self._file, 8, 0))[0])

    def now(self) -> datetime:
        return START + self.ahead()

    def move(self, **by: float) -> None:
        os.pwrite(self._file, struct.pack("d", (self.ahead() + timedelta(**by)).total_seconds()), 0)


class TokenServer:
    """Gives tokens that live an hour by the clock, and answers calls that bear one; an answer may be held."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.asked, self.called, self.refused = clock, 0, 0, 0
        self.alive: dict[str, datetime] = {}
        self.let = threading.Event()  # answers to who asks for a token
        self.let.set()
        self.holds = threading.Semaphore(0)  # one each time that an answer is held
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self._say(200, server.give())

            def do_GET(self) -> None:
                taken = server.takes(self.headers.get("authorization", "").removeprefix("Bearer "))
                self._say(*((200, ANSWER) if taken else (401, ERROR)))

            def _say(self, status: int, body: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def give(self) -> bytes:
        with self._lock:
            self.asked += 1
            token = f"canary-token-{self.asked}"
            self.alive[token] = self.clock.now() + timedelta(seconds=LIFE)
        if not self.let.is_set():
            self.holds.release()
            self.let.wait()
        return json.dumps({"access_token": token, "expires_in": str(LIFE)}).encode()

    def takes(self, token: str) -> bool:
        with self._lock:
            taken = self.alive.get(token, START) > self.clock.now()
            self.called += taken
            self.refused += not taken
            return taken

    def revoke(self) -> None:
        with self._lock:
            self.alive.clear()

    def close(self) -> None:
        self.let.set()
        self._http.shutdown()
        self._http.server_close()


def _be(pipe: Connection, database: str, port: int, clock_file: Path, key: str) -> None:
    """Be a process: `go n` makes n calls in each thread, `held` tells how many connections of the pool are used."""
    os.setsid()
    from pydantic import SecretStr

    from carriers.ups import UPS, Settings
    from tracker.app.client import Clients, kept_tokens
    from tracker.config.model import Account, Root
    from tracker.domain.facts import Parcel, Parcels
    from tracker.store.engine import Store

    clock = Clock(clock_file)
    store = Store(database, ahead=clock.ahead)
    root = Root(vault_key=(SecretStr(key),))
    vault, tokens = kept_tokens(store, root, unreadable=print)
    clients = Clients(allow=("127.0.0.1",), timeout=20, now=clock.now, vault=vault, tokens=tokens)
    settings = Settings(base_url=f"http://127.0.0.1:{port}", client_id="id", client_secret=SecretStr("s"))
    account = Account("ups", "ups", UPS("ups", settings), credentials="of-these")
    said: Counter[str] = Counter()

    def call(count: int) -> None:
        for _ in range(count):
            try:
                list(account.source.fetch(clients(account), Parcels((Parcel("ups", NUMBER),))))
                said["done"] += 1
            except Exception as error:
                said[f"{type(error).__name__}: {error}"] += 1

    going: list[threading.Thread] = []
    while (word := pipe.recv())[0] != "end":
        if word[0] == "go":
            said.clear()
            going = [threading.Thread(target=call, args=(word[1],)) for _ in range(THREADS)]
            for thread in going:
                thread.start()
        elif word[0] == "join":
            for thread in going:
                thread.join()
            pipe.send(dict(said))
        elif word[0] == "held":
            pool: Any = store.engine.pool
            pipe.send(pool.checkedout())
    clients.close()
    store.close()


class User:
    """A process that calls."""

    def __init__(self, database: str, port: int, clock_file: Path, key: str) -> None:
        self.pipe, theirs = _press().Pipe()
        self._process = _press().Process(target=_be, args=(theirs, database, port, clock_file, key), daemon=True)
        self._process.start()
        theirs.close()

    def go(self, calls: int = 2) -> None:
        self.pipe.send(("go", calls))

    def join(self) -> dict[str, int]:
        """Wait until all calls ended; returns how, and how many did."""
        return self._ask("join")

    def held(self) -> int:
        return self._ask("held")

    def _ask(self, word: str) -> Any:
        self.pipe.send((word,))
        assert self.pipe.poll(60), f"no answer to {word}"
        return self.pipe.recv()

    def signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self.pipe.send(("end",))
        self._process.join(10)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
