"""Who may look at the page: the form, sessions, failed tries, forms of other sites; over real HTTP, and with clocks that are driven."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.app.looking import KART, ONE, Site, addresses
from tests.lab import TOKEN
from tracker.app.page.login import Sessions, Tries
from tracker.app.telemetry import logs_to
from tracker.app.tokens import Holder
from tracker.config.load import load_text


@ONE
def test_without_a_session_every_view_leads_to_the_form_and_back(site: Site) -> None:
    browser = site.browser()
    for path in (*addresses(site), "/orders/999999"):
        answer = browser.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")
        assert answer.text == ""
    form = browser.get("/drift?kind=shop_behind", follow_redirects=True)
    assert form.url.path == "/login"
    assert 'name="next" value="/drift?kind=shop_behind"' in form.text
    answer = browser.post("/login", data={"token": TOKEN, "next": "/drift?kind=shop_behind"})
    assert answer.headers["location"] == "/drift?kind=shop_behind"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    for proto in ("https", "HTTPS", "https, http"):
        behind = browser.post("/login", data={"token": TOKEN}, headers={"X-Forwarded-Proto": proto})
        assert "; Secure" in behind.headers["set-cookie"], proto
    for odd in ("", "no.host:x"):  # it is not needed to find the way to the form
        assert site.browser().get("/drift", headers={"Host": odd}).headers["location"] == "/login?next=/drift"
    assert browser.post("/login", data={f"field{i}": "x" for i in range(60)}).status_code == 400
    for where in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/login",
        "x" * 600,
        "/a\nb",
        "javascript:alert(1)",
    ):
        assert browser.post("/login", data={"token": TOKEN, "next": where}).headers["location"] == "/"


@ONE
def test_a_form_that_another_site_sends_logs_nobody_in_or_out(site: Site) -> None:
    evil = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ]
    for headers in evil:
        answer = site.browser().post("/login", data={"token": TOKEN}, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        looker = site.looker()
        assert looker.post("/logout", headers=headers).status_code == 403
        assert looker.get("/").status_code == 200
    for headers in (
        {"Origin": site.url},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://a.proxy"},
        {"Sec-Fetch-Site": "none"},
    ):
        assert site.browser().post("/login", data={"token": TOKEN}, headers=headers).status_code == 303


@ONE
def test_a_session_ends_at_logout_also_for_who_kept_its_cookie_and_forged_ones_are_none(site: Site) -> None:
    browser = site.looker()
    kept = browser.cookies["trackwright"]
    assert browser.post("/logout").headers["location"] == "/login"
    assert "trackwright" not in browser.cookies
    thief = site.browser()
    forged = [
        kept,
        "",
        "x",
        "...",
        f"{kept}x",
        kept.replace(".", "..", 1),
        "é" * 20,
        f".9999999999.{'0' * 32}.{'0' * 64}",
    ]
    for cookie in forged:
        thief.cookies.clear()
        header = {"Cookie": f"trackwright={cookie}".encode()}
        assert thief.get("/", headers=header).status_code == 303, cookie


@ONE
def test_failed_tries_are_counted_and_slowed_and_the_token_is_nowhere_in_the_log(site: Site) -> None:
    browser, stream = site.browser("127.0.0.9"), io.StringIO()
    with logs_to(stream):
        said = [browser.post("/login", data={"token": "canary-token"}) for _ in range(7)]
    assert [one.status_code for one in said] == [401] * 5 + [429] * 2
    assert "The token is wrong." in said[0].text
    assert int(said[-1].headers["retry-after"]) >= 1
    assert (
        browser.post("/login", data={"token": TOKEN}).status_code == 429
    )  # the right one too: who guesses learns nothing
    assert "canary" not in stream.getvalue()
    assert site.lab.daemon.metrics.total("tracker_page_logins_total") >= 8


# by themselves, with clocks that are driven


def test_an_address_waits_longer_each_time_and_all_together_are_slowed() -> None:
    now = [0.0]
    tries = Tries(lambda: now[0])
    for _ in range(4):
        tries.failed("10.0.0.1")
        assert tries.wait("10.0.0.1") == 0
    waits = []
    for _ in range(12):
        tries.failed("10.0.0.1")
        waits.append(tries.wait("10.0.0.1"))
        now[0] += waits[-1]
        assert tries.wait("10.0.0.1") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert tries.wait("10.0.0.2") == 0
    tries.failed("10.0.0.1")
    tries.succeeded("10.0.0.1")
    assert tries.wait("10.0.0.1") == 0
    for i in range(5):  # of one line of IPv6 each address is the same
        tries.failed(f"2001:db8::{i}")
    assert tries.wait("2001:db8::ffff") > 0
    assert tries.wait("2001:db8:0:1::") == 0
    for i in range(3000):
        tries.failed(f"10.1.{i // 250}.{i % 250}")
    assert len(tries._failed) == 1000
    assert tries.wait("not an address") > 0
    now[0] += 4000
    assert tries.wait("not an address") == 0


def test_a_session_lasts_eight_hours_and_not_longer_than_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from tests.lab import START

    for name, value in (("A", TOKEN), ("B", KART), ("C", "c" * 30)):
        monkeypatch.setenv(name, value)
    stores = 'stores: {kart: {uses: shopify, shop: x.myshopify.com, access_token: "${env:C}"}}'
    page = load_text(
        f'page: {{token: "${{env:A}}", tokens: {{k: {{token: "${{env:B}}", stores: kart}}}}}}\n{stores}'
    ).root.page
    other = load_text(
        f'page: {{token: "${{env:C}}", tokens: {{z: {{token: "${{env:B}}", stores: kart}}}}}}\n{stores}'
    ).root.page
    now = [START]
    sessions = Sessions(lambda: now[0])
    whole, kart = sessions.begin(Holder("", TOKEN)), sessions.begin(Holder("k", KART, frozenset({"kart"})))

    assert sessions.holder(page, whole) == Holder("", TOKEN)
    assert sessions.holder(page, kart) == Holder("k", KART, frozenset({"kart"}))
    assert sessions.holder(other, whole) is None
    assert sessions.holder(other, kart) is None  # the name is another's now
    now[0] += timedelta(hours=7, minutes=59)
    assert sessions.holder(page, whole)
    now[0] += timedelta(minutes=1)
    assert sessions.holder(page, whole) is None
    for i in range(10_001):
        sessions.end(f"{i}.x")
    assert len(sessions._ended) == 10_000
