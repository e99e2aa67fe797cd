"""How a shop's orders are asked for: by id, by page, by one bulk operation; with all that one order holds, and without what we may not see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.shopify import partly, reads
from adapters.shopify.answers import TOO_DEAR
from adapters.shopify.bulk import under_way
from adapters.shopify.notices import change_notices
from adapters.shopify.reading import GID, Reading, nodes_of, order_of
from adapters.shopify.routing import SCOPES
from adapters.shopify.whole import Whole
from adapters.shopify.writing import Ask, field_of
from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, SourceError, Unavailable
from tracker.domain.facts import ChangeNotice, Order, Page, Payload, Refs, Since, Unread
from tracker.plugin.calls import Response
from tracker.plugin.contracts import Platform
from tracker.plugin.graphql import Listed, sweep
from tracker.plugin.payloads import decode, mapping
from tracker.plugin.tracked import each_alone, order, told

OVERLAP = timedelta(minutes=10)  # the search index may lag behind the record
LOOKS_AGAIN = timedelta(days=1)  # whether it may be seen by now what the app was not let see
NOT_SEEN = {
    "fulfillmentOrders": f"the app may not see them: holds, places and delivery methods are not known; grant {SCOPES}",
    "shippingAddress": "the app may not see it: countries and the state of addresses are not known",
}


class Fetching:
    """Reads of one shop. It remembers what the app may not see, and how many orders a query may ask for."""

    def __init__(self) -> None:
        """Begin as every shop is begun with."""
        self._page = reads.PAGE
        self._denied: dict[str, datetime] = {}  # a field -> when it was refused

    def fetch(self, ask: Ask, now: datetime, query: Refs | Since, status_field: str) -> Iterator[Page]:
        """Read orders by id, or all that changed since the cursor (with an overlap), oldest change first."""
        namespace, key = field_of(status_field)
        named = {"namespace": namespace, "key": key, "named": bool(status_field)}
        asks = _Asks(self, ask, now, named, acted=not (isinstance(query, Since) and query.open_only))
        if isinstance(query, Refs):
            ids = [ref for ref in query.refs if GID.fullmatch(ref)]  # one that is no id fails all of a call
            yield from asks.by_id(ids)
        else:
            yield from asks.changed(query)

    def without(self, said: str, now: datetime) -> bool:
        """Leave out the field that an answer refuses by name, for a day. Returns whether there is one that was asked for."""
        named = [name for name in reads.LEFT_OUT if name in said and name not in self.left_out(now)]
        self._denied |= dict.fromkeys(named, now)
        return bool(named)

    def left_out(self, now: datetime) -> set[str]:
        """Return the fields that the app was not let see of late."""
        return {name for name, at in self._denied.items() if now - at < LOOKS_AGAIN}

    def fewer(self, error: Refused) -> bool:
        """Ask for fewer orders at once from now on, where an answer says that they cost too much. Returns whether that can be done."""
        if TOO_DEAR not in str(error) or self._page == 1:
            return False
        self._page //= 2
        return True

    @property
    def page(self) -> int:
        """How many orders a query asks for."""
        return self._page


class _Asks:
    """One fetch."""

    def __init__(self, shop: Fetching, ask: Ask, now: datetime, named: Mapping[str, Any], *, acted: bool) -> None:
        self._shop, self._ask, self._now, self._named, self._acted = shop, ask, now, named, acted

    def _orders(self, query: str, variables: Mapping[str, Any]) -> Response:
        """Ask for orders, without what the app may not see."""
        while True:
            out = self._shop.left_out(self._now)
            may = {variable: name not in out for name, variable in reads.LEFT_OUT.items()}
            may["acted"] = may["acted"] and self._acted
            try:
                response = self._ask(query, {**variables, **self._named, **may})
            except CredentialsRejected as error:
                if not self._shop.without(str(error), self._now):
                    raise
                continue
            for odd in partly.odd_of(response).values():
                self._shop.without(" ".join(one.field for one in odd if one.code == partly.DENIED), self._now)
            return response

    def changed(self, query: Since) -> Iterator[Page]:
        state = ["status:open"] if query.open_only else []

        def ask(since: datetime | None, after: str | None) -> Listed:
            changed = [f"updated_at:>='{since.strftime('%Y-%m-%dT%H:%M:%SZ')}'"] if since else []
            search = {"after": after, "q": " ".join(changed + state)}
            while True:
                try:
                    response = self._orders(reads.ORDERS, {"first": self._shop.page, **search})
                    break
                except Refused as error:
                    if not self._shop.fewer(error):
                        raise
            data, nodes = _answered(response, "orders")
            return Listed(response.body, data["orders"], nodes)

        for listed, cursor in sweep(query.cursor, self._now, OVERLAP, ask):
            yield Page((listed.body, *self._whole(listed.nodes)), cursor)

    def by_id(self, ids: list[str]) -> Iterator[Page]:
        """Read some orders, as many in a call as may be."""
        while ids:
            some = ids[: self._shop.page]
            try:
                yield from self._some(some)
            except Refused as error:
                if len(some) == 1 or not self._shop.fewer(error):
                    raise
                continue
            ids = ids[len(some) :]

    def _some(self, ids: list[str]) -> Iterator[Page]:
        """Read some orders in one call; where that fails, one by one, so that an odd one takes nothing from the others."""
        try:
            response = self._orders(reads.READ, {"ids": ids})
            _, nodes = _answered(response, "nodes")
        except (RateLimited, Unavailable, CredentialsRejected):
            raise
        except SourceError as error:
            if len(ids) == 1 or TOO_DEAR in str(error):
                raise
            yield from self._alone(ids)
            return
        odd = partly.odd_of(response)
        lost = [at for at in odd if at < len(nodes) and not nodes[at]]  # which one it is the answer does not say
        if lost and len(ids) == 1:
            raise partly.error_of(odd[0])
        yield Page((response.body, *self._whole(nodes)))
        yield from self._alone([ids[at] for at in lost if at < len(ids)])

    def _alone(self, ids: list[str]) -> Iterator[Page]:
        for found in each_alone(ids, lambda id_: [*self._some([id_])]):
            yield from found

    def _whole(self, nodes: list[Any]) -> Iterator[bytes]:
        """Ask on for what each order holds beyond its first lists."""
        whole = Whole(nodes)
        for node in whole.orders.values():
            asked: set[str] = set()
            while (more := whole.lacking(node)) is not None and str(more) not in asked:
                asked.add(str(more))
                query, variables = more
                try:
                    response = self._ask(query, variables, follows=True)
                    data = mapping(decode(response.body).get("data"), "$.data")
                except (RateLimited, Unavailable, CredentialsRejected):
                    raise
                except SourceError:
                    break  # what cannot be had whole is told by the parser
                whole.take(data)
                yield response.body


def read(payload: Payload, parts: list[dict[str, Any]], shop: Platform) -> Iterable[Order | ChangeNotice | Unread]:
    """Read an answer as orders; a webhook body only says that one changed. Further parts hold what was asked on."""
    if payload.kind == "webhook":
        return change_notices(parts[0], payload.headers.get("x-shopify-topic", "").strip().lower())
    data = mapping(parts[0].get("data"), "$.data")
    where, nodes = nodes_of(data)
    orders_ = data.get("orders")
    bulk = isinstance(orders_, dict) and orders_.get("bulk") is True
    whole = Whole(nodes, bulk=bulk)
    for part in parts[1:]:
        whole.take(part.get("data"))
    odd = partly.odd_nodes(parts[0]) or {}
    reading = Reading(shop, whole, payload.received_at)
    unread: list[Unread] = []
    found: list[Order | ChangeNotice] = []
    for at, node in enumerate(nodes):
        place, ref = f"{where}[{at}]", node.get("id") if isinstance(node, dict) else None
        if "nodes" in data and not node and node is not True and (at not in odd or len(nodes) > 1):
            continue  # by id: null, and an empty object for what is no order, is not there; an odd one is asked for alone
        if at in odd:
            missed, can_be_told = partly.told(place, ref if isinstance(ref, str) else "", odd[at])
            unread += missed
            if not can_be_told:
                continue
        if bulk and isinstance(ref, str) and GID.fullmatch(ref) and under_way(node):
            found.append(ChangeNotice(ref))
            continue
        one = order(node, place, lambda node, unread: order_of(node, unread, reading), "id", unread)
        found += [one] if one else []
    unread += _not_seen(where, nodes)
    if payload.kind == "sweep":  # what could not be asked on is asked again, the order alone
        rest = dict.fromkeys(one.subject for one in unread if one.lacks == "rest" and one.subject)
        found += [ChangeNotice(ref) for ref in rest if ref not in whole.asked_on]
    return told(found, unread)


def _not_seen(where: str, nodes: list[Any]) -> Iterator[Unread]:
    """Tell once what was left out of all orders of an answer as the app may not see it."""
    asked = [one for one in nodes if isinstance(one, dict) and "fulfillmentsCount" in one]
    for name, lost in NOT_SEEN.items():
        if asked and all(name not in one for one in asked):
            yield Unread(f"{where}.{name}", lost, lacks="nothing")


def _answered(response: Response, name: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the data of an answer and its orders. Raises Unavailable where they are not there: that is never "no orders"."""
    try:
        data = mapping(decode(response.body).get("data"), "$.data")
        if name in data:
            return data, nodes_of(data)[1]
    except BadPayload:
        pass
    raise Unavailable("GraphQL answered without its orders")
