"""What is wrong with an installation, the most urgent first: each in a sentence, with the command that does something about it.

A trouble is a fact that an operator must act on, or that keeps orders from being told: it makes `tracker status` end with 1.
What only an order or a parcel is about (drift, most findings) is none: it has its lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tracker.domain.vocabulary import FindingKind

K = FindingKind
ALIKE = 3  # troubles of a kind that are told one by one; of more these are named
# The order of urgency: kind -> (what several of a kind are called, what to do, the command that lists it). `{where}` is whose it is.
URGENCY: dict[str, tuple[str, str, str]] = {
    "database_away": ("", "mend the database or the address in `database:`; nothing is lost, senders come again", "tracker check"),
    "schema_older": ("", "tracker migrate", "tracker migrate --show"),
    "role_away": ("roles run nowhere", "start it: tracker {where}", "tracker status"),
    "nobody_works": ("", "start it: tracker up (or tracker scheduler)", "tracker status"),
    "config_kept": ("processes kept their old configuration", "mend it, then `tracker check` and `tracker reload`", "tracker check"),
    "not_taken": ("accounts and stores of the configuration are known to no process", "tracker up, or `tracker reload` where it runs", "tracker check"),
    "not_configured": ("stores are not in the configuration", "put {where} into it again, then `tracker reload`, or leave it so", "tracker drift --store {where}"),
    "suspended": ("accounts and stores are suspended", "put new credentials of {where} into the configuration, then `tracker reload`", "tracker findings --severity urgent"),
    "entry_wrong": ("entries of the configuration are wrong", "mend it, then `tracker check` and `tracker reload`", "tracker findings --kind entry_wrong"),
    "brake": ("brakes are on", "look at its parcels, then `tracker resume {where}` where it is true", "tracker findings --kind ends_leapt"),
    "urgent": ("", "tracker findings --severity urgent", "tracker findings --severity urgent"),
    str(K.MAIL_SUSPENDED): ("mails are suspended", "mend `mail:`, then `tracker reload`; or `tracker notify resume` where the server was wrong", "tracker findings --kind mail_suspended"),
    str(K.WRITE_DEAD): ("writes were given up", "mend the cause, then `tracker outbox retry --all --state dead`", "tracker outbox --state dead"),
    "store_paused": ("stores are paused", "tracker resume {where}", "tracker outbox --store {where} --state pending"),
    "account_paused": ("accounts are paused", "tracker resume {where}", "tracker plan {where}"),
    str(K.PAYLOAD_DEAD): ("payloads could not be read", "mend the cause, then `tracker replay --state dead`", "tracker inbox --state dead"),
    "away": ("accounts and stores do not answer", "nothing, or `tracker heal` once {where} answers: it is asked again by itself", "tracker outages"),
    str(K.KEYS_MISSING): ("senders' keys are missing", "look at the sender's keys: its webhooks are not taken", "tracker findings --kind keys_missing"),
    "sweep_late": ("stores were not swept when they were due", "look at the log of the worker; `tracker heal` sweeps now", "tracker drift"),
    str(K.MAIL_AWAY): ("the mail server does not answer", "look at it: mails wait, and are sent once it answers", "tracker notify list --state pending"),
    str(K.ADDRESS_UNREAD): ("stores do not tell customers' addresses", "give our credentials what the finding names: nobody is mailed", "tracker findings --kind address_unread"),
    str(K.SWEEP_ENDED): ("sweeps ended before their end", "look at the list in the shop", "tracker findings --kind sweep_ended"),
    str(K.FEED_GAP): ("feeds have a gap", "nothing: its parcels are asked about one by one until it is whole", "tracker outages"),
    "files_wait": ("accounts' files are not looked for", "start a worker, or look at its folder", "tracker files"),
    str(K.FILE_FAILED): ("files could not be read", "put it right, then `tracker files retry ID`", "tracker files --state failed"),
    "payloads_wait": ("", "look at the log of the worker: `tracker up` or `tracker worker` must run", "tracker inbox --state pending"),
    "orders_wait": ("", "look at the log of the worker: `tracker up` or `tracker worker` must run", "tracker drift"),
    "writes_wait": ("stores' writes wait", "look why: the worker's log, and", "tracker outbox --store {where} --state pending"),
    str(K.WRITES_HELD): ("stores' hourly writes are used up", "nothing, or a larger `writes_per_hour:`", "tracker outbox --store {where} --state pending"),
    "orders_unread": ("stores' orders changed and were not read", "nothing, or `tracker heal` once it answers", "tracker drift --store {where}"),
    "parcels_overdue": ("accounts' parcels are overdue to be asked about", "look why: the worker's log, and", "tracker plan {where}"),
    "budget_spent": ("budgets are spent", "nothing, or a larger `budget:` and `tracker reload`", "tracker plan {where}"),
    str(K.BUDGET_TOO_SMALL): ("budgets are too small", "a larger `budget:`, a slower `cadence:`, or push", "tracker plan"),
    str(K.QUOTA_LOW): ("quotas are used up, or nearly", "buy more of it, or untrack what is over", "tracker plan"),
    str(K.HOOK_WRONG): ("hooks are missing or wrong", "mend it in the shop, or `tracker hooks list {where} --mend`", "tracker hooks list {where}"),
    str(K.ENDPOINT_AWAY): ("endpoints do not take what they are told", "look at the endpoint, then `tracker hooks enable`", "tracker hooks endpoints"),
    str(K.WEBHOOKS_SILENT): ("accounts' webhooks are silent", "look at the webhooks in the carrier's portal: polls bring the news meanwhile", "tracker hooks list"),
    str(K.WEBHOOKS_MISSING): ("accounts lose webhooks", "look for refused deliveries at the carrier, at the proxy and in the log", "tracker hooks list"),
    str(K.ANSWERS_ODDLY): ("sources answer oddly", "look at what it answers", "tracker findings --kind answers_oddly"),
}  # fmt: skip
OF_MACHINES = [
    FindingKind(kind) for kind in URGENCY if kind in list(FindingKind)
]  # findings that are troubles, be they urgent or not
TOLD_BESIDE = (K.ACCOUNT_PARKED, K.ENTRY_WRONG, K.ENDS_LEAPT)  # urgent ones that a trouble of its own tells of
_RANK = {what: rank for rank, what in enumerate(URGENCY)}


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong: what (a key of URGENCY), of whom, said in a sentence, since when, and how many it is about."""

    what: str
    where: str
    said: str
    since: datetime | None = None
    count: int | None = None
    detail: str = ""  # others' words, or places inside: for who may read them
    do: str = ""  # what does something about it, where that is not what its kind says

    @property
    def act(self) -> str:
        """Say what does something about it: a command, or what a person must do."""
        return self.do or URGENCY[self.what][1].format(where=self.where)

    @property
    def see(self) -> str:
        """Return the command that lists what it is about."""
        return URGENCY[self.what][2].format(where=self.where)

    def row(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "what": self.what, "where": self.where, "said": self.said, "detail": self.detail or None, "since": self.since, "count": self.count,
            "do": self.act, "see": self.see,
        }  # fmt: skip


def in_order(found: Iterable[Trouble]) -> list[Trouble]:
    """Sort troubles by what must be done first; of one kind, by whose they are."""
    return sorted(found, key=lambda one: (_RANK[one.what], one.where))


def together(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tell many troubles of a kind in one row; each row has `many`, how many it tells of. The order stays."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(row["what"], []).append(row)
    told: list[dict[str, Any]] = []
    for what, alike in kinds.items():
        if len(alike) <= ALIKE:
            told += [{**row, "many": 1} for row in alike]
            continue
        named = ", ".join(str(row["where"]) for row in alike[:ALIKE])
        since = min((row["since"] for row in alike if row["since"] is not None), default=None)
        said = (
            f"{len(alike):,} {URGENCY[what][0] or 'things are wrong'}, such as {named}; the first: {alike[0]['said']}"
        )
        told.append({**alike[0], "said": said, "since": since, "many": len(alike)})
    return told
