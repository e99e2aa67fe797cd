"""A server that does what it is told, and the client that calls it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from tracker.app.client import AccountClient
from tracker.plugin.calls import Request, Response


class Peer:
    """A server that does to each connection what it is told."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.script: list[Callable[[socket.socket], None]] = []
        self.requests: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            action = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            threading.Thread(target=self._one, args=(peer, action), daemon=True).start()

    def _one(self, peer: socket.socket, action: Callable[[socket.socket], None]) -> None:
        try:
            self.requests.append(peer.recv(65536))
            action(peer)
        except OSError:
            pass
        finally:
            peer.close()

    def close(self) -> None:
        self._listener.close()


def says(body: bytes, status: str = "200 OK", *headers: str) -> Callable[[socket.socket], None]:
    head = (
        "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]) + "\r\n\r\n"
    )
    return lambda peer: peer.sendall(head.encode() + body)


def get(client: AccountClient, peer: Peer, **more: Any) -> Response:
    return client.send(Request("GET", f"http://127.0.0.1:{peer.port}/x", **more))


def keeps(together: threading.Barrier, ended: threading.Semaphore) -> Callable[[socket.socket], None]:
    """Answer once all wait for an answer, and again what comes on the same connection; tell when the client ends it."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def act(peer: socket.socket) -> None:
        together.wait(10)
        peer.sendall(answer)
        while peer.recv(65536):
            peer.sendall(answer)
        ended.release()

    return act
