"""The files of the commands whose exit codes are proved: right ones, and wrong ones of every kind."""

from __future__ import annotations

from pathlib import Path

from tests.lab import START, Lab
from tests.told import NEW
from tracker.store import tables as t

ROOT = Path(__file__).parents[2]
FULL, AWAY = "tracker.yaml", "away.yaml"
SCENARIO = 'scenario: one\nsteps: [{at: +0h, place: {order: "#1"}}]\nlasts: 1m\nexpect: {writes: [%s]}\n'


def files_of(made: Lab, folder: Path, port: int, heard: str) -> dict[str, str]:
    """Return each file's text by its name; `port` is taken, and who is told listens at `heard`."""
    postgres = "postgresql://nobody@127.0.0.1:1/x"
    return {
        FULL: made.yaml,
        "other.yaml": made.yaml.replace("kingston-courier", "kingston-courier, ahead_after: off, writes: {courier: []}"),
        "sick.yaml": made.yaml.replace("base_url: http://127.0.0.1:", "base_url: http://127.0.0.1:1/", 4).replace(
            "access_token:", "api_version: unstable, access_token:"
        ),
        "accept.yaml": made.yaml,
        "poor.yaml": made.yaml.replace("ups: {uses: ups,", "ups: {uses: ups, budget: {calls: 1, per: 30d},"),
        "hooked.yaml": made.yaml + '  big: {uses: bigcommerce, store_hash: x, access_token: "${file:s}", webhook_secrets: "${file:s}"}\n'
        "web: {public_url: 'https://t.example'}\n",
        "told.yaml": made.yaml + f"telling: {{endpoints: {{{told('erp', 'http://127.0.0.1:1/x')}, {told('again', heard)}}}, "
        "targets: {ops: {form: slack, url: '${file:heard}'}, night: {form: json, url: '${file:deaf}'}}}\n",
        "never.yaml": f"database: sqlite:///{folder}/db/never.db\n",
        "empty.yaml": f"database: sqlite:///{folder}/db/empty.db\n",
        "counted.yaml": f"database: sqlite:///{folder}/db/counted.db\n",
        "gap.yaml": f"database: sqlite:///{folder}/db/gap.db\n",
        "fresh.yaml": f"database: sqlite:///{folder}/fresh.db\n",
        "broken.yaml": f"database: sqlite:///{folder}/db/broken.db\n",
        "wrong.yaml": "brocker: none\n",
        "taken.yaml": f"database: sqlite:///{folder}/db/taken.db\nweb: {{port: {port}, ops_port: 0}}\n",
        AWAY: f"database: {postgres}\ndatabase_wait: 0s\naccounts: {{ups: {{uses: ups, client_id: x, client_secret: \"${{file:s}}\"}}}}\n"
        f"telling: {{endpoints: {{{told('erp', 'https://erp.example')}}}}}\n",
        "away-roles.yaml": f"database: {postgres}\ndatabase_wait: 0s\nbroker: redis://127.0.0.1:1/0\n",
        "saved.json": (ROOT / "tests/fixtures/ups/delivered-without-gmt.poll.json").read_text(),
        "odd.json": "{",
        "unknown.json": (ROOT / "tests/fixtures/ups/delivered-without-gmt.poll.json").read_text().replace('"011"', '"997"'),
        "fine.yaml": SCENARIO % "",
        "differs.yaml": SCENARIO % '{order: "#1", event: IN_TRANSIT}',
    }  # fmt: skip


def told(name: str, url: str) -> str:
    """Return the entry of an endpoint."""
    return f'{name}: {{url: "{url}", secrets: "${{file:signing}}"}}'


def messages(made: Lab, folder: Path, heard: str) -> None:
    """Have messages that nobody took: one to an endpoint that is away, one to an endpoint that had said it was gone."""
    for name, text in (("signing", NEW), ("heard", heard), ("deaf", "http://127.0.0.1:1/x")):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    row = {"event": "shipment.status_changed", "subject": "parcel/1", "body": "{}", "state": "dead", "attempts": 10,
           "due_at": START, "created_at": START, "ended_at": START, "error": "HTTP 500"}  # fmt: skip
    for name, gone in (("erp", None), ("again", START)):
        made.change(t.messages.insert().values(destination=name, key=f"msg_{name}", **row))
        made.change(t.destinations.insert().values(name=name, failures=0, disabled_at=gone))
