"""What the YAML describes of an API: its calls with their places for numbers and secrets, tokens, times and webhooks.

`generic` carriers and platforms are made of it. Nothing is guessed: a placeholder that nobody fills, a path that finds nothing in
the sample it names and a sample that is not read whole are problems of the configuration, each with its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    Refused,
    Transient,
    Unavailable,
    WebhookRejected,
)
from tracker.domain.facts import Payload, Unread
from tracker.domain.vocabulary import Trust
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.contracts import Reply, Secrets, Source
from tracker.plugin.oauth import Tokens
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import decode, text, word
from tracker.plugin.signatures import (
    hmac_base64,
    hmac_hex,
    shared_secret,
    signed_time,
    standard_webhooks,
    whsec_key,
    within,
)

_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # the name of a header (RFC 9110 5.6.2)
LASTS = timedelta(hours=1)  # a token, mostly: only told, by `tracker check` without a vault_key
MOST_CHALLENGE = 500  # characters


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Samples = Annotated[
    tuple[str, ...], BeforeValidator(_words, json_schema_input_type=str | list[str]), Field(min_length=1)
]


GIVEN = frozenset(
    {
        "number",
        "numbers",
        "ref",
        "since",
        "page",
        "word",
        "before",
        "fulfilment",
        "text",
        "once",
        "happened_at",
        "token",
    }
)  # what calls are given; no secret may be called so


class Part(BaseModel):
    """A part of a description."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)


class Call(Part):
    """A call: `{name}` stands for a number, a ref, a secret or whatever else this call is given."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(pattern="^/", description="Below base_url; what stands in it is one encoded segment.")
    query: Mapping[str, str] = Field({}, description="Beside those of all calls.")
    headers: Mapping[str, str] = Field({}, description="Beside those of all calls.")
    body: Any = Field(None, description="Sent as JSON.")
    form: Mapping[str, str] = Field({}, description="Sent as a form, instead of a body.")

    def says(self, place: str) -> bool:
        """Say whether a placeholder stands in it."""
        return place in set(places([self.path, self.query, self.headers, self.body, self.form]))


class Basic(Part):
    """HTTP Basic."""

    user: str
    password: str = ""


class Login(Call):
    """A call that hands out a token: OAuth client credentials, or a login whose answer holds one."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    basic: Basic | None = None
    sample: Samples = Field(description="Its documented answer, a file beside the YAML.")
    token: Path = Path("access_token")
    lives: Path | None = Field(Path("expires_in"), description="Seconds; null: until it is refused.")


class Hook(Part):
    """How webhooks prove who sent them, and what identifies one."""

    scheme: Literal["hmac_hex", "hmac_base64", "header", "standard"] = Field(
        description="HMAC-SHA256 in a header; a header that holds the secret itself; or Standard Webhooks."
    )
    header: str | None = Field(None, description="Its name; not for standard.")
    prefix: str = Field("", description="What stands before the signature or the secret, such as sha256=.")
    timestamp: str | None = Field(None, description="The header of a time; signed is <time>.<body> then.")
    id: Path | None = Field(None, description="The event's id, which stays over retries, in the body.")
    id_header: str | None = Field(None, description="Or the header in which it stands.")
    when: Path | None = Field(None, description="Only what has something here concerns us.")
    challenge: str | None = Field(None, description="The parameter of a GET whose value the sender wants back.")
    sample: Samples = Field(description="Documented webhooks, files beside the YAML.")

    @model_validator(mode="after")
    def _fits(self) -> Hook:
        if (self.scheme == "standard") is (self.header is not None):
            raise ValueError("scheme standard has its own headers" if self.header else "header: is missing")
        if self.timestamp is not None and not self.scheme.startswith("hmac"):
            raise ValueError("timestamp: is only of hmac_hex and hmac_base64")
        for name in filter(None, (self.header, self.timestamp, self.id_header)):
            if not HEADER.fullmatch(name):
                raise ValueError(f"{name[:40]!r} is no name of a header")
        return self

    @property
    def trust(self) -> Trust:
        """Say what its proof is worth."""
        return Trust.SHARED if self.scheme == "header" else Trust.SIGNED

    def verify(self, secrets: Secrets, payload: Payload) -> int:
        """Raise WebhookRejected unless the raw bytes prove who sent them; return which secret did."""
        if self.scheme == "standard":
            return standard_webhooks([whsec_key(secret) for secret in secrets], payload)
        assert self.header is not None
        name = self.header.lower()
        given = payload.headers.get(name)
        if self.scheme == "header":
            return shared_secret(secrets, given, name=name, prefix=self.prefix)
        signed = payload.body
        if self.timestamp is not None:
            stamp = payload.headers.get(self.timestamp.lower())
            within(signed_time(stamp, name=self.timestamp.lower()), payload.received_at)
            signed = f"{stamp}.".encode() + signed
        if self.scheme == "hmac_hex":
            return hmac_hex(secrets, signed, given, name=name, prefix=self.prefix)
        if not (given or "").startswith(self.prefix):
            raise WebhookRejected(f"header {name} does not match")
        return hmac_base64(secrets, signed, (given or "").removeprefix(self.prefix), name=name)

    def other(self, body: dict[str, Any], reading: Reading, unread: list[Unread]) -> Unread | None:
        """Say so where a webhook is of another kind. Raises BadPayload where its kind cannot be read: it may be one of ours."""
        odd: list[Unread] = []
        reading.one(self.id, body, unread)
        if self.when is None or reading.holds(self.when, body, odd):
            unread.extend(odd)
            return None
        if odd:
            raise BadPayload(odd[0].where, odd[0].problem)
        if not self.when.names & body.keys():
            raise BadPayload(self.when.where, "is missing")
        return Unread(self.when.where, "a webhook of another kind", lacks="nothing")

    def handshake(self, payload: Payload) -> Reply | None:
        """Give a challenge back, where the sender asks for that."""
        value = payload.query.get(self.challenge) if self.challenge is not None and not payload.body else None
        if not value or len(value) > MOST_CHALLENGE or not (value.isascii() and value.isprintable()):
            return None
        return Reply(value.encode())

    def identity(self, payload: Payload) -> str | None:
        """Return the event's id; None where there is none."""
        if self.id_header is not None:
            return text(payload.headers.get(self.id_header.lower())) or None
        try:
            return word(Reading().one(self.id, decode(payload.body), []), "$") if self.id is not None else None
        except BadPayload:
            return None


class Described(Part):
    """What a described account of either kind has: where it is asked, and how it lets us in."""

    base_url: str
    secrets: Mapping[str, SecretStr] = Field(
        {}, description="By name, for {name} in headers, query, body, form and basic."
    )
    headers: Mapping[str, str] = Field({}, description="Of every call; {token} is what `login` got.")
    query: Mapping[str, str] = Field({}, description="Of every call.")
    basic: Basic | None = None
    login: Login | None = None
    webhook_secrets: Secrets = ()
    not_found: Path | None = Field(None, description="Where an answer says that it knows nothing, with 200.")
    error: Path | None = Field(None, description="Where an answer says that it is none, with 200.")

    @model_validator(mode="after")
    def _own_names(self) -> Described:
        if taken := sorted(GIVEN & self.secrets.keys()):
            raise ValueError(f"secrets: {', '.join(taken)} stands for something else in a call: choose another name")
        if odd := [name for name in self.secrets if not _NAME.fullmatch(name)]:
            raise ValueError(f"secrets: {odd[0][:40]!r} is no name: lower-case letters, digits and _")
        return self


class Caller:
    """Sends the calls of a description."""

    def __init__(self, settings: Described) -> None:
        """Keep the description; secrets are read when a call is made."""
        self._settings = settings
        self._tokens = Tokens(self._log_in)

    def send(
        self,
        client: Client,
        call: Call,
        values: Mapping[str, Any],
        *,
        idempotent: bool = True,
        in_body: Mapping[str, Any] | None = None,
    ) -> Response:
        """Send a call with its values (`in_body`: those that are others in a body).

        Raises what the client raises, Refused where a value can be no part of an address.
        """
        return self._send(client, call, values, idempotent, in_body or {}, "")

    def send_to(self, client: Client, call: Call, url: str) -> Response:
        """Send a call to another address of the same host, a page's own, without its query."""
        return self._send(client, call, {}, True, {}, url)

    def _send(
        self,
        client: Client,
        call: Call,
        values: Mapping[str, Any],
        idempotent: bool,
        in_body: Mapping[str, Any],
        url: str,
    ) -> Response:
        settings = self._settings
        known = {**self._secrets(), **values}
        headers = {**settings.headers, **call.headers}
        plain = {name: filled(value, known) for name, value in headers.items() if "{token}" not in value}
        made = self._request(call, known, settings.query, plain, idempotent, in_body)
        made = replace(made, url=url, params={}) if url else made
        request = replace_basic(made, settings.basic, known)
        if settings.login is None:
            return client.send(request)

        def bearing(token: str) -> Mapping[str, str]:
            return {
                name: filled(value, {**known, "token": token}) for name, value in headers.items() if "{token}" in value
            }

        return self._tokens.send(client, request, bearing)

    def _secrets(self) -> dict[str, str]:
        return {name: secret.get_secret_value() for name, secret in self._settings.secrets.items()}

    def _request(
        self,
        call: Call,
        known: Mapping[str, Any],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        idempotent: bool,
        in_body: Mapping[str, Any],
    ) -> Request:
        path = _PLACE.sub(lambda place: segment(str(known[place[1]])), call.path)
        params = {name: filled(value, known) for name, value in {**query, **call.query}.items()}
        content = None
        if call.form:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
            content = form({name: filled(value, known) for name, value in call.form.items()})
        elif call.body is not None:
            headers = {"Content-Type": "application/json", **headers}
            content = json.dumps(filled_body(call.body, {**known, **in_body}), separators=(",", ":")).encode()
        return Request(
            call.method, f"{self._settings.base_url.rstrip('/')}{path}",
            params={name: value for name, value in params.items() if value}, headers={"Accept": "application/json", **headers},
            content=content, idempotent=idempotent,
        )  # fmt: skip

    def _log_in(self, client: Client) -> Token:
        login, known = self._settings.login, self._secrets()
        assert login is not None
        headers = {name: filled(value, known) for name, value in login.headers.items()}
        request = replace_basic(self._request(login, known, {}, headers, True, {}), login.basic, known)
        try:
            response = client.send(request)
        except NotFound as error:  # nothing was asked about a number
            raise Unavailable(f"the login: {error}: nothing answers at this address") from None
        except Refused as error:
            raise CredentialsRejected(f"the login: {error}") from None
        value, lives = read_login(login, decode(response.body), Reading())
        return Token(value, client.now() + lives if lives is not None else None)


def replace_basic(request: Request, basic: Basic | None, known: Mapping[str, Any]) -> Request:
    """Return a request with HTTP Basic, where it is wanted."""
    if basic is None:
        return request
    user, password = filled(basic.user, known), filled(basic.password, known)
    return replace(request, basic=(user, password))


def read_login(login: Login, body: dict[str, Any], reading: Reading) -> tuple[str, timedelta | None]:
    """Read the answer to a login: its token, and how long that lives. Raises BadPayload with the path."""
    unread: list[Unread] = []
    token = reading.one(login.token, body, unread)
    if not isinstance(token, str) or not token:
        raise BadPayload(login.token.where, "must be a token, which is a text")
    seconds = reading.one(login.lives, body, unread)
    if seconds is None:
        return token, None
    try:
        if isinstance(seconds, bool):
            raise ValueError
        return token, timedelta(seconds=int(seconds))
    except (TypeError, ValueError, OverflowError):
        raise BadPayload(login.lives.where if login.lives else "$", "must be seconds") from None


def form(values: Mapping[str, str]) -> bytes:
    """Encode a form (application/x-www-form-urlencoded)."""
    from urllib.parse import urlencode

    return urlencode(values, errors="replace").encode()


def filled(template: str, values: Mapping[str, Any]) -> str:
    """Return a template with its values. What is not there is empty."""

    def value(place: re.Match[str]) -> str:
        found = values.get(place[1])
        return ",".join(found) if isinstance(found, tuple) else "" if found is None else str(found)

    return _PLACE.sub(value, template)


def filled_body(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a body with its values: a text that is one placeholder becomes the value itself, a list where it is several.

    A list of one element that holds `{number}` is one of all numbers, where a call asks about several.
    """
    if isinstance(template, dict):
        return {name: filled_body(inner, values) for name, inner in template.items()}
    if isinstance(template, list):
        if len(template) == 1 and "numbers" in values and "number" in set(places(template[0])):
            return [filled_body(template[0], {**values, "number": number}) for number in values["numbers"]]
        return [filled_body(inner, values) for inner in template]
    if not isinstance(template, str):
        return template
    alone = _PLACE.fullmatch(template)
    found = values.get(alone[1]) if alone is not None else None
    return list(found) if isinstance(found, tuple) else filled(template, values)


def places(template: Any) -> Iterator[str]:
    """Yield the placeholders of a template of any shape."""
    if isinstance(template, str):
        yield from _PLACE.findall(template)
    elif isinstance(template, Mapping):
        for inner in template.values():
            yield from places(inner)
    elif isinstance(template, list | tuple):
        for inner in template:
            yield from places(inner)


def once(key: str) -> str:
    """Return what makes a write the same write in a header or body: digits and letters only."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]


def judge(settings: Described, body: bytes, reading: Reading, *, one: bool) -> None:
    """Raise what a description says that an answer means: NotFound (where it is about `one`), Transient for an error.

    A body that cannot be read is passed: it is stored, and told by the parser.
    """
    if settings.not_found is None and settings.error is None:
        return
    try:
        answer = decode(body)
    except BadPayload:
        return
    unread: list[Unread] = []
    if one and reading.holds(settings.not_found, answer, unread):
        raise NotFound("the answer says that it is not known")
    said = reading.one(settings.error, answer, unread)
    if said not in (None, False, "", [], {}):
        first = said[0] if isinstance(said, list) else said
        shown = first if isinstance(first, str) else json.dumps(first, default=str)
        raise Transient(f"HTTP 200 with an error: {shown[:200]}")


class DescribedSource(Source):
    """What a carrier and a platform share whose API its settings describe: `login` and `webhook` among them."""

    webhooks = True

    def __init__(self, account: str, settings: Any) -> None:
        """Bind a description."""
        super().__init__(account, settings)
        self._caller = Caller(settings)
        self.webhooks = settings.webhook is not None
        if settings.webhook is not None:
            self.trust = settings.webhook.trust
        self.token_lasts = LASTS if settings.login is not None else None

    def webhooks_need(self) -> str:
        """Name what must be set before a webhook is taken."""
        return super().webhooks_need() if self.settings.webhook is not None else "webhook"

    def verify(self, payload: Payload) -> int:
        """Check the proof that the description names."""
        hook: Hook | None = self.settings.webhook
        return hook.verify(self.settings.webhook_secrets, payload) if hook is not None else super().verify(payload)

    def handshake(self, payload: Payload) -> Reply | None:
        """Answer a challenge, where the description says that one comes."""
        hook: Hook | None = self.settings.webhook
        return hook.handshake(payload) if hook is not None else None

    def dedupe_key(self, payload: Payload) -> str:
        """Use the event's id, where the description says where it stands."""
        hook: Hook | None = self.settings.webhook
        return (hook.identity(payload) if hook is not None else None) or super().dedupe_key(payload)
