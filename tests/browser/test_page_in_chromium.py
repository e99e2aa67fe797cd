"""The page in Debian's Chromium, driven by Playwright: what people see, read by keyboard, on a phone, in the dark."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import picture
from tests.app.looking import HOSTILE, KART, PAGE, Site
from tests.app.test_web import WEB
from tests.lab import TOKEN, Lab
from tracker.store import tables as t
from tracker.upkeep import counting

pytestmark = pytest.mark.browser
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
OTHER = "1ZR589400357568494"
# the numbers of the marks where something else is on top
COVERED = """[...document.querySelectorAll('svg.picture g.mark')].filter(one => {
  one.scrollIntoView({block: 'center', inline: 'center'});
  const box = one.querySelector('text').getBoundingClientRect();
  const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return !top || top.closest('g.mark') !== one;
}).map(one => one.textContent)"""
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "kart").touch(mode=0o600)
    (folder / "kart").write_text(KART)
    with ExitStack() as stack:
        lab = Lab(
            f"sqlite:///{folder}/x.db",
            folder,
            stack,
            rest="{preset: kingston-courier}",
            yaml=WEB.replace("50}", "500}") + PAGE,
        )
        picture.play(lab)
        lab.order("#1002", OTHER, company="UPS")
        lab.work()
        lab.scan(lab.ups, OTHER, "I", "038")
        lab.scan(lab.ups, OTHER, "I", "998", text=HOSTILE)
        for i in range(40):  # at one moment
            lab.scan(lab.ups, OTHER, "I", "005", letters="AR", text=f"On the Way {i}", city=f"PLACE {i}")
        lab.later(8)
        lab.shop.set("#1002", cancelledAt="2026-11-06T08:00:00Z")
        lab.work()
        lab.later(8)
        counting.count(lab.ctx)
        yield Site(lab, stack)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        yield browser
        browser.close()


class Seen:
    """A page in a browser, and all that it asked for and complained of."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def login(self, token: str = TOKEN) -> Page:
        page = self.go("/login")
        page.fill("#token", token)
        page.click("main button")
        return page

    def asked_nobody_else(self) -> bool:
        return {urlsplit(url).netloc for url in self.asked} == {urlsplit(self.url).netloc}


@pytest.fixture
def look(site: Site, chromium: Browser) -> Iterator[Callable[..., Seen]]:
    with ExitStack() as stack:

        def build(**more: Any) -> Seen:
            context = chromium.new_context(**{"viewport": DESK, **more})
            stack.callback(context.close)
            return Seen(context.new_page(), site.url)

        yield build


def addresses(site: Site) -> list[str]:
    lab = site.lab
    order, payload = (
        lab.one(t.orders, t.orders.c.number == "#1002").id,
        lab.rows(t.inbox, t.inbox.c.account == "ups")[-1].id,
    )
    return [
        "/", "/drift", "/findings?closed=true", "/accounts", "/codes", "/find?q=nothing", f"/orders/{order}", f"/parcels/{lab.parcel(OTHER).id}",
        f"/payloads/{payload}", "/orders/987654", "/carriers", "/carriers/parcels?show=parcels",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_view_and_nothing_is_asked_elsewhere(
    site: Site, look: Any, size: dict[str, int], scheme: str
) -> None:
    seen = look(viewport=size, color_scheme=scheme)
    found: dict[str, Any] = {}

    def check(path: str) -> None:
        told = Axe().run(seen.page)
        if told.violations_count:
            found[path] = told.generate_report()
        wide = seen.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 0:
            found[f"{path}: wider than the window"] = wide

    seen.go("/login")
    check("/login")
    seen.login("wrong")
    check("/login, wrong")
    seen.login()
    for path in addresses(site):
        seen.go(path)
        check(path)

    assert found == {}
    assert seen.asked_nobody_else()
    assert [said for said in seen.complaints if "401" not in said and "404" not in said] == []


@pytest.mark.parametrize("number", ["#1001", "#1002"])
def test_the_picture_holds_every_scan_and_none_hides_another(site: Site, look: Any, number: str) -> None:
    seen = look()
    seen.login()
    page = seen.go(f"/orders/{site.lab.one(t.orders, t.orders.c.number == number).id}")
    parcels = [row.id for row in site.lab.rows(t.shipments) if (row.number == OTHER) == (number == "#1002")]
    scans = site.lab.rows(t.scans, t.scans.c.shipment_id.in_(parcels))

    marks = page.locator("svg.picture g.mark.scan, svg.picture g.mark.withdrawn")
    assert marks.count() == len(scans) == (12 if number == "#1001" else 42)
    everything = page.locator("svg.picture g.mark")
    assert everything.count() == page.locator("table.story tbody tr").count()
    covered = page.evaluate(COVERED)
    assert covered == []  # whoever clicks the number of a mark hits that mark


def test_a_mark_leads_to_its_row_and_the_row_to_the_payload(site: Site, look: Any) -> None:
    seen = look(java_script_enabled=False)
    seen.login()
    page = seen.go(f"/orders/{site.lab.one(t.orders, t.orders.c.number == '#1001').id}")
    page.locator("svg.picture a", has=page.locator("g.mark.scan")).first.click()
    number = urlsplit(page.url).fragment
    row = page.locator(f"#{number}")
    expect(row).to_be_in_viewport()
    expect(row).to_contain_text("Shipper created a label")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("of ups")
    expect(page.locator("pre").first).to_contain_text("Shipper created a label")


def test_a_carriers_hostile_words_are_seen_as_words(site: Site, look: Any) -> None:
    seen = look()
    seen.login()
    for path in addresses(site):
        page = seen.go(path)
        assert page.locator("script, iframe, img, object, embed").count() == 0, path
    page = seen.go(addresses(site)[6])
    expect(page.locator("table.story")).to_contain_text("<script>alert(1)</script>")
    expect(page.locator("table.story")).to_contain_text("{{7*7}}")
    assert seen.asked_nobody_else()
    assert [said for said in seen.complaints if "404" not in said] == []


def test_all_is_reached_by_keyboard_and_one_sees_where_one_is(site: Site, look: Any) -> None:
    seen = look()
    seen.login()
    page = seen.go(addresses(site)[6])
    wanted = page.locator("a[href], button, input:not([type=hidden]), [tabindex='0']").count()
    reached: list[str] = []
    where = (
        "(() => { const one = document.activeElement; if (one === document.body) return null;"
        " window.met = window.met || new Map(); if (!window.met.has(one)) window.met.set(one, window.met.size);"
        " const look = getComputedStyle(one), mark = one.querySelector && one.querySelector('.shape');"
        " const seen = look.outlineStyle !== 'none' || (mark && getComputedStyle(mark).strokeWidth !== '1.25px');"
        " return window.met.get(one) + (seen ? '' : ' unseen ' + one.outerHTML.slice(0, 80)); })()"
    )
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        if (at := page.evaluate(where)) is None:
            break
        reached.append(at)
    assert len(dict.fromkeys(reached)) == wanted
    assert [one for one in reached if "unseen" in one] == []
    page = seen.go("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_one_logs_in_and_out_without_scripts_and_a_wrong_token_is_told(site: Site, look: Any) -> None:
    seen = look(java_script_enabled=False)
    page = seen.go("/drift")
    expect(page).to_have_url(f"{site.url}/login?next=/drift")
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The token is wrong.")
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/drift")
    expect(page.locator("main code").first).to_contain_text("tracker ")
    page.get_by_label("Order or tracking number").fill("1001")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/orders/\d+$"))
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{site.url}/login")
    assert page.context.cookies() == []
    page.go_back()
    expect(page.locator("table.story")).to_have_count(0)


def test_a_form_of_another_site_does_not_log_in(site: Site, look: Any, tmp_path: Path) -> None:
    seen = look()
    evil = tmp_path / "evil.html"
    evil.write_text(
        f'<form method="post" action="{site.url}/login"><input name="token" value="{TOKEN}"><button>x</button></form>'
    )
    seen.page.goto(f"file://{evil}")
    seen.page.click("button")
    expect(seen.page.get_by_role("heading", level=1)).to_have_text("Not from there")
    assert seen.page.context.cookies() == []
