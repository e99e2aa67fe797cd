"""What a new configuration changes is told by names and keys, and never by a value."""

from __future__ import annotations

from typing import Any

import pytest

from tracker.config.changes import MOST_TOLD, changes, told
from tracker.config.load import load_text

TEXT = """
database: sqlite:///x.db
web: {port: 1}
accounts:
  ups: {uses: ups, client_id: id, client_secret: "${env:S}", budget: {calls: 5, per: 1h}}
stores:
  one: {uses: shopify, shop: a.myshopify.com, access_token: "${env:S}", policy: {preset: mirror, stuck_after: 2d}}
  two: {uses: rest, base_url: https://x.example.com, api_token: "${env:S}", webhook_secrets: "${env:S}"}
"""
SECRETS = ("a-secret-of-some-length", "another-secret-of-some-length")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", SECRETS[0])
    monkeypatch.setenv("OTHER", SECRETS[1])


def row(*pairs: tuple[str, str], text: str = TEXT) -> dict[str, Any]:
    new = text
    for old, other in pairs:
        assert old in new
        new = new.replace(old, other, 1)
    found = changes(load_text(text, partly=True), load_text(new, partly=True)).row()
    assert not any(secret in f"{found}{told(found)}" for secret in SECRETS)
    return {key: value for key, value in found.items() if value}


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((), {}),
        ((("  two: {uses: rest", "  new: {uses: rest"),), {"added": ["stores.new"], "removed": ["stores.two"]}),
        ((("calls: 5", "calls: 6"), ("client_id: id", "client_id: other")), {"changed": {"accounts.ups": ["budget", "client_id"]}}),
        ((('api_token: "${env:S}"', 'api_token: "${env:OTHER}"'),), {"changed": {"stores.two": ["api_token"]}}),
        ((("stuck_after: 2d", "stuck_after: 3d"),), {"changed": {"stores.one": ["policy.stuck_after"]}}),
        ((("uses: shopify,", "uses: shopify, mode: write, webhook_token: 'x',"),), {"suspended": ["stores.one"]}),
        ((("uses: shopify,", "uses: shopify, mode: write,"),), {"changed": {"stores.one": ["mode"]}}),
        ((("uses: ups", "uses: upps"),), {"suspended": ["accounts.ups"]}),
        ((("port: 1", "port: 2"),), {"root": ["web.port"], "needs_restart": ["web.port"]}),
        ((("web:", "cadence: {aftercare: 3d}\nretention: {rows: 5d}\nweb:"),), {"root": ["cadence.aftercare", "retention.rows"]}),
        ((("web:", "vault_key: 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE='\nweb:"),), None),
        ((("web:", "threads: 7\nnetwork: {allow: [x]}\nweb:"),),
         {"root": ["threads", "network.allow"], "needs_restart": ["threads", "network.allow"]}),
    ],
)  # fmt: skip
def test_what_changed_is_named_and_no_value_is(pairs: Any, expected: dict[str, Any] | None) -> None:
    if expected is None:
        with pytest.raises(Exception, match="must not stand in the file"):
            row(*pairs)
        return
    assert row(*pairs) == expected


@pytest.mark.parametrize("part", ["api", "page", "mcp"])
def test_a_token_is_taken_at_once_but_the_first_of_a_part_which_did_not_listen(part: str) -> None:
    one, other = f'{part}: {{token: "${{env:S}}"}}\nweb:', f'{part}: {{token: "${{env:OTHER}}"}}\nweb:'

    assert row(("web:", one))["needs_restart"] == [f"{part}.token"]
    assert row((one, other), text=TEXT.replace("web:", one)) == {"root": [f"{part}.token"]}
    assert row((one, "web:"), text=TEXT.replace("web:", one)) == {"root": [f"{part}.token"]}


def test_an_entry_that_is_mended_is_told_as_such_and_by_no_keys() -> None:
    assert row(("uses: upps", "uses: ups"), text=TEXT.replace("uses: ups", "uses: upps")) == {
        "mended": ["accounts.ups"]
    }


def test_it_is_said_in_one_line_that_does_not_grow_with_the_stores() -> None:
    assert told(changes(load_text(TEXT), load_text(TEXT)).row()) == "nothing changed"
    more = "".join(
        f"  s{i:03}: {{uses: shopify, shop: x.myshopify.com, access_token: '${{env:S}}'}}\n" for i in range(50)
    )
    said = told(changes(load_text(TEXT), load_text(TEXT.replace("port: 1", "port: 2") + more)).row())

    assert said.startswith("added stores.s000, stores.s001, ")
    assert f" and {50 - MOST_TOLD} more; of the root web.port; taken at the next start only web.port" in said
    assert len(said) < 500
