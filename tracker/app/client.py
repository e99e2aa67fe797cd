"""The one way out: connections that one thread uses at a time, a total deadline, size caps and an address guard.

Facts behind it, measured: httpx time-outs are per read, so a server that drips one byte a second holds a worker
for ever; a 291 kB gzip answer became 300 MB. So: the deadline is enforced inside every socket read, answers are asked
for uncompressed and read raw up to a cap, redirects are not followed, and the address is checked where it is connected
to (a second name resolution could answer differently).
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast
from urllib.parse import urlsplit

import certifi
import httpcore
import httpx
import tenacity

from tracker.config.model import Account
from tracker.domain.errors import BadPayload, RateLimited, Refused, SourceError, Transient
from tracker.domain.masking import mask
from tracker.plugin.contracts import Platform, Request, Response, Vault, not_html, raise_by_status

MOST_BYTES = 5 << 20
TRIES = 3
KEEP_IDLE = 30.0  # seconds that an unused connection is kept
RETRIED_STATUSES = (502, 503, 504)
_UNSENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)  # the request is at fault, not the wire
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


class _Deadline(threading.local):
    """When this thread's call must be over (monotonic seconds)."""

    at: float = float("inf")

    def left(self, wanted: float | None, error: type[Exception]) -> float:
        remaining = self.at - time.monotonic()
        if remaining <= 0:
            raise error("the total deadline has passed")
        return min(remaining, wanted) if wanted is not None else remaining


_DEADLINE = _Deadline()


class _Stream(httpcore.NetworkStream):
    """A stream whose every read and write ends at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _DEADLINE.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _DEADLINE.left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _DEADLINE.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Guard(httpcore.NetworkBackend):
    """Resolve once, check, and connect to that very address."""

    def __init__(self, allow: frozenset[str]) -> None:
        self._allow = allow
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _DEADLINE.left(timeout, httpcore.ConnectTimeout)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error.strerror}") from None
        except UnicodeError:  # a label that is empty or too long
            raise httpcore.ConnectError(f"{host} cannot be resolved: it is no host name") from None
        address = str(found[0][4][0])
        if host not in self._allow and not is_public(address):
            raise ForbiddenAddress(f"{host} resolves to {address}, which is not public: name it under network.allow")
        return _Stream(self._inner.connect_tcp(address, port, left, local_address, socket_options))


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


class NoVault:
    """For accounts without rotating tokens."""

    def load(self) -> str | None:
        """Nothing was ever stored."""
        return None

    def store(self, value: str) -> None:
        """Refuse: there is nowhere to keep it."""
        raise Refused("no vault_key is configured: a rotating token cannot be kept")


class AccountClient:
    """The client of one account, for all threads: each call has a connection to itself.

    A connection that was used last is used next, so there are as many as calls ever ran side by side, not one a thread: a
    hundred accounts and sixteen threads would have held more files than a process may open.
    """

    def __init__(
        self,
        account: Account,
        vault: Vault,
        *,
        allow: frozenset[str],
        timeout: float,
        now: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
        charge: Callable[[str], None] | None = None,
    ) -> None:
        """Open lazily; `timeout` is the total time of a call in seconds, tries included; rests are told by `elapsed`.

        `charge` takes each request from the account's budget before it is sent, or raises BudgetSpent.
        """
        self.vault = vault
        self._account, self._allow, self._timeout, self._now, self._elapsed = account, allow, timeout, now, elapsed
        self._charge = charge
        self._rest_until = 0.0
        self._idle: list[tuple[float, httpx.Client]] = []  # since when; the longest first
        self._closed = False
        self._lock = threading.Lock()

    def _take(self) -> httpx.Client:
        with self._lock:
            if self._idle:
                return self._idle.pop()[1]
        transport = httpx.HTTPTransport(verify=_trust(), trust_env=False, retries=0)
        transport._pool = httpcore.ConnectionPool(
            ssl_context=_trust(), max_connections=4, max_keepalive_connections=2, keepalive_expiry=KEEP_IDLE,
            network_backend=_Guard(self._allow),
        )  # fmt: skip
        http = httpx.Client(
            transport=transport, timeout=httpx.Timeout(10.0), follow_redirects=False, trust_env=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "trackwright"},
        )  # fmt: skip
        # no answer has a say in the next request: a cookie that is not ASCII made every later one fail
        http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        return http

    def _give_back(self, http: httpx.Client) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append((time.monotonic(), http))
                return
        http.close()

    def drop_idle(self, since: float) -> None:
        """Close the connections that nobody used since then (monotonic seconds)."""
        with self._lock:
            late = [http for at, http in self._idle if at <= since]
            del self._idle[: len(late)]
        for http in late:
            http.close()

    def now(self) -> datetime:
        """Return the wall time."""
        return self._now()

    def close(self) -> None:
        """Close the connections; one that is used just now is closed by whoever uses it."""
        self._closed = True
        self.drop_idle(float("inf"))

    def send(self, request: Request) -> Response:
        """Send one request, again (3 tries) on connection errors and 502-504 where it is idempotent, within the deadline.

        Raises what the plugin's `raise_for_status` raises; BudgetSpent where its budget gives no call; Transient when the wire fails; Unavailable for a page where data was asked
        for; Refused for a URL we may not call and for a request that cannot be written. Nothing else: a number or a setting
        that makes an odd URL or header must not end a round.
        """
        rest = self._rest_until - self._elapsed()
        if rest > 0:
            raise RateLimited("the account rests, as its last answer asked for", timedelta(seconds=rest))
        try:
            parts = urlsplit(request.url)
        except ValueError:
            raise Refused("the call cannot be made: its address is no URL") from None
        host = ascii(parts.hostname or "no host")[1:-1]  # as it may be stored and shown
        if parts.scheme != "https" and parts.hostname not in self._allow:
            raise Refused(f"{host}: only https, unless the host is named under network.allow")
        _DEADLINE.at = time.monotonic() + self._timeout
        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(TRIES if request.idempotent else 1),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )
        http = self._take()
        try:
            response = tries(self._once, http, request)
        except _TryAgain as again:
            response = again.response
        except SourceError:
            raise
        except _UNSENDABLE as error:
            raise Refused(f"{host}: the call cannot be made: {type(error).__name__}") from None
        except httpx.TransportError as error:
            raise Transient(f"{host}: {type(error).__name__}: {mask(str(error))[:120]}") from None
        except Exception as error:  # what the libraries raise beside their own errors, such as h11's of a wrong length
            raise Transient(f"{host}: {type(error).__name__}") from None
        finally:
            _DEADLINE.at = float("inf")
            self._give_back(http)
        if 300 <= response.status < 400:
            raise Refused(f"{host} answers with a redirect (HTTP {response.status}); redirects are not followed")
        if (pause := self._account.source.throttle_delay(response)) is not None:
            # other threads ask too: the longest rest holds, as in the account's row
            self._rest_until = max(self._rest_until, self._elapsed() + pause.total_seconds())
        self._account.source.raise_for_status(response)
        return response

    def _once(self, http: httpx.Client, request: Request) -> Response:
        if time.monotonic() >= _DEADLINE.at:
            raise Transient("the total deadline has passed")
        try:
            built = http.build_request(
                request.method, request.url, params=dict(request.params) or None, headers=dict(request.headers),
                content=request.content,
            )  # fmt: skip
            auth = httpx.BasicAuth(*request.basic) if request.basic else None
        except (
            httpx.InvalidURL,
            ValueError,
            TypeError,
        ) as error:  # UnicodeError is a ValueError; none says what it read
            raise Refused(f"the call cannot be made: {type(error).__name__}") from None
        if self._charge is not None:
            self._charge(self._account.name)
        raw = http.send(built, stream=True, auth=auth)
        try:
            if raw.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
                raise BadPayload("$", "came compressed although nobody asked for that")
            body = bytearray()
            for chunk in raw.iter_raw():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise BadPayload("$", f"is larger than {MOST_BYTES} bytes")
        finally:
            raw.close()
        headers = {name.lower(): value for name, value in raw.headers.items()}
        response = Response(raw.status_code, headers, bytes(body), self._now())
        if response.status in RETRIED_STATUSES and "retry-after" not in headers and request.idempotent:
            raise _TryAgain(response)
        return response


def _may_pass(error: BaseException) -> bool:
    """Tell what a second try may mend."""
    return isinstance(error, httpx.TransportError | _TryAgain) and not isinstance(error, _UNSENDABLE)


class _TryAgain(SourceError):
    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response


class _Plain:
    """Raises by the status of a response, and lets nobody rest."""

    def raise_for_status(self, response: Response) -> None:
        not_html(response)
        raise_by_status(response)

    def throttle_delay(self, _response: Response) -> None:
        return None


_ALERTS = Account("alerts", "alerts", cast(Platform, _Plain()))


class Clients:
    """Hands out the client of each account; all are closed together."""

    def __init__(
        self,
        *,
        allow: Iterable[str],
        timeout: float,
        now: Callable[[], datetime],
        vault: Callable[[str], Vault],
        elapsed: Callable[[], float] = time.monotonic,
        charge: Callable[[str], None] | None = None,
    ) -> None:
        """Keep how to make them. `charge` takes a request of an account from its budget. `elapsed`: seconds that only grow, where days pass in seconds (plays)."""
        self._allow, self._timeout, self._now, self._vault = frozenset(allow), timeout, now, vault
        self._elapsed, self._charge = elapsed, charge
        self._all: dict[str, tuple[Account, AccountClient]] = {}
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, account: Account) -> AccountClient:
        """Return the client of an account; changed settings get a new one."""
        with self._lock:
            known = self._all.get(account.name)
            if known is None or known[0] is not account:
                client = AccountClient(
                    account,
                    self._vault(account.name),
                    allow=self._allow,
                    timeout=self._timeout,
                    now=self._now,
                    elapsed=self._elapsed,
                    charge=self._charge if account is not _ALERTS else None,
                )
                self._all[account.name] = account, client
                if known is not None:
                    known[1].close()
            else:
                client = known[1]
            now = time.monotonic()
            if due := now - self._looked_at > KEEP_IDLE:
                self._looked_at = now
            every = [one for _, one in self._all.values()] if due else ()
        for one in every:
            one.drop_idle(now - KEEP_IDLE)
        return client

    def post(self, request: Request) -> Response:
        """Send a request that belongs to no account: an alert. Raises from the error tree by HTTP status."""
        return self(_ALERTS).send(request)

    def close(self) -> None:
        """Close every client."""
        with self._lock:
            for _, client in self._all.values():
                client.close()
            self._all.clear()
