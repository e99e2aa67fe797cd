"""How often the feed of a carrier is read, as the YAML says it; where there is none, or its carrier wants to be asked less often, it is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.config.good import problems
from tracker.config.coverage import coverage
from tracker.config.load import load_text

POSTNL = 'uses: postnl, api_key: "${env:SECRET}", customer_number: "1"'


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x" * 30)


def test_a_feed_is_read_as_often_as_its_plugin_says_or_its_entry_or_what_all_share() -> None:
    config = load_text(f"accounts: {{a: {{{POSTNL}}}, b: {{{POSTNL}, sweep_every: 1h}}}}", "t.yaml")

    assert [account.name for account in config.feeds] == ["a", "b"]
    assert [account.sweep_every for account in config.feeds] == [timedelta(minutes=10), timedelta(hours=1)]
    assert [row["poll"] for row in coverage(config)["accounts"]] == [
        "by number, feed every 10m",
        "by number, feed every 1h",
    ]

    shared = f'defaults: {{accounts: {{sweep_every: 30m}}}}\naccounts: {{a: {{{POSTNL}}}, d: {{uses: dhl, api_key: "${{env:SECRET}}"}}}}'
    config = load_text(shared, "t.yaml")
    assert [(account.name, account.sweep_every) for account in config.feeds] == [("a", timedelta(minutes=30))]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (f"{POSTNL}, sweep_every: 1m", "accounts.a.sweep_every: must be 5m or more: postnl is asked no oftener"),
        (
            'uses: dhl, api_key: "${env:SECRET}", sweep_every: 10m',
            "accounts.a.sweep_every: dhl has no feed that could be read",
        ),
        (f"{POSTNL}, sweep_every: soon", "accounts.a.sweep_every: must be a duration"),
    ],
)
def test_what_cannot_be_is_refused(entry: str, said: str) -> None:
    assert any(said in problem for problem in problems(f"accounts: {{a: {{{entry}}}}}"))
