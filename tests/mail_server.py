"""A real SMTP server on loopback that keeps what it takes, and refuses what it is told to, at each step."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope

from tests.certificates import serving

HOST = "localhost"
PASSWORD = "mail-password-canary"


class MailServer:
    """`answers`: what it says instead, by step (EHLO, AUTH, MAIL, RCPT, DATA); `taken`: what it took, in order."""

    def __init__(
        self,
        folder: Path,
        *,
        tls: str = "starttls",
        utf8: bool = True,
        ends: datetime | None = None,
        named: str = HOST,
        port: int = 0,
    ) -> None:
        self.answers: dict[str, str | Callable[[str], str | None]] = {}
        self.taken: list[Envelope] = []
        self.hangs_up = False  # it takes each mail, and never says so
        self.logins: list[str] = []
        self.connections = 0
        context = serving(folder, named, ends or datetime.now(UTC) + timedelta(days=5)) if tls != "none" else None
        self.ca_file = folder / "cert.pem"
        more: dict[str, Any] = {"enable_SMTPUTF8": utf8, "decode_data": False}
        if tls == "starttls":
            more |= {"tls_context": context}
        self._controller: _Controller | None = _Controller(
            self, hostname="127.0.0.1", port=port or _free(), ssl_context=context if tls == "tls" else None, server_hostname=HOST,
            authenticator=self._authenticate, auth_require_tls=tls == "starttls", **more,
        )  # fmt: skip
        self.port = self._controller.port

    def start(self) -> None:
        assert self._controller is not None
        self._controller.start()  # connects once itself
        self.connections = 0

    def stop(self) -> None:
        """Stop, once."""
        if self._controller is not None:
            self._controller.end_sessions()
            self._controller.stop(no_assert=True)
            self._controller = None

    @property
    def mails(self) -> list[EmailMessage]:
        """What it took, read by the standard library."""
        return [message_from_bytes(bytes(one.content or b""), policy=default) for one in self.taken]  # type: ignore[arg-type, misc]

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append(data.login.decode())
        said = self._said("AUTH", "")
        if said is not None:
            return AuthResult(success=False, handled=False, message=said)
        return AuthResult(success=data.password.decode() == PASSWORD, handled=False)

    def _said(self, step: str, what: str) -> str | None:
        answer = self.answers.get(step)
        return answer(what) if callable(answer) else answer

    # what aiosmtpd asks

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        if (said := self._said("EHLO", hostname)) is not None:
            return [said]
        hidden = self._said("HIDES", "")
        return [line for line in responses if hidden is None or hidden not in line.upper()]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if (said := self._said("MAIL", address)) is not None:
            return said
        envelope.mail_from, envelope.mail_options = address, options
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if (said := self._said("RCPT", address)) is not None:
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if (said := self._said("DATA", envelope.rcpt_tos[0])) is not None:
            return said
        self.taken.append(envelope)
        if self.hangs_up:
            server.transport.abort()
        return f"250 queued as {len(self.taken)} for {envelope.rcpt_tos[0]}"


class _Controller(Controller):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._sessions: list[SMTP] = []

    def factory(self) -> SMTP:
        """Make a session, and count it."""
        self.handler.connections += 1
        self._sessions.append(SMTP(self.handler, **self.SMTP_kwargs))
        return self._sessions[-1]

    def end_sessions(self) -> None:
        """End what goes on, above all the farewell of TLS: the loop stops at once, and what is open then stays open."""

        async def end() -> None:
            for session in self._sessions:
                if session.transport is not None:
                    session.transport.abort()
            await asyncio.sleep(0.01)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def mail_server(folder: Path, **more: Any) -> Iterator[MailServer]:
    server = MailServer(folder, **more)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def silent_server(says: bytes = b"") -> Iterator[int]:
    """A port that is listened to and that says no more than this; yields its number."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers = []

        def answer() -> None:
            try:
                while True:
                    peer, _ = listener.accept()
                    peers.append(peer)
                    peer.sendall(says)
            except OSError:
                return

        import threading

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for peer in peers:
                peer.close()
            thread.join(5)
