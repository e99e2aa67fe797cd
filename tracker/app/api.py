"""The read API: what the command line tells of the whole installation, as JSON. Own port, off without a token.

It writes nothing. A token may be limited to stores: what is of no other store is all that it sees, and anything else is not there,
with the same answer whether it exists or not. Beside a list the header `Trackwright-All-Known` says whether an empty one means that all is well; what is
not known, and why, is at `/knowledge`. `GET /openapi.json` describes it; the document is made from the same table as the routes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from tracker import __version__
from tracker.app.private import Asked, Refusal, Reply, only_reads
from tracker.app.tokens import bearer, leave_out
from tracker.clock import moment
from tracker.config.inside import Api
from tracker.domain.errors import TrackerError
from tracker.domain.sentences import minute
from tracker.domain.vocabulary import FindingKind, OrderStatus
from tracker.pipeline.context import AppContext
from tracker.support import lists, planned, report_forms, report_parcels, reports, silent, statements
from tracker.support.explain import explanation
from tracker.support.gaps import Knowledge
from tracker.support.knowledge import knowledge
from tracker.support.status import status

MOST_ROWS = 1000
NO_PATH = "there is no such path: /openapi.json lists them"


class Wrong(TrackerError):
    """A query that cannot be answered: what is wrong with it, and what would be right."""


Query = dict[str, Any]  # texts; `store` and `account` may be all stores that a token sees
Handler = Callable[[AppContext, Query], Any]


@dataclass(frozen=True)
class _Told:
    """A list beside what is known: an empty one says that all is well only where all is known."""

    rows: Any
    known: Knowledge

    def headers(self) -> dict[str, str]:
        """Return what is known in short; `/knowledge` tells it whole."""
        as_of = {"Trackwright-Known-As-Of": self.known.as_of.isoformat()} if self.known.as_of else {}
        return {"Trackwright-All-Known": str(self.known.whole).lower(), **as_of}


def _beside(ask: Handler) -> Handler:
    return lambda ctx, query: _Told(ask(ctx, query), knowledge(ctx, store=query.get("store")))


def _limit(query: Query) -> int:
    return min(_number(query, "limit") or 50, MOST_ROWS)


def _number(query: Query, name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise Wrong(f"{name}: must be a whole number")
    return int(value)


def _one_of(query: Query, name: str, choices: list[str]) -> str | None:
    value = query.get(name)
    if value is not None and value not in choices:
        raise Wrong(f"{name}: must be one of {', '.join(choices)}")
    return value


def _page(query: Query) -> dict[str, Any]:
    return {"after": _number(query, "after"), "limit": _limit(query)}


def _drift(ctx: AppContext, query: Query) -> Any:
    kind = _one_of(query, "kind", [str(k) for k in lists.DRIFT])
    return lists.drift(ctx, store=query.get("store"), kind=kind, **_page(query))


def _findings(ctx: AppContext, query: Query) -> Any:
    kind = _one_of(query, "kind", [str(k) for k in FindingKind])
    return lists.list_findings(
        ctx, kinds=[kind] if kind else (), store=query.get("store"), closed=query.get("closed") == "true",
        severity=_one_of(query, "severity", ["urgent", "warning", "info"]), assigned=query.get("assigned"),
        carrier=query.get("carrier"), snoozed=query.get("snoozed") == "true",
        **_page(query),
    )  # fmt: skip


def _at(query: Query) -> datetime | None:
    try:
        return moment(query["at"]) if "at" in query else None
    except ValueError as error:
        raise Wrong(f"at: {error}") from None


def _order(ctx: AppContext, query: Query) -> Any:
    row = statements.find_order(ctx, query["ref"], query["store"])
    at = _at(query)
    if at is not None and at > ctx.now():
        raise Wrong(f"at: is still to come, so nothing is known of it; it is {minute(ctx.now())}")
    told = explanation(ctx, row.number, at=at, stores=row.store)
    found = next((order for order in told["orders"] if order["id"] == row.id), None)
    for parcel in found["parcels"] if found and "limited" in query else ():
        leave_out(parcel["watched_by"], {row.store})
    return found


def _gate(ctx: AppContext, query: Query) -> Any:
    to = _one_of(query, "to", [str(s) for s in OrderStatus])
    if to is None:
        raise Wrong("to: name the status that is asked for")
    row = statements.find_order(ctx, query["ref"], query["store"])
    gate = statements.may(ctx, row, OrderStatus(to), reason=query.get("reason", ""), at=_at(query))
    return {
        "order": row.number, "store": row.store, "to": to, "allowed": gate.allowed, "rule": gate.rule,
        "evidence": dict(gate.evidence), "needs": gate.needs or None,
        "sentence": gate.sentence,
    }  # fmt: skip


_ASKED = {
    "since": "a day such as 2026-11-01, or how far back: 30d", "until": "the last day, which is in it", "store": "", "carrier": "",
    "account": "", "service": "", "lane": "DE-FR; ? where a country is not known",
}  # fmt: skip


def _asked(ctx: AppContext, query: Query) -> reports.Asked:
    """Read what a report is about."""
    if query["what"] not in reports.REPORTS:
        raise Wrong(f"there is no such report: {', '.join(reports.REPORTS)}")
    by = _one_of(query, "by", list(reports.BY))
    try:
        return reports.asked(ctx, by=by, **{name: query.get(name) for name in _ASKED})
    except reports.WrongQuestion as error:
        raise Wrong(str(error)) from None


def _report(ctx: AppContext, query: Query) -> Any:
    told = reports.report(ctx, query["what"], _asked(ctx, query))
    return told | {"meanings": report_forms.meanings(told)}


def _report_parcels(ctx: AppContext, query: Query) -> Any:
    try:
        return report_parcels.parcels_of(ctx, query.get("show", "parcels"), _asked(ctx, query), **_page(query))
    except reports.WrongQuestion as error:
        raise Wrong(str(error)) from None


# path -> (what it answers, query parameters, how)
PATHS: dict[str, tuple[str, dict[str, str], Handler]] = {
    "/status": (
        "Whether all is well: what is wrong, the most urgent first, who runs, what waits, and how each account and store stands",
        {"store": ""}, lambda w, q: status(w, store=q.get("store")),
    ),
    "/drift": (
        "Where shop and carrier disagree", {"store": "", "kind": "", "after": "id of the last row seen", "limit": ""},
        _beside(_drift),
    ),
    "/knowledge": (
        "What is known, as of when, and what is not: of how many orders, parcels, payloads and writes, why, since when",
        {"store": ""}, lambda w, q: knowledge(w, store=q.get("store")).row(),
    ),
    "/findings": (
        "What a person must look at",
        {"store": "", "kind": "", "severity": "", "carrier": "", "assigned": "who looks after it; nobody", "closed": "true: closed ones too", "snoozed": "", "after": "", "limit": ""},
        _beside(_findings),
    ),
    "/stuck": (
        "What does not move", {"store": "", "carrier": "", "after": "", "limit": ""},
        _beside(lambda w, q: silent.stuck(w, store=q.get("store"), carrier=q.get("carrier"), **_page(q))),
    ),
    "/freshness": (
        "What share of open parcels was checked lately", {"store": ""}, _beside(lambda w, q: lists.freshness(w, store=q.get("store"))),
    ),
    "/plan": (
        "What is asked of carriers next, by account, and whether its budget suffices", {}, lambda w, _: planned.by_account(w),
    ),
    "/outbox": (
        "Writes and notices", {"store": "", "state": "", "after": "", "limit": ""},
        lambda w, q: lists.list_outbox(w, state=q.get("state"), store=q.get("store"), **_page(q)),
    ),
    "/inbox": (
        "Payloads",
        {
            "account": "", "state": "", "after": "", "limit": "",
            "partly": "true: those of which something could not be read; `unread` has path, problem and subject of each piece",
        },
        lambda w, q: lists.list_inbox(
            w, state=q.get("state"), account=q.get("account"), partly=q.get("partly") == "true", **_page(q)
        ),
    ),
    "/reports/{what}": (
        f"How {', '.join(reports.REPORTS)} did in a span of days",
        {**_ASKED, "by": f"told apart too: {', '.join(reports.BY)}"}, _report,
    ),
    "/reports/{what}/parcels": (
        "The parcels that a number of a report counts",
        {"show": f"the number: {', '.join(report_parcels.SHOWS)}; or a problem such as exception/weather", **_ASKED, "after": "", "limit": ""},
        _report_parcels,
    ),
    "/codes": ("Codes without a meaning", {"limit": ""}, lambda w, q: lists.suggest(w, limit=_limit(q))),
    "/orders/{store}/{ref}": ("An order and why it stands so", {"at": "as of a moment"}, _order),
    "/orders/{store}/{ref}/gate": (
        "May the order go to a status?",
        {"to": "the status", "reason": "why it is asked", "at": "as of a moment"}, _gate,
    ),
}  # fmt: skip


# what a token that is limited to stores may ask, and by which key its stores are meant; any other path is not there for it
LIMITED = {
    "/status": "store", "/drift": "store", "/knowledge": "store", "/findings": "store", "/stuck": "store", "/freshness": "store", "/outbox": "store",
    "/inbox": "account", "/reports/{what}": "store", "/reports/{what}/parcels": "store", "/orders/{store}/{ref}": "store",
    "/orders/{store}/{ref}/gate": "store", "/openapi.json": "",
}  # fmt: skip


def _default(value: Any) -> Any:
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    return str(value)


def _json(value: Any) -> Reply:
    more: dict[str, str] = {}
    if isinstance(value, _Told):
        value, more = value.rows, value.headers()
    body = orjson.dumps(value, default=_default, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    return Reply(200, body, headers=more)


def make_api(ctx: AppContext) -> Callable[[Asked], Reply]:
    """Return what answers the read API: to nobody without the token, whatever is asked."""

    def answer(asked: Asked) -> Reply:
        stores = _seen(ctx.config.root.api, asked.headers.get("authorization", ""))
        shape, ask, inside = _route(asked.path())
        if stores is not None and shape not in LIMITED:
            raise Refusal(404, NO_PATH)
        only_reads(asked)
        query: Query = {**asked.query(), **inside}
        if stores is not None:
            _limit_to(stores, LIMITED[shape], query, inside.get("ref"))
        try:
            return _json(ask(ctx, query))
        except Wrong as error:
            raise Refusal(400, str(error)) from None
        except TrackerError as error:
            raise Refusal(404, str(error)) from None

    return answer


def _seen(api: Api, given: str) -> frozenset[str] | None:
    """Return the stores that a token sees, None: all. Raises Refusal for one that is none of ours."""
    found = bearer(api, given)
    if found is None:
        raise Refusal(401, "the token is missing or wrong", www_authenticate="Bearer")
    return found.stores


def _limit_to(stores: frozenset[str], key: str, query: Query, ref: str | None) -> None:
    """Have a question be about the stores that its token sees. Raises Refusal for any other, whether it is there or not."""
    if not key:
        return
    given = query.setdefault(key, stores)
    if given is not stores and given not in stores:
        said = f"no order {ref!r} in store {given} is known" if ref is not None else "there is no such store"
        raise Refusal(404, said)
    if given is not stores and ref is None:
        query[key] = frozenset({given})  # a set of stores is what somebody asks who may know of no others
    query["limited"] = True


def _route(path: tuple[str, ...]) -> tuple[str, Handler, dict[str, str]]:
    """Return the shape of a path, what answers it, and its parts that have a name."""
    for shape, ask in ROUTES:
        if len(shape) == len(path) and all(path):
            pairs = list(zip(shape, path, strict=True))
            if all(part == given or part.startswith("{") for part, given in pairs):
                return "/" + "/".join(shape), ask, {part[1:-1]: given for part, given in pairs if part.startswith("{")}
    raise Refusal(404, NO_PATH)


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of the read API."""
    paths = {}
    for path, (summary, query, _) in PATHS.items():
        inside = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in inside]
        parameters += [
            {"name": n, "in": "query", "required": n == "to", "schema": {"type": "string"}, "description": said}
            for n, said in query.items()
        ]
        answers = {
            "200": {"description": summary, "content": {"application/json": {"schema": {}}}},
            "400": {"description": "a parameter is wrong; `error` says which"},
            "401": {"description": "the token is missing or wrong"},
            "404": {"description": "no such order, or none that the token may see"},
            "503": {"description": "the database is away"},
        }
        paths[path] = {"get": {"summary": summary, "parameters": parameters, "responses": answers}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trackwright read API", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
        "paths": paths,
    }


ROUTES: list[tuple[list[str], Handler]] = [
    *((path.split("/")[1:], ask) for path, (_, _, ask) in PATHS.items()),
    (["openapi.json"], lambda _ctx, _query: openapi()),
]
