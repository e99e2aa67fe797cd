"""Canaries: a name that nobody bears in every personal field, a secret that nothing else says in every credential.

Then everything that Trackwright shows or keeps is searched for them. The bodies as they came are kept for a while on purpose (a
defect in a parser must not cost a scan); they are the one place, and only `tracker evidence` hands them out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tests.lab import DHL, START, TOKEN, UPS, USPS, H, Lab, detail, tracker_body
from tracker.app.api import PATHS, make_api
from tracker.app.private import Private, Reply
from tracker.app.telemetry import configure_logs
from tracker.app.wire import Request
from tracker.cli import main as main_
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.upkeep import counting

PERSON = "Cassiopeia-Canary"
SECRET, HOOK = "canarysecret7f3a9b2c5d", "canaryhook4e8d1a6b3c9f"
PERSONAL = (  # what carriers and shops call it, in their own contracts
    "receivedBy", "received_by", "receivedByName", "signedBy", "signed_by", "signedByName", "signatureUrl", "consignee",
    "receiver", "shipper", "recipient", "first_name", "last_name", "firstName", "lastName", "givenName", "familyName",
    "email", "phone", "address1", "address2", "street", "streetAddress", "streetLines", "addressLine1", "customer_name",
    "customer_email", "customer_phone", "contact_email", "billing_address", "shipping_address", "note", "browser_ip",
)  # fmt: skip
TABLES = [table for table in t.METADATA.sorted_tables if table.name != "alembic_version"]


def poison(value: Any) -> Any:
    """Put the person into every object of a body."""
    if isinstance(value, list):
        return [poison(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {**{key: f"{PERSON}-{key}" for key in PERSONAL}, **{key: poison(one) for key, one in value.items()}}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs(stream, level="debug")
    yield stream
    configure_logs(io.StringIO())


@pytest.fixture
def lab(make_lab: Any, log: io.StringIO, tmp_path: Path) -> Lab:
    """Days in which everything happens, each body with the person in it, some of it wrong."""
    made: Lab = make_lab(
        secret=SECRET, hook=HOOK, rest="{preset: kingston-courier}",
        yaml=f'api: {{port: 0, token: "${{file:{tmp_path}/token}}"}}\nnotices: {{file: {tmp_path}/notices.jsonl}}\n',
    )  # fmt: skip
    (tmp_path / "tracker.yaml").write_text(made.yaml)
    made.work()
    made.order("#1001", UPS, company="UPS")
    made.order("#1002", USPS)
    made.order("#1003", DHL, company="DHL")
    made.rest.place("#7", made.clock(), status="Processing", delivery={"method": "courier"})
    _hooks(made)
    made.work()
    made.later(1)
    at = made.clock()
    stamp = at.isoformat().replace("+00:00", "Z")
    bodies = {
        "ups": {
            "trackingNumber": UPS, "localActivityDate": f"{at:%Y%m%d}", "localActivityTime": f"{at:%H%M%S}",
            "activityStatus": {"type": "D", "code": "FS", "descriptionCode": "011", "description": "DELIVERED"},
            "activityLocation": {"city": "RENO", "stateProvince": "NV", "country": "US"},
        },
        "dhl": {
            "shipments": [{"id": DHL, "service": "parcel-de", "events": [{"timestamp": stamp, "statusCode": "delivered"}],
                           "details": {"proofOfDelivery": {"signed": {"name": PERSON}, "timestamp": stamp}}}],
        },
        "easypost": orjson.loads(tracker_body(USPS, detail("delivered", stamp), detail("no_such_word", stamp))),
    }  # fmt: skip
    for account, body in bodies.items():
        _take(made, account, orjson.dumps(poison(body)))
        _take(
            made,
            account,
            orjson.dumps({**poison(body), "shipments": PERSON, "result": PERSON, "trackingNumber": [PERSON]}),
        )
        _take(made, account, b'{"' + PERSON.encode())
    made.work()
    made.ups.history[UPS].append(made.scan(made.ups, UPS, "I", "038"))
    made.later(7)
    for server in (made.ups, made.dhl, made.easypost, made.shop, made.rest):
        for name in ("_secret", "_key", "_token", "secret", "key", "token"):
            if isinstance(getattr(server, name, None), str):
                setattr(server, name, "they changed it")
    made.later(30)
    return made


def _hooks(made: Lab) -> None:
    """Deliver the shops' hooks with the person in them, rightly signed."""
    for server in (made.shop, made.rest):
        waiting, server.outgoing[:] = list(server.outgoing), []
        for outgoing in waiting:
            if server is made.shop:
                topic = {name.lower(): value for name, value in outgoing.headers.items()}["x-shopify-topic"]
                made.post(made.shop.signed(orjson.dumps(poison(orjson.loads(outgoing.body))), topic))
            else:
                made.post(outgoing)


def _take(made: Lab, account: str, body: bytes) -> None:
    """Take a body in as a webhook, and as the answer of a poll."""
    made.post_raw(account, body)
    with made.daemon.store.write() as connection:
        row = queries.payload_row(account, "poll", [body], made.clock(), database_now(connection))
        queries.store_payloads(connection, [row])


def _sound(where: str, text: str, *words: str) -> None:
    for word in words:
        found = text.find(word)
        assert found < 0, f"{where} says {text[max(0, found - 80) : found + 80]!r}"


def test_nothing_that_is_kept_or_logged_holds_a_person_or_a_secret(lab: Lab, log: io.StringIO) -> None:
    _sound("the log", log.getvalue(), PERSON, SECRET, HOOK, TOKEN)
    assert "account_parked" in log.getvalue()
    bodies = 0
    while counting.count(lab.ctx):
        pass
    for table in TABLES:
        for row in lab.rows(table):
            kept = dict(row._mapping)
            if table is t.inbox:
                body = bytes(kept.pop("body") or b"")
                bodies += PERSON.encode() in body
                _sound("a stored body", body.decode("utf-8", "replace"), SECRET, HOOK, TOKEN)
            _sound(table.name, repr(kept), PERSON, SECRET, HOOK, TOKEN)
    assert bodies > 10
    metrics = lab.daemon.metrics.render(lab.daemon.gauges()).decode()
    _sound("/metrics", metrics, PERSON, SECRET, HOOK, TOKEN)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # a command is a process: it leaves its pool to its end
def test_no_command_and_no_answer_of_ours_says_a_person_or_a_secret(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.cli.common.system_now", lambda: START + 40 * H)
    while counting.count(lab.ctx):
        pass
    dead = str(next(row.id for row in lab.rows(t.inbox) if row.state == "dead"))
    looks = [
        ["show", "#1001"], ["explain", "#1001"], ["explain", "#1003"], ["findings"], ["drift"], ["stuck"], ["inbox"],
        ["inbox", "--state", "dead"], ["outbox"], ["outages"], ["codes"], ["freshness"], ["checkouts"], ["export", "scans"], ["export", "events"], ["export", "findings"],
        ["report", "carriers", "--show", "parcels"], ["policy", "show", "shop"],
        ["plugins"], ["replay", dead], ["config", "show"], ["config", "show", "shop"], ["config", "show", "ups"],
    ]  # fmt: skip
    for words in looks:
        for more in ([], ["--json"]):
            said = CliRunner().invoke(main_.cli, [*words, *more])
            if more and "No such option" in said.output:
                continue
            assert said.exit_code == (words in (["drift"], ["outages"])), said.output
            _sound(" ".join(words), said.output, PERSON, SECRET, HOOK, TOKEN)
    for words, code in ((["check"], 1), (["may", "#1001", "cancelled"], 1), (["evidence", "#1001", "-o", "pack"], 0)):
        said = CliRunner().invoke(main_.cli, words)
        assert said.exit_code == code, said.output
        _sound(" ".join(words), said.output + repr(said.exception), PERSON, SECRET, HOOK, TOKEN)
    for path, answer in _answers(lab).items():
        assert answer.status == 200, (path, answer.body)
        _sound(path, answer.body.decode(), PERSON, SECRET, HOOK, TOKEN)
    notices = tmp_path / "notices.jsonl"
    _sound("notices", notices.read_text() if notices.exists() else "", PERSON, SECRET, HOOK, TOKEN)
    for shop in (lab.shop, lab.rest):
        _sound("what we wrote to the shop", json.dumps(shop.log, default=str), PERSON, SECRET, HOOK, TOKEN)


def _answers(made: Lab) -> dict[str, Reply]:
    """Ask the read API everything it answers."""
    port = Private(lambda: made.ctx.config.root.web, make_api(made.ctx))
    right = {"authorization": f"Bearer {TOKEN}"}
    named = {
        path: path.replace("{store}", "shop").replace("{ref}", "1001").replace("{what}", "carriers") + "?to=cancelled"
        for path in PATHS
    }
    return {path: port.answer(Request("GET", "", right, b"", True, None, at.encode())) for path, at in named.items()}
