"""Whom we tell: endpoints of other programs (outgoing webhooks), and the people to whom findings go."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from tracker.config.presets import Duration, Words
from tracker.config.yamlfile import Path_
from tracker.domain.vocabulary import FindingKind, Severity

Event = Literal[
    "shipment.status_changed",
    "order.drift_opened",
    "order.drift_closed",
    "order.written",
    "finding.opened",
    "finding.closed",
    "notice",
]
EVENTS: tuple[Event, ...] = get_args(Event)
OF_FINDINGS: tuple[Event, ...] = ("finding.opened", "finding.closed")
PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64  # bytes of a secret, as Standard Webhooks has them
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
ALERT_URL = "alert_url"  # what `notices.alert_url` is called as a target
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Secrets_ = Annotated[
    tuple[SecretStr, ...], BeforeValidator(_one_or_more, json_schema_input_type=SecretStr | list[SecretStr])
]


class EndpointPart(_Part):
    """An address of another program that is told what happens, as Standard Webhooks has it (https://www.standardwebhooks.com)."""

    url: str = Field(
        description="https://...; plain http and private addresses only where network.allow names the host."
    )
    secrets: Secrets_ = Field(
        min_length=1, max_length=5, description="whsec_...: each signs, so that one can be replaced: the new one first."
    )
    events: tuple[Event, ...] = Field(EVENTS, min_length=1, description="What it is told; all of it by default.")
    stores: Words = Field((), description="Only of these stores; all by default.")
    carriers: Words = Field((), description="Only of parcels of these carriers; all by default.")
    details: bool = Field(
        False, description="Also what carriers and shops wrote themselves, and places: it can name a person."
    )

    @field_validator("secrets")
    @classmethod
    def _are_secrets(cls, values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        """Refuse what does not sign."""
        for value in values:
            key(value)
        return values


class DigestPart(_Part):
    """When what is not urgent is told, together: at a time of each day, or so often."""

    at: str | None = Field(None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="Such as 08:00, each day.")
    zone: str = Field("UTC", description="Of that time, such as Europe/Berlin.")
    every: Duration | None = Field(None, ge=timedelta(minutes=10), le=timedelta(days=7))

    @model_validator(mode="after")
    def _says_when(self) -> DigestPart:
        """Refuse no time, two, and a zone that is none."""
        if (self.at is None) == (self.every is None):
            raise ValueError("needs at or every, one of the two")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"zone: {self.zone[:60]!r} is none, such as Europe/Berlin") from None
        return self


class TargetPart(_Part):
    """Somebody who is told of findings: urgent ones at once, the others at once or as a digest."""

    form: Literal["slack", "pagerduty", "json", "mail"] = Field(
        description="An incoming webhook as Slack has them, PagerDuty's Events API v2, JSON of our own, or mail."
    )
    url: SecretStr | None = Field(None, description="Of slack and json; who knows it can post, so it is a secret.")
    routing_key: SecretStr | None = Field(None, description="Of pagerduty: the key of its integration (Events API v2).")
    to: Words = Field((), description="Of mail: the addresses; `mail:` says by which server.")
    least: Severity = Field(Severity.WARNING, description="The least severity that is told: info, warning or urgent.")
    kinds: tuple[FindingKind, ...] = Field((), description="Only these kinds of findings; all by default.")
    stores: Words = Field((), description="Only of these stores; all by default.")
    carriers: Words = Field((), description="Only those about parcels or accounts of these carriers; all by default.")
    digest: DigestPart | None = Field(
        None, description="When what is not urgent is told together; without it each is told at once."
    )
    closed: bool = Field(True, description="Whether it is also told when a finding that it was told of closes.")
    details: bool = Field(False, description="Also what carriers and shops wrote themselves: it can name a person.")

    @model_validator(mode="after")
    def _leads_somewhere(self) -> TargetPart:
        """Refuse a target without what its form needs, or with what another one needs."""
        wanted = {"slack": "url", "json": "url", "pagerduty": "routing_key", "mail": "to"}[self.form]
        for name in ("url", "routing_key", "to"):
            if bool(getattr(self, name)) != (name == wanted) and not (name == "url" and self.form == "pagerduty"):
                raise ValueError(
                    f"{name}: {'is required' if name == wanted else 'does not belong'} to form: {self.form}"
                )
        return self

    @property
    def address(self) -> str:
        """Return where it is posted to; empty: it is mailed."""
        if self.url is not None:
            return self.url.get_secret_value()
        return PAGERDUTY if self.form == "pagerduty" else ""


class Notices(_Part):
    """Where we tell people."""

    file: str | None = Field(None, description="JSON lines: each notice to a customer, with its text, is one line.")
    alert_url: str | None = Field(
        None, description="Each finding is posted here once, as JSON; `telling.targets` can more."
    )
    alert_from: Literal["info", "warning", "urgent"] = Field(
        "warning", description="The least severity that is posted."
    )


class Telling(_Part):
    """Whom we tell."""

    endpoints: Mapping[str, EndpointPart] = Field({}, description="Programs that are told by webhooks, by name.")
    targets: Mapping[str, TargetPart] = Field({}, description="People who are told of findings, by name.")


def told_of_findings(telling: Telling, notices: Notices) -> dict[str, TargetPart]:
    """Return who is told of findings, by name: the targets, and the address of `notices.alert_url` where there is one."""
    told = dict(telling.targets)
    if notices.alert_url is not None:
        least, url = Severity(notices.alert_from), SecretStr(notices.alert_url)
        told[ALERT_URL] = TargetPart(form="json", url=url, least=least, closed=False, details=True)
    return told


def key(secret: SecretStr) -> bytes:
    """Return the bytes by which a secret signs. Raises ValueError, which shows nothing of it."""
    value = secret.get_secret_value()
    try:
        found = base64.b64decode(value.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not value.startswith(PREFIX) or not SHORTEST <= len(found) <= LONGEST:
        raise ValueError(f"must be {PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64: `tracker hooks secret`")
    return found


def unfit(
    telling: Telling, allow: Iterable[str], stores: Iterable[str], *, mailed: bool
) -> Iterator[tuple[Path_, str]]:
    """Say what is wrong with whom we tell, each with its place: names, addresses that must not be called, stores that are none.

    `mailed`: there is a server for mails.
    """
    allowed, known = frozenset(allow), frozenset(stores)
    for section, parts in (("endpoints", telling.endpoints), ("targets", telling.targets)):
        for name, part in parts.items():
            at: Path_ = ("telling", section, name)
            if not _NAME.fullmatch(name) or name == ALERT_URL:
                yield at, "must be a name of lower-case letters, digits, - and _, and not alert_url"
            if section == "targets" and name in telling.endpoints:
                yield at, "an endpoint has that name too: messages are listed by it"
            url = part.url if isinstance(part, EndpointPart) else part.address
            if url and (said := _not_called(str(url), allowed)):
                yield (*at, "url"), said
            if isinstance(part, TargetPart) and part.form == "mail" and not mailed:
                yield (*at, "form"), "mail needs a server: `mail:`"
            for i, store in enumerate(part.stores):
                if store not in known:
                    yield (*at, "stores", i), f"there is no store {store[:60]!r}"


def _not_called(url: str, allowed: frozenset[str]) -> str | None:
    """Say why an address is not called; None: it may be. Where its host leads is looked at when it is called."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "must be a URL, such as https://host/path"
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isprintable() or " " in url:
        return "must be a URL, such as https://host/path"
    if parts.username is not None or parts.fragment:
        return "must hold no user and no #: a secret path is enough"
    if parts.scheme != "https" and host not in allowed:
        return "must be https, unless network.allow names the host"
    return None
