"""Mails on their way out: one connection to the server that takes them, for several mails.

TLS is demanded where it is configured: a server that offers none, or one that nobody vouches for, gets neither a password nor a mail.
Where it leads is checked as for HTTP (`app.connections`), and a connection has a time for each mail, after which it is cut: a server
that says a byte now and then holds nobody. What the server says is told without any address.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import certifi

from tracker.app.connections import is_public
from tracker.config.mail import MailPart
from tracker.domain.errors import CredentialsRejected, RateLimited, Refused, Transient, Unanswered
from tracker.domain.mails import without_addresses

CLOSING = 421  # the server ends the connection, whatever was said


@contextmanager
def open_mailer(mail: MailPart, *, allow: Iterable[str], timeout: float) -> Iterator[Mailer]:
    """Open a connection and log in. `timeout`: seconds for that, and for each mail. `allow`: hosts that may be private, or in clear.

    Raises Transient where the server is away, offers no TLS or nobody vouches for it, CredentialsRejected where it does not let us in.
    """
    mailer = Mailer(mail, frozenset(allow), timeout)
    try:
        mailer.connect()
        yield mailer
    finally:
        mailer.close()


class Mailer:
    """A connection that is logged in."""

    def __init__(self, mail: MailPart, allow: frozenset[str], timeout: float) -> None:
        """Nothing is connected yet."""
        self._mail, self._allow, self._timeout = mail, allow, timeout
        self._smtp: _Checked | None = None

    def connect(self) -> None:
        """Connect, demand TLS, and log in."""
        mail = self._mail
        host, port = mail.at
        try:
            self._smtp = smtp = _Checked(self._allow, _trust(mail) if mail.tls == "tls" else None, self._timeout)
            with self._in_time():
                smtp.connect(host, port)
                self._greet(smtp)
                if mail.tls == "starttls":
                    if not smtp.has_extn("starttls"):
                        raise Transient(f"{host} offers no STARTTLS: nothing is sent in clear")
                    smtp.starttls(context=_trust(mail))
                    self._greet(smtp)
                if mail.user is not None and mail.password is not None:
                    smtp.login(mail.user, mail.password.get_secret_value())
        except smtplib.SMTPNotSupportedError as error:
            raise CredentialsRejected(f"{host} offers no way to log in: {without_addresses(str(error))}") from None
        except smtplib.SMTPAuthenticationError as error:
            said = f"{host}: login: {_said(error.smtp_code, error.smtp_error)}"
            raise (Transient(said) if error.smtp_code < 500 else CredentialsRejected(said)) from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            _away(host, error)

    def send(self, message: bytes, sender: str, recipient: str, *, utf8: bool = False) -> str:
        """Send one mail; returns what the server said that took it. `utf8`: an address or a header needs SMTPUTF8.

        Raises Refused where it is never taken, RateLimited where it may be later, CredentialsRejected where the sender is refused, and
        Transient where the connection is lost: after the mail was handed over that is Unanswered, as nobody knows whether it was taken.
        """
        assert self._smtp is not None
        smtp, host = self._smtp, self._mail.host
        if utf8 and not smtp.has_extn("smtputf8"):
            raise Refused(f"{host} takes no address with letters beyond ASCII before its @ (it offers no SMTPUTF8)")
        code: int
        said: bytes | str
        handed = False
        try:
            with self._in_time():
                options = ("SMTPUTF8", "BODY=8BITMIME") if utf8 else ()
                code, said = smtp.mail(sender, options)
                self._judge(code, said, "sender", recipient)
                code, said = smtp.rcpt(recipient)
                self._judge(code, said, "recipient", recipient)
                handed = True
                code, said = smtp.data(message)
        except smtplib.SMTPDataError as error:
            code, said = error.smtp_code, error.smtp_error  # it did not even want to hear it
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if handed:
                raise Unanswered(f"{host}: no answer to a mail that was handed over: it may have been taken") from None
            _away(host, error)
        self._judge(code, said, "mail", recipient)
        return _said(code, said, recipient)

    def close(self) -> None:
        """Say good-bye, whatever is answered."""
        if self._smtp is None:
            return
        with suppress(smtplib.SMTPException, OSError, ValueError), self._in_time():
            self._smtp.quit()
        self._smtp.close()

    def _greet(self, smtp: _Checked) -> None:
        code, said = smtp.ehlo()
        if not 200 <= code < 300:
            raise Transient(f"{self._mail.host}: {_said(code, said)}")

    def _judge(self, code: int, said: bytes | str, what: str, recipient: str) -> None:
        if 200 <= code < 300:
            return
        host, told = self._mail.host, _said(code, said, recipient)
        if code == CLOSING:
            raise Transient(f"{host}: {told}")
        with suppress(smtplib.SMTPException, OSError):
            assert self._smtp is not None
            self._smtp.rset()
        if code < 500:
            raise RateLimited(f"{host}: {what}: {told}")
        raise (CredentialsRejected if what == "sender" else Refused)(f"{host}: {what}: {told}")

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Cut the connection where what is done takes longer than its time: each answer may come slowly, and there are several."""
        cut = threading.Timer(self._timeout, self._cut)
        cut.daemon = True
        cut.start()
        try:
            yield
        finally:
            cut.cancel()

    def _cut(self) -> None:
        peer = self._smtp.sock if self._smtp is not None else None
        if peer is not None:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)


class _Checked(smtplib.SMTP):
    """A session to an address that may be called, in TLS from its first byte where there is a context."""

    def __init__(self, allow: frozenset[str], context: ssl.SSLContext | None, timeout: float) -> None:
        self._allow, self._context = allow, context
        super().__init__(timeout=timeout, local_hostname="trackwright.invalid")

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        """Resolve once, check, and connect to that very address."""
        self._host = host  # whose certificate it must be
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Transient(f"{host} cannot be resolved") from None
        address = found[0][4]
        if host not in self._allow and not is_public(str(address[0])):
            raise Transient(f"{host} resolves to {address[0]}, which is not public: name it under network.allow")
        peer = socket.create_connection((str(address[0]), port), timeout)
        if self._context is None:
            return peer
        return self._context.wrap_socket(peer, server_hostname=host)


def _trust(mail: MailPart) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and certificates
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(mail.ca_file or certifi.where())
    except OSError:
        raise Transient(f"mail.ca_file: {mail.ca_file} holds no certificate that can be read") from None
    return context


def _said(code: int, said: bytes | str, recipient: str = "") -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return f"{code} {without_addresses(text, recipient)}".strip()


def _away(host: str, error: Exception) -> NoReturn:
    if isinstance(error, ssl.SSLCertVerificationError):
        raise Transient(f"{host}: its certificate is not trusted: {error.verify_message}") from None
    if isinstance(error, smtplib.SMTPResponseException):
        raise Transient(f"{host}: {_said(error.smtp_code, error.smtp_error)}") from None
    raise Transient(f"{host}: {type(error).__name__}") from None
