"""Webhooks that an app makes in a Shopify shop through the API: listed, made, mended; and lost without a word."""

from __future__ import annotations

from typing import Any

from tracker.sandbox.base import Outgoing
from tracker.sandbox.fakes.shopify.people import People

VERSION = "2026-04"
# the scope that a topic needs, as the schema says of each
SCOPES = {"FULFILLMENTS": "read_fulfillments", "FULFILLMENT_EVENTS": "read_fulfillments"}


class Hooks(People):
    """Answers about webhook subscriptions, and which topics are sent: all, until the app makes some: its TOML states them."""

    hooks: dict[str, dict[str, Any]]  # that the app made through the API, by id
    scopes: list[str]
    made = False

    def _tell(self, name: str, topic: str) -> None:
        if not self.made or any(hook["topic"] == _spelt(topic) for hook in self.hooks.values()):
            super()._tell(name, topic)

    def given_up(self, outgoing: Outgoing) -> None:
        """Delete the subscription of a message that was refused nine times, in silence."""
        topic = _spelt(outgoing.headers["x-shopify-topic"])
        self.hooks = {ref: hook for ref, hook in self.hooks.items() if hook["topic"] != topic}
        self.made = True

    def _hooks(self, variables: dict[str, Any]) -> dict[str, Any]:
        rows = sorted(self.hooks.values(), key=lambda hook: hook["number"])
        at = next((i for i, row in enumerate(rows, start=1) if row["id"] == variables["after"]), 0)
        page = rows[at : at + variables["first"]]
        told = [
            {**{key: value for key, value in row.items() if key != "number"}, "apiVersion": {"handle": VERSION}}
            for row in page
        ]
        info = {"hasNextPage": len(rows) > at + len(page), "endCursor": page[-1]["id"] if page else None}
        return {"webhookSubscriptions": {"pageInfo": info, "nodes": told}}

    def _makehook(self, variables: dict[str, Any]) -> dict[str, Any]:
        topic, asked = variables["topic"], variables["w"]
        same = any((hook["topic"], hook["uri"]) == (topic, asked["uri"]) for hook in self.hooks.values())
        if same or not asked["uri"].startswith("https://"):
            return self._unmade(
                "webhookSubscriptionCreate",
                "Address for this topic has already been taken" if same else "Address is invalid",
            )
        number = next(self._ids)
        ref = f"gid://shopify/WebhookSubscription/{number}"
        self.hooks[ref] = {
            "number": number, "id": ref, "topic": topic, "uri": asked["uri"], "format": asked.get("format") or "JSON",
            "filter": asked.get("filter") or None, "includeFields": asked.get("includeFields") or [],
        }  # fmt: skip
        self.made = True
        return {"webhookSubscriptionCreate": {"webhookSubscription": {"id": ref}, "userErrors": []}}

    def _mendhook(self, variables: dict[str, Any]) -> dict[str, Any]:
        hook = self.hooks.get(variables["id"])
        if hook is None:
            return self._unmade("webhookSubscriptionUpdate", "Webhook subscription does not exist")
        asked = variables["w"]
        hook |= {
            "uri": asked["uri"],
            "format": asked["format"],
            "filter": asked["filter"] or None,
            "includeFields": asked["includeFields"],
        }
        return {"webhookSubscriptionUpdate": {"webhookSubscription": {"id": hook["id"]}, "userErrors": []}}

    def _unmade(self, name: str, said: str) -> dict[str, Any]:
        return {
            name: {"webhookSubscription": None, "userErrors": [{"field": ["webhookSubscription"], "message": said}]}
        }

    def denied(self, operation: str, variables: dict[str, Any]) -> str:
        """Say which scope an operation lacks; empty: none."""
        scope = SCOPES.get(str(variables.get("topic", "")).rpartition("_")[0], "") if operation == "MakeHook" else ""
        return scope if scope and (scope not in self.scopes or self.faults.take("refuse_hooks")) else ""


def _spelt(topic: str) -> str:
    """Spell a topic as GraphQL does."""
    return topic.replace("/", "_").upper()
