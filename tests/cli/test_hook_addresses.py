"""Where webhooks are posted to: a sender that does not take every address has one that it takes, and ops are told it where they copy it."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.app.test_web import WEB, Receiver
from tracker.cli.main import cli
from tracker.config.model import held, hook_id
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import migrate

ID, TOKEN = hook_id("shiprocket-main"), "0123456789abcdef0123456789abcdef"
SECRETS = ', webhook_secrets: "${file:s}"'


def told(
    folder: Path, *words: str, url: str = "https://t.example", token: str = TOKEN, more: str = ""
) -> tuple[int, str]:
    for name, value in (("s", "s"), ("token", token)):
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    file = folder / "tracker.yaml"
    file.write_text(
        f"database: sqlite:///{folder}/x.db\n" + (f"web: {{public_url: '{url}'}}\n" if url else "") + "accounts:\n"
        '  shiprocket-main: {uses: shiprocket, email: a@b.example, password: "${file:s}", webhook_token: "${file:token}"'
        f"{more or SECRETS}}}\n"
    )  # fmt: skip
    store = Store(f"sqlite:///{folder}/x.db")
    migrate(store)
    store.close()
    done = CliRunner().invoke(cli, [*words, "-c", str(file)])
    return done.exit_code, re.sub(r"\s+", " ", f"{done.output} {done.exception or ''}")


def test_an_id_stands_for_a_name_and_spells_no_word() -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", ID)
    assert hook_id("shiprocket-main") == ID != hook_id("shiprocket-main2")
    assert held(("shiprocket", "sr", "kr"), "My-SHIPROCKET-srv") == ["shiprocket", "sr"]
    assert held((), "sr") == []


def test_check_prints_the_address_to_type_into_the_panel(tmp_path: Path) -> None:
    code, said = told(tmp_path, "check", "--offline")

    assert code == 0
    assert f"its webhooks are posted to https://t.example/webhooks/{ID}/<webhook_token>" in said
    assert TOKEN not in said
    assert f"https://YOUR-HOST/webhooks/{ID}/<webhook_token>" in told(tmp_path, "check", "--offline", url="")[1]


def test_check_says_nothing_where_no_push_is_taken(tmp_path: Path) -> None:
    code, said = told(tmp_path, "check", "--offline", url="https://kr.example", more=", webhook_header: x-api-key")

    assert (code, "webhooks are posted" in said, "posts to no address" in said) == (0, False, False)


def test_a_host_that_the_sender_shuns_is_a_problem_and_the_account_is_still_asked(tmp_path: Path) -> None:
    code, said = told(tmp_path, "check", "--offline", url="https://kraken.example")

    assert code == 1
    assert (
        f"posts to no address that holds kr, as https://kraken.example/webhooks/{ID} does: web.public_url must be another"
        in said
    )
    assert told(tmp_path, "hooks", url="https://kraken.example")[0] == 0  # the entry itself is right


@pytest.mark.parametrize("word", ["sr", "kr", "SR", "Kr", "shiprocket", "KartRocket"])
def test_a_token_that_the_sender_shuns_is_refused_with_its_place(tmp_path: Path, word: str) -> None:
    code, said = told(tmp_path, "check", "--offline", token=f"0123456789abcdef0123{word}4567")

    assert code != 0
    assert "no address may hold shiprocket, kartrocket, sr, kr: openssl rand -hex 16" in said
    assert "webhook_token" in said
    assert "0123456789abcdef0123" not in said


def test_hooks_prints_it_too_as_of_any_account_whose_hooks_are_made_by_hand(tmp_path: Path) -> None:
    assert (
        f"shiprocket states no hooks: they are made by hand, to post to https://t.example/webhooks/{ID}/<webhook_token>"
        in told(tmp_path, "hooks", "shiprocket-main")[1]
    )
    assert (
        f"hooks are made by hand, to post to https://YOUR-HOST/webhooks/{ID}/<webhook_token>"
        in told(tmp_path, "hooks", "shiprocket-main", url="")[1]
    )


def test_a_first_file_says_where_its_webhooks_go(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["init", "-k", "shiprocket", "-k", "ups", "-s", "rest", "-o", str(tmp_path / "t.yaml")]
    )

    assert done.exit_code == 0, done.output
    written = (tmp_path / "t.yaml").read_text()
    assert f"# its webhooks go to /webhooks/{hook_id('shiprocket')}/<this>" in written
    assert "# its webhooks go to /webhooks/ups/<this>" in written


def test_the_receiver_takes_both_addresses_of_an_account_and_no_other(make_lab: Any) -> None:
    lab = make_lab(
        yaml='  other: {uses: rest, base_url: "https://o.example", api_token: "${file:FOLDER/s}"}\n' + WEB,
    )
    with ExitStack() as stack:
        receiver = Receiver(lab, stack)
        account = lab.ctx.config.accounts["easypost"]
        by_id = f"/webhooks/{hook_id('easypost')}"
        assert lab.ctx.config.hook_address(account).endswith("/webhooks/easypost")
        body = b'{"object":"Event","result":{"object":"Other"}}'

        assert receiver.post(body, by_id).status_code == 200
        assert receiver.post(body + b" ", "/webhooks/easypost").status_code == 200
        for wrong in (
            hook_id("nobody"),
            f"{hook_id('easypost')}0",
            hook_id("easypost")[:-1],
            hook_id("easypost").upper(),
        ):
            assert receiver.post(body, f"/webhooks/{wrong}").status_code == 401
        assert receiver.post(body, f"/webhooks/{hook_id('ups')}/wrong", credential="hook").status_code == 401
        assert {row.account for row in lab.rows(t.inbox, t.inbox.c.kind == "webhook")} == {"easypost"}
        counted = lab.daemon.metrics.render(lab.daemon.gauges())
        assert hook_id("easypost") not in str(counted)
