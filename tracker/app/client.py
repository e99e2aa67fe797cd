"""The one way out: connections that one thread uses at a time, a total deadline, size caps and an address guard.

A fact behind it, measured: a 291 kB gzip answer became 300 MB. So: the deadline is enforced inside every step of a socket
(`app.connections`), answers are asked for uncompressed and read raw up to a cap, redirects are not followed, and the address is
checked where it is connected to (a second name resolution could answer differently).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import httpx
import tenacity

from tracker.app.connections import DEADLINE, KEEP_IDLE, UNSENDABLE, Connections, of_our_tree
from tracker.app.spool import spooled
from tracker.config.model import Account, Root
from tracker.domain.errors import (
    BadPayload,
    BudgetSpent,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Resting,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.pipeline.places import GaveWay, here
from tracker.pipeline.tokens import AccessTokens, DatabaseVault, TokenRows
from tracker.plugin.calls import Request, Response, Token, Vault
from tracker.plugin.contracts import Platform
from tracker.store.engine import Store
from tracker.store.seal import Seal

MOST_BYTES = 5 << 20
GLANCE = 2 << 10  # bytes of an answer to something told that are read
TRIES = 3
RETRIED_STATUSES = (502, 503, 504)


class _Asking(threading.local):
    """Until when this thread asks for an access token (monotonic seconds), whatever its calls may take; inf: it asks for none."""

    until: float = float("inf")


_ASKING = _Asking()


class NoVault:
    """For accounts without rotating tokens."""

    def load(self) -> str | None:
        """Nothing was ever stored."""
        return None

    def store(self, value: str) -> None:
        """Refuse: there is nowhere to keep it."""
        raise Refused("no vault_key is configured: a rotating token cannot be kept")


class AccountClient:
    """The client of one account, for all threads: each call has a connection to itself, out of those of the process."""

    def __init__(
        self,
        account: Account,
        vault: Vault,
        *,
        connections: Connections,
        timeout: float,
        now: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
        charge: Callable[[str], None] | None = None,
        tokens: AccessTokens | None = None,
        heard: Callable[[Account, Mapping[str, str]], None] | None = None,
        called: Callable[[str, str, str, float], None] | None = None,
    ) -> None:
        """`timeout` is the total time of a call in seconds, tries included; rests are told by `elapsed`.

        `charge` takes each request from the account's budget before it is sent, or raises BudgetSpent. `tokens` are those of
        the process. `heard` is told the headers of each answer, `called` of each call: account, operation, result and seconds.
        """
        self.vault = vault
        self._tokens = tokens or AccessTokens()
        self._account, self._connections, self._timeout = account, connections, timeout
        self._now, self._elapsed, self._charge = now, elapsed, charge
        self._rest_until, self._heard, self._called = 0.0, heard, called

    def now(self) -> datetime:
        """Return the wall time."""
        return self._now()

    def token(self, ask: Callable[[], Token], refused: str | None = None) -> str:
        """Return the account's access token, one for all threads and processes (`pipeline.tokens`). Raises what `ask` raises."""

        def within(until: float) -> Token:
            _ASKING.until = until
            try:
                return ask()
            finally:
                _ASKING.until = float("inf")

        return self._tokens.token(self._account, within, refused, now=self._now, patience=self._timeout)

    def send(self, request: Request) -> Response:
        """Send one request, again (3 tries) on connection errors and 502-504 where it is idempotent, within the deadline.

        Raises what the plugin's `raise_for_status` raises; BudgetSpent where its budget gives no call; Transient when the wire fails; Unavailable for a page where data was asked
        for; Refused for a URL we may not call and for a request that cannot be written. Nothing else: a number or a setting
        that makes an odd URL or header must not end a round.
        """
        origin, host = self._may_call(request.url)
        if self._called is None:
            return self._answered(request, origin, host)
        began, result = time.monotonic(), "defect"
        try:
            response = self._answered(request, origin, host)
            result = "ok"
            return response
        except SourceError as error:
            result = _result(error)
            raise
        finally:
            if result != "budget_spent":  # nobody was called
                self._called(self._account.name, _operation(), result, time.monotonic() - began)

    def _answered(self, request: Request, origin: str, host: str) -> Response:
        """Send a request and have its plugin look at the answer."""
        response = self._ask(request, origin, host)
        if 300 <= response.status < 400:
            raise Refused(f"{host} answers with a redirect (HTTP {response.status}); redirects are not followed")
        if (pause := self._account.source.throttle_delay(response)) is not None:
            # other threads ask too: the longest rest holds, as in the account's row
            self._rest_until = max(self._rest_until, self._elapsed() + pause.total_seconds())
        if self._heard is not None:
            self._heard(self._account, response.headers)
        self._account.source.raise_for_status(response)
        return response

    def stream(self, url: str, size: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Fetch a large result by GET into a file without a name, line by line; see `tracker.plugin.calls.Client`.

        Raises Refused for a host that the plugin does not declare; what `tracker.app.spool` raises.
        """
        origin, host = self._may_call(url)
        hosts = self._account.source.stream_hosts
        if host not in hosts or "@" in origin or (origin.count(":") > 1 and host not in self._connections.allow):
            raise Refused(f"{host}: results come from {', '.join(hosts) or 'no host'} only")
        if self._charge is not None:
            self._charge(self._account.name)
        return spooled(self._connections, origin, host, url, size)

    def _may_call(self, url: str) -> tuple[str, str]:
        """Return the origin of an address and its host, as it may be stored and shown. Raises Resting where the account rests."""
        rest = self._rest_until - self._elapsed()
        if rest > 0:
            raise Resting("the account rests, as its last answer asked for", timedelta(seconds=rest))
        try:
            parts = urlsplit(url)
        except ValueError:
            raise Refused("the call cannot be made: its address is no URL") from None
        host = ascii(parts.hostname or "no host")[1:-1]
        if parts.scheme != "https" and parts.hostname not in self._connections.allow:
            raise Refused(f"{host}: only https, unless the host is named under network.allow")
        return f"{parts.scheme}://{parts.netloc}", host

    def _ask(self, request: Request, origin: str, host: str) -> Response:
        """Send a request on a connection to its origin, and again as long as it may pass."""
        DEADLINE.at = min(time.monotonic() + self._timeout, _ASKING.until)
        if (place := here()) is not None:
            place.asks(origin)
            DEADLINE.place = place if request.idempotent else None  # nobody knows what became of half a write
        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(TRIES if request.idempotent else 1),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )
        http, whole = None, False
        try:
            with of_our_tree(host):
                http = self._connections.take(origin)
                response, whole = tries(self._once, http, request), True
                return response
        except _TryAgain as again:
            whole = True
            return again.response
        finally:
            DEADLINE.at, DEADLINE.place = float("inf"), None
            if place is not None:
                place.heard()
            if http is not None:
                self._connections.give_back(origin, http, keep=whole)

    def _once(self, http: httpx.Client, request: Request) -> Response:
        if time.monotonic() >= DEADLINE.at:
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
        if self._charge is not None and (self._account.tokens == "counted" or _ASKING.until == float("inf")):
            self._charge(self._account.name)
        raw = http.send(built, stream=True, auth=auth)
        if self._account is _TOLD:
            return _glanced(raw, self._now())
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


# What a call was for; a closed set, as it is a label.
OPERATIONS = (
    "poll",
    "register",
    "read",
    "sweep",
    "hooks",
    "resend",
    "proof",
    "keys",
    "push",
    "tell",
    "token",
    "other",
)
# What came of it: the first kind of error that fits.
RESULTS: dict[type[SourceError], str] = {
    GaveWay: "gave_way", BudgetSpent: "budget_spent", RateLimited: "rate_limited", Unavailable: "unavailable", Transient: "transient",
    CredentialsRejected: "credentials_rejected", NotFound: "not_found", BadPayload: "bad_payload", Refused: "refused",
}  # fmt: skip


def _operation() -> str:
    """Say what this thread calls for."""
    if _ASKING.until != float("inf"):
        return "token"
    place = here()
    return place.what if place is not None else "other"


def _result(error: SourceError) -> str:
    return next((word for kind, word in RESULTS.items() if isinstance(error, kind)), "other")


def _may_pass(error: BaseException) -> bool:
    """Tell what a second try may mend."""
    return isinstance(error, httpx.TransportError | _TryAgain) and not isinstance(error, UNSENDABLE)


class _TryAgain(SourceError):
    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response


def _glanced(raw: httpx.Response, now: datetime) -> Response:
    """Return what answers to something told: its status counts, and of its body, whatever it is, only how it begins is read."""
    body = bytearray()
    try:
        for chunk in raw.iter_raw(GLANCE):
            body += chunk
            if len(body) >= GLANCE:
                break
    except httpx.TransportError:
        """It said its status, and that is what was asked."""
    finally:
        raw.close()
    return Response(
        raw.status_code, {name.lower(): value for name, value in raw.headers.items()}, bytes(body[:GLANCE]), now
    )


class _Plain:
    """Leaves it to the caller what an answer means, and lets nobody rest."""

    def raise_for_status(self, _response: Response) -> None:
        return None

    def throttle_delay(self, _response: Response) -> None:
        return None


_TOLD = Account("told", "told", cast(Platform, _Plain()))


class Clients:
    """Hands out the client of each account; their connections are shared."""

    def __init__(
        self,
        *,
        allow: Iterable[str],
        timeout: float,
        now: Callable[[], datetime],
        vault: Callable[[str], Vault],
        elapsed: Callable[[], float] = time.monotonic,
        charge: Callable[[str], None] | None = None,
        tokens: AccessTokens | None = None,
        heard: Callable[[Account, Mapping[str, str]], None] | None = None,
        called: Callable[[str, str, str, float], None] | None = None,
    ) -> None:
        """Keep how to make them; `tokens`: of all accounts. `charge` takes a request of an account from its budget. `elapsed`: seconds that only grow, where days pass in seconds (plays)."""
        self.connections = Connections(allow)
        self._timeout, self._now, self._vault = timeout, now, vault
        self._elapsed, self._charge, self._tokens = elapsed, charge, tokens or AccessTokens()
        self._heard, self._called = heard, called
        self._all: dict[str, tuple[Account, AccountClient]] = {}
        self._lock = threading.Lock()

    def __call__(self, account: Account) -> AccountClient:
        """Return the client of an account; changed settings get a new one."""
        with self._lock:
            known = self._all.get(account.name)
            if known is not None and known[0] is account:
                return known[1]
            client = AccountClient(
                account,
                self._vault(account.name),
                connections=self.connections,
                timeout=self._timeout,
                now=self._now,
                elapsed=self._elapsed,
                charge=self._charge if account is not _TOLD else None,
                tokens=self._tokens,
                heard=self._heard if account is not _TOLD else None,
                called=self._called,
            )
            self._all[account.name] = account, client
            return client

    def post(self, request: Request) -> Response:
        """Send a request that belongs to no account: something told. Returns the answer, whatever its status.

        Raises Transient where none comes, Refused for a redirect and for an address that must not be called.
        """
        return self(_TOLD).send(request)

    def tidy(self) -> None:
        """Close the connections that nobody used for KEEP_IDLE seconds."""
        self.connections.drop_idle(time.monotonic() - KEEP_IDLE)

    def close(self) -> None:
        """Close every connection."""
        self.connections.close()


def kept_tokens(
    store: Store, root: Root, *, unreadable: Callable[[str], object], alone: bool = False
) -> tuple[Callable[[str], Vault], AccessTokens]:
    """Return what keeps the tokens of accounts: rotating ones, and the access tokens, both in the database where there is a `vault_key`.

    `unreadable` is told, once an account, that another key wrote its tokens. `alone`: this is a command, for which the database need
    not be there.
    """
    if not root.vault_key:
        return (lambda _account: NoVault()), AccessTokens()
    seal, told = Seal(*(key.get_secret_value() for key in root.vault_key)), set[str]()

    def tell(account: str) -> None:
        if account not in told:
            told.add(account)
            unreadable(account)

    rows = TokenRows(store, seal, tell)
    return (lambda account: DatabaseVault(store, account, seal, tell)), AccessTokens(rows, alone=alone)
