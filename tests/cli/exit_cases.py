"""Each command with its arguments, the exit code that must come of it, and what it must say."""

from __future__ import annotations

from dataclasses import dataclass

from tests.cli.exit_files import AWAY
from tracker.cli.main import CODES

NONE = "none.yaml"


@dataclass(frozen=True)
class Case:
    """A command, the arguments it gets, and what must come of it. `own`: a process that imports everything itself."""

    command: str
    words: str
    code: int
    says: str = ""
    own: bool = False

    @property
    def line(self) -> list[str]:
        """Return the whole command line."""
        return [*self.command.split(), *self.words.split()]

    def __str__(self) -> str:
        return f"{self.command} {self.words} -> {self.code}"


def differs(command: str, words: str, says: str, *, own: bool = False) -> Case:
    """Make a case of exit code 1."""
    return Case(command, words, 1, says, own)


CASES = [
    # what differs, in a table and in JSON
    differs("show", "99", "nothing is known of '99'", own=True),
    differs("show", "99 --json", '"parcels_without_order": []'),
    differs("explain", "99", "nothing is known of '99'"),
    differs("explain", "7 --at 2020-01-01 --json", '"orders": []'),
    differs("evidence", "99 -o none.zip", "nothing is known of '99'"),
    differs("plan", "99", "nothing is known of '99'"),
    differs("identify", "hello", "no number in it"),
    differs("identify", "1Z5R89390357567128 --json", '"check": "wrong"'),
    differs("plan", "-c poor.yaml", "parcels will be seen every 30 d instead of"),
    differs("check", "-c sick.yaml", "PROBLEM shop (shopify): not reached"),
    Case("check", "-c empty.yaml", 1, "PROBLEM nothing is configured"),
    differs("check", "-c away.yaml --json", '"problems": [\n    "database postgresql', own=True),
    differs("drift", "", "shop_ahead", own=True),
    differs("drift", "--json", "shop_ahead"),
    differs(
        "drift", "--store shop", "shop: a sweep was due at 2026-11-03 17:10Z and nobody made it since 2026-11-03 17:00Z"
    ),
    differs("drift", "--store shop --json", "not known: 0"),
    differs("hooks list", "big -c hooked.yaml", "compared at the next look"),
    differs("inbox", "--body 99999", "no body of payload 99999"),
    differs("may", "7 cancelled --reason size", "no: 7 to cancelled"),
    differs("may", "7 cancelled --reason size --json", '"allowed": false'),
    differs("may", "99 cancelled", "no order '99'"),
    differs("whatif", "--policy other.yaml --since 3650d", "order_behind"),
    differs("whatif", "--policy other.yaml --since 3650d --json", "order_behind"),
    differs("sandbox play", "differs.yaml --check", "differs: write IN_TRANSIT for order #1", own=True),
    differs("sandbox play", "differs.yaml --check --json", '"differences": ['),
    differs("demo", "--scenario differs.yaml --log demo.log", "differs: write IN_TRANSIT for order #1"),
    differs("demo", "--scenario differs.yaml --json --log demo.log", '"differences": ['),
    Case("status", "", 1, "no process runs"),
    Case("status", "--store shop --json", 1, '"what": "sweep_late"'),
    Case("report", "carriers", 1, "nothing is counted yet"),
    Case("note", "99 x", 1, "no order '99'"),
    Case("note", "sh x --to-shop", 1, "no order 'sh'"),
    Case("record", "99 proof", 1, "no order '99'"),
    Case("correct", "7 shipped --reason x", 1, "no_step_back"),
    Case("correct-number", "7 A1 A2", 1, "kart: its platform takes no corrected numbers"),
    Case("dismiss", "99999 --reason x", 1, "0 of 1 findings dismissed"),
    Case("snooze", "99999", 1, "0 of 1 findings snoozed"),
    Case("restore", "saved.json --yes", 1, "saved.json is no backup of ours: file is not a database"),
    Case("restore", "saved.json", 2, "nothing is done: nobody can be asked here (--yes)"),
    Case("restore", "", 2, "say FILE, or --done"),
    Case("backup", "tracker.yaml", 2, "tracker.yaml is there already"),
    Case("backup", "none.db -c never.yaml", 1, "there is no such database"),
    Case("backup", "copy.db", 0, "`tracker restore copy.db` puts it back"),
    Case("restore", "--done -c empty.yaml", 0, "put back and settled"),
    Case("erase", "99", 1, "no order '99' is known"),
    Case("assign", "99999 --to ana", 1, "0 of 1 findings assigned to ana"),
    Case("replay", "99999", 1, "0 payloads are due again"),
    Case("outbox", "retry 99999", 1, "0 writes are due again"),
    Case("reload", "", 1, "no process runs"),
    Case("ingest", "--account ups odd.json", 1, "failed: nothing of it can be read"),
    Case("outages", "-c gap.yaml", 1, "easypost: 12 webhooks, 9"),
    Case("outages", "-c gap.yaml --json", 1, '"told": 12'),
    Case("try", "--account ups unknown.json", 1, "UNKNOWN: "),
    Case("try", "--account ups unknown.json --json", 1, '"unknown": ['),
    # what is fine
    Case("show", "7", 0, "The shop (kart) says that order #7 is delivered"),
    Case("show", "7 --json", 0, '"number": "#7"'),
    Case("explain", "7", 0, "The shop says more of order #7 than its carrier"),
    Case("explain", "7 --all", 0, "decisions, newest first"),
    Case("evidence", "7 -o pack.zip", 0, "SHA256SUMS"),
    Case("plan", "", 0, "ups"),
    Case("plan", "7", 0, "quiet for days: every"),
    Case("plan", "ups --json", 0, '"why": "'),
    Case("plugins", "", 0, "easypost"),
    Case("identify", "1ZR589390357567121 --store shop", 0, "of ups: no other carrier has such numbers"),
    Case("identify", "9261290289999123456783 --store shop --json", 0, '"account": "dhl"'),
    Case("check", "", 0, "tracker.yaml: fine"),
    Case(
        "check",
        "-c poor.yaml",
        0,
        "ups: this cadence needs 3 calls a day, the budget gives 0.03: parcels will be seen every",
    ),
    Case("check", "--offline", 0, "tracker.yaml: fine"),
    Case("init", "-k ups -s shopify -o first.yaml", 0, "wrote first.yaml"),
    Case("config schema", "", 0, '"accounts"'),
    Case("config show", "", 0, "sqlite:///"),
    Case("drift", "-c empty.yaml", 0, "no drift: no order is known yet"),
    Case("findings", "", 0, "order_ahead"),
    Case("checkouts", "", 0, "C1"),
    Case(
        "report",
        "carriers --since 2026-11-01 --until 2026-11-30 -c counted.yaml",
        0,
        "no parcel of 2026-11-01",
        own=True,
    ),
    Case("report", "carriers --since 2999-01-01", 2, "lies ahead"),
    Case("export", "scans", 0, '"number":"1ZR589390357567121"', own=True),
    Case("export", "scans --after x", 2, "must be an id"),
    Case("export", "events -o none/x", 2, "none/x: No such file or directory"),
    Case("report", "carriers --store nobody", 2, "no store 'nobody'"),
    Case("outages", "", 0, "no outage: nobody is away"),
    Case("outages", "-c empty.yaml", 1, "no scheduler of ours has run yet"),
    Case("stuck", "", 0),
    Case("freshness", "", 0, "open parcels"),
    Case("outbox", "", 0, "sent"),
    Case("hooks list", "", 0, "no account has hooks that we made"),
    Case("hooks list", "ups", 0, "web.public_url is not set: hooks are made by hand"),
    Case("hooks endpoints", "", 0, "nobody is told: telling.endpoints, telling.targets"),
    Case("hooks endpoints", "-c told.yaml", 1, "again  webhook  gone"),
    Case("hooks sent", "", 0, "shipment.status_changed"),
    Case("hooks sent", "nobody", 2, "no endpoint or target 'nobody': none is configured"),
    Case("hooks replay", "--yes --endpoint again -c told.yaml", 0, "1 messages are sent again"),
    Case(
        "hooks replay", "--endpoint erp -c told.yaml", 2, "1 messages would be sent again; without a terminal say --yes"
    ),
    Case("hooks replay", "99 --yes -c told.yaml", 1, "1 of those ids are not there"),
    Case("hooks replay", "--since never -c told.yaml", 2, "must be today, a span such as 3d, or a moment"),
    Case("hooks enable", "again -c told.yaml", 0, "again is sent to again"),
    differs("hooks enable", "erp -c told.yaml", "there is nothing to enable"),
    Case("hooks test", "again -c told.yaml", 0, "again took it: HTTP 204"),
    differs("hooks test", "erp order.written -c told.yaml", "erp was not reached: 127.0.0.1: ConnectError"),
    Case("hooks test", "nobody -c told.yaml", 2, "no endpoint or target 'nobody': erp, again, ops, night"),
    Case("notify test", "ops -c told.yaml", 0, "ops took it: HTTP 204"),
    differs("notify test", "night -c told.yaml", "night was not reached"),
    Case("notify test", "erp -c told.yaml", 2, "no target 'erp': ops, night"),
    Case("hooks schema", "", 0, "shipment.status_changed"),
    Case("hooks schema", "--nonsense", 2, "No such option"),
    Case("hooks secret", "", 0, "whsec_"),
    Case("hooks secret", "--nonsense", 2, "No such option"),
    Case("outbox", "--store kart --today", 0, "`tracker pause kart` stops all writes"),
    Case("outbox", "--since never", 2, "must be today, a span such as 3d, or a moment"),
    Case("outbox", "retry --all", 0, "0 writes are due again"),
    Case("inbox", "", 0, "done"),
    Case("inbox", "--body 1", 0),
    Case("codes", "", 0, "status/998"),
    Case("codes", "--accept status/998 -c accept.yaml", 0, "out_for_delivery"),
    Case("note", "7 called", 0, "noted at 7"),
    Case("record", "7 proof", 0, "recorded at 7"),
    Case("correct", "8 delivered --reason x --override", 0, "8: processing -> delivered"),
    Case("may", "8 cancelled --reason twice", 0, "yes: 8 to cancelled"),
    Case("assign", "--kind stuck --severity urgent --to ana --yes", 0, "0 findings assigned to ana"),
    Case("assign", "{finding} --to ana", 0, "1 of 1 findings assigned to ana"),
    Case("snooze", "{finding}", 0, "1 of 1 findings snoozed"),
    Case("dismiss", "{finding} --reason known", 0, "1 of 1 findings dismissed"),
    Case("policy show", "kart", 0, "preset kingston-courier"),
    Case("policy show", "ups", 0, "cadence of ups"),
    Case("policy show", "ups --carrier ups", 0, "about parcels of ups"),
    Case("policy table", "", 0, "write Delivered"),
    Case("policy presets", "", 0, "mirror"),
    Case("policy coverage", "", 0, "out_for_delivery"),
    Case("whatif", "--policy tracker.yaml", 0, "Nothing would change"),
    Case("pause", "kart", 0, "paused: kart"),
    Case("resume", "kart", 0, "resumed: kart"),
    Case("pause", "ups", 0, "paused: ups"),
    Case("plan", "", 0, "paused since"),
    Case("resume", "ups", 0, "resumed: ups"),
    Case("replay", "1", 0, "1 payloads are due again"),
    Case("replay", "--state dead", 0, "0 payloads are due again"),
    Case("remap", "ups", 0, "parcels are read again"),
    Case("ingest", "--account ups saved.json", 0, "1 payloads stored"),
    Case("files", "", 0, "saved.json"),
    Case("files", "retry 99999", 1, "0 files are read again"),
    Case("files", "retry", 2, "name files by id"),
    Case("files", "--account kart", 0, "no such file"),
    Case("files", "--account nobody", 2, "no store or account 'nobody': ups, dhl"),
    Case("inbox", "--account dhl", 0, "no such payload"),
    Case("inbox", "--account nobody", 2, "no store or account 'nobody': ups, dhl"),
    Case("inbox", "--account nobody --partly --json", 2, "no store or account 'nobody': ups, dhl"),
    Case("try", "--account ups saved.json -c wrong.yaml --json", 2, "no account or store 'ups'"),
    Case("try", "--account ups saved.json", 0, "ups (ups), read as poll"),
    Case("try", f"--account ups saved.json -c {AWAY}", 0, "ups (ups), read as poll"),  # no database is asked
    Case("erase", "7 --preview", 0, "Backups, notices.file, the shop and the carriers are not touched"),
    Case("erase", "7", 2, "nothing is erased: nobody can be asked here (--yes)"),
    Case("heal", "", 0, "stores and feeds will be swept now"),
    Case("migrate", "", 0, "already at"),
    Case("demo", "--scenario fine.yaml --log demo.log", 0, "as it must be"),
    Case("sandbox play", "fine.yaml --check", 0, "as it must be"),
    Case("sandbox play", "differs.yaml", 0, "differs: write IN_TRANSIT"),
    Case("sandbox schema", "", 0, '"steps"'),
    Case("new carrier", "acme --package plugins/acme", 0, "wrote plugins/acme/trackwright_acme/acme.csv"),
    Case("new platform", "corner --package plugins/corner", 0, "wrote plugins/corner/tests/test_corner.py"),
    # wrong usage and wrong configuration
    Case("nonsense", "", 2, "No such command 'nonsense'", own=True),
    Case("show", "7 -c wrong.yaml", 2, "wrong.yaml:1:1: brocker: unknown key", own=True),
    Case("check", "wrong.yaml", 2, "did you mean 'broker'?", own=True),
    Case("explain", "7 --at yesterday", 2, "must be a moment"),
    Case("evidence", "7 -o none/pack.zip", 2, "none/pack.zip: No such file or directory"),
    Case("init", "-o tracker.yaml", 2, "is there already"),
    Case("init", "-o none/first.yaml", 2, "none/first.yaml: No such file or directory"),
    Case("identify", "1Z --store nobody", 2, "no store 'nobody': kart, shop"),
    Case("identify", "1Z --company Nobody", 2, "no carrier is called 'Nobody'"),
    Case("drift", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("status", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("findings", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("stuck", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("checkouts", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("outbox", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("outbox", "retry --all --store nobody", 2, "no store 'nobody': kart, shop"),
    Case("outbox", "retry", 2, "name writes by id"),
    Case("outbox", "retry 1 --all", 2, "ids, or --all: not both"),
    Case("hooks list", "nobody", 2, "no store or account 'nobody'"),
    Case("hooks list", "--mend", 2, "--mend needs a name"),
    Case("hooks list", "ups --mend -c hooked.yaml", 2, "ups states no hooks: they are made by hand"),
    Case("outbox", "--since soon", 2, "--since"),
    Case("dismiss", "--reason x", 2, "name findings by id, or say which by a filter"),
    Case("dismiss", "--store kart --reason x", 2, "without a terminal say --yes. Nothing is done"),
    Case("snooze", "1 --store kart", 2, "not both"),
    Case("assign", "--from none.csv --to ana", 2, "none.csv: cannot be read: No such file or directory"),
    Case("assign", "1", 2, "Missing option '--to'"),
    Case("record", "7 prof", 2, "'prof' cannot be recorded"),
    Case("record", "accepted", 2, "name orders, or say which by a filter"),
    Case("replay", "--state done --since soon", 2, "must be today, a span such as 3d, or a moment"),
    Case("codes", "--accept status/997", 2, "nothing suggests a meaning"),
    Case("policy show", "nobody", 2, "no store or carrier account 'nobody': ups, dhl"),
    Case("policy show", "kart --carrier ups", 2, "--carrier is for carrier accounts"),
    Case("config show", "nobody", 2, "no account or store 'nobody'"),
    Case("policy table", "nobody", 2, "no store 'nobody'"),
    Case("policy presets", "--nonsense", 2, "No such option"),
    Case("policy coverage", "-c none.yaml", 2, "`tracker init` writes a first one"),
    Case("whatif", "", 2, "say --policy FILE or --mapping FILE"),
    Case("pause", "nobody", 2, "no store or account 'nobody'"),
    Case("resume", "nobody", 2, "no store or account 'nobody'"),
    Case("heal", "--backfill nobody", 2, "no store 'nobody'"),
    Case("remap", "nobody", 2, "no account 'nobody'"),
    Case("replay", "", 2, "name payloads by id"),
    Case("ingest", "--account ups none.json", 2, "none.json: No such file or directory"),
    Case("try", "--account ups none.json", 2, "'none.json' does not exist"),
    Case("try", "--account ups odd.json", 2, "nothing of it can be read"),
    Case("plugins", "--nonsense", 2, "No such option"),
    Case("config schema", "--nonsense", 2, "No such option"),
    Case("sandbox schema", "--nonsense", 2, "No such option"),
    Case("new carrier", "acme", 2, "this folder is no checkout of Trackwright"),
    Case("new carrier", "shopify --package plugins/other", 2, "'shopify' is taken"),
    Case("new carrier", "acme --package tracker.yaml", 2, "is a file"),
    Case("new platform", "no-name --package plugins/other", 2, "'no-name' can be no plugin's name"),
    Case("new platform", "class --package plugins/other", 2, "'class' can be no plugin's name"),
    Case("sandbox play", "none.yaml --check", 2, "does not exist"),
    Case("sandbox play", "wrong.yaml --check", 2, "wrong.yaml"),
    Case("sandbox play", "fine.yaml --log none/play.log", 2, "none/play.log: No such file or directory"),
    Case("demo", "--scenario wrong.yaml --log demo.log", 2, "wrong.yaml"),
    Case("up", f"-c {NONE}", 2, "there is no such file"),
    Case("up", "-c taken.yaml", 2, "the receiver cannot listen on 127.0.0.1:", own=True),
    Case("worker", "", 2, "separate roles need a broker"),
    # the database is away, or is none
    Case("findings", "-c fresh.yaml", 3, "tracker migrate", own=True),
    Case("show", "7 -c broken.yaml", 3, "the database cannot be used: file is not a database", own=True),
    Case("up", f"-c {AWAY}", 3, "could not be reached for 0 s", own=True),
    Case("sandbox play", "fine.yaml --database postgresql://nobody@127.0.0.1:1/x", 3, "could not be reached"),
]
ARGUMENTS = {
    "show": "7", "explain": "7", "evidence": "7 -o x.zip", "proof": "7", "note": "7 x", "record": "7 proof", "may": "7 cancelled",
    "correct": "7 shipped --reason x", "correct-number": "7 A1 A2", "dismiss": "1 --reason x", "snooze": "1", "assign": "1 --to ana", "erase": "7", "backup": "x.db", "restore": "saved.json --yes", "replay": "1", "remap": "ups", "ingest": "--account ups saved.json",
    "whatif": "--policy tracker.yaml", "report": "carriers", "export": "scans", "hooks enable": "erp",
    "notify preview": "7", "notify retry": "1",
}  # fmt: skip
ROLES = {"web": "away-roles.yaml", "worker": "away-roles.yaml", "scheduler": "away-roles.yaml"}
# each command that reads a configuration or a database says so, whatever else it does
for name, codes in CODES.items():
    if 3 in codes and name != "sandbox play":
        CASES.append(Case(name, f"{ARGUMENTS.get(name, '')} -c {NONE}".strip(), 2, "there is no such file"))
        CASES.append(
            Case(name, f"{ARGUMENTS.get(name, '')} -c {ROLES.get(name, AWAY)}".strip(), 3, "connection failed")
        )
# those that need a broker and PostgreSQL, or minutes, are proved where these are
ELSEWHERE = {
    **{("notify preview", code): "cli/test_notify.py::test_the_very_mail_is_shown_before_it_is_sent_and_told_afterwards" for code in (0, 1)},
    **{(f"notify {verb}", code): "cli/test_notify.py::test_mails_are_listed_and_what_was_refused_is_tried_again_by_a_person"
       for verb, codes in {"list": (0,), "retry": (0, 1), "resume": (0, 1)}.items() for code in codes},
    **{("proof", code): "cli/test_proof.py::test_a_person_gets_the_document_in_a_file_only_they_can_read_and_nothing_of_it_is_kept" for code in (0, 1)},
    ("mcp", 0): "app/test_assistants.py::test_the_command_answers_all_that_it_is_asked_and_changes_nothing",
    ("mcp", 2): "app/test_assistants.py::test_without_the_package_the_command_and_the_port_say_how_to_have_it",
    ("status", 0): "cli/test_status.py::test_a_healthy_installation_is_well_and_each_thing_that_is_wrong_is_said_first",
    ("correct-number", 0): "cli/test_correct_number.py::test_a_correction_is_asked_for_by_a_process_and_written_by_the_worker",
    ("reload", 0): "app/test_reload.py::test_all_roles_take_a_new_configuration_that_somebody_asks_for",
    ("up", 0): "app/test_processes.py::test_SIGTERM_finishes_and_exits_with_0",
    **{(role, 0): "app/test_processes.py::test_F5_separate_roles_work_and_a_wiped_redis_loses_nothing"
       for role in ("web", "worker", "scheduler")},
    **{(role, 70): "chaos/test_drills_of_ours.py::test_F24_a_payload_that_kills_or_hangs_its_process_ends_dead_and_holds_back_nobody"
       for role in ("up", "web", "worker", "scheduler")},
}  # fmt: skip
