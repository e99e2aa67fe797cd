"""Connections to the outside: checked where they lead, bounded in time, and capped in all over every account of the process.

Facts behind it, measured: httpx time-outs are per read, so a server that drips one byte a second holds a worker for ever; a client
an account and call made 2,023 connections at 2,000 accounts. So: the deadline is enforced inside every step of a socket, and there
is one pool for all, where what waited longest for its next call makes room for another. Each step is taken in slices, between which
a call looks whether somebody else waits for its place (`pipeline.places`).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple, TypeVar

import certifi
import httpcore
import httpx

from tracker.domain.errors import Refused, SourceError, Transient
from tracker.domain.masking import mask
from tracker.pipeline.places import GaveWay, Place

MOST = 256  # connections of a process to carriers and shops
KEEP_IDLE = 30.0  # seconds that an unused connection is kept
SLICE = 0.1  # seconds after which a call that waits for its peer looks up
_Done = TypeVar("_Done")
# What is handed out to hosts of the internet (IANA IPv6 Address Space), and what lies in it for other ends (RFC 6890 and the
# IANA special-purpose registries, read 2026-11): nothing outside it, so no translation, mapping or site-local prefix either.
_UNICAST = ipaddress.ip_network("2000::/3")
_SPECIAL = tuple(
    ipaddress.ip_network(block)
    for block in (
        "2001::/23",  # IETF protocols: Teredo, benchmarking, ORCHID, DETs
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4: embeds any IPv4 address
        "100.64.0.0/10",  # shared by a provider and its customers
        "192.0.0.0/24",  # IETF protocols
        "192.88.99.0/24",  # relays of 6to4, withdrawn
    )
)  # fmt: skip


UNSENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)  # the request is at fault, not the wire


@contextmanager
def of_our_tree(host: str) -> Iterator[None]:
    """Raise what the libraries raise as an error of our tree, which names nothing but the host."""
    try:
        yield
    except SourceError:
        raise
    except UNSENDABLE as error:
        raise Refused(f"{host}: the call cannot be made: {type(error).__name__}") from None
    except httpx.TransportError as error:
        raise Transient(f"{host}: {type(error).__name__}: {mask(str(error))[:120]}") from None
    except Exception as error:  # what they raise beside their own errors, such as h11's of a wrong length
        raise Transient(f"{host}: {type(error).__name__}") from None


class ForbiddenAddress(httpcore.ConnectError):
    """A name resolved to an address that must not be called."""


def is_public(address: str) -> bool:
    """Tell whether an IP address may be called without its host being named under `network.allow`."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip not in _UNICAST or ip.scope_id is not None:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in block for block in _SPECIAL)


class Deadline(threading.local):
    """When this thread's call must be over (monotonic seconds), and the place that it may have to give up before (reads only)."""

    at: float = float("inf")
    place: Place | None = None

    def left(self, wanted: float | None, error: type[Exception]) -> float:
        """Return how long a step may take. Raises `error` where the time is over."""
        remaining = self.at - time.monotonic()
        if remaining <= 0:
            raise error("the total deadline has passed")
        return min(remaining, wanted) if wanted is not None else remaining

    def look_up(self) -> None:
        """Raise GaveWay where the place of this call is wanted."""
        if self.place is not None and self.place.gives_way():
            raise GaveWay("others waited: it is asked again with its whole time")


DEADLINE = Deadline()


def _in_slices(
    step: Callable[[float], _Done], wanted: float | None, late: type[Exception], broken: type[Exception]
) -> _Done:
    """Take a step that raises TimeoutError after so many seconds, again until it is done, its time is over or its place is wanted."""
    until = time.monotonic() + DEADLINE.left(wanted, late)
    while (left := until - time.monotonic()) > 0:
        try:
            return step(min(left, SLICE))
        except TimeoutError:
            DEADLINE.look_up()
        except OSError as error:
            raise broken(str(error)) from error
    raise late("timed out")


class _Stream(httpcore.NetworkStream):
    """A socket whose every step ends at the deadline."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        def step(seconds: float) -> bytes:
            self._peer.settimeout(seconds)
            return self._peer.recv(max_bytes)

        return _in_slices(step, timeout, httpcore.ReadTimeout, httpcore.ReadError)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)

        def step(seconds: float) -> int:
            self._peer.settimeout(seconds)
            return self._peer.send(rest)

        while rest:
            rest = rest[_in_slices(step, timeout, httpcore.WriteTimeout, httpcore.WriteError) :]

    def close(self) -> None:
        self._peer.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            peer = ssl_context.wrap_socket(self._peer, server_hostname=server_hostname, do_handshake_on_connect=False)
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        made = _Stream(peer)

        def step(seconds: float) -> None:
            peer.settimeout(seconds)
            peer.do_handshake()

        try:
            _in_slices(step, timeout, httpcore.ConnectTimeout, httpcore.ConnectError)
        except BaseException:
            made.close()
            raise
        return made

    def get_extra_info(self, info: str) -> Any:
        if info == "socket":
            return self._peer
        if info == "ssl_object":
            return self._peer if isinstance(self._peer, ssl.SSLSocket) else None
        if info == "is_readable":
            return self._peer.fileno() < 0 or bool(_poll(self._peer, select.POLLIN, 0.0))
        return None


def _poll(peer: socket.socket, wanted: int, seconds: float) -> list[tuple[int, int]]:
    poller = select.poll()  # select knows no descriptor from 1,024 on
    poller.register(peer, wanted)
    return poller.poll(seconds * 1000)


def _connect(family: int, address: Any, timeout: float | None) -> socket.socket:
    """Connect in slices. Raises httpcore.ConnectTimeout and ConnectError."""
    peer = socket.socket(family, socket.SOCK_STREAM)

    def step(seconds: float) -> None:
        if not _poll(peer, select.POLLOUT, seconds):
            raise TimeoutError
        if problem := peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(problem, os.strerror(problem))

    try:
        peer.setblocking(False)
        problem = peer.connect_ex(address)
        if problem not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
            raise httpcore.ConnectError(os.strerror(problem))
        _in_slices(step, timeout, httpcore.ConnectTimeout, httpcore.ConnectError)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        peer.close()
        raise
    return peer


class _Guard(httpcore.NetworkBackend):
    """Resolve once, check, and connect to that very address."""

    def __init__(self, allow: frozenset[str]) -> None:
        self._allow = allow

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error.strerror}") from None
        except UnicodeError:  # a label that is empty or too long
            raise httpcore.ConnectError(f"{host} cannot be resolved: it is no host name") from None
        family, _, _, _, where = found[0]
        address = str(where[0])
        if host not in self._allow and not is_public(address):
            raise ForbiddenAddress(f"{host} resolves to {address}, which is not public: name it under network.allow")
        return _Stream(_connect(family, where, timeout))


class _Trust(ssl.SSLContext):
    """Whom we trust; all threads read it and none changes it."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Leave it: httpcore says the same before each handshake, and another thread may be in one."""


@cache
def _trust() -> ssl.SSLContext:
    """Return the one TLS context: reading the authorities takes 26 ms and 0.7 MB, and connections are many."""
    context = _Trust(ssl.PROTOCOL_TLS_CLIENT)  # checks names and certificates
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    ssl.SSLContext.set_alpn_protocols(context, ["http/1.1"])
    return context


class _Idle(NamedTuple):
    since: float
    origin: str
    http: httpx.Client


class Connections:
    """Every connection of a process: at most `most`, each for one call at a time; unused ones wait here for a call to their origin.

    A connection knows nothing of an account: those that share a host share them.
    """

    def __init__(self, allow: Iterable[str], *, most: int = MOST) -> None:
        """Open lazily. `allow`: hosts that may be private or plain HTTP."""
        self.allow = frozenset(allow)
        self.most = most
        self._count = 0  # used and unused
        self._idle: list[_Idle] = []  # the longest unused first
        self._closed = False
        self._free = threading.Condition()

    def take(self, origin: str) -> httpx.Client:
        """Return a connection to an origin for one call, a new one where none waits; at the cap the longest unused one is closed.

        Raises Transient where all are used until the deadline.
        """
        with self._free:
            while True:
                for i in range(len(self._idle) - 1, -1, -1):
                    if self._idle[i].origin == origin:
                        return self._idle.pop(i).http
                if self._count < self.most or self._idle:
                    break
                left = DEADLINE.at - time.monotonic()
                if left <= 0 or not self._free.wait(min(left, threading.TIMEOUT_MAX)):
                    raise Transient(f"all {self.most} connections are used")
            late = self._idle.pop(0).http if self._count >= self.most else None
            self._count += late is None
        if late is not None:
            late.close()
        return self._made()

    def give_back(self, origin: str, http: httpx.Client, *, keep: bool = True) -> None:
        """Take a connection back from a call. `keep`: it may serve another."""
        with self._free:
            if keep and not self._closed:
                self._idle.append(_Idle(time.monotonic(), origin, http))
            else:
                self._count -= 1
            self._free.notify()
            if keep and not self._closed:
                return
        http.close()

    def drop_idle(self, since: float) -> None:
        """Close the connections that nobody used since then (monotonic seconds)."""
        with self._free:
            late = [one.http for one in self._idle if one.since <= since]
            del self._idle[: len(late)]
            self._count -= len(late)
            self._free.notify_all()
        for http in late:
            http.close()

    def close(self) -> None:
        """Close the connections; one that is used just now is closed by whoever uses it."""
        self._closed = True
        self.drop_idle(float("inf"))

    def counts(self) -> tuple[int, int]:
        """Return how many connections there are, and how many of them wait for a call."""
        with self._free:
            return self._count, len(self._idle)

    def _made(self) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=_trust(), trust_env=False, retries=0)
        transport._pool = httpcore.ConnectionPool(
            ssl_context=_trust(), max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_IDLE,
            network_backend=_Guard(self.allow),
        )  # fmt: skip
        http = httpx.Client(
            transport=transport, timeout=httpx.Timeout(10.0), follow_redirects=False, trust_env=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "trackwright"},
        )  # fmt: skip
        # no answer has a say in the next request: a cookie that is not ASCII made every later one fail
        http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        return http
