"""Several files as one, and what a section's entries share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tracker.cli.main import cli
from tracker.config.load import glance, load_config, loose_files, masked
from tracker.domain.errors import ConfigError
from tracker.store.engine import Store
from tracker.store.migrate import migrate

STORE = "stores: {%s: {uses: rest, base_url: 'https://x.example.com', api_token: '${env:SECRET}'}}\n"


def files(folder: Path, **texts: str) -> Path:
    """Write files of these names (`a__b` is b in the folder a); returns the main one."""
    folder.chmod(0o700)
    for name, text in texts.items():
        file = folder / (name.replace("__", "/") + ".yaml")
        file.parent.mkdir(exist_ok=True, mode=0o700)
        file.write_text(text)
        file.chmod(0o600)
    return folder / "main.yaml"


def told(main: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_config(main)
    return [said.replace(f"{main.parent}/", "") for said in error.value.problems]


def test_folders_of_a_folder_are_read_too_by_name_each_once_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    main = files(tmp_path, main="include: shops\n", shops__b=STORE % "b")
    shops = tmp_path / "shops"
    for place, name in (("a/deep/er", "deepest"), ("c", "in-c"), (".git", "hidden"), ("c/.old", "old")):
        (shops / place).mkdir(parents=True)
        (shops / place / "x.yaml").write_text(STORE % name)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "y.yml").write_text(STORE % "linked")
    (shops / "d").symlink_to(outside)
    (shops / "e").symlink_to(shops)  # a loop
    (shops / "c" / "again").symlink_to(shops / "a")  # and one that was entered
    (shops / "empty").mkdir()

    config = glance(main, partly=True)

    assert config.store_names() == ["deepest", "b", "in-c", "linked"]
    assert str(shops / "a" / "deep") in config.files and not any("/.git" in file for file in config.files)


def test_a_problem_in_a_folder_of_a_folder_names_its_place(tmp_path: Path) -> None:
    main = files(tmp_path, main="include: shops\n")
    (tmp_path / "shops" / "de").mkdir(parents=True)
    (tmp_path / "shops" / "de" / "x.yaml").write_text("stores:\n  a: {uses: shopfy}\n")
    assert told(main)[0].startswith("shops/de/x.yaml:2:7: stores.a.uses: no plugin 'shopfy'")
    (tmp_path / "shops" / "de" / "x.yaml").unlink()
    assert told(main) == ["main.yaml:1:1: include: the folder shops holds no YAML file"]


@pytest.mark.parametrize("place", ["own", "shared"])
def test_a_command_that_asks_for_a_store_is_told_of_its_address_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("SECRET", "a-secret-of-some-length")
    wrong = "base_url: 'ftp://x.example.com'"
    own, shared = (wrong, "mode: observe") if place == "own" else ("mode: observe", wrong)
    entry = f"stores: {{a: {{uses: rest, api_token: '${{env:SECRET}}', {own}}}}}\n"
    config = glance(files(tmp_path, main=f"{entry}defaults: {{stores: {{{shared}}}}}\n"))

    with pytest.raises(ConfigError, match="base_url: must be a URL, such as https://host/path"):
        config.accounts["a"]


def test_files_and_folders_are_one_configuration(tmp_path: Path) -> None:
    main = files(
        tmp_path, main="include: [carriers.yaml, shops]\nbroker: none\n" + STORE % "own",
        carriers="accounts: {e: {uses: easypost, api_key: '${file:key}'}}\ninclude: more/z.yaml\n", shops__a=STORE % "a", shops__b=STORE % "b",
        shops__c="", more__z="threads: 7\n",
    )  # fmt: skip
    (tmp_path / "key").write_text("canary-file")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "shops" / ".hidden.yaml").write_text("nonsense: [")
    (tmp_path / "shops" / "README.md").write_text("no YAML")

    config = load_config(main)

    assert sorted(config.accounts) == ["a", "b", "e", "own"]
    assert config.root.threads == 7
    assert config.accounts["e"].source.settings.api_key.get_secret_value() == "canary-file"
    assert "canary" not in repr(masked(config))
    assert glance(main).store_names() == ["own", "a", "b"]
    (tmp_path / "shops" / "a.yaml").chmod(0o666)
    assert any("shops/a.yaml can be changed by others" in said for said, _ in loose_files(config))


def test_what_is_wrong_names_its_own_file_and_all_is_told_at_once(tmp_path: Path) -> None:
    main = files(
        tmp_path, main="include: [a.yaml, b.yaml, c.yaml, none.yaml, empty]\nbroker: none\nzzz: 1\n" + STORE % "s",
        a="\n" + STORE % "s" + "broker: none\n", b="stores:\n  t: {uses: rst}\n", c="a: [1",
    )  # fmt: skip
    (tmp_path / "empty").mkdir()

    said = told(main)

    for one in (
        "a.yaml:2:10: stores.s: is there already, at ", "main.yaml:4:10", "a.yaml:3:1: broker: is there already, at ",
        "b.yaml:2:7: stores.t.uses: no plugin 'rst'", "c.yaml:1:6: not YAML", "main.yaml:1:35: include.3: none.yaml cannot be read: No such file",
        "main.yaml:1:46: include.4: the folder empty holds no YAML file", "main.yaml:3:1: zzz: unknown key",
    ):  # fmt: skip
        assert any(one in line for line in said), (one, said)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"main": "include: a.yaml\n", "a": "include: main.yaml\n"}, "a.yaml:1:1: include: main.yaml includes itself: main.yaml -> a.yaml -> main.yaml"),
        ({"main": "include: .\n"}, "includes itself"),
        ({"main": "include: [a.yaml, ./a.yaml]\n", "a": ""}, "main.yaml:1:19: include.1: a.yaml is included twice, first at main.yaml:1:11"),
        ({"main": "include: {a: b}\n"}, "main.yaml:1:1: include: must be a file or a folder, or a list of them"),
        ({"main": "include: '${env:SECRET}'\n"}, "must be the name of a file or a folder, no reference"),
        ({"main": "include: a.yaml\n", "a": "- 1\n"}, "a.yaml:1:1: (file): must be a mapping"),
        ({"main": "include: [a.yaml, b.yaml]\n", "a": "#" * (9 << 20), "b": "#" * (9 << 20)}, "all files together are larger than"),
    ],
    ids=["cycle", "itself", "twice", "mapping", "reference", "list", "large"],
)  # fmt: skip
def test_a_file_that_cannot_be_included_is_told_with_its_place(
    tmp_path: Path, texts: dict[str, str], says: str
) -> None:
    said = told(files(tmp_path, **texts))
    assert any(says in one for one in said), said


DEFAULTS = """defaults:
  stores:
    uses: rest
    api_token: ${env:SECRET}
    sweep_every: 20m
    hook_header: x-mine
    policy: {preset: kingston-courier, stuck_after: 2d, language: de}
stores:
  one: {base_url: "https://x.example.com"}
  two: {base_url: "https://x.example.com", sweep_every: 5m, policy: {stuck_after: 9d}}
  big: {uses: bigcommerce, store_hash: x, access_token: "${env:SECRET}", policy: {preset: mirror}}
"""


def test_an_entry_has_what_it_does_not_say_itself(tmp_path: Path) -> None:
    config = load_config(files(tmp_path, main=DEFAULTS))
    one, two, big = (config.accounts[name] for name in ("one", "two", "big"))

    assert (one.sweep_every.seconds, two.sweep_every.seconds) == (1200, 300)
    assert (one.policy.stuck_after.days, two.policy.stuck_after.days, two.policy.language) == (2, 9, "de")
    assert (two.policy.name, big.policy.name) == ("kingston-courier", "mirror")
    assert big.source.settings.hook_header == "x-mine"
    assert (one.policy_sources["stuck_after"], two.policy_sources["stuck_after"]) == ("main.yaml:7", "main.yaml:10")
    assert "canary" not in repr(masked(config))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("20m", "20x", "main.yaml:5:5: defaults.stores.sweep_every: must be a duration"),
        ("stuck_after: 2d", "stuck_after: 2x", "main.yaml:7:40: defaults.stores.policy.stuck_after: must be a duration"),
        ("${env:SECRET}\n", "plain-text\n", "main.yaml:4:5: defaults.stores.api_token: a secret must not stand in the file"),
        ("hook_header", "hook_heder", "main.yaml:6:5: defaults.stores.hook_heder: unknown key; no entry of stores: knows it"),
        ("uses: rest", "uses: rst", "main.yaml:3:5: defaults.stores.uses: no plugin 'rst'"),
        ("  stores:\n", "  shops:\n", "main.yaml:2:3: defaults.shops: unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_default_is_told_once_and_where_it_stands(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    said = told(files(tmp_path, main=DEFAULTS.replace(old, new, 1)))
    assert sum(says in one for one in said) == 1, said


def test_the_command_tells_the_file_that_is_wrong(tmp_path: Path) -> None:
    main = files(tmp_path, main="include: shops\n", shops__a=STORE % "a" + "zzz: 1\n")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "SECRET": "canarysecret7f3a9b2c5d",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", "check", "--offline", str(main)], env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"{tmp_path}/shops/a.yaml:2:1: zzz: unknown key" in done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_a_meaning_is_written_into_the_file_in_which_its_account_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = files(
        tmp_path, main=f"include: carriers.yaml\ndatabase: sqlite:///{tmp_path}/x.db\n",
        carriers="accounts:\n  # the only one\n  e: {uses: easypost, api_key: '${env:SECRET}'}\n",
    )  # fmt: skip
    before = main.read_text()
    store = Store(f"sqlite:///{tmp_path}/x.db")
    migrate(store)
    store.close()
    monkeypatch.chdir(tmp_path)
    words = ["codes", "-c", str(main), "--account", "e", "--accept", "status/odd=in_transit"]
    done = CliRunner().invoke(cli, words)

    assert done.exit_code == 0, done.output
    assert main.read_text() == before
    assert "# the only one" in (tmp_path / "carriers.yaml").read_text()
    assert load_config(main).accounts["e"].codes["status", "odd"].status == "in_transit"
    assert sorted(one.name for one in tmp_path.glob("*.yaml*")) == ["carriers.yaml", "main.yaml"]


def test_config_show_says_where_each_value_is_written(tmp_path: Path) -> None:
    main = files(tmp_path, main=DEFAULTS + "threads: 3\n")

    def shown(*words: str) -> dict[str, dict[str, object]]:
        done = CliRunner().invoke(cli, ["config", "show", "-c", str(main), "--json", *words])
        assert done.exit_code == 0, done.output
        assert "canary" not in done.output
        found: dict[str, dict[str, object]] = json.loads(done.output.replace(f"{tmp_path}/", ""))
        return found

    root, two = shown(), shown("two")
    assert root["threads"] == {"value": 3, "from": "main.yaml:12:1"}
    assert root["broker"]["from"] == "default"
    assert two["api_token"] == {"value": "********", "from": "main.yaml:4:5"}
    assert two["uses"]["from"] == "main.yaml:3:5"
    assert two["base_url"]["from"] == "main.yaml:10:9"
    assert two["mode"]["from"] == "default"
    assert two["policy"]["from"] == "main.yaml:10:61 and main.yaml:7:5"


def test_defaults_may_wait_for_their_first_store(tmp_path: Path) -> None:
    assert load_config(files(tmp_path, main="defaults: {stores: {sweep_every: 5m}}\n")).accounts == {}
