"""What the YAML describes of an API: its calls with their places for numbers and secrets, tokens, times and webhooks.

`generic` carriers and platforms are made of it. Nothing is guessed: a placeholder that nobody fills, a path that finds nothing in
the sample it names and a sample that is not read whole are problems of the configuration, each with its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, WebhookRejected
from tracker.domain.facts import Payload, Unread
from tracker.domain.vocabulary import Precision, Trust, Zone
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.contracts import Remark, Reply, Secrets
from tracker.plugin.oauth import Tokens
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import decode, kind, moment, optional, printed, text, word
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
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # the name of a header (RFC 9110 5.6.2)
MOST_CHALLENGE = 500  # characters
MOST_TIME = 64  # characters of a printed time
_NEVER = (None, None, Zone.UNKNOWN, Precision.SECOND)
_strptime = datetime.strptime  # without an offset what is printed stays naive, and is marked


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _time_format(value: Any) -> Any:
    if isinstance(value, str) and value not in ("iso", "unix", "unix_ms"):
        if "%" not in value:
            raise ValueError("must be iso, unix, unix_ms or a pattern such as %d.%m.%Y %H:%M (of strptime)")
        try:
            _strptime(datetime(2026, 11, 2, 12, 30, tzinfo=UTC).strftime(value), value)
        except ValueError as error:
            raise ValueError(f"is no pattern of strptime: {error}") from None
    return value


def _zone(value: Any) -> Any:
    if isinstance(value, str) and value not in available_timezones():
        raise ValueError(f"there is no time zone {value[:40]!r}: an IANA name such as Europe/Oslo")
    return value


Samples = Annotated[
    tuple[str, ...], BeforeValidator(_words, json_schema_input_type=str | list[str]), Field(min_length=1)
]
TimeFormat = Annotated[str, BeforeValidator(_time_format)]
ZoneName = Annotated[str, BeforeValidator(_zone)]


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
            if not _TOKEN.fullmatch(name):
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
    zone: ZoneName = Field("UTC", description="Where times are read that say none; they are marked all the same.")
    webhook_secrets: Secrets = ()
    not_found: Path | None = Field(None, description="Where an answer says that it knows nothing, with 200.")
    error: Path | None = Field(None, description="Where an answer says that it is none, with 200.")


class Caller:
    """Sends the calls of a description."""

    def __init__(self, settings: Described) -> None:
        """Keep the description; secrets are read when a call is made."""
        self._settings = settings
        self._tokens = Tokens(self._log_in)

    def send(self, client: Client, call: Call, values: Mapping[str, Any], *, idempotent: bool = True) -> Response:
        """Send a call with its values. Raises what the client raises, Refused where a value can be no part of an address."""
        settings = self._settings
        known = {**self._secrets(), **values}
        headers = {**settings.headers, **call.headers}
        plain = {name: filled(value, known) for name, value in headers.items() if "{token}" not in value}
        request = replace_basic(self._request(call, known, settings.query, plain, idempotent), settings.basic, known)
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
    ) -> Request:
        path = _PLACE.sub(lambda place: segment(str(known[place[1]])), call.path)
        params = {name: filled(value, known) for name, value in {**query, **call.query}.items()}
        content = None
        if call.form:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
            content = form({name: filled(value, known) for name, value in call.form.items()})
        elif call.body is not None:
            headers = {"Content-Type": "application/json", **headers}
            content = json.dumps(filled_body(call.body, known), separators=(",", ":")).encode()
        return Request(
            call.method, f"{self._settings.base_url.rstrip('/')}{path}",
            params={name: value for name, value in params.items() if value}, headers={"Accept": "application/json", **headers},
            content=content, idempotent=idempotent,
        )  # fmt: skip

    def _log_in(self, client: Client) -> Token:
        login, known = self._settings.login, self._secrets()
        assert login is not None
        headers = {name: filled(value, known) for name, value in login.headers.items()}
        request = replace_basic(self._request(login, known, {}, headers, True), login.basic, known)
        try:
            response = client.send(request)
        except Refused as error:
            raise CredentialsRejected(f"the login: {error}") from None
        value, lives = read_login(login, decode(response.body), Reading())
        return Token(value, client.now() + lives if lives is not None else None)


def replace_basic(request: Request, basic: Basic | None, known: Mapping[str, Any]) -> Request:
    """Return a request with HTTP Basic, where it is wanted."""
    if basic is None:
        return request
    user, password = filled(basic.user, known), filled(basic.password, known)
    return Request(
        request.method, request.url, request.params, request.headers, request.content, (user, password), request.idempotent
    )  # fmt: skip


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


def key_of(key: str) -> str:
    """Return what makes a write the same write in a header or body: digits and letters only."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]


# times


def time_of(value: Any, where: str, form_: str) -> datetime:
    """Read a time as it is printed: `iso`, `unix`, `unix_ms`, or a pattern of strptime. Raises BadPayload."""
    if form_ == "iso":
        return moment(value, where)
    try:
        if form_.startswith("unix"):
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float | str)
                or (isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 16))
            ):
                raise ValueError
            at = datetime.fromtimestamp(float(value) / (1000 if form_ == "unix_ms" else 1), UTC)
        else:
            if not isinstance(value, str) or not value.isascii() or len(value) > MOST_TIME:
                raise ValueError
            at = _strptime(value.strip(), form_)
    except (ValueError, OverflowError, OSError):
        shown = repr(value[:40]) if isinstance(value, str) else kind(value)
        raise BadPayload(where, f"is no time of the format {form_}: {shown}") from None
    if not 1 < at.year < 9999:
        raise BadPayload(where, "is no year that can be")
    return at


def printed_as(
    form_: str, value: Any, where: str, unread: list[Unread]
) -> tuple[datetime | None, datetime | None, Zone, Precision]:
    """Return a moment as a scan holds it, as `printed` does, of the format that the description says."""
    if form_ == "iso":
        return printed(value, where, unread)
    at = optional(partial(time_of, form_=form_), value, where, unread)
    if at is None:
        return _NEVER
    if at.tzinfo is None:
        return at, None, Zone.UNKNOWN, Precision.SECOND if "%H" in form_ or "%I" in form_ else Precision.DATE
    return at.replace(tzinfo=None), at, Zone.OFFSET, Precision.SECOND


# what the configuration is told


def unfilled(where: tuple[str | int, ...], template: Any, known: Iterable[str]) -> Iterator[Remark]:
    """Tell of placeholders that nobody fills."""
    allowed = sorted(known)
    for place in dict.fromkeys(places(template)):
        if place not in allowed:
            yield Remark(where, f"nothing is called {{{place}}} here: {', '.join(allowed) or 'nothing is given'}")


def calls_are_filled(
    settings: Described, calls: Mapping[tuple[str, ...], tuple[Call, Iterable[str]]]
) -> Iterator[Remark]:
    """Tell of every placeholder of a description that nobody fills. `calls`: by place, each with what it is given."""
    secrets = set(settings.secrets)
    with_token = secrets | ({"token"} if settings.login is not None else set())
    for place in ("headers", "query", "basic"):
        value = getattr(settings, place)
        for name, template in (value.model_dump() if isinstance(value, BaseModel) else value or {}).items():
            yield from unfilled((place, name), template, with_token if place == "headers" else secrets)
    if settings.login is not None:
        calls = {**calls, ("login",): (settings.login, ())}
        all_headers = [settings.headers, *(call.headers for call, _ in calls.values())]
        if not any("token" in places(headers) for headers in all_headers):
            yield Remark(("login",), "nothing uses its {token}: a header should, such as Authorization: Bearer {token}")
    for where, (call, given) in calls.items():
        mine = set(given)
        yield from unfilled((*where, "path"), call.path, mine)
        for part, allowed in (
            ("query", secrets | mine),
            ("headers", with_token | (mine & {"key"})),
            ("form", secrets | mine),
        ):
            for name, template in getattr(call, part).items():
                yield from unfilled(
                    (*where, part, name), template, allowed - {"token"} if where == ("login",) else allowed
                )
        yield from unfilled((*where, "body"), call.body, secrets | mine)
        if call.form and call.body is not None:
            yield Remark((*where, "form"), "a call has a form or a body, not both")


def paths_of(part: BaseModel, where: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Path]]:
    """Yield each path of a part of a description, with its place."""
    for name in part.model_fields_set:
        value = getattr(part, name)
        if isinstance(value, Path):
            yield (*where, name), value
        elif isinstance(value, BaseModel):
            yield from paths_of(value, (*where, name))


def unmatched(
    part: BaseModel, where: tuple[str | int, ...], files: Iterable[str], reading: Reading
) -> Iterator[Remark]:
    """Tell of paths that found nothing in any of the samples."""
    for place, path in paths_of(part, where):
        if id(path) not in reading.found:
            yield Remark(place, f"finds nothing in the sample {', '.join(files)}")


def sampled(
    where: tuple[str | int, ...],
    files: Iterable[str],
    read: Callable[[str], bytes],
    use: Callable[[bytes], Iterable[Unread]],
) -> Iterator[Remark]:
    """Read samples with `use`, and tell what cannot be read of them."""
    for file in files:
        try:
            for one in use(read(file)):
                yield Remark((*where, "sample"), f"{file}: {one.where}: {one.problem}")
        except OSError as error:
            yield Remark((*where, "sample"), f"{file}: {error}")
        except BadPayload as error:
            yield Remark((*where, "sample"), f"{file}: {error.where}: {error.problem}")


def login_of_samples(settings: Described, read: Callable[[str], bytes]) -> Iterator[Remark]:
    """Read the samples of the login, where there is one."""
    login = settings.login
    if login is None:
        return
    reading = Reading()

    def use(body: bytes) -> Iterable[Unread]:
        read_login(login, decode(body), reading)
        return ()

    yield from sampled(("login",), login.sample, read, use)
    yield from unmatched(login, ("login",), login.sample, reading)


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
