"""What the YAML says of mails: the server, whom they come from, when it is quiet; and what of it a store says for itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time, timedelta
from email.utils import getaddresses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from tracker.config.presets import Duration
from tracker.config.yamlfile import Document, Path_
from tracker.domain.mails import MAILED, Quiet, is_address
from tracker.domain.policy import Policy
from tracker.hashing import digest
from tracker.plugin.contracts import Platform

if TYPE_CHECKING:
    from tracker.config.wording import Wording

PORTS = {"starttls": 587, "tls": 465, "none": 25}
_MOST_NAME = 100  # signs of the name before an address


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _mailbox(value: str) -> str:
    (name, address), *more = getaddresses([value])
    if (
        more
        or not (is_address(address) and address.isascii())
        or not name.isprintable()
        or len(name) > _MOST_NAME
        or not value.isprintable()
    ):
        raise ValueError("must be one address, such as orders@acme.example or Acme <orders@acme.example>")
    return value


def _moment(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(value // 60, value % 60)  # YAML reads 21:00 as a number to the base of 60
    try:
        return time.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError("must be a time of the day, such as 21:00") from None


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("no such zone: an IANA name, such as Europe/Berlin") from None
    return value


Mailbox = Annotated[str, AfterValidator(_mailbox)]
Moment = Annotated[time, BeforeValidator(_moment, json_schema_input_type=str)]
Language = Literal["en", "de"]


class QuietPart(_Part):
    """Hours in which no customer is mailed; they may go past midnight."""

    begins: Moment = Field(description="Such as 21:00.")
    ends: Moment = Field(description="Such as 08:00.")
    zone: Annotated[str, AfterValidator(_zone)] | None = Field(
        None, description="IANA; that of the store's `policy.calendar` if not said."
    )

    @model_validator(mode="after")
    def _leaves_time(self) -> QuietPart:
        """Refuse hours that would never end."""
        if self.begins == self.ends:
            raise ValueError("begins and ends are one moment: nobody would ever be mailed")
        return self


class StoreMail(_Part):
    """Whether a store mails its customers, and what it says otherwise than `mail:`."""

    send: bool = Field(
        False, description="Mail the customer what `policy.notices` names of a parcel; needs mail: and mode: write."
    )
    sender: Mailbox | None = None
    reply_to: Mailbox | None = None
    brand: str | None = Field(None, max_length=_MOST_NAME, description="What the shop is called in mails.")
    language: Language | None = Field(None, description="Where the order tells none that we have.")
    quiet: QuietPart | None = None


class MailPart(_Part):
    """The server that takes mails, and what holds for all of them."""

    host: str = Field(min_length=1, description="The server that takes our mails.")
    port: int | None = Field(None, ge=1, le=65535, description="587 for starttls, 465 for tls, 25 for none.")
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="Demanded: without it nothing is sent. `none` only for hosts under network.allow."
    )
    ca_file: str | None = Field(
        None, description="Certificates (PEM) that vouch for the server, instead of the public ones."
    )
    user: str | None = None
    password: SecretStr | None = None
    sender: Mailbox = Field(description="Whom mails come from, such as Acme <orders@acme.example>.")
    reply_to: Mailbox | None = None
    per_connection: int = Field(50, ge=1, le=1000, description="Mails of one connection.")
    per_minute: int = Field(
        60, ge=1, description="Mails of all processes together; those to operators count, and wait for none."
    )
    retry_for: Duration = Field(
        timedelta(hours=24), ge=timedelta(minutes=5), le=timedelta(days=5),
        description="So long a mail that is not taken is tried again.",
    )  # fmt: skip
    quiet: QuietPart | None = Field(None, description="When no customer is mailed.")
    templates: str | None = Field(
        None, description="Folder of your own texts, such as de/shipped.txt; what it lacks is ours."
    )
    language: Language | None = Field(None, description="Of stores that say none; else by their policy.")

    @property
    def at(self) -> tuple[str, int]:
        """Return host and port."""
        return self.host, self.port or PORTS[self.tls]

    @property
    def credentials(self) -> str:
        """Return a hash that changes with what a refusal may be about: where we log in, as whom, for whom."""
        password = self.password.get_secret_value() if self.password is not None else ""
        return digest([*self.at, self.tls, self.user, password, self.sender])


def quiet_of(part: QuietPart | None, store: QuietPart | None, zone: str) -> Quiet | None:
    """Return when a store is quiet: by itself, else as all are; `zone` is its own."""
    told = store or part
    return Quiet(told.begins, told.ends, told.zone or zone) if told is not None else None


def check_store(mail: StoreMail, platform: Platform, policy: Policy, path: Path_, document: Document) -> None:
    """Refuse a store that mails and whose platform tells no addresses; note one that has nothing to mail."""
    if not mail.send:
        return
    if not platform.tells_address:
        more = ": say where they stand in facts.email" if hasattr(platform.settings, "facts") else ""
        document.problem((*path, "mail", "send"), f"this plugin tells no mail addresses{more}")
    if not policy.notices & MAILED:
        known = ", ".join(sorted(MAILED))
        document.notes.append(f"{'.'.join(map(str, path))}.mail: policy.notices names nothing that is mailed: {known}")


def read_mail(mail: MailPart | None, allow: Iterable[str], document: Document) -> Wording | None:
    """Read the texts of mails, and note what is wrong with `mail:` that its types cannot see. None: nobody is mailed."""
    if mail is None:
        return None
    from tracker.config.wording import Wording  # who mails nobody needs no templates: a command starts sooner

    if mail.tls == "none" and mail.host not in allow:
        document.problem(
            ("mail", "tls"), "none: only where the host is named under network.allow, as all is sent in clear"
        )
    if (mail.user is None) != (mail.password is None):
        lacks = "password" if mail.password is None else "user"
        document.problem(("mail",), f"needs {lacks} too: one alone logs nobody in")
    elif mail.user is not None and mail.tls == "none":
        document.problem(("mail", "user"), "a password is never sent in clear: tls: starttls or tls")
    folder = Path(document.marks.get(("mail",), (document.file, 1, 1))[0]).parent
    wording = Wording(folder / mail.templates if mail.templates is not None else None)
    for said in wording.problems:
        document.problem(("mail", "templates"), said)
    return wording
