"""A real server that is told things: it answers as it is bid, and keeps what it took."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.lab import START, Lab
from tracker.store import tables as t

NEW, OLD = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (7, 9))
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Taken:
    """One post that was answered with 2xx."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`judge` says what to answer to a post, by its path, headers and body; else 204."""

    url: str = ""
    posts: list[Taken] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    judge: Callable[[Taken], Answer | None] = lambda _post: None

    def told_all(self) -> list[Any]:
        """Return all that was taken."""
        return [one.told for one in self.taken]

    def told(self, *types: str) -> list[Any]:
        """Return what was taken, of some types of events only."""
        return [one.told for one in self.taken if not types or one.told["type"] in types]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run one on loopback."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            post = Taken(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            found.posts.append(post)
            status, headers, said = found.judge(post) or (204, {}, b"")
            if status < 300:
                found.taken.append(post)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/told"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endpoint(erp: Receiver, folder: Path, more: str = "", secrets: tuple[str, ...] = (NEW,), name: str = "erp") -> str:
    """Return the entry of an endpoint."""
    names = []
    for i, value in enumerate(secrets):
        path = folder / f"signing-{name}-{i}"
        path.touch(mode=0o600)
        path.write_text(value)
        names.append(f'"${{file:{path}}}"')
    return f"{name}: {{url: '{erp.url}', secrets: [{', '.join(names)}]{more}}}"


def telling(*endpoints: str) -> str:
    return f"telling: {{endpoints: {{{', '.join(endpoints)}}}}}\n"


def due_now(lab: Lab) -> None:
    """Let the time pass for which messages, and who gets them, wait."""
    lab.change(t.messages.update().where(t.messages.c.state == "pending").values(due_at=START))
    lab.change(t.destinations.update().values(blocked_until=None, tells_at=None))
    lab.change(t.tellings.update().where(t.tellings.c.due_at.isnot(None)).values(due_at=START))


def standing(lab: Lab, name: str = "erp") -> Any:
    return lab.one(t.destinations, t.destinations.c.name == name)
