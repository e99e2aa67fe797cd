"""`tracker report`: how carriers did, the parcels behind each number, and each form in which it is told."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.lab import DHL, START, TOKEN, UPS, USPS, H, Lab
from tracker.app.api import make_api
from tracker.app.private import Asked, Refusal
from tracker.app.wire import Request
from tracker.cli.common import out
from tracker.cli.main import cli
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import migrate
from tracker.support import report_forms as forms
from tracker.support import report_parcels as behind
from tracker.support import reports
from tracker.upkeep import counting

SINCE = ("--since", "2026-11-01", "--until", "2026-11-30")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return three parcels: one late and tried twice, one on time, one silent; and what reports count of them."""
    folder = tmp_path_factory.mktemp("reports")
    with ExitStack() as stack:
        store = Store(f"sqlite:///{folder}/x.db")
        migrate(store)
        store.close()
        made = Lab(
            f"sqlite:///{folder}/x.db", folder, stack, rest="{preset: kingston-courier, calendar: {zone: Europe/Berlin}}",
            yaml='api: {token: "${file:FOLDER/token}"}\n',
        )  # fmt: skip
        (folder / "tracker.yaml").write_text(made.yaml)
        made.work()
        made.order("#1001", UPS, company="UPS")
        made.order("#1002", DHL, company="DHL")
        made.rest.place("#7", made.clock(), status="Processing", delivery={"method": "=HYPERLINK(1)"})
        made.work()
        made.rest.ship("#7", made.clock(), [{"company": "USPS", "number": USPS}], items={})
        made.work()
        made.scan(made.ups, UPS, "I", "038", edd=START + 20 * H)
        made.scan(made.dhl, DHL, "transit", "transit", country="DE", city="Bonn")
        made.scan(made.easypost, USPS, "in_transit", "departed_facility")
        made.later(7)
        made.scan(made.ups, UPS, "X", "022")
        made.later(45)
        made.scan(made.ups, UPS, "D", "011")
        made.scan(made.dhl, DHL, "delivered", "delivered", country="FR", city="Lyon")
        made.later(7)
        made.later(24 * 9)
        while counting.count(made.ctx):
            pass
        yield made


def run(lab: Lab, *words: str, ends: int = 0) -> Result:
    folder = re.search(r"sqlite:///(.*)/x.db", lab.yaml)
    assert folder is not None
    done = CliRunner().invoke(cli, [*words, "-c", f"{folder[1]}/tracker.yaml"])
    assert done.exit_code == ends, done.output
    return done


def told(lab: Lab, what: str, *words: str) -> Any:
    return json.loads(run(lab, "report", what, *SINCE, "--json", *words).stdout)


def test_each_carrier_is_told_with_what_its_numbers_rest_on(lab: Lab) -> None:
    said = run(lab, "report", "carriers", *SINCE).output

    assert "3 parcels, 2026-11-01 to 2026-11-30 (days of the zone of each store)" in said
    assert "1 of 3 had an estimate that we heard before they were there" in said
    assert f"counted as of {lab.clock():%Y-%m-%d %H:%M}Z\n" in said
    assert re.search(r"ups +1 +0 % of 1 ", said)
    rows = {row["carrier"]: row for row in told(lab, "carriers")["rows"]}
    assert {name: (row["late"], row["estimated"], row["no_estimate"], row["silent"], row["days_p50"]) for name, row in rows.items()} == {
        "ups": (1, 1, 0, 0, 2), "dhl": (0, 0, 1, 0, 2), "usps": (0, 0, 1, 1, None),
    }  # fmt: skip
    assert (rows["dhl"]["first_attempt_share"], rows["usps"]["first_attempt_share"]) == (1.0, None)
    assert set(told(lab, "carriers")["meanings"]) <= rows["ups"].keys()


def test_numbers_are_told_apart_and_the_same_in_all_of_them(lab: Lab) -> None:
    for by in reports.BY:
        one = told(lab, "carriers", "--by", by)
        assert sum(row["parcels"] for row in one["rows"]) == one["total"]["parcels"] == 3
    assert {row["store"] for row in told(lab, "carriers", "--by", "store")["rows"]} == {"shop", "kart"}
    assert {row["week"] for row in told(lab, "carriers", "--by", "week")["rows"]} == {"2026-W45"}
    assert [row["lane"] for row in told(lab, "lanes", "--carrier", "dhl")["rows"]] == ["DE-FR"]
    assert told(lab, "carriers", "--lane", "de-fr", "--store", "shop", "--service", "SHIPPING")["total"]["parcels"] == 1
    assert told(lab, "lanes", "--store", "kart")["rows"][0]["lane"] == "US-?"


def test_problems_have_their_words_and_accounts_their_misses(lab: Lab) -> None:
    said = run(lab, "report", "exceptions", *SINCE).output
    assert "delivery_attempted/" in said
    assert "Delivery was tried; it will be tried again or collected." in said
    assert "no problem was told of any of them" in run(lab, "report", "exceptions", *SINCE, "--carrier", "dhl").output
    lab.change(t.account_days.delete())
    for day, polled, pushed in (("2026-11-02", 1, 3), ("2026-10-31", 9, 9)):
        row = {"account": "ups", "day": day, "payloads": 4, "polled_first": polled, "pushed_first": pushed}
        lab.change(t.account_days.insert().values(row))
    (ups,) = told(lab, "accounts", "--account", "ups")["rows"]
    assert (ups["webhook_told"], ups["only_polled"], ups["miss_rate"]) == (3, 1, 0.25)
    assert "25.0 %" in run(lab, "report", "accounts", *SINCE).output
    assert "miss_rate" not in told(lab, "accounts", "--by", "carrier")["rows"][0]
    assert "--show silent" in " ".join(run(lab, "report", "accounts", *SINCE).output.split())
    for one in ("--store shop", "--carrier ups", "--lane us-us"):  # of them only accounts as a whole are counted
        said = " ".join(run(lab, "report", "accounts", *SINCE, *one.split()).output.split())
        assert "only a poll" not in said
        assert "which webhooks were missed is counted by account and day only: it is told where nothing else" in said
    lab.change(t.account_days.update().where(t.account_days.c.day == "2026-11-02").values(account="seventeen"))
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(kind="carrier", name="seventeen"))
    rows = told(lab, "accounts")["rows"]
    assert [(row["account"], row["parcels"], row["miss_rate"]) for row in rows][-1] == ("seventeen", 0, 0.25)
    lab.change(t.accounts.update().where(t.accounts.c.name == "seventeen").values(kind="store", name="shop"))


def test_each_number_lists_its_parcels_with_the_dates_that_prove_it(lab: Lab) -> None:
    whole = told(lab, "carriers")["total"]
    for number in sorted(behind.SHOWS.keys() & whole.keys()):
        listed = told(lab, "carriers", "--show", number)["parcels"]
        assert len(listed) == whole[number], number
    (late,) = told(lab, "carriers", "--show", "late", "--carrier", "ups")["parcels"]
    assert (late["orders"], late["attempts"], late["days"], late["first_estimate"]) == (
        ["#1001"],
        1,
        2,
        "2026-11-03",  # as UPS says it, to its end in New York
    )
    (problem,) = told(lab, "exceptions")["rows"]
    name = f"{problem['status']}/{problem['reason']}"
    assert len(told(lab, "exceptions", "--show", name)["parcels"]) == problem["parcels"]
    said = run(lab, "report", "carriers", *SINCE, "--show", "late").output
    assert "tracker evidence 1001 -o claim.zip" in said
    assert (
        "no parcel of 2026-11-01 to 2026-11-30 is counted as lost"
        in run(lab, "report", "carriers", *SINCE, "--show", "lost").output
    )
    assert told(lab, "accounts", "--show", "slow_webhooks", "--account", "ups")["parcels"] == []


def test_on_a_narrow_screen_no_number_is_cut_but_what_is_told_comes_in_parts(lab: Lab, monkeypatch) -> None:
    monkeypatch.setattr(out, "_width", 80)
    said = run(lab, "report", "carriers", *SINCE, "--by", "store").output
    table = said.partition("\n\n")[2].partition("counted as of")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert [line for line in said.splitlines() if " of 2)" in line][1].startswith("carriers by store (2 of 2)")
    assert len([line for line in said.splitlines() if re.match(r"usps +kart +", line)]) == 2
    assert f"ups {UPS}" in run(lab, "report", "carriers", *SINCE, "--show", "parcels").output
    assert "of 2)" not in run(lab, "report", "exceptions", *SINCE).output


def test_parcels_come_by_pages(lab: Lab) -> None:
    first = run(lab, "report", "carriers", *SINCE, "--show", "parcels", "--limit", "2").output
    first = "".join(first.split())  # a path may be so long that the line is folded anywhere
    after = re.search(r"more:trackerreportcarriers.*--showparcels--after(\d+)", first)
    assert after is not None
    rest = told(lab, "carriers", "--show", "parcels", "--limit", "2", "--after", after[1])["parcels"]
    every = told(lab, "carriers", "--show", "parcels")["parcels"]
    assert [row["id"] for row in every][2:] == [row["id"] for row in rest]
    for form in ("--csv", "--json"):  # who takes it for all is told that it is not
        cut = run(lab, "report", "carriers", *SINCE, "--show", "parcels", "--limit", "2", form).stderr
        assert cut.startswith("the first 2 only; more: tracker report carriers") and f"--after {after[1]}" in cut
        assert run(lab, "report", "carriers", *SINCE, "--show", "parcels", form).stderr == ""


def test_csv_has_a_head_and_no_formula_and_html_is_one_page_without_a_script(lab: Lab, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(lab, "report", "carriers", *SINCE, "--csv", "--by", "service").output)))
    assert {row["service"] for row in rows} == {"SHIPPING", "'=HYPERLINK(1)"}
    assert rows[0].keys() >= reports.MEANINGS.keys()
    parcels = run(lab, "report", "carriers", *SINCE, "--csv", "--show", "late").output.splitlines()
    assert (parcels[0].split(",")[:3], len(parcels)) == (["id", "parcel", "orders"], 2)
    heads = run(lab, "report", "exceptions", *SINCE, "--carrier", "dhl", "--csv").output
    assert heads == "carrier,status,reason,parcels,of,share\n"
    page = tmp_path / "page.html"
    run(lab, "report", "carriers", *SINCE, "--html", "--by", "service", "-o", str(page))
    text = page.read_text()
    assert "=HYPERLINK(1)" in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=", text)
    assert run(lab, "report", "exceptions", *SINCE, "--html").output.count("<svg") == 1


def test_what_cannot_be_asked_says_why(lab: Lab, tmp_path: Path) -> None:
    for words, says in (
        (("--carrier", "nobody"), "no carrier 'nobody': "),
        (("--account", "nobody"), "no store or account 'nobody'"),
        (("--store", "nobody"), "no store 'nobody': "),
        (("--since", "2031-01-01"), "since 2031-01-01 lies ahead"),
        (("--since", "2026-11-05", "--until", "2026-11-04"), "until 2026-11-04 lies before since 2026-11-05"),
        (("--since", ""), "since '': a day such as 2026-11-01"),
        (("--since", "yesterday"), "since 'yesterday': a day such as 2026-11-01"),
        (("--since", "1900-01-01"), "more than ten years"),
        (("--lane", "Germany"), "lane 'Germany': two countries"),
        (("--show", "luck"), "show 'luck': one of parcels, "),
        (("--show", "exception/%"), "show 'exception/%'"),
        (("--show", "late", "--after", "99"), "after 99: no parcel of that id is counted"),
        (("--after", "9"), "--after needs --show"),
        (("--csv", "--json"), "exclude each other"),
        (("-o", str(tmp_path / "x")), "-o needs --csv, --json or --html"),
    ):
        assert says in run(lab, "report", "carriers", *words, ends=2).output
    nothing = run(lab, "report", "carriers", "--since", "2025-01-01", "--until", "2025-01-31").output
    assert nothing.startswith("no parcel of 2025-01-01 to 2025-01-31")
    assert "; known are the days from 2026-11-02 to 2026-11-02" in nothing
    assert run(lab, "report", "carriers", "--since", "9999d", ends=2).output
    assert run(lab, "report", "carriers", "--since", "0d").output.startswith("no parcel of ")


def test_how_far_was_counted_is_told_and_an_unfinished_count_is_no_success(lab: Lab) -> None:
    before = lab.one(t.report_state)
    lab.change(t.shipments.update().where(t.shipments.c.number == UPS).values(recount=True))
    assert "; 1 parcel changed since" in run(lab, "report", "carriers", *SINCE).output
    lab.change(t.shipments.update().values(recount=None))
    lab.change(t.report_state.update().values(whole_at=None, walked_to=1, walk_ends=3))
    assert "parcels up to number 1 of 3 (33 %)" in run(lab, "report", "carriers", *SINCE, ends=1).output
    lab.change(t.report_state.delete())
    assert run(lab, "report", "carriers", *SINCE, ends=1).output.count("nothing is counted yet") == 1
    assert "nothing is counted yet" in run(lab, "report", "carriers", *SINCE, "--csv", ends=1).stderr
    lab.change(t.report_state.insert().values(**before._mapping))


def test_the_read_api_tells_the_same_and_a_limited_token_its_stores_only(lab: Lab) -> None:
    answer = make_api(lab.ctx)

    def get(path: str) -> Any:
        asked = Asked(Request("GET", path, {"authorization": f"Bearer {TOKEN}"}, b"", False, url=path.encode()))
        return json.loads(answer(asked).body)

    assert get("/reports/carriers?since=2026-11-01&until=2026-11-30")["total"] == told(lab, "carriers")["total"]
    (late,) = get("/reports/carriers/parcels?since=2026-11-01&show=late")
    assert late["orders"] == ["#1001"]
    for path, says in (
        ("/reports/nothing", "there is no such report"), ("/reports/carriers?since=x", "since 'x'"), ("/reports/carriers?by=x", "by: must be"),
        ("/reports/carriers/parcels?show=x", "show 'x'"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=says):
            get(path)
    ask = reports.asked(lab.ctx, since="2026-11-01", store=frozenset({"kart", "shop"}))
    assert reports.report(lab.ctx, "accounts", ask)["total"]["parcels"] == 3
    assert reports.report(lab.ctx, "accounts", ask)["store"] == ["kart", "shop"]
    assert len(behind.parcels_of(lab.ctx, "parcels", ask)) == 3


def test_a_number_is_written_with_how_little_it_rests_on() -> None:
    row = reports.measures(
        {"parcels": 4, "days/2": 3, "days/9": 1, "delay/120": 2, "delay/1000000000": 2, "delay/15": 1, "attempt/yes": 1}
    )
    assert [forms.shown(key, row) for key in ("days_p50", "days_p95", "webhook_delay_p50", "webhook_delay_p95", "on_time")] == [
        "2 (of 4)", "9 (of 4)", "≤ 2 min", "> 7 d", "-",
    ]  # fmt: skip
    assert forms.shown("webhook_delay_p50", reports.measures({"delay/15": 9})) == "≤ 15 s"
    assert forms.shown("first_attempt", reports.measures({"attempt/yes": 2, "attempt/no": 1})) == "66.7 % of 3"
    assert forms.shown("miss_rate", {"miss_rate": None}) == "-"
    few, many, none = ((1, 4_999), (4_999, 1), (0, 5))  # none and all are told apart from nearly so
    shares = [{"miss_rate": 0.0, "only_polled": missed, "webhook_told": came} for missed, came in (few, many, none)]
    assert [forms.shown("miss_rate", row) for row in shares] == ["< 0.1 %", "> 99.9 %", "0 %"]
    assert [forms.safe_cell(value) for value in ("@x", "\tx", "\uff1dx", "x", None, 3, ["-a", "b"])] == [
        "'@x",
        "'\tx",
        "'\uff1dx",
        "x",
        "",
        3,
        "'-a|b",
    ]
