"""The files of the commands whose exit codes are proved: right ones, and wrong ones of every kind."""

from __future__ import annotations

from pathlib import Path

from tests.lab import Lab

ROOT = Path(__file__).parents[2]
FULL, AWAY = "tracker.yaml", "away.yaml"
SCENARIO = 'scenario: one\nsteps: [{at: +0h, place: {order: "#1"}}]\nlasts: 1m\nexpect: {writes: [%s]}\n'


def files_of(made: Lab, folder: Path, port: int) -> dict[str, str]:
    """Return each file's text by its name; `port` is taken."""
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
        "empty.yaml": f"database: sqlite:///{folder}/db/empty.db\n",
        "counted.yaml": f"database: sqlite:///{folder}/db/counted.db\n",
        "gap.yaml": f"database: sqlite:///{folder}/db/gap.db\n",
        "fresh.yaml": f"database: sqlite:///{folder}/fresh.db\n",
        "broken.yaml": f"database: sqlite:///{folder}/db/broken.db\n",
        "wrong.yaml": "brocker: none\n",
        "taken.yaml": f"database: sqlite:///{folder}/db/taken.db\nweb: {{port: {port}, ops_port: 0}}\n",
        AWAY: f"database: {postgres}\ndatabase_wait: 0s\naccounts: {{ups: {{uses: ups, client_id: x, client_secret: \"${{file:s}}\"}}}}\n",
        "away-roles.yaml": f"database: {postgres}\ndatabase_wait: 0s\nbroker: redis://127.0.0.1:1/0\n",
        "saved.json": (ROOT / "tests/fixtures/ups/delivered-without-gmt.poll.json").read_text(),
        "odd.json": "{",
        "unknown.json": (ROOT / "tests/fixtures/ups/delivered-without-gmt.poll.json").read_text().replace('"011"', '"997"'),
        "fine.yaml": SCENARIO % "",
        "differs.yaml": SCENARIO % '{order: "#1", event: IN_TRANSIT}',
    }  # fmt: skip
