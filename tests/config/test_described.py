"""A described account is as strict as a built-in: what is wrong with it is told with its place, what its samples lack too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracker.config.load import load_config
from tracker.domain.errors import ConfigError

CARRIER = """\
accounts:
  acme:
    uses: generic
    carrier: acme
    base_url: https://api.acme.example
    secrets: {key: "${env:ACME_KEY}"}
    headers: {Authorization: "Bearer {key}"}
    error: problem
    poll:
      path: /track/{number}
      sample: [acme.json, none.json]
      facts:
        parcels: data.parcels
        number: no
        not_found: missing
        scans: events
        scan: {code: code, time: at, city: place.city}
    webhook:
      scheme: hmac_hex
      header: X-Acme-Signature
      sample: push.json
      facts: {number: no}
    codes:
      status/D: {status: delivered}
"""
SAMPLES: dict[str, Any] = {
    "acme.json": {"data": {"parcels": [
        {"no": "A1", "events": [{"code": "D", "at": "2026-11-02T09:00:00Z", "place": {"city": "Oslo"}}, {"code": "T", "at": ""}]},
        {"no": "A2", "missing": True},
    ]}},
    "none.json": {"problem": {"title": "down"}},
    "push.json": {"no": "A1"},
}  # fmt: skip
Check = Callable[..., list[str]]


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Return what is wrong with the description after a replacement, without the file's folder; its secrets are there."""
    monkeypatch.setenv("ACME_KEY", "a-key-of-nobody-at-all")

    def check(old: str = "", new: str = "", samples: dict[str, Any] | None = None) -> list[str]:
        assert old in CARRIER
        (tmp_path / "t.yaml").write_text(CARRIER.replace(old, new) if old else CARRIER)
        for name, value in {**SAMPLES, **(samples or {})}.items():
            (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
        try:
            load_config(tmp_path / "t.yaml")
        except ConfigError as error:
            return [line.replace(f"{tmp_path}/", "") for line in str(error).splitlines()]
        return []

    return check


def test_a_description_whose_paths_find_something_in_its_samples_is_fine(wrong: Check, tmp_path: Path) -> None:
    assert wrong() == []
    notes = load_config(tmp_path / "t.yaml").notes
    assert "accounts.acme.codes: the samples hold the code status/T, which means nothing yet" in notes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # keys and types
        ("path: /track", "pth: /track", "t.yaml:10:7: accounts.acme.poll.pth: unknown key; did you mean 'path'?"),
        ("scan: {code", "scan: {cod", "t.yaml:17:16: accounts.acme.poll.facts.scan.cod: unknown key; did you mean 'code'?"),
        ("not_found: missing", "not_found: 7", "t.yaml:15:9: accounts.acme.poll.facts.not_found: must be a JMESPath, which is a text"),
        ("path: /track", "path: track", "t.yaml:10:7: accounts.acme.poll.path: String should match pattern '^/'"),
        ("scheme: hmac_hex", "scheme: hmac", "t.yaml:19:7: accounts.acme.webhook.scheme: Input should be 'hmac_hex', 'hmac_base64', 'header' or 'standard'"),
        ("      sample: push.json\n", "", "t.yaml:18:5: accounts.acme.webhook.sample: Field required"),
        ("status: delivered", "status: deliverd", "t.yaml:24:18: accounts.acme.codes.status/D.status: Input should be "),
        ("        scans: events\n", "", "t.yaml:12:7: accounts.acme.poll.facts: scans: and scan: stand together"),
        ("time: at", "time: at}\n        time_format: '%Q'\n        edd: {begins: at", "t.yaml:18:9: accounts.acme.poll.facts.time_format: '%Q' is no form of a time: iso"),
        ("carrier: acme", "carrier: acme\n    zone: Oslo", "t.yaml:5:5: accounts.acme.zone: no time zone 'Oslo': such as"),
        ("carrier: acme", "carrier: Acme Post", "t.yaml:4:5: accounts.acme.carrier: 'Acme Post' is no id of a carrier: small letters, digits and _"),
        # paths
        ("number: no\n        not", "number: no[\n        not", "t.yaml:14:9: accounts.acme.poll.facts.number: is no JMESPath: "),
        ("code: code", "code: 'f(code)'", "t.yaml:17:16: accounts.acme.poll.facts.scan.code: is no JMESPath: there is no function f()"),
        ("place.city", "place.town", "t.yaml:17:38: accounts.acme.poll.facts.scan.city: finds nothing in the sample acme.json, none.json"),
        ("data.parcels", "data.boxes", "t.yaml:11:7: accounts.acme.poll.sample: acme.json: $.data.boxes: is missing"),
        ("error: problem", "error: trouble", "t.yaml:8:5: accounts.acme.error: finds nothing in the sample acme.json, none.json"),
        ("sample: push.json\n      facts: {number: no", "sample: push.json\n      id: event\n      facts: {number: no", "t.yaml:22:7: accounts.acme.webhook.id: finds nothing in the sample push.json"),
        # placeholders
        ("{number}", "{nummer}", "t.yaml:10:7: accounts.acme.poll.path: nothing is called {nummer} here: number"),
        ("Bearer {key}", "Bearer {token}", "t.yaml:7:15: accounts.acme.headers.Authorization: nothing is called {token} here: key"),
        ("/track/{number}", "/track/{key}", "t.yaml:10:7: accounts.acme.poll.path: nothing is called {key} here: number"),
        ("/track/{number}", "/t\n      headers: {X-N: '{number}'}", "t.yaml:11:17: accounts.acme.poll.headers.X-N: nothing is called {number} here: key"),
        ("/track/{number}", "/track", "t.yaml:9:5: accounts.acme.poll: says nowhere which it is about: it needs {number} or {numbers}"),
        ("/track/{number}", "/t\n      batch: 2\n      query: {n: '{number}'}", "t.yaml:12:15: accounts.acme.poll.query.n: nothing is called {number} here: key, numbers"),
        ("/track/{number}", "/t\n      batch: 2\n      body: {n: ['{number}'], s: '{number}'}", "t.yaml:12:7: accounts.acme.poll.body: nothing is called {number} here: key, numbers"),
        ("Authorization: ", "'Bad Name': ", "t.yaml:7:15: accounts.acme.headers.Bad Name: is no header: "),
        # samples
        ("[acme.json, none.json]", "gone.json", "t.yaml:11:7: accounts.acme.poll.sample: gone.json: cannot be read: No such file or directory"),
        # secrets
        ('"${env:ACME_KEY}"', "1234", "t.yaml:6:15: accounts.acme.secrets.key: "),
        ('"${env:ACME_KEY}"', "in-clear", "t.yaml:6:15: accounts.acme.secrets.key: a secret must not stand in the file: use ${env:NAME} or ${file:PATH}"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line_and_column(wrong: Check, old: str, new: str, said: str) -> None:
    told = wrong(old, new)

    assert any(line.startswith(said) for line in told), told
    assert not any("in-clear" in line for line in told)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ({"acme.json": "{"}, "acme.json: $: not JSON: "),
        ({"push.json": []}, "push.json: $: must be an object, is a list"),
        ({"acme.json": {"data": {"parcels": [{"no": "A1", "missing": False, "events": [{"code": "D", "at": 7, "place": {"city": "x"}}]}]}}},
         "acme.json: $.data.parcels[0].events[0].at: must be a date and time, is a int"),
    ],
)  # fmt: skip
def test_a_sample_that_is_not_read_whole_is_told_with_its_place(
    wrong: Check, samples: dict[str, Any], said: str
) -> None:
    assert any(said in line for line in wrong(samples=samples))


def test_a_sample_of_which_nothing_is_read_is_all_that_is_told_of_its_paths(wrong: Check) -> None:
    (said,) = wrong("number: no\n        not", "number: nope\n        not")

    assert "accounts.acme.poll.sample: acme.json: $.data.parcels" in said
    assert "finds nothing" not in said


def test_an_error_whose_only_sample_is_an_unknown_number_says_why_it_finds_nothing(wrong: Check) -> None:
    told = wrong("error: problem", "not_found: problem\n    error: problem")

    assert any(
        "error: finds nothing" in line and "one at which `not_found` stands is no error" in line for line in told
    ), told


def test_a_login_is_read_with_its_sample_too_and_its_token_must_be_used(wrong: Check) -> None:
    login = "login: {path: /token, sample: token.json, form: {secret: '{key}'}}\n    error: problem"
    bearer = {"token.json": {"access_token": "T", "expires_in": 3600}}

    (said,) = wrong("error: problem", login, bearer)
    assert said.startswith("t.yaml:8:5: accounts.acme.login: nothing uses its {token}")
    told = wrong("error: problem", login, {"token.json": {"access_token": "T"}})
    assert any("accounts.acme.login.lives: finds nothing" in line for line in told) is False, (
        "it is the default, nobody wrote it"
    )
    told = wrong("error: problem", login.replace("sample", "lives: ttl, sample"), bearer)
    assert any("accounts.acme.login.lives: finds nothing in the sample token.json" in line for line in told)


def test_the_command_tells_it_and_ends_with_2(wrong: Check, tmp_path: Path) -> None:
    wrong("place.city", "place.town")
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", "check", str(tmp_path / "t.yaml"), "--offline"],
        capture_output=True, text=True, check=False, env={**os.environ, "ACME_KEY": "a-key-of-nobody-at-all"},
    )  # fmt: skip

    assert done.returncode == 2
    assert f"{tmp_path}/t.yaml:17:38: accounts.acme.poll.facts.scan.city: finds nothing in the sample" in done.stderr
    assert "a-key-of-nobody" not in done.stdout + done.stderr


def test_a_changed_secret_of_a_description_is_a_changed_credential(
    wrong: Check, tmp_path: Path, monkeypatch: Any
) -> None:
    wrong()
    before = load_config(tmp_path / "t.yaml").accounts["acme"].credentials
    monkeypatch.setenv("ACME_KEY", "another-key-of-nobody")

    assert load_config(tmp_path / "t.yaml").accounts["acme"].credentials != before


STORE = """\
stores:
  shop:
    uses: generic
    base_url: https://api.shop.example
    secrets: {key: "${env:ACME_KEY}"}
    headers: {Authorization: "Bearer {key}"}
    read: {path: "/orders/{ref}", order: order, sample: order.json}
    sweep:
      path: /orders
      query: {since: "{since}", p: "{page}"}
      orders: orders
      pages: {by: page, size: 50}
      sample: orders.json
    facts:
      ref: id
      number: no
      status: state
      payment: pay
      placed: at
      updated: at
      items: {each: lines, ref: id, ordered: n}
    statuses: {open: processing, sent: shipped}
    payments: {paid: paid}
    writes:
      status:
        path: /orders/{ref}
        body: {state: "{word}", notify: false}
        words: {shipped: sent}
        done: ok
        sample: ok.json
      note: {path: "/orders/{ref}/notes", headers: {Idempotency-Key: "{once}"}, body: {text: "{text}"}, done: ok, sample: ok.json}
    webhook: {scheme: hmac_base64, header: X-Sign, ref: data.id, when: kind == 'order', sample: shop.push.json}
"""
AN_ORDER = {
    "id": "R1",
    "no": "#1",
    "state": "open",
    "pay": "paid",
    "at": "2026-11-02T09:00:00Z",
    "lines": [{"id": 1, "n": 2}],
}
SAMPLES |= {
    "order.json": {"order": AN_ORDER},
    "orders.json": {"orders": [AN_ORDER]},
    "ok.json": {"ok": True},
    "shop.push.json": {"kind": "order", "data": {"id": "R1"}},
}


@pytest.fixture
def wrong_store(wrong: Check, tmp_path: Path) -> Check:
    """As `wrong`, for a store."""

    def check(old: str = "", new: str = "", samples: dict[str, Any] | None = None) -> list[str]:
        wrong(samples=samples)
        assert old in STORE
        (tmp_path / "t.yaml").write_text(STORE.replace(old, new) if old else STORE)
        try:
            load_config(tmp_path / "t.yaml")
        except ConfigError as error:
            return [line.replace(f"{tmp_path}/", "") for line in str(error).splitlines()]
        return []

    return check


def test_a_described_store_is_fine_and_words_without_a_meaning_are_told(wrong_store: Check, tmp_path: Path) -> None:
    assert wrong_store() == []
    assert wrong_store("payments: {paid: paid}", "payments: {}") == []
    assert (
        "stores.shop.payments: the samples hold the word 'paid', which means nothing yet"
        in load_config(tmp_path / "t.yaml").notes
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("order: order,", "ordr: order,", "t.yaml:7:35: stores.shop.read.ordr: unknown key; did you mean 'order'?"),
        ("open: processing", "open: procesing", "t.yaml:22:16: stores.shop.statuses.open: Input should be "),
        ("{by: page, size: 50}", "{by: pages}", "t.yaml:12:15: stores.shop.sweep.pages.by: Input should be 'cursor', 'page', 'offset' or 'link'"),
        ("      payment: pay\n", "", "t.yaml:14:5: stores.shop.facts.payment: Field required"),
        ("words: {shipped: sent}", "words: {shiped: sent}", "t.yaml:28:17: stores.shop.writes.status.words.shiped"),
        ("words: {shipped: sent}", "words: {cancelled: sent}", "t.yaml:25:7: stores.shop.writes.status: words: cancelled is never written"),
        ("words: {shipped: sent}", "words: {delivered: sent}", "t.yaml:28:17: stores.shop.writes.status.words.delivered: 'sent' is read as shipped: statuses: must say delivered"),
        ("each: lines", "each: rows", "t.yaml:21:15: stores.shop.facts.items.each: finds nothing in the sample order.json, orders.json"),
        ("status: state", "status: state.word", "t.yaml:7:49: stores.shop.read.sample: order.json: $.order.state: must be an object, is a text"),
        ("done: ok\n", "done: updated\n", "t.yaml:29:9: stores.shop.writes.status.done: finds nothing in the sample ok.json"),
        ("{word}", "{wort}", "t.yaml:27:9: stores.shop.writes.status.body: nothing is called {wort} here: before, happened_at, key, number, once, ref, word"),
        ("{since}", "{sinse}", "t.yaml:10:15: stores.shop.sweep.query.since: nothing is called {sinse} here: key, page, since"),
        ("when: kind == 'order'", "when: kind == 'parcel'", "t.yaml:32:66: stores.shop.webhook.when: finds nothing in the sample shop.push.json"),
        ("ref: data.id", "ref: data.ref", "t.yaml:32:90: stores.shop.webhook.sample: shop.push.json: $.data.ref: must be a text, is missing"),
        ('headers: {Idempotency-Key: "{once}"}, ', "", "t.yaml:31:7: stores.shop.writes.note: a note could be written twice"),
        ('query: {since: "{since}", p: "{page}"}', 'query: {p: "{page}"}', "t.yaml:8:5: stores.shop.sweep: says nowhere which it is about: it needs {since}"),
        ('query: {since: "{since}", p: "{page}"}', 'query: {since: "{since}"}', "t.yaml:8:5: stores.shop.sweep: says nowhere which it is about: it needs {page}"),
        ('state: "{word}", ', "", "t.yaml:25:7: stores.shop.writes.status: says nowhere which it is about: it needs {word}"),
        ("secrets: {key:", "secrets: {ref: '${env:ACME_KEY}', key:", "t.yaml:2:3: stores.shop: secrets: ref stands for something else in a call"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_store_is_told_with_its_line_and_column(
    wrong_store: Check, old: str, new: str, said: str
) -> None:
    told = wrong_store(old, new)

    assert any(line.startswith(said) for line in told), told
