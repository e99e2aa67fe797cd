"""What the file says of mails is refused with its place, and a merchant's own texts with their file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from tests.requirements.test_requirements import FORBIDDEN
from tracker.config.load import load_text, masked
from tracker.config.mail import quiet_of
from tracker.config.model import Config
from tracker.config.wording import OURS, PAGE, Wording
from tracker.domain.errors import ConfigError
from tracker.domain.mails import LANGUAGES, MAILED, capital
from tracker.domain.notices import estimate
from tracker.domain.vocabulary import NoticeClass

RIGHT = "host: mail.example, sender: 'Acme <orders@acme.example>'"
STORE = "base_url: 'https://x.example', api_token: '${env:TOKEN}', words: kingston"
VALUES = {
    "order": "#1", "carrier": "UPS", "number": "1Z", "shop": "Acme", "place": "Reno",
    "estimate": capital(estimate(datetime(2026, 11, 5, 18, tzinfo=UTC), "en")),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "0123456789")


def load(mail: str, store: str = "", *, allow: str = "") -> Config:
    return load_text(
        f"database: 'sqlite:///x.db'\nnetwork: {{allow: [{allow}]}}\nmail: {{{mail}}}\n"
        f"stores:\n  shop: {{uses: rest, {STORE}, mail: {{{store}}}}}\n"
    )


def refusal(mail: str, store: str = "", **more: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(mail, store, **more)
    return str(raised.value)


def test_a_store_says_otherwise_than_all_and_quiet_hours_have_its_zone() -> None:
    found = load(
        f"{RIGHT}, user: u, password: '${{env:TOKEN}}', quiet: {{begins: 21:00, ends: '08:00'}}",
        "send: true, sender: shop@acme.example, language: de, quiet: {begins: 22:30, ends: 07:00, zone: Asia/Tokyo}",
    )
    mail, store = found.root.mail, found.accounts["shop"].mail
    assert mail is not None
    assert (mail.at, found.wording is not None) == (("mail.example", 587), True)
    own, other = quiet_of(mail.quiet, store.quiet, "UTC"), quiet_of(mail.quiet, None, "Europe/Berlin")
    assert own is not None
    assert other is not None
    assert (own.begins, own.ends, own.zone) == (time(22, 30), time(7), "Asia/Tokyo")
    assert (other.begins, other.zone) == (time(21), "Europe/Berlin")
    assert quiet_of(None, None, "UTC") is None
    shown = masked(found)
    assert (shown["mail"]["password"], shown["mail"]["quiet"]["begins"]) == ("********", "21:00")
    assert shown["stores"]["shop"]["mail"]["quiet"]["ends"] == "07:00"


@pytest.mark.parametrize(
    ("mail", "store", "said"),
    [
        ("host: h", "", "<text>:3:1: mail.sender: Field required"),
        (f"{RIGHT}, tls: none", "", "mail.tls: none: only where the host is named under network.allow"),
        (f"{RIGHT}, user: u", "", "mail: needs password too"),
        (f"{RIGHT}, password: '${{env:TOKEN}}'", "", "mail: needs user too"),
        (f"{RIGHT}, user: u, password: geheim", "", "mail.password: a secret must not stand in the file"),
        ("host: h, sender: 'a@b.example, c@d.example'", "", "mail.sender: must be one address"),
        ("host: h, sender: bücher", "", "mail.sender: must be one address"),
        ("host: h, sender: ä@b.example", "", "mail.sender: must be one address"),
        (f"{RIGHT}, quiet: {{begins: 25:00, ends: 8:00}}", "", "mail.quiet.begins: must be a time of the day"),
        (f"{RIGHT}, quiet: {{begins: 21:00, ends: 8:00, zone: Mars/X}}", "", "mail.quiet.zone: no such zone"),
        (f"{RIGHT}, quiet: {{begins: 21:00, ends: 21:00}}", "", "mail.quiet: begins and ends are one moment"),
        (f"{RIGHT}, langage: de", "", "mail.langage: unknown key; did you mean 'language'?"),
        (f"{RIGHT}, templates: none", "", "none is no folder"),
        (RIGHT, "send: true, sender: 'x\\r\\ny@z.example'", "stores.shop.mail.sender: must be one address"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(mail: str, store: str, said: str) -> None:
    assert said in refusal(mail, store)


def test_a_store_that_mails_needs_a_platform_that_tells_addresses_and_something_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert any(
        "stores.shop.mail: policy.notices names nothing that is mailed: attempted" in note
        for note in load(RIGHT, "send: true").notes
    )
    monkeypatch.setattr("adapters.rest.Rest.tells_address", False)
    assert "stores.shop.mail.send: this plugin tells no mail addresses" in refusal(RIGHT, "send: true")


def test_a_password_is_never_sent_in_clear() -> None:
    said = refusal(f"{RIGHT}, tls: none, user: u, password: '${{env:TOKEN}}'", allow="mail.example")
    assert "mail.user: a password is never sent in clear" in said
    assert load(f"{RIGHT}, tls: none", allow="mail.example").root.mail is not None


def wording(folder: Path, **texts: str) -> Wording:
    for name, text in texts.items():
        language, _, rest = name.partition("_")
        path = folder / language / f"{rest}.txt" if language in LANGUAGES else folder / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return Wording(folder)


def test_ours_are_whole_hold_KE_17_and_ask_nobody_for_anything() -> None:
    ours = Wording()

    for language in LANGUAGES:
        assert {path.stem for path in (OURS / language).iterdir()} == set(MAILED)
        for kind in MAILED:
            for values in (VALUES, {**VALUES, "estimate": "", "place": ""}):
                mail = ours.write(kind, language, values)
                whole = f"{mail.subject}\n{mail.text}"
                assert not re.search(FORBIDDEN[language], whole, re.IGNORECASE), whole
                assert "http" not in mail.html
                assert "\n\n\n" not in mail.text
                assert mail.text.rstrip().endswith("Acme")


def test_a_hostile_text_is_one_line_of_text_and_never_markup() -> None:
    hostile = {**VALUES, "carrier": "<img src=x>\r\nBcc: a@b.example\u202e{{ 7*7 }}", "order": "#1\nSubject: x"}
    mail = Wording().write(NoticeClass.DELIVERED, "en", hostile)
    assert mail.subject == "A parcel of your order #1 Subject: x was delivered"
    assert "<img src=x> Bcc: a@b.example {{ 7*7 }} reports" in mail.text
    assert "&lt;img src=x&gt; Bcc" in mail.html
    assert "<img" not in mail.html


def test_a_merchants_texts_beat_ours_and_what_is_missing_is_ours(tmp_path: Path) -> None:
    own = wording(
        tmp_path,
        de_shipped="Subject: Da kommt {{ order }}\n\nMoin {% if estimate %}{{ estimate }}{% endif %}\n",
        page="<p>{{ paragraphs|join }}</p>",
    )
    assert own.problems == []
    mail = own.write(NoticeClass.SHIPPED, "de", VALUES)
    assert mail.subject == "Da kommt #1"
    assert mail.html.startswith("<p>Moin Estimated delivery")
    assert own.write(NoticeClass.SHIPPED, "en", VALUES).subject == "Your order #1 is on its way"
    (tmp_path / "de" / "shipped.html").write_text("<b>{{ shop }}</b>")
    assert Wording(tmp_path).write(NoticeClass.SHIPPED, "de", VALUES).html == "<b>Acme</b>"


WRONG: Mapping[str, tuple[str, str]] = {
    "syntax": ("Subject: x\n\n{% if %}", "en/shipped.txt:3: Expected an expression"),
    "variable": ("Subject: x\n\n{{ ordr }}", "en/shipped.txt:3: unknown variable ordr; did you mean order?"),
    "other variable": ("Subject: x\n\n{{ zzz }}", "unknown variable zzz; known: order, carrier"),
    "attribute": ("Subject: x\n\n\n{{ order.total.tax }}", "en/shipped.txt:4: UndefinedError"),
    "sandbox": ("Subject: x\n\n{{ order.__class__.__mro__[1] }}", "en/shipped.txt:3: SecurityError"),
    "include": ("Subject: x\n{% include '/etc/passwd' %}", "en/shipped.txt:2: TemplateNotFound"),
    "subject": ("Hello", "en/shipped.txt:1: must begin with a line `Subject: ...`"),
    "phrase": ("Subject: x\n\nIt will arrive on time.", "en/shipped.txt:3: says 'will arrive': no text may guarantee"),
    "put together": ("Subject: x\n\nIt will {{ 'arri' ~ 've' }}", "en/shipped.txt: written out, it says 'will arrive'"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_merchants_text_that_may_not_be_is_refused_with_file_and_line(tmp_path: Path, case: str) -> None:
    text, said = WRONG[case]
    problems = wording(tmp_path, en_shipped=text).problems
    assert any(said in problem for problem in problems), problems
    with pytest.raises(ConfigError, match=r"mail\.templates: "):
        load(f"{RIGHT}, templates: {tmp_path}")


def test_a_page_may_ask_nobody_for_anything_and_other_files_are_told(tmp_path: Path) -> None:
    own = wording(tmp_path, page="<p>\n<img src='https://t.example/pixel'>{{ paragraphs }}")
    assert f"{tmp_path}/page.html:2: holds '<img': a mail asks nobody for anything" in own.problems[0]
    (tmp_path / PAGE).write_bytes(b"\xff")
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "shiped.txt").write_text("Subject: x")
    (tmp_path / "en" / "delayed.txt").write_text("Subject: x" * 20_000)
    (tmp_path / "notes").write_text("x")
    said = "\n".join(Wording(tmp_path).problems)
    for one in (
        "page.html: is no UTF-8",
        "shiped.txt: no text has this name; did you mean en/shipped.txt?",
        "delayed.txt: is larger than",
        "notes: no text has this name; known: page.html, and such as en/",
    ):
        assert one in said, one
    (tmp_path / "closed").mkdir()
    link = tmp_path / "file"
    link.write_text("")
    assert Wording(link).problems == [f"{link} is no folder"]
