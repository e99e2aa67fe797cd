"""A token that is limited to stores sees what is theirs, and of anything else not even whether it is there: over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.conftest import _database
from tests.lab import DHL, TOKEN, UPS, USPS, H, Lab
from tracker.app.api import LIMITED, PATHS
from tracker.app.daemon import Daemon
from tracker.config.load import load_text
from tracker.domain.errors import ConfigError
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.store import tables as t

MINE, OTHERS = "mine-12345678901234567890", "others-12345678901234567890"
API = """
api: {port: 0, token: "${file:FOLDER/token}", tokens: {kart: {token: "${file:FOLDER/mine}", stores: kart},
      all: {token: "${file:FOLDER/others}", stores: [kart, shop]}}}
web: {port: 0, ops_port: 0}
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Lab]:
    """Return two shops with an order of the same number each, parcels, findings, drifts and writes; and an account's finding."""
    folder = tmp_path_factory.mktemp("limited")
    for name, value in (("mine", MINE), ("others", OTHERS)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(value)
    with ExitStack() as stack:
        if request.param == "sqlite":
            shutil.copy(migrated_file, folder / "x.db")
            url = f"sqlite:///{folder}/x.db"
        else:
            server, template = request.getfixturevalue("postgres"), request.getfixturevalue("template")
            url = stack.enter_context(_database(server, template=template))
        yield _play(Lab(url, folder, stack, rest="{preset: kingston-courier}", yaml=API))


def _play(made: Lab) -> Lab:
    made.work()
    made.rest.place("#7", made.clock(), status="Processing", delivery={"method": "courier"})
    made.rest.ship("#7", made.clock(), [{"company": "UPS", "number": UPS}], items={})
    made.order("#7", USPS)
    made.order("#8", DHL, company="Royal Mail")
    made.work()
    made.scan(made.ups, UPS, "I", "038", hours=1)
    made.scan(made.ups, UPS, "I", "998", hours=1)
    made.scan(made.easypost, USPS, "in_transit", "departed_facility", hours=1)
    made.later(8)
    made.rest.set("#7", "seller", status="Delivered")
    made.shop.set("#7", cancelledAt="2026-11-02T08:00:00Z")
    made.work()
    made.later(26)
    with made.ctx.store.write() as connection:
        parked = Finding(FindingKind.ACCOUNT_PARKED, "account/ups", Severity.URGENT, Act.ACT, {"account": "ups"})
        tell.report_findings(made.ctx, connection, [(None, parked)], made.clock(), by="account")
    assert {row.store for row in made.rows(t.findings)} == {"kart", "shop", None}
    return made


@pytest.fixture(scope="module")
def api(lab: Lab) -> Iterator[Any]:
    daemon = Daemon(load_text(lab.yaml), frozenset({"web"}), now=lab.clock, notifier=lab.notifier)
    daemon.connect()
    daemon.start()
    assert daemon.servers is not None
    with httpx.Client(base_url=f"http://127.0.0.1:{daemon.servers.ports()[2]}", trust_env=False) as client:

        def get(path: str, token: str = MINE, **query: str) -> httpx.Response:
            return client.get(path, params=query, headers={"Authorization": f"Bearer {token}"})

        yield get
    daemon.stop()


def shape(value: Any) -> Any:
    """Return the keys of an answer, of each row alike."""
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return dict.fromkeys(value) if isinstance(value, dict) else None


@pytest.mark.parametrize("path", ["/drift", "/findings", "/stuck", "/outbox"])
def test_a_list_holds_the_rows_of_its_stores_and_no_others(api: Any, path: str) -> None:
    mine, all_, whole = api(path).json(), api(path, OTHERS).json(), api(path, TOKEN).json()

    assert {row["store"] for row in mine} <= {"kart"}
    assert [row for row in whole if row["store"] == "kart"] == mine
    assert [row for row in whole if row["store"] in ("kart", "shop")] == all_
    assert api(path, store="kart").json() == mine
    assert path == "/stuck" or (mine and len(mine) < len(whole))
    assert shape(mine) in ([], shape(whole))


def test_findings_that_belong_to_no_store_are_not_there(api: Any) -> None:
    kinds = [{row["kind"] for row in api("/findings", token).json()} for token in (MINE, OTHERS, TOKEN)]
    assert "account_parked" in kinds[2]
    assert not {"account_parked"} & (kinds[0] | kinds[1])
    assert api("/findings", kind="account_parked").json() == []
    assert "ups" not in {row["subject"] for row in api("/findings", closed="true", limit="1000").json()}


def test_payloads_are_those_of_its_stores_and_not_of_carriers(api: Any) -> None:
    assert {row["account"] for row in api("/inbox").json()} == {"kart"}
    assert {row["account"] for row in api("/inbox", OTHERS, limit="1000").json()} == {"kart", "shop"}
    assert "ups" in {row["account"] for row in api("/inbox", TOKEN, limit="1000").json()}
    assert api("/inbox", account="kart").json() == api("/inbox").json()
    assert shape(api("/inbox").json()) == shape(api("/inbox", TOKEN).json())
    for account in ("ups", "shop", "nobody", ""):
        assert api("/inbox", account=account).status_code == 404


def test_counts_are_those_of_its_stores(api: Any) -> None:
    mine, whole = api("/knowledge").json(), api("/knowledge", TOKEN).json()
    assert (mine["orders"], whole["orders"]) == (1, 3)
    assert mine == {**api("/knowledge", store="kart").json()}
    assert shape(mine) == shape(whole)
    fresh = {row["account"]: row["open"] for row in api("/freshness").json()}
    assert fresh == {"ups": 1}
    both = {row["account"]: row["open"] for row in api("/freshness", OTHERS).json()}
    assert both == {row["account"]: row["open"] for row in api("/freshness", TOKEN).json()}
    assert "easypost" in both


def test_news_of_others_that_waits_is_told_without_a_count(lab: Lab, api: Any) -> None:
    easypost = t.inbox.c.account == "easypost"
    lab.change(t.inbox.update().where(easypost).values(state="pending", due_at=lab.clock() - 900 * H))
    gap = next(gap for gap in api("/knowledge").json()["unknown"] if gap["what"] == "payloads_wait")
    whole = next(gap for gap in api("/knowledge", TOKEN).json()["unknown"] if gap["what"] == "payloads_wait")

    assert (gap["count"], gap["since"]) == (0, None)
    assert api("/knowledge", store="kart").json() == api("/knowledge").json()
    assert whole["count"] > 0
    assert api("/drift").headers["trackwright-all-known"] == "false"
    lab.change(t.inbox.update().where(easypost).values(state="done"))


def test_an_order_is_shown_as_it_is_to_all_and_without_where_our_configuration_is_wrong(lab: Lab, api: Any) -> None:
    assert api("/orders/kart/7").json() == api("/orders/kart/7", TOKEN).json()
    assert api("/orders/kart/7/gate", to="cancelled").json() == api("/orders/kart/7/gate", TOKEN, to="cancelled").json()
    wrong = "its entry is wrong: /etc/tracker.yaml:1:2: accounts.ups.odd: unknown key"
    lab.change(t.accounts.update().values(suspended_reason=wrong))
    for path in ("/orders/kart/7", "/knowledge"):
        assert "tracker.yaml" not in api(path).text
    assert "tracker.yaml" in api("/knowledge", TOKEN).text
    lab.change(t.accounts.update().values(suspended_reason=None))


FOREIGN = {
    "/drift": {"store": ""}, "/findings": {"store": ""}, "/stuck": {"store": ""}, "/outbox": {"store": ""}, "/knowledge": {"store": ""},
    "/freshness": {"store": ""}, "/status": {"store": ""},
}  # fmt: skip


def test_a_parcel_that_another_store_linked_first_does_not_tell_which(lab: Lab, api: Any) -> None:
    here = t.watches.c.shipment_id == lab.parcel(UPS).id
    before = lab.one(t.watches, here)
    lab.change(t.watches.update().where(here).values(store="shop", chosen="named first by store shop"))
    (mine,) = api("/orders/kart/7").json()["parcels"][0]["watched_by"]
    (all_,) = api("/orders/kart/7", TOKEN).json()["parcels"][0]["watched_by"]
    lab.change(t.watches.update().where(here).values(store=before.store, chosen=before.chosen))

    assert (mine["asked_for"], mine["asked_because"]) == (None, "another store linked it first")
    assert (all_["asked_for"], all_["asked_because"]) == ("shop", "named first by store shop")


@pytest.mark.parametrize("path", FOREIGN)
def test_a_foreign_store_and_one_that_does_not_exist_are_the_same_404(api: Any, path: str) -> None:
    answers = [api(path, store=store) for store in ("shop", "nobody", "ups", "", "kart ", "KART")]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert len({json.dumps(sorted(answer.headers)) for answer in answers}) == 1
    assert api(path, OTHERS, store="shop").status_code == 200


@pytest.mark.parametrize("more", ["", "/gate"])
def test_a_foreign_order_answers_as_one_that_does_not_exist(api: Any, more: str) -> None:
    def said(store: str, ref: str) -> tuple[int, str]:
        answer = api(f"/orders/{store}/{ref}{more}", to="cancelled")
        return answer.status_code, answer.text.replace(ref, "REF").replace(store, "STORE")

    assert said("shop", "7") == said("shop", "8") == said("shop", "99") == said("nobody", "7") == said("kart", "99")
    assert said("shop", "7")[0] == 404
    assert api(f"/orders/shop/7{more}", store="kart", to="cancelled").status_code == 404  # a parameter changes no path
    assert api(f"/orders/shop/7{more}", OTHERS, to="cancelled").status_code == 200


def test_every_path_that_is_not_declared_for_limited_tokens_is_not_there_for_them(api: Any) -> None:
    """Whoever adds a path decides what a limited token sees of it; until then it sees nothing."""
    assert set(LIMITED) <= {*PATHS, "/openapi.json"}
    for path in set(PATHS) - set(LIMITED):
        assert api(path).status_code == 404
        assert api(path).json() == api("/nowhere").json()
        assert api(path, TOKEN).status_code == 200
    assert "/codes" not in LIMITED
    assert api("/openapi.json").status_code == 200


def test_it_is_filtered_in_the_database_by_an_index(lab: Lab, api: Any) -> None:
    """Rows of others cost a limited token nothing: the newest hundred of another store do not push its own out of a page."""
    row = lab.rows(t.findings, t.findings.c.store == "shop")[0]._mapping
    last = max(one.id for one in lab.rows(t.findings))
    more = [{**row, "id": last + i, "subject": f"shop/{i}", "closed_at": None, "kind": "stuck"} for i in range(1, 101)]
    lab.change(t.findings.insert().values(more))
    for path in ("/findings", "/stuck"):
        assert {one["store"] for one in api(path, limit="5").json()} <= {"kart"}
    assert api("/findings", limit="5").json() != []
    with lab.ctx.store.read() as connection:
        if lab.ctx.store.sqlite:
            some = sa.select(t.findings).where(t.findings.c.store.in_(["kart", "b"]), t.findings.c.closed_at.is_(None))
            text = str(
                some.order_by(t.findings.c.id.desc())
                .limit(5)
                .compile(compile_kwargs={"literal_binds": True}, dialect=connection.dialect)
            )
            plan = " ".join(str(one) for one in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all())
            assert "findings_store" in plan or "findings_newest" in plan
    lab.change(t.findings.delete().where(t.findings.c.id > last))


def test_a_token_that_is_none_is_refused_whatever_is_asked(api: Any) -> None:
    for token in ("x", "mine", f"{MINE}x", MINE[:-1]):
        for path in ("/drift", "/orders/kart/7", "/codes", "/nowhere"):
            assert api(path, token).status_code == 401


# the configuration

TEXT = """
api: {tokens: {a: {token: "${env:A}", stores: one}, b: {token: "${env:B}", stores: [one]}}}
stores: {one: {uses: shopify, shop: x.myshopify.com, access_token: "${env:A}"}}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("stores: [one]", "stores: []"), "api.tokens.b.stores: "), (("stores: [one]", "stores: [two]"), "there is no store 'two'"),
        (("${env:B}", "${env:A}"), "is the same as api.tokens.a.token"), (('"${env:B}"', "short"), "a secret must not stand in the file"),
        (("${env:B}", "${env:SHORT}"), "must have 22 or more random characters"), ((", stores: [one]", ""), "api.tokens.b.stores: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_token_is_refused(
    change: tuple[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("A", MINE), ("B", OTHERS), ("SHORT", "s" * 21)):
        monkeypatch.setenv(name, value)
    assert load_text(TEXT).root.api.tokens["b"].stores == ("one",)
    with pytest.raises(ConfigError) as error:
        load_text(TEXT.replace(*change), partly=True)
    assert said in str(error.value)
    assert MINE not in str(error.value)


def test_a_token_may_name_a_store_whose_entry_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("A", MINE), ("B", OTHERS)):
        monkeypatch.setenv(name, value)
    other = 'stores: {one: 5, other: {uses: shopify, shop: x.myshopify.com, access_token: "${env:A}"}}'
    config = load_text(TEXT.partition("stores: {one:")[0] + other, partly=True)

    assert set(config.suspended) == {"one"}
    assert config.root.api.tokens["a"].stores == ("one",)
