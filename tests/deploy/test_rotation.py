"""Each kind of secret is rotated without losing a webhook, a token or a call: what deploy/README.md says of it, tried."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from tests.lab import UPS, Lab, detail, tracker_body
from tracker.app.tokens import holder
from tracker.cli import main as main_
from tracker.config.load import load_text
from tracker.domain.errors import ConfigError, WebhookRejected
from tracker.pipeline.tokens import DatabaseVault, close_anew
from tracker.store import tables as t
from tracker.store.seal import Seal

PAGE = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_the_key_of_tokens_is_rotated_and_no_token_is_lost(make_lab: Any) -> None:
    lab: Lab = make_lab()
    store, told = lab.daemon.store, list[str]()
    DatabaseVault(store, "shop", Seal(OLD), told.append).store("rotating-token")
    lab.change(t.tokens.delete())
    lab.change(t.tokens.insert().values(account="ups", value=Seal(OLD).close("access"), again=False, attempts=1))
    lab.change(
        t.tokens.insert().values(
            account="dhl", value=Seal(Fernet.generate_key().decode()).close("lost"), again=False, attempts=1
        )
    )

    assert (
        DatabaseVault(store, "shop", Seal(OLD, NEW), told.append).load() == "rotating-token"
    )  # first all know the new one
    assert DatabaseVault(store, "shop", Seal(NEW, OLD), told.append).load() == "rotating-token"  # then it closes
    assert close_anew(store, Seal(NEW, OLD)) == 2
    assert close_anew(store, Seal(NEW, OLD)) == 0
    assert DatabaseVault(store, "shop", Seal(NEW), told.append).load() == "rotating-token"  # and the old one may go
    assert Seal(NEW).open(lab.one(t.tokens, t.tokens.c.account == "ups").value) == "access"
    assert told == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_start_with_two_keys_closes_by_the_new_one_and_check_says_while_the_old_one_is_needed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD", OLD)
    monkeypatch.setenv("NEW", NEW)
    with ExitStack() as stack:
        lab = Lab(database, tmp_path, stack, yaml="vault_key: '${env:OLD}'\n")
        lab.work()
        before = lab.rows(t.tokens, t.tokens.c.value.is_not(None)) or []
        DatabaseVault(lab.daemon.store, "shop", Seal(OLD), print).store("rotating-token")
        text = lab.yaml.replace("'${env:OLD}'", "['${env:NEW}', '${env:OLD}']")
    (tmp_path / "tracker.yaml").write_text(text)
    said = CliRunner().invoke(main_.cli, ["check", str(tmp_path / "tracker.yaml")]).output
    assert "shop: the token that is kept was written with an older vault_key: that one is still needed" in said
    with ExitStack() as stack:
        lab = Lab(database, tmp_path, stack, yaml="vault_key: ['${env:NEW}', '${env:OLD}']\n")
        assert Seal(NEW).open(lab.one(t.accounts, t.accounts.c.name == "shop").token) == "rotating-token"
        for row in before:
            assert Seal(NEW).open(lab.one(t.tokens, t.tokens.c.account == row.account).value)
    with pytest.raises(ConfigError, match=r"vault_key\.1: is no Fernet key"):
        monkeypatch.setenv("OLD", "short")
        load_text("vault_key: ['${env:NEW}', '${env:OLD}']\naccounts: {}\n")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_secret_of_webhooks_and_a_token_of_an_address_are_rotated_and_no_webhook_is_lost(
    make_lab: Any, tmp_path: Path
) -> None:
    lab: Lab = make_lab()

    def with_(hooks: list[str], tokens: list[str]) -> None:
        for name, value in ((f"k{i}", value) for i, value in enumerate([*hooks, *tokens])):
            (tmp_path / name).touch(mode=0o600)
            (tmp_path / name).write_text(value)
        hook = ", ".join(f'"${{file:{tmp_path}/k{i}}}"' for i in range(len(hooks)))
        token = ", ".join(f'"${{file:{tmp_path}/k{len(hooks) + i}}}"' for i in range(len(tokens)))
        text = re.sub(r'webhook_secrets: "[^"]+hook\}"', f"webhook_secrets: [{hook}]", lab.yaml)
        lab.ctx.config = load_text(re.sub(r'webhook_token: "[^"]+token\}"', f"webhook_token: [{token}]", text))

    def arrives(secret: str) -> bool:
        lab.easypost.hook = secret  # what their panel says
        try:
            body = tracker_body("9400111206206406260787", detail("in_transit", "2026-11-02T08:00:00Z"))
            lab.post(lab.easypost.signed(body, secret=secret))
        except WebhookRejected:
            return False
        return True

    old, token = "hook", "0123456789012345678901234567890123456789"
    assert arrives(old)
    with_(["new-secret", old], ["t" * 32, token])  # tracker.yaml and `tracker reload`, before their panel
    assert arrives(old) and arrives("new-secret")
    assert [one.get_secret_value()[:1] for one in lab.ctx.config.accounts["ups"].webhook_tokens] == ["t", "0"]
    with_(["new-secret"], ["t" * 32])
    assert arrives("new-secret") and not arrives(old)
    assert UPS  # its address is another one now, which both tokens led to meanwhile


def test_a_token_of_the_read_api_is_rotated_by_a_second_one_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, letter in (("A", "a"), ("B", "b")):
        monkeypatch.setenv(name, letter * 22)
    text = "api: {{token: '${{env:A}}', tokens: {{next: {{token: '${{env:B}}', stores: [shop]}}}}}}\n"
    shop = "stores: {{shop: {{uses: rest, base_url: https://shop.example, api_token: '${{env:A}}', webhook_secrets: '${{env:A}}'}}}}\n"
    part = load_text((text + shop).format()).root.api
    assert (holder(part, "a" * 22), holder(part, "b" * 22)) != (None, None) and holder(part, "c" * 22) is None


def test_the_page_says_of_each_kind_of_secret_how_it_is_rotated() -> None:
    rows = re.findall(r"^\| (.+?) \| .+ \|$", PAGE.partition("**Rotating secrets.**")[2].partition("\n\n**")[0], re.M)
    for kind in ("webhook_secrets", "webhook_token", "credentials", "vault_key", "api.token", "database", "alert_url"):
        assert any(kind in row for row in rows), kind
