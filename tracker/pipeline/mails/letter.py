"""A mail as it goes over the wire: headers that nobody's text can add to, a text, and the same as HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from unicodedata import normalize

from tracker.domain.errors import Refused
from tracker.domain.mails import is_address, plain
from tracker.hashing import digest

_OWN_LETTERS = frozenset("ßẞς")  # that the names of 2003 had not, and those of 2008 have


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail and its envelope. `utf8`: the recipient's name before the @ is not ASCII."""

    message: bytes = field(repr=False)
    sender: str
    recipient: str = field(repr=False)
    utf8: bool = False


def write(
    *, sender: str, reply_to: str | None, to: str, subject: str, text: str, html: str | None, key: str, at: datetime
) -> Letter:
    """Put a mail together. `key`: what is told, and to whom; the Message-ID is made of it. Raises Refused for what is no address."""
    recipient = wire_address(to)
    utf8 = not recipient.isascii()
    message = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
    own = parseaddr(sender)[1]
    message["From"] = _header(sender)
    local, _, domain = recipient.rpartition("@")
    message["To"] = Address(username=local, domain=domain)
    if reply_to is not None:
        message["Reply-To"] = _header(reply_to)
    message["Subject"] = plain(subject)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{digest(key)[:32]}@{own.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(text, cte="quoted-printable")
    if html is not None:
        message.add_alternative(html, subtype="html", cte="quoted-printable")
    return Letter(message.as_bytes(), own, recipient, utf8)


def wire_address(address: str) -> str:
    """Return an address as it stands in a command: its domain in ASCII. Raises Refused, without saying it, for what is none."""
    if not is_address(address):
        raise Refused("what stands there is no mail address")
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{'.'.join(map(_label, domain.split('.'))).encode('idna').decode()}"
    except UnicodeError:
        raise Refused("what stands there is no mail address: its domain can be no name") from None


def _label(label: str) -> str:
    """Return a part of a domain as it is registered today (IDNA 2008): Python's codec makes ss of ß, which is somebody else's."""
    if set(label).isdisjoint(_OWN_LETTERS):
        return label
    return f"xn--{normalize('NFC', label.lower()).encode('punycode').decode()}"


def _header(mailbox: str) -> Address:
    name, address = parseaddr(mailbox)
    return Address(display_name=name, addr_spec=address)
