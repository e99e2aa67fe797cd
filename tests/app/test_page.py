"""The page over real HTTP: who may look, what each view says, that hostile words are text, and that nothing is changed by it."""

from __future__ import annotations

import io
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from tests.app.test_web import WEB
from tests.conftest import _database
from tests.lab import TOKEN, UPS, USPS, Lab
from tracker.app.page import views
from tracker.app.page.login import Sessions, Tries
from tracker.app.page.views import VIEWS
from tracker.app.servers import Servers
from tracker.app.telemetry import logs_to
from tracker.app.tokens import Holder
from tracker.config.load import load_text
from tracker.store import tables as t
from tracker.upkeep import counting

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}<img src=//evil.example onerror=x>\x1b[31m\u202egnp"
KART = "kart-token-of-24-characters"
PAGE = """
page: {port: 0, token: "${file:FOLDER/token}", tokens: {kart: {token: "${file:FOLDER/kart}", stores: kart}}}
"""
ONE = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


class Site:
    """An installation with two shops, and browsers that look at it."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab = lab
        self.servers = Servers(lab.ctx, list, lambda: b"")
        thread = threading.Thread(target=self.servers.run, daemon=True)
        thread.start()
        assert self.servers.started(), self.servers.problem
        stack.callback(thread.join, 5)
        stack.callback(self.servers.stop)
        self._stack = stack
        self.url = f"http://127.0.0.1:{self.servers.ports()[-1]}"

    def browser(self, address: str = "127.0.0.1") -> httpx.Client:
        way = httpx.HTTPTransport(local_address=address)
        return self._stack.enter_context(httpx.Client(base_url=self.url, trust_env=False, timeout=20, transport=way))

    def looker(self, token: str = TOKEN) -> httpx.Client:
        browser = self.browser()
        assert browser.post("/login", data={"token": token}).status_code == 303
        return browser

    def order(self, number: str) -> Any:
        return self.lab.one(
            t.orders, t.orders.c.number == number, t.orders.c.store == ("kart" if number == "#7" else "shop")
        )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "kart").touch(mode=0o600)
    (folder / "kart").write_text(KART)
    with ExitStack() as stack:
        if request.param == "sqlite":
            shutil.copy(migrated_file, folder / "x.db")
            url = f"sqlite:///{folder}/x.db"
        else:
            server, template = request.getfixturevalue("postgres"), request.getfixturevalue("template")
            url = stack.enter_context(_database(server, template=template))
        yield Site(_play(Lab(url, folder, stack, rest="{preset: kingston-courier}", yaml=WEB + PAGE)), stack)


def _play(lab: Lab) -> Lab:
    lab.work()
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.order("#7", USPS)
    lab.order("#8", "00340434161094042557", company="DHL")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038", hours=1)
    lab.scan(lab.ups, UPS, "I", "998", hours=1, text=HOSTILE + " signed by MARGARET SMITH")
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=1)
    lab.later(8)
    lab.rest.set("#7", "seller", status="Delivered")
    lab.shop.set("#7", cancelledAt="2026-11-02T08:00:00Z")
    lab.work()
    lab.later(26)
    counting.count(lab.ctx)
    return lab


class Reader(HTMLParser):
    """Reads a page as a browser does: its elements, and the texts that are shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [str(attrs["href"]) for tag, attrs in self.tags if tag == "a" and attrs.get("href")]


def addresses(site: Site) -> list[str]:
    payload = site.lab.rows(t.inbox)[0].id
    parcel = site.lab.parcel(UPS).id
    return [
        "/", "/drift", "/findings?closed=true", "/accounts", "/codes", "/find?q=7", f"/orders/{site.order('#7').id}", f"/parcels/{parcel}",
        f"/payloads/{payload}", "/carriers", "/carriers/parcels?show=handed_over",
    ]  # fmt: skip


def test_each_view_is_a_page_without_script_or_style_of_its_own_and_leads_to_pages_that_are_there(site: Site) -> None:
    browser = site.looker()
    todo, seen = addresses(site), set[str]()
    assert len(todo) == len(VIEWS)
    while todo and len(seen) < 60:
        path = todo.pop(0)
        seen.add(path)
        answer = browser.get(path, follow_redirects=True)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Reader(answer.text)
        names = {tag for tag, _ in page.tags}
        assert not names & {"script", "style", "iframe", "img", "object", "embed", "base"}, path
        assert not [
            attrs for _, attrs in page.tags if any(name.startswith("on") or name == "style" for name in attrs)
        ], path
        assert [attrs["href"] for tag, attrs in page.tags if tag == "link"] == ["/style.css", "/icon.svg"]
        for link in page.links():
            assert link.startswith(("/", "#")), (path, link)
            assert not link.startswith("//")
            if link.startswith("#"):
                assert [1 for _, attrs in page.tags if attrs.get("id") == link[1:]], (path, link)
            elif link not in seen and link not in todo:
                todo.append(link)


def test_each_answer_tells_browsers_to_be_strict(site: Site) -> None:
    browser = site.looker()
    for path in (*addresses(site), "/login", "/style.css", "/icon.svg", "/nowhere", "/orders/999999", "/drift?kind=x"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert "script" not in headers["content-security-policy"]
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert headers["referrer-policy"] == "same-origin"


@ONE
def test_carriers_words_are_text_wherever_they_stand_and_names_of_persons_are_not_shown(site: Site) -> None:
    browser = site.looker()
    payload = site.lab.rows(t.inbox, t.inbox.c.account == "ups", t.inbox.c.body.isnot(None))[-1]
    for path in (
        f"/orders/{site.order('#7').id}",
        f"/parcels/{site.lab.parcel(UPS).id}",
        "/codes",
        f"/payloads/{payload.id}",
    ):
        html = (
            browser.get(path).text
            if "orders" not in path
            else browser.get(f"/orders/{site.lab.one(t.orders, t.orders.c.store == 'kart').id}").text
        )
        assert "<script>alert(1)" not in html, path
        assert "<script>alert(1)</script>" in Reader(html).text or "\\u003cscript" in html, path
        assert "\x1b" not in html
        assert "\u202e" not in html
    order = site.lab.one(t.orders, t.orders.c.store == "kart").id
    shy = browser.get(f"/orders/{order}").text
    assert "signed by (a name, not shown)" in shy
    assert "MARGARET" not in shy
    assert "MARGARET SMITH" in browser.get(f"/orders/{order}?names=shown").text


@ONE
def test_a_drift_and_a_finding_say_what_heals_them_as_a_command(site: Site) -> None:
    browser = site.looker()
    drift = Reader(browser.get("/drift").text).text
    assert "cancelled but moving" in drift
    assert re.search(r"tracker record '#7' accepted --store shop", drift)
    assert browser.get("/drift?kind=shop_behind&store=kart").status_code == 200
    found = browser.get("/findings?severity=urgent").text
    assert "tracker dismiss" in found
    status = Reader(browser.get("/").text).text
    assert "WRONG, 2 things; first: no process runs" in status
    assert "cancelled but moving" in status
    assert "tracker outbox --store shop --today" in status


@ONE
def test_each_number_of_a_report_leads_to_its_parcels(site: Site) -> None:
    browser = site.looker()
    page = Reader(browser.get("/carriers").text)
    assert "How carriers did" in page.text
    assert "counted as of" in page.text
    links = [link for link in page.links() if link.startswith("/carriers/parcels?")]
    assert any("carrier=ups" in link and "show=parcels" in link for link in links)
    for link in links:
        answer = browser.get(link)
        assert answer.status_code == 200, link
    parcels = browser.get("/carriers/parcels?carrier=ups&show=parcels").text
    assert UPS in parcels
    assert (
        "tracker evidence &#39;#7&#39; -o pack.zip" in parcels
        or "tracker evidence '#7' -o pack.zip" in Reader(parcels).text
    )
    for query in (
        "report=lanes",
        "report=exceptions",
        "report=accounts",
        "by=store",
        "by=week",
        "since=2026-11-01",
        "store=kart",
    ):
        assert browser.get(f"/carriers?{query}").status_code == 200, query
    for query, said in (
        ("since=x", "since 'x'"),
        ("report=x", "report: must be one of"),
        ("since=2999-01-01", "lies ahead"),
    ):
        answer = browser.get(f"/carriers?{query}")
        assert (answer.status_code, said in Reader(answer.text).text) == (400, True), query
    for query in ("show=x", "after=999999", "lane=x"):
        assert browser.get(f"/carriers/parcels?{query}").status_code == 400, query
    mine = site.looker(KART).get("/carriers/parcels?show=parcels").text
    assert UPS in mine
    assert USPS not in mine


@ONE
def test_an_order_is_found_by_its_number_and_by_that_of_its_parcel(site: Site) -> None:
    browser = site.looker()
    kart, eight = site.lab.one(t.orders, t.orders.c.store == "kart").id, site.order("#8").id
    assert browser.get("/find?q=8").headers["location"] == f"/orders/{eight}"
    assert browser.get("/find?q=7&store=kart").headers["location"] == f"/orders/{kart}"
    assert browser.get(f"/find?q={UPS}").headers["location"] == f"/parcels/{site.lab.parcel(UPS).id}"
    several = Reader(browser.get("/find?q=7").text)
    assert f"/orders/{kart}" in several.links()
    assert "Nothing is known of it; the number could be of ups" in browser.get("/find?q=1ZR589400357568494").text
    assert browser.get("/find?q=%20").status_code == 400


@ONE
def test_a_token_that_is_limited_sees_its_store_and_of_others_not_whether_they_are_there(site: Site) -> None:
    browser, whole = site.looker(KART), site.looker()
    mine, others = site.lab.one(t.orders, t.orders.c.store == "kart").id, site.order("#8").id
    page = browser.get(f"/orders/{mine}")
    assert page.status_code == 200
    assert "You see kart." in page.text
    assert "/accounts" not in Reader(page.text).links()
    kinds = {row.account: row.id for row in site.lab.rows(t.inbox)}
    assert browser.get(f"/payloads/{kinds['kart']}").status_code == 200
    assert browser.get(f"/parcels/{site.lab.parcel(UPS).id}").status_code == 200
    hidden = [
        f"/orders/{others}", f"/parcels/{site.lab.parcel(USPS).id}", f"/payloads/{kinds['ups']}", f"/payloads/{kinds['shop']}", "/accounts", "/codes",
        "/drift?store=shop", "/findings?store=nowhere", "/carriers?store=shop",
    ]  # fmt: skip
    for path in hidden:
        there, absent = browser.get(path), browser.get(re.sub(r"\d+", "987654", path).replace("=shop", "=elsewhere"))
        assert (there.status_code, absent.status_code) == (404, 404), path
        assert there.text.replace("=shop", "") == absent.text.replace("=elsewhere", ""), path
    assert "Nothing is known of it" in browser.get("/find?q=8").text
    assert "Nothing is known of it" in browser.get(f"/find?q={USPS}").text
    listed = browser.get("/drift").text + browser.get("/findings?closed=true").text + browser.get("/").text
    assert "<td>kart</td>" in listed
    assert "<td>shop</td>" not in listed
    assert "<td>shop</td>" in whole.get("/findings?closed=true").text


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
    behind = browser.post("/login", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
    assert "; Secure" in behind.headers["set-cookie"]
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
def test_nothing_is_changed_by_the_page(site: Site) -> None:
    before = {name: site.lab.rows(table) for name, table in t.METADATA.tables.items()}
    browser = site.looker()
    for path in addresses(site):
        assert browser.get(path, follow_redirects=True).status_code == 200
        assert browser.head(path).content == b""
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = browser.request(method, path)
            assert answer.status_code == 405, (method, path)
            assert "GET" in answer.headers["allow"]
    assert {name: site.lab.rows(table) for name, table in t.METADATA.tables.items()} == before


@ONE
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/drift?kind=x", "kind: must be one of"), ("/findings?after=x", "after: must be a whole number"), ("/findings?after=" + "9" * 30, "whole number"),
        ("/drift?store=%00", "control character"), ("/find?q=%ff", "not UTF-8"), ("/find?q=" + "a" * 600, "more than 500"), ("/?" + "a=b&" * 60, "at most 50"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_said(site: Site, path: str, said: str) -> None:
    answer = site.looker().get(path)

    assert answer.status_code == 400
    assert said in Reader(answer.text).text


@ONE
@pytest.mark.parametrize(
    "path",
    ["/orders/999999", "/parcels/999999", "/payloads/" + "9" * 30, "/orders/x", "/nowhere", "/orders/1/2", "/drift/"],
)
def test_what_is_not_there_is_a_404(site: Site, path: str) -> None:
    answer = site.looker().get(path)

    assert answer.status_code == 404, answer.headers
    assert "Not here" in answer.text


@ONE
def test_a_database_that_is_away_is_a_503_and_a_defect_a_500_with_an_id(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: Exception) -> Any:
        def broken(*_: Any, **__: Any) -> Any:
            raise error

        return broken

    browser, stream = site.looker(), io.StringIO()
    with logs_to(stream):
        monkeypatch.setattr(views.lists, "drift", raising(OperationalError("SELECT canary", {}, Exception())))
        away = browser.get("/drift")
        monkeypatch.setattr(views.lists, "drift", raising(KeyError("canary")))
        broken = browser.get("/drift")

    assert (away.status_code, broken.status_code) == (503, 500)
    (known_by,) = re.findall(r"The log tells of it as (\w+)\.", broken.text)
    assert known_by in stream.getvalue()
    assert "canary" not in stream.getvalue() + away.text + broken.text


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
