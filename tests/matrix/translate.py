"""A scenario that names no platform's own thing, put into the words of another platform; or what that one has no word for.

The scenarios of the requirements are told of a `rest` store, in one of its lists of words. A status word becomes our status, and then the
other shop's word for it; so do payments. What a scenario tells of an order that the other shop cannot tell is a reason not to play it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.rest import KNOWN
from tests.matrix.columns import ROOT, Column, policy_of
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus

O = OrderStatus
Told = dict[str, Any]
NO_ACTOR = frozenset({"system_controlled_edit"})  # findings that need to know who changed a status
FACETS = {  # of an order that is placed: what it needs
    "items": "items", "address": "address", "tags": "tags", "verified": "verified", "country": "country", "service": "service",
    "location": "location",
}  # fmt: skip
AHEAD = frozenset({O.SHIPPED, O.IN_TRANSIT, O.OUT_FOR_DELIVERY, O.DELIVERY_FAILED, O.DELIVERED, O.RETURNED})
PROVE = ("writes", "findings", "notices", "unmatched")


@dataclass
class _Store:
    """A store of a scenario, as it is told: its words, its policy, and who dispatches each of its orders."""

    words: Mapping[str, tuple[OrderStatus, PaymentStatus | None, str]]
    policy: Policy
    methods: dict[str, str] = field(default_factory=dict)


class Translation:
    """One scenario in the words of one platform: `told` is the new one, `lacks` what that platform has no word for."""

    def __init__(self, scenario: Told, column: Column) -> None:
        """Put it into the platform's words."""
        self.column, self.told = column, copy.deepcopy(scenario)
        self.lacks: list[str] = []
        self._whole = repr(scenario)
        if column.native:
            return
        self._stores = {name: self._store(store) for name, store in self.told["stores"].items()}
        self._steps = [(name, action) for step in self.told["steps"] for name, action in step.items() if name != "at"]
        self._expected = [action for name, action in self._steps if name == "expect"] + [self.told.get("expect") or {}]
        self._ships_by_themselves = self._shipped()
        self._parcels: set[str] = set()  # orders of which a parcel was made so far
        for name, action in self._steps:
            if name != "expect":  # below, once
                getattr(self, f"_{name}", lambda _: None)(action)
        for expected in self._expected:
            self._expect(expected)
        if self._ships_by_themselves and any(e.get("writes") == [] for e in self._expected[:-1]):
            self._no("no number before Shipped")  # that nothing is written before it is the statement
        if sum(self._ships_by_themselves.values()) and not any(e.get(p) for e in self._expected for p in PROVE):
            self._no("no number before Shipped")  # nothing would be left to prove
        for name in self.told["stores"]:
            self.told["stores"][name] = self._used(self._stores[name], self.told["stores"][name])
        self.told = self._named(self.told)

    def _no(self, word: str) -> None:
        if word not in self.lacks:
            self.lacks.append(word)

    def _need(self, *wanted: str) -> None:
        for one in wanted:
            if one not in self.column.has:
                self._no(f"no {SAID.get(one, one)}")

    # stores

    def _store(self, used: Told) -> _Store:
        words = used.get("words", "own")
        known = KNOWN.get(words) or {str(status): (status, None, "") for status in OrderStatus}
        more = {word: (OrderStatus(status), None, "") for word, status in (used.get("statuses") or {}).items()}
        return _Store({**known, **more}, policy_of(used.get("policy") or {}, words))

    def _used(self, store: _Store, used: Told) -> Told:
        """Return the store as the scenario uses it, of the other platform."""
        column = self.column
        kept = {key: value for key, value in used.items() if key not in ("uses", "words", "statuses")}
        more: Told = {"uses": column.uses, **column.store, "settings": {**column.settings, **used.get("settings", {})}}
        if column.entry:
            more["entry"] = str(ROOT / column.entry)
        policy = dict(used.get("policy") or {})
        if "method" not in column.has and store.methods:
            policy |= self._owned(store)
        writes = {
            str(owner): [str(status) for status in O if status in wanted and status in column.writes]
            for owner, wanted in store.policy.writes.items()
        }
        return {**kept, **more, "policy": {**policy, "writes": writes}}

    def _owned(self, store: _Store) -> Told:
        """Say who dispatches where the shop names no delivery method: by a tag, or the same for all of its orders."""
        if "tags" in self.column.has:
            rules = [
                {"name": rule.name, "owner": str(rule.owner), "tag": list(rule.method)}
                for rule in store.policy.ownership
            ]
            return {"ownership": rules}
        owner = self._owner(store, next(iter(store.methods.values())))  # of each alike, or it is not played
        return {"ownership": [{"name": "all", "owner": str(owner), "carrier": ["*"]}], "otherwise": str(owner)}

    def _owner(self, store: _Store, method: str) -> Owner:
        fits = [
            rule.owner for rule in store.policy.ownership if method.casefold() in {w.casefold() for w in rule.method}
        ]
        return fits[0] if fits else store.policy.otherwise

    # words

    def _status(self, store: str, word: str) -> str | None:
        """Return the shop's word for what a scenario's word means."""
        known = self._stores[store].words.get(word)
        if known is None:
            self._no(f"no word that is unknown ({word})")
            return None
        status, payment, _ = known
        if payment is not None:
            self._no(f"no status that says {payment}")
        return self._read(status)

    def _read(self, status: OrderStatus) -> str | None:
        found = self.column.reads.get(self._stands_for(status))
        if found is None:
            self._no(f"no word for {status}")
        return found

    def _stands_for(self, status: OrderStatus) -> OrderStatus:
        """Where the shop has one word for confirmed and processing it stands for either, in a scenario that needs only one of them."""
        reads = self.column.reads
        if status in (O.PROCESSING, O.CONFIRMED) and status not in reads:
            other = O.CONFIRMED if status is O.PROCESSING else O.PROCESSING
            used = {
                one for store in self._stores.values() for word, (one, *_) in store.words.items() if self._says(word)
            }
            rules = re.sub(
                r"'processing( days)?': (False|'off')|restore_processing|'preset': '[a-z-]+'|status: '?processing",
                "",
                self._whole,
            )
            if other in reads and not ({status, other} <= used) and not re.search(rf"\w*_{status}|{status}_\w*", rules):
                return other
        return status

    def _says(self, word: str) -> bool:
        return any(
            word in (action.get("status"), (action.get("set") or {}).get("status"))
            for name, action in self._steps
            if name in ("place", "ship", "edit")
        )

    def _payment(self, word: str) -> str | None:
        found = self.column.payments.get(word)
        if found is None:
            self._no(f"no payment that is {word}")
        return found

    # what happens

    def _place(self, action: Told) -> None:
        store = self._stores[action.get("store", "shop")]
        if (word := action.get("status")) is not None and (mine := self._status(action.get("store", "shop"), word)):
            action["status"] = mine
        if "payment" in action:
            action["payment"] = self._payment(action["payment"])
        if method := action.get("method"):
            store.methods[action["order"]] = method
            self._method(store, action, method)
        for key, need in FACETS.items():
            if action.get(key):
                self._need(need)
        for item in action.get("items", ()):
            if not item.get("in_stock", True):
                self._need("stock")
            if not item.get("shippable", True):
                self._need("virtual")
        if action.get("pays_by", "card") != "card":
            self._need("pays_by")

    def _method(self, store: _Store, action: Told, method: str) -> None:
        """Keep the delivery method, or put it into a tag; without either all orders of a store must be dispatched alike."""
        if "method" in self.column.has:
            return
        action.pop("method")
        if "method" in str(self._expected):
            self._no("no delivery method")
        elif "tags" in self.column.has:
            action["tags"] = [*action.get("tags", ()), method]
        elif len({self._owner(store, one) for one in self._methods_of(action.get("store", "shop"))}) > 1:
            self._no("no delivery method")

    def _methods_of(self, store: str) -> list[str]:
        mine = [action for name, action in self._steps if name == "place" and action.get("store", "shop") == store]
        known = self._stores[store].methods
        return [known.get(action["order"]) or action.get("method", "") for action in mine]

    def _ship(self, action: Told) -> None:
        store = action.get("store", "shop")
        if action.get("items"):
            self._need("pieces")
        if action.get("service"):
            self._need("service")
        word = action.get("status")
        if word is not None:
            status = self._stores[store].words[word][0]
            self._by(store, action)
            if not (action.get("numbers") and self.column.ships) and self.column.sets:
                action["status"] = self._status(store, word)
            elif status is O.SHIPPED:
                action.pop("status")
            else:
                self._no("no number before Shipped")
        if not action.get("numbers"):
            self._need("blank")
        elif self.column.ships:
            if action.get("by", "seller") == "seller" and self._dispatched(store, action):
                self._no("no number before Shipped")  # who ships it sets its status, and may not
            if action.get("items") and action.get("status"):
                self._no("no Shipped of a part")
            self._parcels.add(action["order"])
        if self.column.entry and len(action.get("numbers", ())) > 1:
            self._no("no second number")

    def _edit(self, action: Told) -> None:
        store, values = action.get("store", "shop"), action.get("set") or {}
        for key in values:
            if key == "status":
                self._by(store, action)
                if self.column.sets:
                    values[key] = self._status(store, values[key])
                else:
                    self._no("no status that people set")
            elif key == "payment":
                values[key] = {"status": self._payment(values[key]["status"])}
            else:
                self._need("address" if key == "delivery" else key)

    def _by(self, store: str, action: Told) -> None:
        """Who changes the status of an order that the platform dispatches matters."""
        if self._dispatched(store, action):
            self._need("actor")

    def _dispatched(self, store: str, action: Told) -> bool:
        """Say whether the platform dispatches the order."""
        one = self._stores[store]
        return self._owner(one, one.methods.get(action["order"], "")) is Owner.PLATFORM

    def _cancel(self, action: Told) -> None:
        if action.get("item"):
            self._need("cancel")
            return
        self._read(O.CANCELLED)
        if "refund_due" in str(self._expected):
            self._need("money")

    def _refund(self, action: Told) -> None:
        if action.get("item"):
            self._need("refund")
        if "status" in action:
            action["status"] = self._payment(action["status"])
        elif not action.get("item"):
            action["status"] = self._payment("refunded")

    def _pay(self, action: Told) -> None:
        action["status"] = self._payment(action.get("status", "paid"))

    def _checkout(self, _: Told) -> None:
        self._need("checkouts")

    def _say(self, action: Told) -> None:
        if action.get("to_shop"):
            self._need("notes")
        if (status := action.get("status")) is not None and OrderStatus(status) not in self.column.writes:
            self._no(f"no writing of {status}")
        if status is not None:
            self._need("back")

    def _may(self, action: Told) -> None:
        if "processing" in action.get("rule", "") and O.PROCESSING not in self.column.reads:
            self._no("no word for processing")
        if action["order"] in self._parcels and OrderStatus(action["to"]) not in (*AHEAD, O.CANCELLED):
            self._no("no number before Shipped")

    # what must come of it

    def _expect(self, expected: Told) -> None:
        for number, order in (expected.get("orders") or {}).items():
            self._order(number, order)
        for one in expected.get("findings") or ():
            self._finding(one)
        kept = []
        for one in expected.get("writes") or ():
            if self._write(one):
                kept.append(one)
        if expected.get("writes"):
            expected["writes"] = kept
        for one in expected.get("notices") or ():
            for company, mine in self.column.companies.items():
                if "text" in one:
                    one["text"] = one["text"].replace(company, mine)
        if expected.get("checkouts"):
            self._need("checkouts")

    def _order(self, number: str, order: Told) -> None:
        store = self._store_of(number)
        if (word := order.get("raw_status")) is not None:
            order["raw_status"] = self._status(store, word)
        if (status := order.get("status")) is not None:
            if OrderStatus(status) is O.UNKNOWN:
                self._no("no word that is unknown")
            elif number in self._ships_by_themselves and OrderStatus(status) not in (*AHEAD, O.CANCELLED):
                self._no("no number before Shipped")
            else:
                self._read(OrderStatus(status))
                order["status"] = str(self._stands_for(OrderStatus(status)))
        if number in self._ships_by_themselves and {"waits_for_all", "waits_for_confirmation"} & {
            *order.get("rules", ())
        }:
            self._no("no number before Shipped")
        shows = order.get("shows") or {}
        if "status_reason" in shows:
            self._need("reason")
        if "method" in shows:
            self._need("method")
        for item in shows.get("items", ()) if "refs" not in self.column.has else ():
            item.pop("ref", None)

    def _finding(self, one: Told) -> None:
        if one["kind"] in NO_ACTOR:
            self._need("actor")
        if self.column.store:  # looked at at other moments
            one.pop("opened", None)
            one.pop("closed", None)
        evidence = one.get("evidence") or {}
        if "method" in evidence:
            self._need("method")
        if "shipped" in evidence and "refs" not in self.column.has:
            evidence["shipped"] = evidence["shipped"].partition(":")[2]
        if one.get("proposal") in self._words():
            one["proposal"] = self._status(next(iter(self._stores)), one["proposal"])

    def _write(self, one: Told) -> bool:
        """Put an expected write into the shop's word; False where the shop has it already by itself."""
        store = one.get("store", "shop")
        if one["event"] == "note":
            self._need("notes")
            return True
        status = self._stores[store].words[one["event"]][0]
        if "place" in one:
            self._need("place")
        if status is O.SHIPPED and one["order"] in self._ships_by_themselves:
            self._ships_by_themselves[one["order"]] += 1
            if self._ships_by_themselves[one["order"]] == 1:
                return False
        if status not in self.column.writes:
            self._no(f"no writing of {status}" if self.column.writes else "no order status that is written")
            return True
        one["event"] = self.column.writes[status]
        if "told" not in self.column.has:
            one.pop("happened", None)
            one.pop("number", None)
        return True

    def _words(self) -> set[str]:
        return {word for store in self._stores.values() for word in store.words}

    def _store_of(self, number: str) -> str:
        found: list[str] = [
            a.get("store", "shop") for name, a in self._steps if name == "place" and a["order"] == number
        ]
        return found[0] if found else next(iter(self._stores))

    def _shipped(self) -> dict[str, int]:
        """Return the orders that the shop itself calls Shipped when a parcel is made, each with what was passed over."""
        if not self.column.ships:
            return {}
        return {action["order"]: 0 for name, action in self._steps if name == "ship" and action.get("numbers")}

    def _named(self, value: Any) -> Any:
        """Call orders as people call them there."""
        if self.column.names == "#{}":
            return value
        if isinstance(value, dict):
            return {self._named(key): self._named(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._named(part) for part in value]
        if not isinstance(value, str):
            return value
        return re.sub(r"#(\d+)\b", lambda found: str(self.column.names.format(found[1])), value)


SAID = {
    "back": "way back to a status", "money": "payment beside cancelled",
    "actor": "actor of a change", "address": "word for a confirmed address", "stock": "word for out of stock",
    "verified": "word for verified", "notes": "notes that a worker writes", "place": "place in a write",
    "reason": "reason of a status", "virtual": "line that nobody ships", "cancel": "cancelled pieces",
    "blank": "parcel without a number", "refund": "refunded pieces", "method": "delivery method", "pieces": "pieces of a shipment", "pays_by": "way of paying",
}  # fmt: skip
