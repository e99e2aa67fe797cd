"""The page over real HTTP: what each view says, that hostile words are text, and that nothing is changed by it."""

from __future__ import annotations

import io
import re
from html import unescape
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.app.looking import KART, ONE, Reader, Site, addresses
from tests.lab import UPS, USPS
from tracker.app.page import views
from tracker.app.page.views import VIEWS
from tracker.app.telemetry import logs_to
from tracker.store import tables as t
from tracker.upkeep.erase import erase


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
    for path in ("/", "/drift", "/findings"):  # of a store that nobody knows, nothing is fine
        assert browser.get(f"{path}?store=nowhere").status_code == 404
    assert "no such drift: of " in browser.get("/drift?kind=withdrawn").text
    assert "no such finding: of " in browser.get("/findings?kind=out_of_stock").text
    one = Reader(browser.get("/?store=kart").text).text
    assert "tracker outbox --store kart --today" in one
    assert "--store shop" not in one
    assert "Accounts of carriers" not in one
    found = browser.get("/findings?severity=urgent").text
    assert "tracker dismiss" in found
    assert " tells" in found
    status = Reader(browser.get("/").text).text
    assert "WRONG, 2 things; first: no process runs" in status
    assert "cancelled but moving" in status
    assert "tracker outbox --store shop --today" in status


@ONE
def test_what_others_wrote_is_no_command_to_copy_and_ours_is_one_that_a_shell_takes(site: Site) -> None:
    eight, o = site.order("#8").id, t.orders
    odd = "`reboot`\x1b[31m\u202e'"
    site.lab.change(o.update().where(o.c.id == eight).values(number=odd))
    try:
        browser = site.looker()
        html = browser.get(f"/orders/{eight}").text
        found = browser.get("/find", params={"q": odd, "store": "shop"})  # as lists lead to it
        assert found.headers["location"] == f"/orders/{eight}"
    finally:
        site.lab.change(o.update().where(o.c.id == eight).values(number="#8"))
    told = [unescape(one) for one in re.findall("<code>(.*?)</code>", html)]
    assert told[0] == r"tracker explain $'\x60reboot\x60\x1b[31m\xe2\x80\xae\x27'"
    assert all(one.startswith("tracker ") for one in told)
    assert "order reboot [31m" in html
    assert not {"\x1b", "\u202e"} & set(html)


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
    (urgent,) = (row.id for row in site.lab.rows(t.findings) if (row.store, row.severity) == ("shop", "urgent"))
    # nor how urgent a finding of others is, by what comes behind it
    behind = re.findall(r"tracker dismiss (\d+)", browser.get(f"/findings?after={urgent}").text)
    assert [int(one) for one in behind if int(one) > urgent] == []
    listed = browser.get("/drift").text + browser.get("/findings?closed=true").text + browser.get("/").text
    assert "<td>kart</td>" in listed
    assert "<td>shop</td>" not in listed
    assert "<td>shop</td>" in whole.get("/findings?closed=true").text


@ONE
def test_how_many_parcels_others_have_is_not_told_by_how_far_was_counted(site: Site) -> None:
    (state,), s = site.lab.rows(t.report_state), t.shipments
    everybody, one = site.looker(), site.looker(KART)
    site.lab.change(s.update().where(s.c.number == USPS).values(recount=True))
    try:
        assert "; 1 parcel changed since" in everybody.get("/carriers").text
        assert "; some parcels changed since" in one.get("/carriers").text
        site.lab.change(t.report_state.update().values(whole_at=None, walked_to=4_321, walk_ends=8_642))
        assert "parcels up to number 4,321 of 8,642 (50 %); the rest is missing" in everybody.get("/carriers").text
        assert "still counting: 50 %; the rest is missing" in one.get("/carriers").text
    finally:
        kept = {name: state._mapping[name] for name in ("whole_at", "walked_to", "walk_ends")}
        site.lab.change(t.report_state.update().values(kept))
        site.lab.change(s.update().values(recount=False))


@ONE
def test_a_payload_is_shown_part_by_part_as_text_and_only_as_much_as_can_be_read(site: Site) -> None:
    row = site.lab.rows(t.inbox, t.inbox.c.account == "ups")[0]
    numbers = b'{"n":9400111206206406260787,"a":[],"s":"\\u00e9: [x, \\"y\\"","f":[1.10,{}]}'
    deep = b"[" * 300 + b"]" * 300
    head = b"<b>\x00\xff</b>"
    body = head + numbers + deep + b"[1," + b" " * 70_000 + b"2]"
    with site.lab.daemon.store.write() as connection:
        made = dict(row._mapping) | {
            "body": body,
            "part_sizes": [len(head), len(numbers), 0, len(deep), len(body) - len(head + numbers + deep)],
            "dedupe_key": "x",
            "size": len(body),
        }
        del made["id"]
        id_ = connection.execute(t.inbox.insert().values(made)).inserted_primary_key[0]
    try:
        page = site.looker().get(f"/payloads/{id_}").text
    finally:
        site.lab.change(t.inbox.delete().where(t.inbox.c.id == id_))

    assert "&lt;b&gt;\ufffd\ufffd&lt;/b&gt;" in page
    assert "Only the first 65,536 bytes are shown" in page
    parts = page.split("</pre>")
    assert len(parts) == 5
    # a number of so many digits would be another if it were read as one
    lines = [
        "{",
        '  "n": 9400111206206406260787,',
        '  "a": [],',
        '  "s": "é: [x, \\"y\\"",',
        '  "f": [',
        "    1.10,",
        "    {}",
        "  ]",
        "}",
    ]
    assert Reader(parts[1]).text.strip().endswith("\n".join(lines))
    assert parts[2].count("[") == 300


@ONE
def test_an_order_whose_personal_texts_were_erased_says_so_and_keeps_its_picture(site: Site) -> None:
    erase(site.lab.ctx, site.order("#8"), "ana")
    page = site.looker().get(f"/orders/{site.order('#8').id}")

    assert "what may name a person" in page.text
    assert 'class="mark version' in page.text


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
