"""A server of HTTP in a thread of the test, which stands in for whom `tracker check` asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], at_once: int = 5) -> Iterator[int]:
    """Serve on loopback, for so many who wait to be let in at once; gives the port."""

    class Server(ThreadingHTTPServer):
        request_queue_size = at_once

    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
