"""What the app was granted in a shop, and what is not done without it."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.shopify.queries import SHOP
from adapters.shopify.writing import Ask
from tracker.domain.errors import CredentialsRejected
from tracker.plugin.graphql import data_of
from tracker.plugin.payloads import listing, mapping, text

# beside one to read orders (Admin schema 2026-04: its mutations and webhook topics say what they need)
NEEDS = {
    "read_fulfillments": "its hooks of fulfilments are refused, and sweeps tell of them",
    "read_merchant_managed_fulfillment_orders": "holds, places and delivery methods of orders are not known",
    "write_fulfillments": "no fulfilment event is written",
    "write_orders": "no metafield, tag or note is written",
    "write_merchant_managed_fulfillment_orders": "no tracking number is corrected",
}
ALL = "read_all_orders"


def granted(ask: Ask) -> set[str] | None:
    """Return the scopes that the app was granted, with those that they include; None where Shopify does not tell."""
    app = data_of(ask(SHOP, {}), "shop").get("currentAppInstallation")
    if not isinstance(app, dict):
        return None
    rows = [mapping(row, "$.accessScopes[]") for row in listing(app.get("accessScopes"), "$.accessScopes")]
    found = {text(row.get("handle")) for row in rows}
    return found | {scope.replace("write_", "read_", 1) for scope in found if scope.startswith("write_")}


def demand(found: set[str] | None) -> None:
    """Raise CredentialsRejected where no order can be read: an app without scopes has a token that is good for nothing else."""
    if found is not None and not found & {"read_orders", "read_marketplace_orders"}:
        raise CredentialsRejected("the app has not the scope read_orders")


def missing(found: set[str] | None, *, all_orders: bool) -> Iterator[str]:
    """Tell of each scope that is missing what is not done without it. `all_orders`: the settings say that old orders can be read."""
    if found is None:
        return
    for scope, said in NEEDS.items():
        if scope not in found:
            yield f"the app has not the scope {scope}: {said}"
    if ALL not in found:
        more = "whatever the setting says" if all_orders else "neither at first nor later"
        yield f"the app has not the scope {ALL}: orders older than 60 days are not read, {more}"
    elif not all_orders:
        yield f"the app has the scope {ALL}: with `read_all_orders: true` older orders are read"
