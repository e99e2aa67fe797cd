"""Mails go out over TLS to a server that is who it says, are refused at each step as it says, and never name an address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.mail_server import HOST, PASSWORD, MailServer, mail_server, silent_server
from tracker.app.smtp import open_mailer
from tracker.config.mail import MailPart
from tracker.domain.errors import CredentialsRejected, RateLimited, Refused, SourceError, Transient
from tracker.pipeline.mails import letter

AT = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
ANNA = "anna.canary@example.net"


def part(port: int, ca_file: Path | None = None, **more: Any) -> MailPart:
    said = {
        "host": HOST, "port": port, "sender": "Acme Läden <orders@acme.example>", "user": "acme", "password": PASSWORD,
        "ca_file": str(ca_file) if ca_file else None, **more,
    }  # fmt: skip
    return MailPart.model_validate(said)


def of(server: MailServer, **more: Any) -> MailPart:
    return part(server.port, server.ca_file, **more)


def send(
    mail: MailPart, *to: str, allow: tuple[str, ...] = (HOST,), timeout: float = 10.0, subject: str = "Hello"
) -> list[str]:
    with open_mailer(mail, allow=allow, timeout=timeout) as session:
        return [
            session.send(one.message, one.sender, one.recipient, utf8=one.utf8)
            for one in (
                letter.write(
                    sender=mail.sender, reply_to="help@acme.example", to=address, subject=subject, text="Text: ü\n",
                    html="<p>Text: ü</p>", key=f"key/{i}", at=AT,
                )
                for i, address in enumerate(to)
            )
        ]  # fmt: skip


def test_several_mails_go_over_one_connection_in_tls_with_a_login_and_all_headers(tmp_path: Path) -> None:
    with mail_server(tmp_path) as server:
        said = send(of(server), ANNA, "bob@bücher.example", subject="Grüße\r\nBcc: victim@example.org")

    assert server.logins == ["acme"]
    assert server.connections == 1
    assert [one.rcpt_tos for one in server.taken] == [[ANNA], ["bob@xn--bcher-kva.example"]]
    first = server.mails[0]
    assert said[0] == "250 queued as 1 for ***"
    assert (first["From"], first["Reply-To"], first["To"]) == (
        "Acme Läden <orders@acme.example>",
        "help@acme.example",
        ANNA,
    )
    assert first["Subject"] == "Grüße Bcc: victim@example.org"
    assert first["Bcc"] is None
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Date"].datetime == AT
    assert first["Message-ID"].endswith("@acme.example>")
    assert first.get_content_type() == "multipart/alternative"
    assert [one.get_content_type() for one in first.iter_parts()] == ["text/plain", "text/html"]
    assert next(first.iter_parts()).get_content().strip() == "Text: ü"


def test_tls_from_the_first_byte_is_spoken_where_that_is_configured(tmp_path: Path) -> None:
    with mail_server(tmp_path, tls="tls") as server:
        send(of(server, tls="tls", user=None, password=None), ANNA)

    assert len(server.taken) == 1


def test_a_server_inside_may_be_spoken_to_in_clear_where_it_is_allowed(tmp_path: Path) -> None:
    with mail_server(tmp_path, tls="none") as server:
        send(part(server.port, tls="none", user=None, password=None), ANNA)

    assert len(server.taken) == 1


def test_without_starttls_nothing_is_sent_not_even_the_password(tmp_path: Path) -> None:
    with mail_server(tmp_path) as server:
        server.answers["HIDES"] = "STARTTLS"
        with pytest.raises(Transient, match="localhost offers no STARTTLS: nothing is sent in clear"):
            send(of(server), ANNA)

    assert (server.logins, server.taken) == ([], [])


def test_a_server_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    for name, more in (("other", {"named": "elsewhere"}), ("late", {"ends": datetime.now(UTC) - timedelta(days=1)})):
        (tmp_path / name).mkdir()
        with mail_server(tmp_path / name, **more) as server:
            with pytest.raises(Transient, match="localhost: its certificate is not trusted: "):
                send(of(server), ANNA)
            assert (server.logins, server.taken) == ([], [])
    (tmp_path / "public").mkdir()
    with mail_server(tmp_path / "public") as server:
        with pytest.raises(Transient, match="its certificate is not trusted: self-signed certificate"):
            send(part(server.port), ANNA)
        with pytest.raises(Transient, match=r"mail\.ca_file: .* holds no certificate"):
            send(part(server.port, tmp_path / "none.pem"), ANNA)


REFUSALS: list[tuple[str, str, type[SourceError], str]] = [
    ("EHLO", "421 closing", Transient, "localhost: "),
    ("AUTH", "535 5.7.8 no anna.canary@example.net here", CredentialsRejected, "localhost: login: 535 "),
    ("AUTH", "454 4.7.0 later", Transient, "localhost: login: 454 "),
    ("MAIL", "550 5.7.1 not yours", CredentialsRejected, "localhost: sender: 550 5.7.1 not yours"),
    ("MAIL", "451 4.3.0 later", RateLimited, "localhost: sender: 451 4.3.0 later"),
    ("RCPT", "550 5.1.1 <anna.canary@example.net> unknown; user anna.canary", Refused, "localhost: recipient: 550 5.1.1 <***> unknown; user ***"),
    ("RCPT", "450 4.2.0 greylisted", RateLimited, "localhost: recipient: 450 4.2.0 greylisted"),
    ("RCPT", "421 4.3.2 going down", Transient, "localhost: 421 4.3.2 going down"),
    ("DATA", "554 5.7.1 looks like spam", Refused, "localhost: mail: 554 5.7.1 looks like spam"),
    ("DATA", "452 4.3.1 full", RateLimited, "localhost: mail: 452 4.3.1 full"),
]  # fmt: skip


def test_each_refusal_says_what_to_do_next_and_no_address(tmp_path: Path) -> None:
    with mail_server(tmp_path) as server:
        for step, said, kind, told in REFUSALS:
            server.answers = {step: said}
            with pytest.raises(SourceError) as raised:
                send(of(server), ANNA)
            assert type(raised.value) is kind, (step, said)
            assert str(raised.value).startswith(told), str(raised.value)
            assert "canary" not in str(raised.value)

        assert server.taken == []
        server.answers = {"RCPT": lambda to: "550 no" if to == ANNA else None}
        with open_mailer(of(server), allow=(HOST,), timeout=10) as session:
            letters = [
                letter.write(
                    sender="a@acme.example", reply_to=None, to=to, subject="s", text="t", html=None, key=to, at=AT
                )
                for to in (ANNA, "bob@example.net")
            ]
            with pytest.raises(Refused):
                session.send(letters[0].message, letters[0].sender, letters[0].recipient)
            session.send(letters[1].message, letters[1].sender, letters[1].recipient)  # on the same connection
    assert [one.rcpt_tos for one in server.taken] == [["bob@example.net"]]


def test_a_login_that_is_not_offered_is_told_as_one_that_is_refused(tmp_path: Path) -> None:
    with mail_server(tmp_path) as server:
        server.answers["HIDES"] = "AUTH"
        with pytest.raises(CredentialsRejected, match="localhost offers no way to log in"):
            send(of(server), ANNA)


def test_an_address_beyond_ascii_needs_a_server_that_takes_it(tmp_path: Path) -> None:
    for utf8 in (True, False):
        (tmp_path / str(utf8)).mkdir()
        with mail_server(tmp_path / str(utf8), utf8=utf8) as server:
            if utf8:
                send(of(server), "änne@example.net")
                assert server.taken[0].rcpt_tos == ["änne@example.net"]
                assert server.mails[0]["To"] == "änne@example.net"
            else:
                with pytest.raises(Refused, match="it offers no SMTPUTF8"):
                    send(of(server), "änne@example.net")


def test_what_is_no_address_is_refused_before_anybody_hears_it_and_never_said() -> None:
    for wrong in ("", "canary", "canary@", "@example.net", "canary@example", "a canary@example.net", "a@b.example\r\nRCPT TO:<canary@x.example>",
                  "canary@example.net, b@example.net", '"canary"@example.net', "canary@[127.0.0.1]", f"{'c' * 65}@example.net",
                  f"canary@{'d' * 64}.example", f"c@{'d.' * 140}example"):  # fmt: skip
        with pytest.raises(Refused, match="is no mail address") as raised:
            letter.write(
                sender="a@acme.example", reply_to=None, to=wrong, subject="s", text="t", html=None, key="k", at=AT
            )
        assert "canary" not in str(raised.value)
    for address, wire in (
        ("a@müller.de", "a@xn--mller-kva.de"),
        ("a@Straße.de", "a@xn--strae-oqa.de"),
    ):  # ss is another's
        assert letter.wire_address(address) == wire


def test_a_server_that_hangs_is_cut_and_one_that_is_away_is_told() -> None:
    with silent_server() as port, pytest.raises(Transient, match="localhost: "):
        send(part(port), ANNA, timeout=0.2)
    with silent_server(b"220 hello\r\n") as port, pytest.raises(Transient, match="localhost: "):
        send(part(port), ANNA, timeout=0.2)
    with silent_server() as port:
        pass
    with pytest.raises(Transient, match="localhost: ConnectionRefusedError"):
        send(part(port), ANNA)
    with pytest.raises(Transient, match=r"localhost resolves to .* which is not public: name it under network\.allow"):
        send(part(25), ANNA, allow=())
    with pytest.raises(Transient, match=r"mail\.invalid cannot be resolved"):
        send(part(25, host="mail.invalid"), ANNA)
