"""What a store's writes do beside their effect (mail, money), as its platform says: what is told of them, and what waits to be named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from tracker.domain.vocabulary import OrderStatus

if TYPE_CHECKING:
    from tracker.config.model import Account
    from tracker.domain.policy import Policy
    from tracker.plugin.contracts import Platform


def withheld(platform: Platform, named: Collection[OrderStatus]) -> dict[OrderStatus, str]:
    """Return the order statuses that are not written by themselves, as setting one does more and the policy names it not; with what it does."""
    return {
        status: beside.said
        for status, word in platform.order_status_map().items()
        if status not in named and (beside := platform.beside("order_status", word)) is not None and beside.asks
    }


def besides(account: Account) -> list[dict[str, str]]:
    """Return a row for each write that a store's policy switches on and that does more than it says: of one sentence, the words together.

    `now`: `on`, `observed` (the store's mode writes nothing yet) or `withheld`, with the key that lets it be written.
    """
    policy = account.policy
    found: dict[tuple[str, str, str], list[str]] = {}
    for kind, said, word, status in _writes(policy):
        if (beside := account.platform.beside(kind, word)) is None:
            continue
        now = "on" if account.mode == "write" else "observed"
        if kind == "order_status" and status in policy.withheld:
            now = f"withheld: policy.side_effects does not name {status}"
        found.setdefault((said, beside.said, now), []).append(word)
    return [
        {"store": account.name, "write": f"{said} {', '.join(words)}".rstrip(), "beside": beside, "now": now}
        for (said, beside, now), words in found.items()
    ]


def _writes(policy: Policy) -> Iterator[tuple[str, str, str, str]]:
    """Return the writes that a policy switches on: their kind, what that is called, the platform's word, and the status in ours."""
    for shown, word in policy.words.items():
        yield "fulfilment_event", "shipping status", word, shown
    for status in sorted(_targets(policy)):
        yield "order_status", "order status", policy.order_words[status], status
    if policy.status_field:
        yield "field", "field", policy.status_field, ""
    if policy.status_tag:
        yield "tag", "tag", policy.status_tag, ""


def _targets(policy: Policy) -> Iterable[OrderStatus]:
    """Return the order statuses that are written, if only to put one back."""
    if policy.restore_from:
        return policy.order_words
    written = {status for statuses in policy.writes.values() for status in statuses}
    more = {OrderStatus.PARTIALLY_SHIPPED} if OrderStatus.SHIPPED in written else set()
    return (written | more) & {*policy.order_words}
